//! Bias and GELU of the MLP's first product, in place.

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor, bail};
use rayon::prelude::*;

use super::{Path, math};

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
            for row in rows.chunks_mut(bias.len()) {
                math::bias_gelu_row(row, bias);
            }
        });
        Ok(())
    }
}

/// gelu(x + bias) with the exact GELU; x `(..., C)` is consumed, bias `(C)`.
pub fn bias_gelu(x: Tensor, bias: &Tensor, path: Path) -> Result<Tensor> {
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
