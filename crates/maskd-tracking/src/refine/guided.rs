//! The guided filter with a colour guide (He, Sun, Tang 2013, equations 14 to 16): in each window the output is an
//! affine function of the colours, so edges of the output lie on edges of the frame.

use std::ops::Range;

use super::Colours;

/// A frame's colours prepared for filtering; see [`Guide::filter`].
pub struct Guide {
    width: usize,
    height: usize,
    radius: usize,
    colours: [Vec<f32>; 3],
    means: [Vec<f32>; 3],
    /// The inverse of each window's covariance, the six values of its upper triangle row by row.
    inverse: Vec<[f32; 6]>,
}

/// Part of a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// From top to bottom.
    pub rows: Range<usize>,
    /// From left to right.
    pub cols: Range<usize>,
}

impl Guide {
    /// Windows of `radius` cells in each direction; variances below `epsilon` are no edge.
    pub fn new(colours: &Colours, radius: usize, epsilon: f32) -> Self {
        let (height, width) = (colours.grid.rows * colours.side, colours.grid.cols * colours.side);
        let colours = [0, 1, 2].map(|channel| colours.plane(channel));
        let blur = |plane: &[f32]| mean_in_window(plane, width, radius);
        let means = [0, 1, 2].map(|channel: usize| blur(&colours[channel]));
        let covariance = |a: usize, b: usize| {
            let product: Vec<f32> = colours[a].iter().zip(&colours[b]).map(|(a, b)| a * b).collect();
            let mut mean = blur(&product);
            mean.iter_mut().zip(&means[a]).zip(&means[b]).for_each(|((m, a), b)| *m -= a * b);
            mean
        };
        let ((rr, rg, rb), (gg, gb, bb)) = rayon::join(
            || (covariance(0, 0), covariance(0, 1), covariance(0, 2)),
            || (covariance(1, 1), covariance(1, 2), covariance(2, 2)),
        );
        let inverse = (0..width * height)
            .map(|i| invert([rr[i] + epsilon, rg[i], rb[i], gg[i] + epsilon, gb[i], bb[i] + epsilon]))
            .collect();
        Self { width, height, radius, colours, means, inverse }
    }

    /// The part of the picture outside which a filtered plane stays 0 where `plane` `(height, width)` does, and
    /// that holds all that counts; `None` when the plane is 0 everywhere.
    pub fn reach(&self, plane: &[f32]) -> Option<Part> {
        let held = |v: &f32| *v != 0.0;
        let row_held: Vec<bool> = plane.chunks_exact(self.width).map(|row| row.iter().any(held)).collect();
        let (top, bottom) = (row_held.iter().position(|h| *h)?, row_held.iter().rposition(|h| *h)?);
        let used = || plane[top * self.width..(bottom + 1) * self.width].chunks_exact(self.width);
        let left = used().filter_map(|row| row.iter().position(held)).min()?;
        let right = used().filter_map(|row| row.iter().rposition(held)).max()?;
        // Models differ from 0 up to a radius away from what is held, the output up to two, and its windows, none of
        // which may be cut off, reach a third.
        let far = 3 * self.radius;
        Some(Part {
            rows: top.saturating_sub(far)..(bottom + 1 + far).min(self.height),
            cols: left.saturating_sub(far)..(right + 1 + far).min(self.width),
        })
    }

    /// Filters the `part` of `plane`; what is outside is taken to be 0, as [`Self::reach`] makes sure.
    pub fn filter(&self, plane: &[f32], part: &Part) -> Vec<f32> {
        let (wide, size) = (part.cols.len(), part.rows.len() * part.cols.len());
        let index = |i: usize| (part.rows.start + i / wide) * self.width + part.cols.start + i % wide;
        let cut = |plane: &[f32]| -> Vec<f32> {
            part.rows.clone().flat_map(|row| &plane[row * self.width..][part.cols.clone()]).copied().collect()
        };
        let blur = |plane: &[f32]| mean_in_window(plane, wide, self.radius);
        let values = cut(plane);
        let colours = [0, 1, 2].map(|c: usize| cut(&self.colours[c]));
        let with = |c: usize| {
            let product: Vec<f32> = colours[c].iter().zip(&values).map(|(a, b)| a * b).collect();
            blur(&product)
        };
        let ((mean, red), (green, blue)) = rayon::join(|| (blur(&values), with(0)), || (with(1), with(2)));
        let mut slopes = [vec![0.0; size], vec![0.0; size], vec![0.0; size]];
        let mut offset = vec![0.0; size];
        for i in 0..size {
            let at = index(i);
            let m = [0, 1, 2].map(|c: usize| self.means[c][at]);
            let (r, g, b) = (red[i] - m[0] * mean[i], green[i] - m[1] * mean[i], blue[i] - m[2] * mean[i]);
            let [rr, rg, rb, gg, gb, bb] = self.inverse[at];
            let slope = [rr * r + rg * g + rb * b, rg * r + gg * g + gb * b, rb * r + gb * g + bb * b];
            offset[i] = mean[i] - (0..3).map(|c| slope[c] * m[c]).sum::<f32>();
            (0..3).for_each(|c| slopes[c][i] = slope[c]);
        }
        let ((r, g), (b, o)) =
            rayon::join(|| (blur(&slopes[0]), blur(&slopes[1])), || (blur(&slopes[2]), blur(&offset)));
        (0..size).map(|i| r[i] * colours[0][i] + g[i] * colours[1][i] + b[i] * colours[2][i] + o[i]).collect()
    }
}

