//! A pre-norm transformer block on plain slices, with its backward.
//!
//! It keeps nine values for each channel of a token (qkv, attended, middle, hidden) where a graph of single
//! operators keeps forty.

use candle_core::{Result, Tensor, bail};

use super::{
    attention::{self, Heads},
    gelu, layer_norm, linear,
    matrix::{Matrix, Threads::All, multiply, product},
    rows,
    scratch::{buffer, recycle},
};

/// Activation checkpointing: whether the forward pass keeps what the backward needs, or the backward computes it again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checkpointing {
    /// Keep the products: fastest.
    #[default]
    Products,
    /// Keep the block's input alone: a third more work, a tenth of the memory.
    Input,
}

/// The shape of a block's work.
#[derive(Clone, Debug)]
pub struct BlockShape {
    /// Channels of a token, C.
    pub dim: usize,
    /// Channels inside the MLP, H.
    pub hidden: usize,
    /// Attention heads.
    pub heads: usize,
    /// Epsilon of both layer norms.
    pub eps: f32,
    /// Groups of images of equal size: (images, tokens of each).
    pub groups: Vec<(usize, usize)>,
    /// What each image's attention and MLP branch are multiplied by (drop path); all 1 if absent.
    pub branches: Option<[Vec<f32>; 2]>,
    /// Give the first token of each image alone (the last block, when only `[CLS]` is wanted).
    pub cls_only: bool,
    /// What is kept for the backward.
    pub keep: Checkpointing,
}

impl BlockShape {
    fn tokens(&self) -> usize {
        self.groups.iter().map(|(images, tokens)| images * tokens).sum()
    }

    fn images(&self) -> usize {
        self.groups.iter().map(|(images, _)| images).sum()
    }

    fn heads(&self) -> Heads {
        Heads { dim: self.dim, heads: self.heads, cls_only: self.cls_only }
    }

    /// Rows that leave the block.
    pub(super) fn rows(&self) -> usize {
        if self.cls_only { self.images() } else { self.tokens() }
    }

    /// The factor of each row that leaves the block, for the attention (0) or the MLP (1).
    fn scales(&self, branch: usize) -> Option<Vec<f32>> {
        let factors = &self.branches.as_ref()?[branch];
        let lengths = self.groups.iter().flat_map(|&(n, t)| std::iter::repeat_n(if self.cls_only { 1 } else { t }, n));
        Some(factors.iter().zip(lengths).flat_map(|(f, n)| std::iter::repeat_n(*f, n)).collect())
    }

    /// Where each parameter lies: norm1 (w, b), qkv (w, b), proj (w, b), norm2 (w, b), fc1 (w, b), fc2 (w, b).
    fn lengths(&self) -> [usize; 12] {
        let (c, h) = (self.dim, self.hidden);
        [c, c, 3 * c * c, 3 * c, c * c, c, c, c, h * c, h, c * h, c]
    }

    /// How many parameters the block has.
    pub(super) fn parameters(&self) -> usize {
        self.lengths().iter().sum()
    }

    /// Checks this shape and that x and the factors fit it.
    pub(super) fn fits(&self, x: usize) -> Result<()> {
        let images = self.images();
        let factors = self.branches.iter().flatten().all(|b| b.len() == images);
        if self.dim == 0 || self.hidden == 0 || self.heads == 0 || !self.dim.is_multiple_of(self.heads) {
            bail!("block: {} channels, {} heads, {} hidden", self.dim, self.heads, self.hidden)
        }
        if x != self.tokens() * self.dim || !factors {
            bail!("block: {x} values do not fit {self:?}")
        }
        if self.groups.iter().any(|&(_, tokens)| tokens == 0) {
            bail!("block: an image without tokens")
        }
        Ok(())
    }
}

/// The parameters, cut from one flat slice.
struct Parts<'a>([&'a [f32]; 12]);

impl<'a> Parts<'a> {
    fn cut(shape: &BlockShape, mut flat: &'a [f32]) -> Self {
        Self(shape.lengths().map(|n| {
            let (own, rest) = flat.split_at(n);
            flat = rest;
            own
        }))
    }

