//! Fused CPU operators. Each has a plain reference, built from candle's own differentiable operators, that it
//! is tested against.
//!
//! Those for inference have no backward; those in [`grad`] have. [`ComputePath`] decides which of them a model runs.

mod attention;
#[cfg(target_arch = "x86_64")]
pub mod bf16;
#[cfg(not(target_arch = "x86_64"))]
#[path = "bf16_absent.rs"]
pub mod bf16;
mod block;
mod buffer;
mod embed;
mod flash_attention;
mod fused_linear;
mod gelu;
pub mod grad;
mod heads;
mod microkernel;
mod pack_a;
mod pack_b;
mod parallel;
mod product;
mod scaling;
mod simd;
mod tile;
mod winograd;

pub use attention::{attention, attention_plain, cls_attention};
pub use block::BlockWeights;
pub use embed::PatchEmbed;
pub use gelu::{bias_gelu, bias_gelu_plain};
pub use pack_a::Norm;
pub use pack_b::PackedB;
pub use simd::{Isa, exp_all as exp};

use candle_core::{Device, Result, Tensor};

/// Which operators a model runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComputePath {
    /// Candle's own operators only: differentiable, on every device.
    Plain,
    /// Fused operators where the device has them: inference only, gradients stop at each of them.
    Fused,
    /// As [`ComputePath::Fused`], but the operands of a block's products are rounded to bfloat16: only on CPUs that multiply
    /// those ([`bf16::is_available`]).
    Bf16,
    /// Fused operators with a backward in float32 on the CPU, candle's own differentiable operators elsewhere.
    Train,
}

impl ComputePath {
    /// Whether the fused CPU kernels apply to `x`.
    pub fn fuses(self, x: &Tensor) -> bool {
        matches!(self, ComputePath::Fused | ComputePath::Bf16) && has_kernels(x)
    }

    /// Whether the differentiable CPU kernels apply to `x`.
    pub fn trains(self, x: &Tensor) -> bool {
        self == ComputePath::Train && has_kernels(x)
    }
}

fn has_kernels(x: &Tensor) -> bool {
    matches!(x.device(), Device::Cpu) && x.dtype() == candle_core::DType::F32
}

/// Layer normalisation over the last dimension, `(..., C)`.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64, path: ComputePath) -> Result<Tensor> {
    match path {
        ComputePath::Train if path.trains(x) => grad::layer_norm(x, weight, bias, eps),
        ComputePath::Plain | ComputePath::Train => candle_nn::ops::layer_norm_slow(x, weight, bias, eps as f32),
        ComputePath::Fused | ComputePath::Bf16 =>
        {
            #[expect(clippy::disallowed_methods, reason = "inference only: no gradient is asked of it")]
            candle_nn::ops::layer_norm(&x.contiguous()?, weight, bias, eps as f32)
        }
    }
}
