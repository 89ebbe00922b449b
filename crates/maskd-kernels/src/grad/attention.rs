//! Self-attention from the fused qkv product, with its backward: neither keeps N x N between the passes.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::{
    math,
    matrix::{Matrix, Threads::One, multiply},
    rows::softmax_back_row,
    scratch::buffer,
    values, with_values,
};

/// Scores held at once: a block of query rows against all keys, within the second-level cache.
const SCORES: usize = 1 << 16;

/// One group of images of equal size: how many, and how many tokens each has.
pub(super) type Group = (usize, usize);

/// The widths of multi-head attention: C channels over `heads`, and how many queries of each image are asked.
#[derive(Clone, Copy)]
pub(super) struct Heads {
    pub(super) dim: usize,
    pub(super) heads: usize,
    /// Only the first token, `[CLS]`, asks.
    pub(super) cls_only: bool,
}

impl Heads {
    fn queries(self, tokens: usize) -> usize {
        if self.cls_only { 1 } else { tokens }
    }

    fn scale(self) -> f32 {
        1.0 / ((self.dim / self.heads) as f32).sqrt()
    }
}

/// The query rows handled at once.
fn block_rows(tokens: usize) -> usize {
    (SCORES / tokens.max(1)).max(16)
}

/// Attention of groups of images one after the other, qkv (T, 3C) to (queries, C).
pub(super) fn forward(qkv: &[f32], groups: &[Group], shape: Heads) -> Vec<f32> {
    let total: usize = groups.iter().map(|&(images, tokens)| images * shape.queries(tokens)).sum();
    let mut out = buffer(total * shape.dim);
    let (mut qkv, mut rest) = (qkv, out.as_mut_slice());
    for &(images, tokens) in groups {
        let (own, later) = qkv.split_at(images * tokens * 3 * shape.dim);
        let (out, later_out) = rest.split_at_mut(images * shape.queries(tokens) * shape.dim);
        own.par_chunks(tokens * 3 * shape.dim)
            .zip(out.par_chunks_mut(shape.queries(tokens) * shape.dim))
            .for_each_init(Vec::new, |scores, (qkv, out)| one_image(qkv, out, tokens, shape, scores));
        (qkv, rest) = (later, later_out);
    }
    out
}

fn one_image(qkv: &[f32], out: &mut [f32], tokens: usize, shape: Heads, scores: &mut Vec<f32>) {
    let Heads { dim, heads, .. } = shape;
    let (d, stride, queries) = (dim / heads, 3 * dim, shape.queries(tokens));
    for first in (0..queries).step_by(block_rows(tokens)) {
        let rows = block_rows(tokens).min(queries - first);
        scores.resize(rows * tokens, 0.0);
        for head in 0..heads {
            let q = Matrix::strided(&qkv[first * stride + head * d..], rows, d, stride);
            let k = Matrix::strided(&qkv[dim + head * d..], tokens, d, stride);
            let v = Matrix::strided(&qkv[2 * dim + head * d..], tokens, d, stride);
            multiply(scores, tokens, q, k.t(), false, One);
            scores.chunks_exact_mut(tokens).for_each(|row| math::softmax_row(row, shape.scale()));
            multiply(&mut out[first * dim + head * d..], dim, Matrix::new(scores, rows, tokens), v, false, One);
        }
    }
}

/// The gradient of qkv (T, 3C) from that of the output (queries, C).
pub(super) fn backward(qkv: &[f32], d_out: &[f32], groups: &[Group], shape: Heads) -> Vec<f32> {
    let mut d_qkv = buffer(qkv.len());
    if shape.cls_only {
        d_qkv.fill(0.0);
    }
    let (mut qkv, mut d_out, mut rest) = (qkv, d_out, d_qkv.as_mut_slice());
    for &(images, tokens) in groups {
        let (own, later) = qkv.split_at(images * tokens * 3 * shape.dim);
        let (own_d, later_d) = d_out.split_at(images * shape.queries(tokens) * shape.dim);
        let (out, later_out) = rest.split_at_mut(images * tokens * 3 * shape.dim);
        own.par_chunks(tokens * 3 * shape.dim)
            .zip(own_d.par_chunks(shape.queries(tokens) * shape.dim))
            .zip(out.par_chunks_mut(tokens * 3 * shape.dim))
            .for_each_init(Vec::new, |scratch, ((qkv, d_out), d_qkv)| {
                one_image_back(qkv, d_out, d_qkv, tokens, shape, scratch);
            });
        (qkv, d_out, rest) = (later, later_d, later_out);
    }
    d_qkv
}

