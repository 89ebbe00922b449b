//! Otsu's threshold (1979) between the two groups of weighted values that differ most.

/// Where two groups of values part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// The value between them.
    pub at: f32,
    /// The difference of their means.
    pub apart: f32,
}

/// The threshold of `(value, weight)`; none where the values are all the same.
pub fn threshold(mut values: Vec<(f32, f32)>) -> Option<Threshold> {
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let sums = |(w, s): (f64, f64), v: &(f32, f32)| (w + f64::from(v.1), s + f64::from(v.0) * f64::from(v.1));
    let (all, sum) = values.iter().fold((0.0, 0.0), sums);
    let (mut below, mut best, mut found) = ((0.0, 0.0), 0.0, None);
    for pair in values.windows(2) {
        below = sums(below, &pair[0]);
        let above = (all - below.0, sum - below.1);
        if pair[1].0 - pair[0].0 <= 1e-6 || below.0 <= 0.0 || above.0 <= 0.0 {
            continue;
        }
        let apart = above.1 / above.0 - below.1 / below.0;
        let spread = below.0 * above.0 * apart * apart;
        if spread > best {
            best = spread;
            found = Some(Threshold { at: 0.5 * (pair[0].0 + pair[1].0), apart: (apart as f32).max(1e-6) });
        }
    }
    found
}
