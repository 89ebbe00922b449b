//! The patch embedding on the CPU: a convolution whose stride is its kernel is a product of flattened patches, gathered
//! here piece by piece, on top of the position embeddings.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::{
    buffer::{Pooled, Scratch},
    fused_linear::onto_rows,
    pack_a::{PackedA, UNIT, fill},
    pack_b::PackedB,
    parallel::{Shared, parallel_for, pieces},
    simd::{Simd, WithSimd},
    tile::with_tile,
};

/// Patches of a piece of work.
const PATCHES: usize = 96;

/// The weights of a patch embedding, packed.
#[derive(Clone)]
pub struct PatchEmbed(Arc<Embed>);

struct Embed {
    /// (3 p p) to C.
    weight: PackedB,
    patch: usize,
}

impl PatchEmbed {
    /// `weight` takes flattened patches (3, p, p) to C channels.
    ///
    /// # Errors
    /// A weight for patches of another size; one that is multiplied in pairs, which pictures are too uneven for.
    pub fn new(weight: PackedB, patch: usize) -> Result<Self> {
        if weight.inputs != 3 * patch * patch || weight.depth != weight.inputs {
            bail!("a patch embedding of {} inputs for patches of {patch}", weight.inputs)
        }
        if weight.isa.pairs() {
            bail!("a patch embedding is not multiplied in pairs")
        }
        Ok(Self(Arc::new(Embed { weight, patch })))
    }

    /// Tokens (B, P + N, C) of images (B, 3, H, W): `positions` (P + N, C), with `[CLS]` and registers in its first P rows,
    /// plus the patches.
    ///
    /// # Errors
    /// Shapes that do not fit each other, tensors that are not float32 on the CPU.
    pub fn forward(&self, images: &Tensor, positions: &Tensor) -> Result<Tensor> {
        images.contiguous()?.apply_op2_no_bwd(&positions.contiguous()?, &*self.0)
    }
}

impl CustomOp2 for Embed {
    fn name(&self) -> &'static str {
        "patch-embed"
    }

    fn cpu_fwd(
        &self,
        images: &CpuStorage,
        l1: &Layout,
        positions: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (batch, channels, height, width) = l1.shape().dims4()?;
        let (tokens, dim) = l2.shape().dims2()?;
        let (CpuStorage::F32(images), CpuStorage::F32(positions)) = (images, positions) else {
            bail!("patch-embed takes f32")
        };
        let (Some((i0, i1)), Some((p0, p1))) = (l1.contiguous_offsets(), l2.contiguous_offsets()) else {
            bail!("patch-embed takes contiguous tensors")
        };
        let (rows, cols) = (height / self.patch, width / self.patch);
        let whole = (rows * self.patch, cols * self.patch) == (height, width);
        if channels != 3 || !whole || tokens <= rows * cols || dim != self.weight.outputs {
            bail!("patch-embed: {:?} with positions {:?}, patches of {}", l1.shape(), l2.shape(), self.patch)
        }
        let prefix = tokens - rows * cols;
        let (images, positions) = (&images[i0..i1], &positions[p0..p1]);
        let mut out = Vec::with_capacity(batch * tokens * dim);
        (0..batch).for_each(|_| out.extend_from_slice(positions));
        let to = Shared::new(&mut out);
        let pieces = pieces(rows * cols, PATCHES, UNIT);
        parallel_for(batch * pieces.len(), |i| {
            let (image, (first, count)) = (i / pieces.len(), pieces[i % pieces.len()]);
            let pixels = &images[image * 3 * height * width..(image + 1) * 3 * height * width];
            let out = to.at((image * tokens + prefix + first) * dim);
            self.weight.isa.run(Piece { op: self, pixels, size: (height, width), first, count, out });
        });
        Ok((CpuStorage::F32(out), Shape::from((batch, tokens, dim))))
    }
}

