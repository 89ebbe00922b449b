//! A transformer block on the CPU, in place: three passes over the tokens (queries, keys and values; attention; all that
//! follows), each shared among the threads, with nothing written in between but heads and attended tokens.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, InplaceOp1, Layout, Result, Shape, Tensor, bail};

use super::{
    attention::all_heads,
    buffer::Pooled,
    fused_linear::{NormLinear, NormLinearPiece, Place, ResidualMlp, ResidualMlpPiece},
    heads::Heads,
    pack_a::{Norm, UNIT},
    pack_b::PackedB,
    parallel::{Shared, parallel_for, pieces},
};

/// The weights of a transformer block, packed.
#[derive(Clone)]
pub struct BlockWeights(Arc<Block>);

struct Block {
    qkv: NormLinear,
    rest: ResidualMlp,
    heads: usize,
}

/// norm1 and qkv alone, for those who want to look at them.
struct Qkv<'a>(&'a Block);

/// Rows of a piece: what fits the second-level cache with the weights of a panel.
fn most_rows(dim: usize) -> usize {
    (96 * 384 / dim).clamp(UNIT, 192).next_multiple_of(UNIT)
}

impl BlockWeights {
    /// `qkv` (C to 3C) with the norm before it; `proj` (C to C); the norm before `fc1` (C to H), and `fc2` (H to C).
    ///
    /// # Errors
    /// Layers that do not fit each other.
    pub fn new(
        (norm1, qkv): (Norm, PackedB),
        heads: usize,
        proj: PackedB,
        norm2: Norm,
        (fc1, fc2): (PackedB, PackedB),
    ) -> Result<Self> {
        let dim = norm1.weight.len();
        let fits = (qkv.inputs, qkv.outputs) == (dim, 3 * dim)
            && (proj.inputs, proj.outputs) == (dim, dim)
            && (fc1.inputs, fc2.outputs, fc2.width) == (dim, dim, dim)
            && (fc1.outputs, fc1.width) == (fc2.inputs, fc2.depth)
            && [&qkv, &proj, &fc1].iter().all(|w| w.depth == w.inputs)
            && [&norm1.bias, &norm2.weight, &norm2.bias].iter().all(|v| v.len() == dim)
            && heads > 0
            && dim.is_multiple_of(heads);
        if !fits {
            bail!("the layers of a block do not fit each other");
        }
        let qkv = NormLinear { norm: norm1, weight: qkv };
        let rest = ResidualMlp { proj, norm: norm2, fc1, fc2 };
        Ok(Self(Arc::new(Block { qkv, rest, heads })))
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
    fn sizes(&self, layout: &Layout) -> Result<(usize, usize, usize)> {
        let (batch, tokens, dim) = layout.shape().dims3()?;
        if dim != self.qkv.weight.inputs {
            bail!("a block of {} channels got {dim}", self.qkv.weight.inputs)
        }
        Ok((batch, tokens, dim))
    }

    /// norm1 and qkv of all rows of x; `place` says where those from a row on go.
    fn project(&self, x: &[f32], place: impl Fn(usize) -> Place + Sync) {
        let dim = self.qkv.weight.inputs;
        let pieces = pieces(x.len() / dim, most_rows(dim), UNIT);
        parallel_for(pieces.len(), |i| {
            let (first, count) = pieces[i];
            let x = &x[first * dim..(first + count) * dim];
            self.qkv.weight.isa.run(NormLinearPiece { op: &self.qkv, x, to: place(first) });
        });
    }
}

impl CustomOp1 for Qkv<'_> {
    fn name(&self) -> &'static str {
        "norm-qkv"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, tokens, dim) = self.0.sizes(layout)?;
        let (CpuStorage::F32(x), Some((start, end))) = (x, layout.contiguous_offsets()) else {
            bail!("norm-qkv takes contiguous f32")
        };
        let mut out = vec![0f32; batch * tokens * 3 * dim];
        let to = Shared::new(&mut out);
        self.0.project(&x[start..end], |first| Place::Rows(to.at(first * 3 * dim)));
        Ok((CpuStorage::F32(out), Shape::from((batch, tokens, 3 * dim))))
    }
}

impl InplaceOp1 for Block {
    fn name(&self) -> &'static str {
        "transformer-block"
    }

    fn cpu_fwd(&self, x: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (batch, tokens, dim) = self.sizes(layout)?;
        let (CpuStorage::F32(x), Some((start, end))) = (x, layout.contiguous_offsets()) else {
            bail!("transformer-block takes contiguous f32")
        };
        let x = &mut x[start..end];
        if x.is_empty() {
            return Ok(());
        }
        let isa = self.qkv.weight.isa;
        let layout = Heads::new(isa, tokens, self.heads, dim / self.heads);
        let mut heads = Pooled::of(batch * layout.image_len());
        let to = Shared::new(&mut heads);
        self.project(x, |first| Place::Heads(to.at(0), layout, first));

        let mut attended = Pooled::of(batch * tokens * dim);
        all_heads(isa, &mut heads, batch, layout, &mut attended);

        let pieces = pieces(batch * tokens, most_rows(dim), UNIT);
        let x = Shared::new(x);
        parallel_for(pieces.len(), |i| {
            let (first, count) = pieces[i];
            let attended = &attended[first * dim..(first + count) * dim];
            isa.run(ResidualMlpPiece { op: &self.rest, x: x.at(first * dim), attended });
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
