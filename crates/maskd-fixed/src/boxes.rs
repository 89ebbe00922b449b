//! Means and maxima over squares of pixels, and the filters made of them.

/// Mean over the square of `2 radius + 1` pixels around each pixel of `(height, width)`; at borders over what there is.
pub fn mean(plane: &[f32], width: usize, radius: usize, out: &mut Vec<f32>, scratch: &mut Vec<f32>) {
    let height = plane.len() / width.max(1);
    out.resize(plane.len(), 0.0);
    // Sums of columns with `radius` zeros on both sides, kept from row to row, then one over each column's width of the square.
    scratch.clear();
    scratch.resize(2 * width + 2 * radius, 0.0);
    let (sums, shares) = scratch.split_at_mut(width + 2 * radius);
    for (i, share) in shares.iter_mut().enumerate() {
        *share = 1.0 / ((i + radius).min(width - 1) - i.saturating_sub(radius) + 1) as f32;
    }
    let columns = radius..radius + width;
    for row in plane.chunks_exact(width.max(1)).take(radius) {
        sums[columns.clone()].iter_mut().zip(row).for_each(|(s, v)| *s += v);
    }
    for (i, out) in out.chunks_exact_mut(width.max(1)).enumerate() {
        if i + radius < height {
            let row = &plane[(i + radius) * width..][..width];
            sums[columns.clone()].iter_mut().zip(row).for_each(|(s, v)| *s += v);
        }
        if i > radius {
            let row = &plane[(i - radius - 1) * width..][..width];
            sums[columns.clone()].iter_mut().zip(row).for_each(|(s, v)| *s -= v);
        }
        let scale = 1.0 / ((i + radius).min(height - 1) - i.saturating_sub(radius) + 1) as f32;
        // A square's side that the compiler knows is summed without a loop.
        match radius {
            2 => windows::<5>(sums, shares, scale, out),
            3 => windows::<7>(sums, shares, scale, out),
            4 => windows::<9>(sums, shares, scale, out),
            5 => windows::<11>(sums, shares, scale, out),
            _ => {
                let sums = sums.windows(2 * radius + 1).map(|window| window.iter().sum::<f32>());
                out.iter_mut().zip(sums).zip(&*shares).for_each(|((o, sum), share)| *o = sum * (share * scale));
            }
        }
    }
}

/// Sums of `SIDE` neighbours, each by its share and by `scale`.
fn windows<const SIDE: usize>(values: &[f32], shares: &[f32], scale: f32, out: &mut [f32]) {
    for ((out, share), window) in out.iter_mut().zip(shares).zip(values.windows(SIDE)) {
        *out = window[..SIDE].iter().sum::<f32>() * (share * scale);
    }
}

/// The largest value, none below 0, in the square of `2 radius + 1` pixels around each pixel of `(height, width)`.
pub fn largest(plane: &[f32], width: usize, radius: usize, out: &mut Vec<f32>, rows: &mut Vec<f32>) {
    spread(plane, width, radius, out, rows, |a, b| if a > b { a } else { b });
}

/// Sets what is within `radius` pixels of a set pixel in each direction; `from` is `(height, width)`.
pub fn dilate(from: &[bool], width: usize, radius: usize, out: &mut Vec<bool>, rows: &mut Vec<bool>) {
    spread(from, width, radius, out, rows, |a, b| a | b);
}

/// Joins each pixel with those of the square around it, rows first.
fn spread<T: Copy + Default>(
    plane: &[T],
    width: usize,
    radius: usize,
    out: &mut Vec<T>,
    rows: &mut Vec<T>,
    join: impl Fn(T, T) -> T + Copy,
) {
    let height = plane.len() / width.max(1);
    // The joined rows, and a row with room for a square on both sides.
    rows.clear();
    rows.resize(plane.len() + width + 2 * radius, T::default());
    let (rows, row) = rows.split_at_mut(plane.len());
    for (from, to) in plane.chunks_exact(width.max(1)).zip(rows.chunks_exact_mut(width.max(1))) {
        row[radius..radius + width].copy_from_slice(from);
        match radius {
            2 => join_windows::<T, 5>(row, to, join),
            3 => join_windows::<T, 7>(row, to, join),
            _ => {
                let joined = row.windows(2 * radius + 1).map(|window| window.iter().copied().fold(T::default(), join));
                to.iter_mut().zip(joined).for_each(|(to, joined)| *to = joined);
            }
        }
    }
    out.resize(plane.len(), T::default());
    for (y, out) in out.chunks_exact_mut(width.max(1)).enumerate() {
        let near = &rows[y.saturating_sub(radius) * width..(y + radius + 1).min(height) * width];
        out.copy_from_slice(&near[..width]);
        let mut pairs = near[width..].chunks_exact(2 * width);
        for pair in pairs.by_ref() {
            let (a, b) = pair.split_at(width);
            out.iter_mut().zip(a).zip(b).for_each(|((out, a), b)| *out = join(*out, join(*a, *b)));
        }
        out.iter_mut().zip(pairs.remainder()).for_each(|(out, a)| *out = join(*out, *a));
    }
}

/// `SIDE` neighbours joined; as with [`windows`], the compiler knows how many.
fn join_windows<T: Copy, const SIDE: usize>(values: &[T], out: &mut [T], join: impl Fn(T, T) -> T) {
    for (out, window) in out.iter_mut().zip(values.windows(SIDE)) {
        *out = window[1..SIDE].iter().fold(window[0], |joined, value| join(joined, *value));
    }
}

