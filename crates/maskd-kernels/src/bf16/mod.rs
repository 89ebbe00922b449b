//! A transformer block on CPUs that multiply bfloat16 (AVX512_BF16): the operands of every product are rounded to it,
//! all else is float32 as it is in [`super::block`], whose passes these are.

mod dot;
mod flash_attention;
mod fused_linear;
mod pack_b;

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, InplaceOp1, Layout as TensorLayout, Result, Shape, Tensor, bail};
pub use pack_b::PackedB;

use self::{
    dot::Dot,
    flash_attention::{GROUP, Layout, attend},
    fused_linear::{NormLinear, Place, ResidualMlp, UNIT, norm_linear, residual_mlp},
    pack_b::pairs,
};
use super::{
    buffer::Pooled,
    pack_a::Norm,
    parallel::{Shared, parallel_for, pieces},
};

/// Whether this machine has the instructions.
pub fn is_available() -> bool {
    Dot::detect().is_some()
}

/// The weights of a transformer block, in bfloat16.
#[derive(Clone)]
pub struct BlockWeights(Arc<Block>);

struct Block {
    dot: Dot,
    qkv: NormLinear,
    rest: ResidualMlp,
    heads: usize,
}

/// norm1 and qkv alone, for those who want to look at them.
struct Qkv<'a>(&'a Block);

/// Rows of a piece: what fits the second-level cache with the weights of a panel.
fn most_rows(dim: usize) -> usize {
    (96 * 384 / dim).clamp(UNIT, 192) / UNIT * UNIT
}

impl BlockWeights {
    /// `qkv` (C to 3C, packed head by head) with the norm before it; `proj` (C to C); the norm before `fc1` (C to H), and
    /// `fc2` (H to C).
    ///
    /// # Errors
    /// Layers that do not fit each other, a machine without the instructions.
    pub fn new(
        (norm1, qkv): (Norm, PackedB),
        heads: usize,
        proj: PackedB,
        norm2: Norm,
        (fc1, fc2): (PackedB, PackedB),
    ) -> Result<Self> {
        let Some(dot) = Dot::detect() else { bail!("this CPU has no AVX512_BF16") };
        let dim = norm1.weight.len();
        let fits = heads > 0
            && dim.is_multiple_of(heads)
            && (qkv.inputs, qkv.outputs, qkv.group) == (dim, 3 * dim, dim / heads)
            && (proj.inputs, proj.outputs, proj.group) == (dim, dim, dim)
            && (fc1.inputs, fc2.outputs, fc2.group) == (dim, dim, dim)
            && (fc1.outputs, fc1.group) == (fc2.inputs, fc2.inputs)
            && [&norm1.bias, &norm2.weight, &norm2.bias].iter().all(|v| v.len() == dim);
        if !fits {
            bail!("the layers of a block do not fit each other");
        }
        let qkv = NormLinear { norm: norm1, weight: qkv };
        let rest = ResidualMlp { proj, norm: norm2, fc1, fc2 };
        Ok(Self(Arc::new(Block { dot, qkv, rest, heads })))
    }

    /// The block's output in the place of its input, x (B, N, C).
    ///
    /// # Errors
    /// A tensor that is not contiguous float32 on the CPU, or of another width.
    pub fn forward(&self, x: &Tensor) -> Result<()> {
        x.inplace_op1(&*self.0)
    }

    /// qkv(norm1(x)): (B, N, C) to (B, N, 3C).
    ///
    /// # Errors
    /// As for [`Self::forward`].
    pub fn qkv(&self, x: &Tensor) -> Result<Tensor> {
        x.contiguous()?.apply_op1_no_bwd(&Qkv(&self.0))
    }
}

impl Block {
    /// Checks the shape, and gives (B, N, C).
    fn sizes(&self, layout: &TensorLayout) -> Result<(usize, usize, usize)> {
        let (batch, tokens, dim) = layout.shape().dims3()?;
        if dim != self.qkv.weight.inputs {
            bail!("a block of {} channels got {dim}", self.qkv.weight.inputs)
        }
        Ok((batch, tokens, dim))
    }

