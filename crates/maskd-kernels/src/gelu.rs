//! Bias and GELU of the MLP's first product, in place.

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor, bail};
use rayon::prelude::*;

use super::{
    ComputePath,
    simd::{Isa, Simd, WithSimd, gelu},
};

struct BiasGelu;

impl InplaceOp2 for BiasGelu {
    fn name(&self) -> &'static str {
        "bias-gelu"
    }

    fn cpu_fwd(&self, x: &mut CpuStorage, x_layout: &Layout, bias: &CpuStorage, bias_layout: &Layout) -> Result<()> {
        let (CpuStorage::F32(x), CpuStorage::F32(bias)) = (x, bias) else { bail!("bias-gelu takes f32") };
        let (Some((x0, x1)), Some((b0, b1))) = (x_layout.contiguous_offsets(), bias_layout.contiguous_offsets()) else {
            bail!("bias-gelu takes contiguous tensors")
        };
        let bias = &bias[b0..b1];
        x[x0..x1].par_chunks_mut(bias.len() * 16).for_each(|rows| {
            Isa::best().run(RowsOf { rows, bias });
        });
        Ok(())
    }
}

/// Rows of values and the bias that each of them takes.
struct RowsOf<'a> {
    rows: &'a mut [f32],
    bias: &'a [f32],
}

impl WithSimd for RowsOf<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (bias, bias_rest) = S::as_simd_f32s(self.bias);
        for row in self.rows.chunks_mut(self.bias.len()) {
            let (vectors, rest) = S::as_mut_simd_f32s(row);
            for (x, b) in vectors.iter_mut().zip(bias) {
                *x = gelu(simd, simd.add_f32s(*x, *b));
            }
            let last = simd.add_f32s(simd.partial_load_f32s(rest), simd.partial_load_f32s(bias_rest));
            simd.partial_store_f32s(rest, gelu(simd, last));
        }
    }
}

/// gelu(x + bias) with the exact GELU; x `(..., C)` is consumed, bias `(C)`.
pub fn bias_gelu(x: Tensor, bias: &Tensor, path: ComputePath) -> Result<Tensor> {
    if path.fuses(&x) && x.is_contiguous() && bias.is_contiguous() && x.dims().last() == bias.dims().last() {
        x.inplace_op2(bias, &BiasGelu)?;
        Ok(x)
    } else if path.trains(&x) {
        super::grad::bias_gelu(&x, bias)
    } else {
        bias_gelu_plain(&x, bias)
    }
}

/// The plain twin of [`bias_gelu`]: differentiable.
pub fn bias_gelu_plain(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.broadcast_add(bias)?.gelu_erf()
}
