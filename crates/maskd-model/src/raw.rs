//! What a file of weights holds, before it is known to be those of a network.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};

use super::fault::WeightsFault;

/// What the file formats give: named tensors, and what the file says about itself.
pub(super) struct Raw {
    pub(super) tensors: HashMap<String, Tensor>,
    pub(super) metadata: HashMap<String, String>,
}

/// A tensor from little-endian bytes; shape and length must agree.
pub(super) fn from_bytes(name: &str, data: &[u8], dtype: DType, shape: &[usize]) -> Result<Tensor, WeightsFault> {
    Tensor::from_raw_buffer(data, dtype, shape, &Device::Cpu)
        .map_err(|e| WeightsFault::Format(format!("tensor {name}: {e}")))
}
