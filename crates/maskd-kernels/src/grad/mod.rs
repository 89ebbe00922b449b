//! Fused CPU operators with hand-written backward passes, for training in float32.
//!
//! Each works on plain slices and is wrapped as a candle operator; each is tested against finite differences and
//! against the gradients of its plain twin. They recompute what is cheap (normalised rows, attention weights, GELU)
//! and keep what is not (the products), so a step's memory is that of the products alone.
//! Sums over rows run over fixed blocks in a fixed order: the same input gives the same bits, on any number of threads.

mod attention;
mod block;
mod gelu;
mod layer_norm;
mod linear;
mod loss;
mod math;
mod matrix;
mod rows;
mod scratch;
mod stack;
mod tokens;
mod update;

#[cfg(test)]
mod check;

pub use attention::attention;
pub use block::{BlockShape, Checkpointing, block_parameters};
pub use gelu::bias_gelu;
pub use layer_norm::layer_norm;
pub use linear::linear;
pub use loss::{view_loss, view_loss_plain};
pub use stack::stack;
pub use tokens::{assemble, patches};
pub use update::{AdamW, ema};

use candle_core::{CpuStorage, Layout, Result, Storage, Tensor, bail};

/// The contiguous float32 values that a layout spans.
fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let CpuStorage::F32(all) = storage else { bail!("a fused operator takes float32 tensors") };
    let Some((start, end)) = layout.contiguous_offsets() else { bail!("a fused operator takes contiguous tensors") };
    Ok(&all[start..end])
}

/// Calls `f` with the values of tensors on the CPU.
fn with_values<const N: usize, R>(tensors: [&Tensor; N], f: impl FnOnce([&[f32]; N]) -> R) -> Result<R> {
    let tensors = tensors.map(Tensor::contiguous).into_iter().collect::<Result<Vec<_>>>()?;
    let guards: Vec<_> = tensors.iter().map(Tensor::storage_and_layout).collect();
    let mut slices: [&[f32]; N] = [&[]; N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&guards) {
        let Storage::Cpu(storage) = &**storage else { bail!("a fused operator takes tensors on the CPU") };
        *slice = values(storage, layout)?;
    }
    Ok(f(slices))
}

/// Whether a gradient is asked of this tensor.
fn tracked(tensor: &Tensor) -> bool {
    tensor.track_op()
}