/// The guided filter (He, Sun and Tang 2010): `plane` smoothed along the edges of `guide`.
#[derive(Debug, Default)]
pub struct Guided {
    mean_i: Vec<f32>,
    mean_p: Vec<f32>,
    mean_ii: Vec<f32>,
    mean_ip: Vec<f32>,
    product: Vec<f32>,
    scratch: Vec<f32>,
}

impl Guided {
    /// Filters in place; `epsilon` is a variance of the guide.
    pub fn filter(&mut self, plane: &mut [f32], guide: &[f32], width: usize, radius: usize, epsilon: f32) {
        let Self { mean_i, mean_p, mean_ii, mean_ip, product, scratch } = self;
        mean(guide, width, radius, mean_i, scratch);
        mean(plane, width, radius, mean_p, scratch);
        product.clear();
        product.extend(guide.iter().map(|g| g * g));
        mean(product, width, radius, mean_ii, scratch);
        product.clear();
        product.extend(guide.iter().zip(&*plane).map(|(g, p)| g * p));
        mean(product, width, radius, mean_ip, scratch);
        let means = mean_i.iter().zip(&*mean_p).zip(mean_ii.iter_mut().zip(&mut *mean_ip));
        for ((i, p), (ii, ip)) in means {
            let variance = (*ii - i * i).max(0.0);
            let a = (*ip - i * p) / (variance + epsilon);
            (*ip, *ii) = (a, p - a * i);
        }
        mean(mean_ip, width, radius, mean_i, scratch);
        mean(mean_ii, width, radius, mean_p, scratch);
        for ((o, g), (a, b)) in plane.iter_mut().zip(guide).zip(mean_i.iter().zip(&*mean_p)) {
            *o = a * g + b;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wave(width: usize, height: usize) -> Vec<f32> {
        (0..width * height).map(|i| 100.0 + 50.0 * (i as f32 * 0.7).sin() + (i % width) as f32).collect()
    }

    /// Each pixel with those of the square around it, one after the other.
    fn plain<T: Copy>(
        plane: &[T],
        width: usize,
        radius: usize,
        of: impl Fn(&mut dyn Iterator<Item = T>) -> T,
    ) -> Vec<T> {
        let range = |at: usize, n: usize| at.saturating_sub(radius)..(at + radius + 1).min(n);
        let square = |p: usize| {
            let columns = range(p % width, width);
            range(p / width, plane.len() / width).flat_map(move |y| columns.clone().map(move |x| y * width + x))
        };
        (0..plane.len()).map(|p| of(&mut square(p).map(|q| plane[q]))).collect()
    }

    proptest! {
        #[test]
        fn means_and_maxima_are_those_of_plain_loops(
            (width, height, radius) in (1usize..40, 1usize..20, 0usize..7), values in prop::collection::vec(0f32..200.0, 800),
        ) {
            // Buffers of another picture must not show.
            let (mut out, mut scratch) = (vec![7.0; 500], vec![7.0; 500]);
            let plane = &values[..width * height];
            mean(plane, width, radius, &mut out, &mut scratch);
            let means = plain(plane, width, radius, |square| {
                let (sum, n) = square.fold((0.0, 0.0), |(sum, n), v| (sum + v, n + 1.0));
                sum / n
            });
            prop_assert!(out.len() == means.len() && out.iter().zip(&means).all(|(a, b)| (a - b).abs() < 1e-2));
            // Most of it is zero, whole rows are.
            let sparse: Vec<f32> = plane.iter().map(|v| if *v < 195.0 { 0.0 } else { *v }).collect();
            largest(&sparse, width, radius, &mut out, &mut scratch);
            prop_assert_eq!(&out, &plain(&sparse, width, radius, |square| square.fold(0.0, f32::max)));
            let set: Vec<bool> = sparse.iter().map(|v| *v > 0.0).collect();
            let (mut near, mut rows) = (vec![true; 30], vec![true; 30]);
            dilate(&set, width, radius, &mut near, &mut rows);
            prop_assert_eq!(near, plain(&set, width, radius, |square| square.fold(false, |a, b| a | b)));
        }
    }

    #[test]
    fn a_constant_stays_constant_under_any_guide() {
        let mut plane = vec![2.5; 20 * 15];
        Guided::default().filter(&mut plane, &wave(20, 15), 20, 3, 100.0);
        assert!(plane.iter().all(|v| (v - 2.5).abs() < 1e-3));
    }

    #[test]
    fn an_edge_of_the_guide_is_kept_and_noise_is_not() {
        let edge = |i: usize| i % 20 >= 10;
        let guide: Vec<f32> = (0..300).map(|i| if edge(i) { 200.0 } else { 50.0 }).collect();
        let mut plane: Vec<f32> = (0..300)
            .map(|i| if edge(i) { 1.0 } else { -1.0 } + if (i + i / 20) % 2 == 0 { 0.5 } else { -0.5 })
            .collect();
        Guided::default().filter(&mut plane, &guide, 20, 3, 10.0);
        for (i, v) in plane.iter().enumerate() {
            let ideal = if edge(i) { 1.0 } else { -1.0 };
            assert!((v - ideal).abs() < 0.25, "{v} at {i}");
        }
    }
}
