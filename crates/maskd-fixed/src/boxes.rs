//! Sums over squares of pixels, and the filters made of them.

/// Mean over the square of `2 radius + 1` pixels around each pixel of `(height, width)`; at borders over what there is.
pub fn mean(plane: &[f32], width: usize, radius: usize, out: &mut Vec<f32>, scratch: &mut Vec<f32>) {
    let height = plane.len() / width.max(1);
    scratch.resize(plane.len(), 0.0);
    out.resize(plane.len(), 0.0);
    for (row, to) in plane.chunks_exact(width).zip(scratch.chunks_exact_mut(width)) {
        let mut sum: f32 = row.iter().take(radius).sum();
        for i in 0..width {
            if i + radius < width {
                sum += row[i + radius];
            }
            if i > radius {
                sum -= row[i - radius - 1];
            }
            let n = (i + radius).min(width - 1) - i.saturating_sub(radius) + 1;
            to[i] = sum / n as f32;
        }
    }
    let mut sums = vec![0.0f32; width];
    for row in scratch.chunks_exact(width).take(radius) {
        sums.iter_mut().zip(row).for_each(|(s, v)| *s += v);
    }
    for i in 0..height {
        if i + radius < height {
            let row = &scratch[(i + radius) * width..][..width];
            sums.iter_mut().zip(row).for_each(|(s, v)| *s += v);
        }
        if i > radius {
            let row = &scratch[(i - radius - 1) * width..][..width];
            sums.iter_mut().zip(row).for_each(|(s, v)| *s -= v);
        }
        let n = (i + radius).min(height - 1) - i.saturating_sub(radius) + 1;
        let scale = 1.0 / n as f32;
        out[i * width..][..width].iter_mut().zip(&sums).for_each(|(o, s)| *o = s * scale);
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
        for i in 0..plane.len() {
            let variance = (mean_ii[i] - mean_i[i] * mean_i[i]).max(0.0);
            let a = (mean_ip[i] - mean_i[i] * mean_p[i]) / (variance + epsilon);
            mean_ip[i] = a;
            mean_ii[i] = mean_p[i] - a * mean_i[i];
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
    use super::*;

    fn wave(width: usize, height: usize) -> Vec<f32> {
        (0..width * height).map(|i| 100.0 + 50.0 * (i as f32 * 0.7).sin() + (i % width) as f32).collect()
    }

    #[test]
    fn a_mean_is_that_of_a_plain_sum() {
        for (width, height, radius) in [(13, 9, 2), (13, 9, 0), (9, 13, 5), (3, 2, 4), (1, 7, 3), (7, 1, 3), (1, 1, 1)]
        {
            let plane = wave(width, height);
            // Buffers of another picture must not show.
            let (mut out, mut scratch) = (vec![7.0; 500], vec![7.0; 500]);
            out.truncate(plane.len());
            mean(&plane, width, radius, &mut out, &mut scratch);
            for (p, found) in out.iter().enumerate() {
                let range = |at: usize, n: usize| at.saturating_sub(radius)..(at + radius + 1).min(n);
                let square: Vec<f32> = range(p / width, height)
                    .flat_map(|y| range(p % width, width).map(move |x| y * width + x))
                    .map(|q| plane[q])
                    .collect();
                let plain = square.iter().sum::<f32>() / square.len() as f32;
                assert!(
                    (found - plain).abs() < 1e-2,
                    "{width} x {height}, radius {radius}, at {p}: {found}, not {plain}"
                );
            }
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