    /// norm1 and qkv of all rows of x, image by image; `place` says where those of an image from a token on go.
    fn project(&self, x: &[f32], tokens: usize, place: impl Fn(usize, usize) -> Place + Sync) {
        let dim = self.qkv.weight.inputs;
        let pieces = pieces(tokens, most_rows(dim), UNIT);
        parallel_for(x.len() / dim / tokens * pieces.len(), |i| {
            let (image, (first, count)) = (i / pieces.len(), pieces[i % pieces.len()]);
            let from = (image * tokens + first) * dim;
            // SAFETY: a block is made only where the instructions are; the places are these rows' own.
            unsafe { norm_linear(self.dot, &self.qkv, &x[from..from + count * dim], place(image, first)) }
        });
    }

    fn run(&self, x: &mut [f32], (batch, tokens, dim): (usize, usize, usize)) {
        let layout = Layout::new(tokens, self.heads, dim / self.heads);
        let mut images = Pooled::of(batch * layout.image_len());
        let to = Shared::new(&mut images);
        let image = |i: usize| to.at(i * layout.image_len()).cast::<u32>();
        self.project(x, tokens, |i, first| Place::Heads(image(i), layout, first));

        let row = pairs(dim);
        let len = (batch * tokens).next_multiple_of(UNIT) * row;
        let mut attended = Pooled::of(len);
        if 2 * row != dim {
            // Channels that are not there are multiplied too, by zeros: they must not be what was left here.
            attended.fill(0.0);
        }
        let attended = Shared::new(&mut attended);
        let queries = if batch * self.heads * tokens > 4096 { 4 * GROUP } else { 2 * GROUP };
        let parts = tokens.div_ceil(queries);
        parallel_for(batch * self.heads * parts, |i| {
            let (which, part) = (i / parts, i % parts);
            let (i, head) = (which / self.heads, which % self.heads);
            let queries = part * queries..tokens.min((part + 1) * queries);
            let out = attended.at(i * tokens * row).cast::<u16>().wrapping_add(head * layout.head_dim);
            // SAFETY: as above; this head's channels of these tokens.
            unsafe { attend(self.dot, layout, (image(i), head), queries, (out, 2 * row)) }
        });

        let pieces = pieces(batch * tokens, most_rows(dim), UNIT);
        let x = Shared::new(x);
        parallel_for(pieces.len(), |i| {
            let (first, count) = pieces[i];
            // SAFETY: as above; these rows are this piece's own.
            unsafe {
                let x = std::slice::from_raw_parts_mut(x.at(first * dim), count * dim);
                residual_mlp(self.dot, &self.rest, x, attended.at(first * row).cast());
            }
        });
    }
}

impl CustomOp1 for Qkv<'_> {
    fn name(&self) -> &'static str {
        "norm-qkv-bf16"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &TensorLayout) -> Result<(CpuStorage, Shape)> {
        let (batch, tokens, dim) = self.0.sizes(layout)?;
        let (CpuStorage::F32(x), Some((start, end))) = (x, layout.contiguous_offsets()) else {
            bail!("norm-qkv-bf16 takes contiguous f32")
        };
        let mut out = vec![0f32; batch * tokens * 3 * dim];
        if !out.is_empty() {
            let to = Shared::new(&mut out);
            self.0.project(&x[start..end], tokens, |i, first| Place::Rows(to.at((i * tokens + first) * 3 * dim)));
        }
        Ok((CpuStorage::F32(out), Shape::from((batch, tokens, 3 * dim))))
    }
}

impl InplaceOp1 for Block {
    fn name(&self) -> &'static str {
        "transformer-block-bf16"
    }

    fn cpu_fwd(&self, x: &mut CpuStorage, layout: &TensorLayout) -> Result<()> {
        let sizes = self.sizes(layout)?;
        let (CpuStorage::F32(x), Some((start, end))) = (x, layout.contiguous_offsets()) else {
            bail!("transformer-block-bf16 takes contiguous f32")
        };
        let x = &mut x[start..end];
        if !x.is_empty() {
            self.run(x, sizes);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