    fn vector(&self, i: usize) -> &'a [f32] {
        self.0[i]
    }

    /// A weight (output, input).
    fn weight(&self, i: usize) -> Matrix<'a> {
        let output = self.0[i + 1].len();
        Matrix::new(self.0[i], output, self.0[i].len() / output)
    }
}

/// What the backward needs besides the input.
pub(super) struct Kept {
    /// (T, 3C)
    qkv: Vec<f32>,
    /// What the attention gave, times its branch's factor: (M, C).
    attended: Vec<f32>,
    /// The residual stream between the branches: (M, C).
    middle: Vec<f32>,
    /// Before bias and GELU: (M, H).
    hidden: Vec<f32>,
}

impl Kept {
    pub(super) fn recycle(self) {
        recycle([self.qkv, self.attended, self.middle, self.hidden]);
    }
}

/// A copy in a used buffer.
fn copied(x: &[f32]) -> Vec<f32> {
    let mut out = buffer(x.len());
    out.copy_from_slice(x);
    out
}

/// The rows of x (T, C) that go on: all, or the first of each image.
fn leaving(x: &[f32], shape: &BlockShape) -> Vec<f32> {
    if !shape.cls_only {
        return copied(x);
    }
    let mut out = Vec::with_capacity(shape.rows() * shape.dim);
    let mut rest = x;
    for &(images, tokens) in &shape.groups {
        let (own, later) = rest.split_at(images * tokens * shape.dim);
        own.chunks_exact(tokens * shape.dim).for_each(|image| out.extend_from_slice(&image[..shape.dim]));
        rest = later;
    }
    out
}

/// The reverse of [`leaving`] for gradients: zeros where no row went on.
fn returning(d: Vec<f32>, shape: &BlockShape) -> Vec<f32> {
    if !shape.cls_only {
        return d;
    }
    let mut out = vec![0f32; shape.tokens() * shape.dim];
    let (mut rest, mut rows) = (out.as_mut_slice(), d.chunks_exact(shape.dim));
    for &(images, tokens) in &shape.groups {
        let (own, later) = rest.split_at_mut(images * tokens * shape.dim);
        for (image, row) in own.chunks_exact_mut(tokens * shape.dim).zip(&mut rows) {
            image[..shape.dim].copy_from_slice(row);
        }
        rest = later;
    }
    out
}

/// x += bias times the row's scale.
fn add_bias(x: &mut [f32], bias: &[f32], scales: Option<&[f32]>) {
    rows::for_rows(x, bias.len(), |first, rows| {
        for (i, row) in rows.chunks_exact_mut(bias.len()).enumerate() {
            let scale = scales.map_or(1.0, |s| s[first + i]);
            row.iter_mut().zip(bias).for_each(|(x, b)| *x += b * scale);
        }
    });
}

fn scale_rows(x: &mut [f32], width: usize, scales: Option<&[f32]>) {
    let Some(scales) = scales else { return };
    rows::for_rows(x, width, |first, rows| {
        for (row, scale) in rows.chunks_exact_mut(width).zip(&scales[first..]) {
            row.iter_mut().for_each(|x| *x *= scale);
        }
    });
}

/// The output (M, C), and what the backward needs.
pub(super) fn forward(shape: &BlockShape, x: &[f32], flat: &[f32]) -> (Vec<f32>, Kept) {
    let (c, h, t, m) = (shape.dim, shape.hidden, shape.tokens(), shape.rows());
    let p = Parts::cut(shape, flat);
    let of_attention = shape.scales(0);
    let normed = layer_norm::forward(x, p.vector(0), p.vector(1), shape.eps);
    let qkv = linear::forward(Matrix::new(&normed, t, c), p.weight(2), p.vector(3), t);
    recycle([normed]);
    let mut attended = attention::forward(&qkv, &shape.groups, shape.heads());
    scale_rows(&mut attended, c, of_attention.as_deref());
    let mut middle = leaving(x, shape);
    add_bias(&mut middle, p.vector(5), of_attention.as_deref());
    multiply(&mut middle, c, Matrix::new(&attended, m, c), p.weight(4).t(), true, All);

    let of_mlp = shape.scales(1);
    let normed = layer_norm::forward(&middle, p.vector(6), p.vector(7), shape.eps);
    let hidden = product(Matrix::new(&normed, m, c), p.weight(8).t());
    recycle([normed]);
    let active = gelu::forward(&hidden, p.vector(9), of_mlp.as_deref());
    let mut y = copied(&middle);
    add_bias(&mut y, p.vector(11), of_mlp.as_deref());
    multiply(&mut y, c, Matrix::new(&active, m, h), p.weight(10).t(), true, All);
    recycle([active]);
    (y, Kept { qkv, attended, middle, hidden })
}