/// Means over square windows, cut off at the rim of the picture, by running sums.
fn mean_in_window(plane: &[f32], width: usize, radius: usize) -> Vec<f32> {
    let height = plane.len() / width.max(1);
    let mut across = vec![0f32; plane.len()];
    for (line, out) in plane.chunks_exact(width).zip(across.chunks_exact_mut(width)) {
        let mut sum: f64 = line[..radius.min(width)].iter().map(|v| f64::from(*v)).sum();
        for x in 0..width {
            if x + radius < width {
                sum += f64::from(line[x + radius]);
            }
            if x > radius {
                sum -= f64::from(line[x - radius - 1]);
            }
            let count = (x + radius).min(width - 1) - x.saturating_sub(radius) + 1;
            out[x] = (sum / count as f64) as f32;
        }
    }
    let mut sums = vec![0f64; width];
    let row = |y: usize| &across[y * width..][..width];
    let add = |sums: &mut [f64], y: usize| sums.iter_mut().zip(row(y)).for_each(|(s, v)| *s += f64::from(*v));
    let take = |sums: &mut [f64], y: usize| sums.iter_mut().zip(row(y)).for_each(|(s, v)| *s -= f64::from(*v));
    (0..radius.min(height)).for_each(|y| add(&mut sums, y));
    let mut out = Vec::with_capacity(plane.len());
    for y in 0..height {
        if y + radius < height {
            add(&mut sums, y + radius);
        }
        if y > radius {
            take(&mut sums, y - radius - 1);
        }
        let count = ((y + radius).min(height - 1) - y.saturating_sub(radius) + 1) as f64;
        out.extend(sums.iter().map(|sum| (sum / count) as f32));
    }
    out
}

/// The inverse of a symmetric 3 x 3 matrix, both as upper triangles row by row.
fn invert([a, b, c, d, e, f]: [f32; 6]) -> [f32; 6] {
    let minors = [d * f - e * e, c * e - b * f, b * e - c * d, a * f - c * c, b * c - a * e, a * d - b * b];
    let determinant = a * minors[0] + b * minors[1] + c * minors[2];
    minors.map(|minor| minor / determinant)
}

/// The filter by its definition, every window summed up anew, in f64: what [`Guide::filter`] is tested against.
pub fn guided_plain(colours: &Colours, plane: &[f32], radius: usize, epsilon: f32) -> Vec<f32> {
    let (height, width) = (colours.grid.rows * colours.side, colours.grid.cols * colours.side);
    let guide = [0, 1, 2].map(|channel| colours.plane(channel));
    let window = |i: usize| {
        let near = |at: usize, len: usize| at.saturating_sub(radius)..(at + radius + 1).min(len);
        near(i / width, height).flat_map(move |y| near(i % width, width).map(move |x| y * width + x))
    };
    let mean = |i: usize, of: &dyn Fn(usize) -> f64| window(i).map(of).sum::<f64>() / window(i).count() as f64;
    let at = |c: usize, i: usize| f64::from(guide[c][i]);
    let models: Vec<([f64; 3], f64)> = (0..width * height)
        .map(|i| {
            let m = [0, 1, 2].map(|c| mean(i, &|j| at(c, j)));
            let p = mean(i, &|j| f64::from(plane[j]));
            let mut rows = [[0.0; 4]; 3];
            for (a, row) in rows.iter_mut().enumerate() {
                for (b, value) in row.iter_mut().take(3).enumerate() {
                    *value = mean(i, &|j| at(a, j) * at(b, j)) - m[a] * m[b];
                }
                row[a] += f64::from(epsilon);
                row[3] = mean(i, &|j| at(a, j) * f64::from(plane[j])) - m[a] * p;
            }
            let slope = solve(rows);
            (slope, p - (0..3).map(|c| slope[c] * m[c]).sum::<f64>())
        })
        .collect();
    let value = |i: usize| {
        let slope = [0, 1, 2].map(|c| mean(i, &|j| models[j].0[c]));
        (0..3).map(|c| slope[c] * at(c, i)).sum::<f64>() + mean(i, &|j| models[j].1)
    };
    (0..width * height).map(|i| value(i) as f32).collect()
}

/// Three equations by elimination; the matrix is positive definite, so no pivot is 0.
fn solve(mut rows: [[f64; 4]; 3]) -> [f64; 3] {
    for i in 0..3 {
        let pivot = rows[i];
        for (_, row) in rows.iter_mut().enumerate().filter(|(k, _)| *k != i) {
            let factor = row[i] / pivot[i];
            row.iter_mut().zip(pivot).for_each(|(v, p)| *v -= factor * p);
        }
    }
    [0, 1, 2].map(|i| rows[i][3] / rows[i][i])
}
