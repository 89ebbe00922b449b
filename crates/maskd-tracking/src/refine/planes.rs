//! Pictures of one number per place: made smaller by averaging areas.

/// For each output position the source positions under it and how much of each, shares of 1.
fn shares(from: usize, to: usize) -> Vec<(usize, Vec<f32>)> {
    let scale = from as f64 / to as f64;
    (0..to)
        .map(|i| {
            let (start, end) = (i as f64 * scale, (i + 1) as f64 * scale);
            let first = (start as usize).min(from - 1);
            let last = (end.ceil() as usize).clamp(first + 1, from);
            let part = |p: usize| (end.min(p as f64 + 1.0) - start.max(p as f64)).max(0.0) / scale;
            let parts: Vec<f64> = (first..last).map(part).collect();
            let sum: f64 = parts.iter().sum();
            (first, parts.iter().map(|part| (part / sum) as f32).collect())
        })
        .collect()
}

/// Area-averages the picture `at` of `from` (height, width) to `to`. It also enlarges: places then share a source.
pub(super) fn shrink(at: impl Fn(usize) -> f32, from: (usize, usize), to: (usize, usize)) -> Vec<f32> {
    let (down, across) = (shares(from.0, to.0), shares(from.1, to.1));
    let mut wide = vec![0.0; from.0 * to.1];
    for (row, line) in wide.chunks_exact_mut(to.1).enumerate() {
        for (out, (first, parts)) in line.iter_mut().zip(&across) {
            *out = parts.iter().enumerate().map(|(i, part)| part * at(row * from.1 + first + i)).sum();
        }
    }
    let mut small = vec![0.0; to.0 * to.1];
    for (line, (first, parts)) in small.chunks_exact_mut(to.1).zip(&down) {
        for (i, part) in parts.iter().enumerate() {
            let source = &wide[(first + i) * to.1..][..to.1];
            line.iter_mut().zip(source).for_each(|(out, value)| *out += part * value);
        }
    }
    small
}