/// With P = softmax(scale Q K^T): dV = P^T dO, dP = dO V^T, dS = P (dP - rowsum(P dP)), dQ = scale dS K,
/// dK = scale dS^T Q. P is computed again, a block of queries at a time. Where only
/// `[CLS]` asks, `d_qkv` holds zeros.
fn one_image_back(qkv: &[f32], d_out: &[f32], d_qkv: &mut [f32], tokens: usize, shape: Heads, scratch: &mut Vec<f32>) {
    let Heads { dim, heads, .. } = shape;
    let (d, stride, queries) = (dim / heads, 3 * dim, shape.queries(tokens));
    for first in (0..queries).step_by(block_rows(tokens)) {
        let rows = block_rows(tokens).min(queries - first);
        scratch.resize(2 * rows * tokens, 0.0);
        let (p, ds) = scratch.split_at_mut(rows * tokens);
        for head in 0..heads {
            let q = Matrix::strided(&qkv[first * stride + head * d..], rows, d, stride);
            let k = Matrix::strided(&qkv[dim + head * d..], tokens, d, stride);
            let v = Matrix::strided(&qkv[2 * dim + head * d..], tokens, d, stride);
            let d_out = Matrix::strided(&d_out[first * dim + head * d..], rows, d, dim);
            multiply(p, tokens, q, k.t(), false, One);
            multiply(ds, tokens, d_out, v.t(), false, One);
            for (p, ds) in p.chunks_exact_mut(tokens).zip(ds.chunks_exact_mut(tokens)) {
                math::softmax_row(p, shape.scale());
                softmax_back_row(p, ds, shape.scale());
            }
            let (p, ds) = (Matrix::new(p, rows, tokens), Matrix::new(ds, rows, tokens));
            multiply(&mut d_qkv[first * stride + head * d..], stride, ds, k, false, One);
            multiply(&mut d_qkv[dim + head * d..], stride, ds.t(), q, first > 0, One);
            multiply(&mut d_qkv[2 * dim + head * d..], stride, p.t(), d_out, first > 0, One);
        }
    }
}

struct Attention(usize);

impl Attention {
    fn groups(&self, dims: (usize, usize, usize)) -> Result<([Group; 1], Heads)> {
        let (batch, tokens, width) = dims;
        if self.0 == 0 || tokens == 0 || width == 0 || !width.is_multiple_of(3 * self.0) {
            bail!("attention: qkv width {width} does not hold {} heads", self.0)
        }
        Ok(([(batch, tokens)], Heads { dim: width / 3, heads: self.0, cls_only: false }))
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, tokens, width) = layout.shape().dims3()?;
        let (groups, shape) = self.groups((batch, tokens, width))?;
        let out = forward(values(qkv, layout)?, &groups, shape);
        Ok((CpuStorage::F32(out), Shape::from((batch, tokens, width / 3))))
    }

    fn bwd(&self, qkv: &Tensor, _: &Tensor, d_out: &Tensor) -> Result<Option<Tensor>> {
        let (groups, shape) = self.groups(qkv.dims3()?)?;
        let d_qkv = with_values([qkv, d_out], |[qkv, d_out]| backward(qkv, d_out, &groups, shape))?;
        Ok(Some(Tensor::from_vec(d_qkv, qkv.shape(), qkv.device())?))
    }
}

/// Self-attention of `qkv` (B, N, 3C), laid out as (3, heads, C / heads), giving (B, N, C); differentiable.
pub fn attention(qkv: &Tensor, heads: usize) -> Result<Tensor> {
    qkv.contiguous()?.apply_op1(Attention(heads))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::check, *};
    use crate::{ComputePath, attention_plain};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn gradients_equal_the_plain_twins(
            batch in 1usize..3, tokens in 1usize..60, heads in 1usize..4, d in 1usize..20, scale in 0.1f32..2.0,
        ) {
            check::same_gradients(
                &[check::noise((batch, tokens, 3 * heads * d), scale, 1)],
                |x| attention(&x[0], heads),
                |x| Ok(attention_plain(&x[0], heads, ComputePath::Plain)?.0),
            );
        }
    }

    #[test]
    fn gradients_equal_the_plain_twins_over_several_blocks_of_queries() {
        // 600 tokens: 109 query rows at a time.
        check::same_gradients(
            &[check::noise((1, 600, 12), 1.0, 2)],
            |x| attention(&x[0], 2),
            |x| Ok(attention_plain(&x[0], 2, ComputePath::Plain)?.0),
        );
    }

    #[test]
    fn gradients_equal_finite_differences() {
        check::finite_differences(&[check::noise((2, 5, 18), 1.0, 3)], |x| attention(&x[0], 2));
    }
}