/// The gradients of x (T, C) and of the parameters, from that of the output (M, C).
pub(super) fn backward(
    shape: &BlockShape,
    x: &[f32],
    flat: &[f32],
    mut kept: Kept,
    dy: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let (c, h, t, m) = (shape.dim, shape.hidden, shape.tokens(), shape.rows());
    let p = Parts::cut(shape, flat);
    let mut grads: [Vec<f32>; 12] = Default::default();

    // y = middle + s (gelu(norm2(middle) W1^T + b1) W2^T + b2)
    let scales = shape.scales(1);
    let d = Matrix::new(dy, m, c);
    let active = gelu::differentiate(&mut kept.hidden, p.vector(9), scales.as_deref());
    grads[10] = product(d.t(), Matrix::new(&active, m, h));
    grads[11] = rows::column_sums(dy, c, scales.as_deref());
    recycle([active]);
    let mut d_hidden = product(d, p.weight(10));
    gelu::multiply_by(&mut d_hidden, &kept.hidden);
    recycle([kept.hidden]);
    grads[9] = rows::column_sums(&d_hidden, h, None);
    let normed = layer_norm::forward(&kept.middle, p.vector(6), p.vector(7), shape.eps);
    let d = Matrix::new(&d_hidden, m, h);
    grads[8] = product(d.t(), Matrix::new(&normed, m, c));
    let d_normed = product(d, p.weight(8));
    recycle([normed, d_hidden]);
    let mut d_middle = copied(dy);
    grads[6] = layer_norm::backward(&kept.middle, &d_normed, p.vector(6), shape.eps, &mut d_middle);
    grads[7] = grads[6].split_off(c);
    recycle([d_normed, kept.middle]);

    // middle = x + s (attention(norm1(x) Wqkv^T + bqkv) Wp^T + bp)
    let scales = shape.scales(0);
    let d = Matrix::new(&d_middle, m, c);
    grads[4] = product(d.t(), Matrix::new(&kept.attended, m, c));
    grads[5] = rows::column_sums(&d_middle, c, scales.as_deref());
    let mut d_attended = product(d, p.weight(4));
    scale_rows(&mut d_attended, c, scales.as_deref());
    let d_qkv = attention::backward(&kept.qkv, &d_attended, &shape.groups, shape.heads());
    recycle([kept.attended, kept.qkv, d_attended]);
    grads[3] = rows::column_sums(&d_qkv, 3 * c, None);
    let normed = layer_norm::forward(x, p.vector(0), p.vector(1), shape.eps);
    let d = Matrix::new(&d_qkv, t, 3 * c);
    grads[2] = product(d.t(), Matrix::new(&normed, t, c));
    let d_normed = product(d, p.weight(2));
    recycle([normed, d_qkv]);
    let mut dx = returning(d_middle, shape);
    grads[0] = layer_norm::backward(x, &d_normed, p.vector(0), shape.eps, &mut dx);
    grads[1] = grads[0].split_off(c);
    recycle([d_normed]);
    let all = grads.concat();
    recycle(grads);
    (dx, all)
}

/// A block's parameters as [`super::stack`] takes them: weight and bias of norm1, qkv, proj, norm2, fc1 and fc2, flat.
pub fn block_parameters(parts: [&Tensor; 12]) -> Result<Vec<Tensor>> {
    parts.iter().map(|t| t.flatten_all()).collect()
}

#[cfg(test)]
mod tests;