/// Some patches of one image.
struct Piece<'a> {
    op: &'a Embed,
    /// (3, H, W).
    pixels: &'a [f32],
    size: (usize, usize),
    first: usize,
    count: usize,
    /// The first patch's token.
    out: *mut f32,
}

impl WithSimd for Piece<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        with_tile!(S, self.op.weight.isa, embed(simd, self))
    }
}

#[inline(always)]
fn embed<S: Simd, const ROWS: usize, const VECS: usize>(simd: S, piece: Piece) {
    let Piece { op: Embed { weight, patch }, pixels, size: (height, width), first, count, out } = piece;
    let (patch, cols) = (*patch, width / patch);
    let mut gathered = Pooled::of(count * weight.inputs);
    let gathered = &mut gathered[..count * weight.inputs];
    for (i, line) in gathered.chunks_exact_mut(patch).enumerate() {
        // Lines of a patch follow each other channel by channel.
        let (n, channel, y) = (first + i / (3 * patch), i / patch % 3, i % patch);
        let from = (channel * height + n / cols * patch + y) * width + n % cols * patch;
        line.copy_from_slice(&pixels[from..from + patch]);
    }
    let padded = count.next_multiple_of(UNIT);
    let mut scratch = Scratch::of(PackedA::len(weight, padded));
    let a = PackedA::of(weight, padded, &mut scratch);
    // SAFETY: the operand lies in scratch; the sink adds to `count` tokens of this piece's own.
    unsafe {
        fill(simd, &a, gathered, None);
        onto_rows::<S, ROWS, VECS>(simd, &a, weight, out, count, true);
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use proptest::prelude::*;

    use super::*;
    use crate::Isa;

    fn noise(shape: &[usize], seed: usize) -> Tensor {
        let n: usize = shape.iter().product();
        let value = |i: usize| (((i + 977 * seed) as f32 * 12.9898).sin() * 43_758.547).fract();
        Tensor::from_vec((0..n).map(value).collect::<Vec<f32>>(), shape, &Device::Cpu).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn tokens_equal_those_of_a_convolution(
            batch in 1usize..3, patch in 1usize..17, rows in 1usize..9, cols in 1usize..20, dim in prop_oneof![1usize..70, Just(192)],
        ) {
            let kernel = noise(&[dim, 3, patch, patch], 1);
            let bias = noise(&[dim], 2);
            let images = noise(&[batch, 3, rows * patch, cols * patch], 3);
            let positions = noise(&[1 + rows * cols, dim], 4);
            let convolved = images.conv2d(&kernel, 0, patch, 1, 1).unwrap().broadcast_add(&bias.reshape((1, dim, 1, 1)).unwrap());
            let patches = convolved.unwrap().flatten_from(2).unwrap().transpose(1, 2).unwrap();
            let cls = Tensor::zeros((batch, 1, dim), patches.dtype(), &Device::Cpu).unwrap();
            let plain = Tensor::cat(&[&cls, &patches.contiguous().unwrap()], 1).unwrap().broadcast_add(&positions).unwrap();
            let weight = kernel.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for isa in Isa::available().into_iter().map(Isa::without_pairs) {
                let packed = PackedB::new(isa, &weight, &bias.to_vec1().unwrap(), None, (3 * patch * patch, dim));
                let tokens = PatchEmbed::new(packed, patch).unwrap().forward(&images, &positions).unwrap();
                let off: f32 = (&tokens - &plain).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap();
                let largest: f32 = plain.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap();
                prop_assert!(off < 1e-5 * largest.max(1.0), "{}: {off} of {largest}", isa.name());
            }
        }
    }

    #[test]
    fn positions_of_another_grid_are_refused() {
        let packed = PackedB::new(Isa::best().without_pairs(), &[0.0; 12 * 4], &[0.0; 4], None, (12, 4));
        let error = PatchEmbed::new(packed, 2).unwrap().forward(&noise(&[1, 3, 4, 6], 1), &noise(&[6, 4], 2));
        assert!(error.unwrap_err().to_string().contains("patches of 2"));
    }
}
