//! Row-wise work: loops over blocks of rows on all threads, and the vectorised bodies of layer norm and GELU.

use rayon::prelude::*;

use super::math::{self, dispatch};

/// Rows handled together: fixed, so that sums over rows do not depend on the number of threads.
pub(super) const ROWS: usize = 64;

/// Values summed side by side, so that no sum waits for the previous element.
const LANES: usize = 16;

/// Calls `f(first row, rows)` for blocks of rows of `width` values, on all threads.
pub(super) fn for_rows(out: &mut [f32], width: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    out.par_chunks_mut(ROWS * width).enumerate().for_each(|(i, rows)| f(i * ROWS, rows));
}

/// `rows` copies of one row.
pub(super) fn repeated(row: &[f32], rows: usize) -> Vec<f32> {
    let mut out = super::scratch::buffer(rows * row.len());
    for_rows(&mut out, row.len(), |_, block| {
        block.chunks_exact_mut(row.len()).for_each(|r| r.copy_from_slice(row));
    });
    out
}

/// Adds up `f(first row, number of rows, sums)` over blocks of rows, `width` sums each, always in the same order.
pub(super) fn sum_blocks(rows: usize, width: usize, f: impl Fn(usize, usize, &mut [f32]) + Sync) -> Vec<f32> {
    let partial: Vec<Vec<f32>> = (0..rows.div_ceil(ROWS * 4))
        .into_par_iter()
        .map(|i| {
            let mut sums = vec![0.0; width];
            let first = i * ROWS * 4;
            f(first, (ROWS * 4).min(rows - first), &mut sums);
            sums
        })
        .collect();
    let mut total = vec![0.0; width];
    for sums in &partial {
        total.iter_mut().zip(sums).for_each(|(t, s)| *t += s);
    }
    total
}

/// Column sums of (rows, width), each row times its scale.
pub(super) fn column_sums(values: &[f32], width: usize, scales: Option<&[f32]>) -> Vec<f32> {
    sum_blocks(values.len() / width, width, |first, n, sums| {
        add_rows(&values[first * width..][..n * width], scales.map(|s| &s[first..][..n]), sums);
    })
}

dispatch! {
    /// sums += each row, times its scale.
    fn add_rows(values: &[f32], scales: Option<&[f32]>, sums: &mut [f32]) = add_rows_body
}

#[inline(always)]
fn add_rows_body(values: &[f32], scales: Option<&[f32]>, sums: &mut [f32]) {
    for (i, row) in values.chunks_exact(sums.len()).enumerate() {
        let scale = scales.map_or(1.0, |s| s[i]);
        for (s, x) in sums.iter_mut().zip(row) {
            *s = x.mul_add(scale, *s);
        }
    }
}

/// The sum of f over the indices of a row.
#[inline(always)]
fn lanes_sum(n: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut sums = [0f32; LANES];
    let whole = n / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, s) in sums.iter_mut().enumerate() {
            *s += f(start + lane);
        }
    }
    (whole..n).fold(sums.iter().sum::<f32>(), |total, i| total + f(i))
}

/// Mean and 1 / standard deviation of a row.
#[inline(always)]
fn moments(row: &[f32], eps: f32) -> (f32, f32) {
    let n = row.len();
    let mean = lanes_sum(n, |i| row[i]) / n as f32;
    let variance = lanes_sum(n, |i| (row[i] - mean) * (row[i] - mean)) / n as f32;
    (mean, 1.0 / (variance + eps).sqrt())
}

dispatch! {
    /// Layer normalisation of rows of `weight.len()` values.
    pub(super) fn layer_norm_rows(x: &[f32], out: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) = layer_norm_body
}

#[inline(always)]
fn layer_norm_body(x: &[f32], out: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
    let n = weight.len();
    for (x, out) in x.chunks_exact(n).zip(out.chunks_exact_mut(n)) {
        let (mean, inverse) = moments(x, eps);
        for (((o, x), w), b) in out.iter_mut().zip(x).zip(weight).zip(bias) {
            *o = ((x - mean) * inverse).mul_add(*w, *b);
        }
    }
}

