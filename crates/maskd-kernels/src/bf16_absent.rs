//! Stands for `bf16` where the architecture has no instructions for it.

use candle_core::{Result, Tensor, bail};

use super::Norm;

/// Whether this machine has the instructions: no.
pub fn is_available() -> bool {
    false
}

/// W^T of a linear layer, which is not multiplied on this architecture.
#[derive(Clone)]
pub struct PackedB;

impl PackedB {
    /// Keeps nothing.
    pub fn new(_: &[f32], _: &[f32], _: Option<&[f32]>, _: usize) -> Self {
        Self
    }
}

/// Never made.
#[derive(Clone)]
pub enum BlockWeights {}

impl BlockWeights {
    /// # Errors
    /// Always.
    pub fn new(_: (Norm, PackedB), _: usize, _: PackedB, _: Norm, _: (PackedB, PackedB)) -> Result<Self> {
        bail!("this CPU has no AVX512_BF16")
    }

    /// Never called.
    ///
    /// # Errors
    /// None.
    pub fn forward(&self, _: &Tensor) -> Result<()> {
        match *self {}
    }

    /// Never called.
    ///
    /// # Errors
    /// None.
    pub fn qkv(&self, _: &Tensor) -> Result<Tensor> {
        match *self {}
    }
}