dispatch! {
    /// The backward of layer normalisation. With a = dy w and the normalised row h:
    /// dx += (a - mean(a) - h mean(a h)) / std. `sums` (2C): dw += dy h, then db += dy.
    pub(super) fn layer_norm_back_rows(x: &[f32], dy: &[f32], weight: &[f32], eps: f32, dx: &mut [f32], sums: &mut [f32])
        = layer_norm_back_body
}

#[inline(always)]
fn layer_norm_back_body(x: &[f32], dy: &[f32], weight: &[f32], eps: f32, dx: &mut [f32], sums: &mut [f32]) {
    let n = weight.len();
    let (dw, db) = sums.split_at_mut(n);
    let db = &mut db[..n];
    for ((x, dy), dx) in x.chunks_exact(n).zip(dy.chunks_exact(n)).zip(dx.chunks_exact_mut(n)) {
        let (mean, inverse) = moments(x, eps);
        let a = lanes_sum(n, |i| dy[i] * weight[i]) / n as f32;
        let ah = lanes_sum(n, |i| dy[i] * weight[i] * ((x[i] - mean) * inverse)) / n as f32;
        for i in 0..n {
            let h = (x[i] - mean) * inverse;
            dx[i] += inverse * (dy[i] * weight[i] - a - h * ah);
            dw[i] = dy[i].mul_add(h, dw[i]);
            db[i] += dy[i];
        }
    }
}

dispatch! {
    /// out = gelu(x + bias) times `scale`, for rows of `bias.len()` values; the exact (erf) GELU.
    pub(super) fn gelu_rows(x: &[f32], bias: &[f32], scales: Option<&[f32]>, out: &mut [f32]) = gelu_body
}

#[inline(always)]
fn gelu_body(x: &[f32], bias: &[f32], scales: Option<&[f32]>, out: &mut [f32]) {
    let n = bias.len();
    for (r, (x, out)) in x.chunks_exact(n).zip(out.chunks_exact_mut(n)).enumerate() {
        let scale = 0.5 * scales.map_or(1.0, |s| s[r]);
        for ((x, b), o) in x.iter().zip(bias).zip(out) {
            let v = x + b;
            *o = scale * v * (1.0 + math::erf(v * std::f32::consts::FRAC_1_SQRT_2));
        }
    }
}

dispatch! {
    /// From x + bias both out = gelu and, in place of x, its derivative; each times `scale`.
    pub(super) fn gelu_back_rows(x: &mut [f32], bias: &[f32], scales: Option<&[f32]>, out: &mut [f32]) = gelu_back_body
}

#[inline(always)]
fn gelu_back_body(x: &mut [f32], bias: &[f32], scales: Option<&[f32]>, out: &mut [f32]) {
    const DENSITY: f32 = 0.398_942_3; // 1 / sqrt(2 pi)
    let n = bias.len();
    for (r, (x, out)) in x.chunks_exact_mut(n).zip(out.chunks_exact_mut(n)).enumerate() {
        let scale = scales.map_or(1.0, |s| s[r]);
        for ((x, b), o) in x.iter_mut().zip(bias).zip(out) {
            let v = *x + b;
            let half = v * std::f32::consts::FRAC_1_SQRT_2;
            let below = 0.5 * (1.0 + math::erf(half)); // the normal distribution's mass below v
            let a = half.abs();
            *o = scale * v * below;
            *x = scale * (v * DENSITY).mul_add(math::exp(-a * a), below);
        }
    }
}

dispatch! {
    /// y *= x, value by value.
    pub(super) fn multiply_by(y: &mut [f32], x: &[f32]) = multiply_by_body
}

#[inline(always)]
fn multiply_by_body(y: &mut [f32], x: &[f32]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y *= x);
}

dispatch! {
    /// The backward of a softmax times `scale`: `d` holds dP on entry and dS = P (dP - sum(P dP)) scale on return.
    pub(super) fn softmax_back_row(p: &[f32], d: &mut [f32], scale: f32) = softmax_back_body
}

#[inline(always)]
fn softmax_back_body(p: &[f32], d: &mut [f32], scale: f32) {
    let n = p.len().min(d.len());
    let (p, d) = (&p[..n], &mut d[..n]);
    let dot = lanes_sum(n, |i| p[i] * d[i]);
    for (d, p) in d.iter_mut().zip(p) {
        *d = p * (*d - dot) * scale;
    }
}
