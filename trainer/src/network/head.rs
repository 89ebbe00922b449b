//! DINO's projection head: three layers with GELU down to a bottleneck, unit length, and a weight-normalised last layer.

use std::collections::HashMap;

use candle_core::{D, DType, Result, Tensor, bail};
use maskd_kernels::{ComputePath, grad};
use serde::{Deserialize, Serialize};

/// `[head]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeadConfig {
    /// Channels of the two hidden layers.
    pub hidden: usize,
    /// Channels before the last layer.
    pub bottleneck: usize,
    /// Outputs, K.
    pub outputs: usize,
    /// Whether the last layer's rows keep length 1 (steadier); otherwise their lengths are trained.
    pub norm_last_layer: bool,
}

impl Default for HeadConfig {
    fn default() -> Self {
        Self { hidden: 2048, bottleneck: 256, outputs: 65536, norm_last_layer: true }
    }
}

impl HeadConfig {
    pub(crate) fn validate(&self) -> std::result::Result<(), (&'static str, String)> {
        for (key, value) in [("hidden", self.hidden), ("bottleneck", self.bottleneck), ("outputs", self.outputs)] {
            if !(2..=1 << 20).contains(&value) {
                return Err((key, format!("{value} is not in 2 to 1048576")));
            }
        }
        Ok(())
    }

    /// Every tensor's name and shape, for features of `dim` channels, in the paper's code's naming.
    pub fn tensors(&self, dim: usize) -> Vec<(String, Vec<usize>)> {
        let (h, b, k) = (self.hidden, self.bottleneck, self.outputs);
        let mut all = Vec::new();
        for (layer, output, input) in [("mlp.0", h, dim), ("mlp.2", h, h), ("mlp.4", b, h)] {
            all.push((format!("{layer}.weight"), vec![output, input]));
            all.push((format!("{layer}.bias"), vec![output]));
        }
        all.push(("last_layer.weight_g".to_owned(), vec![k, 1]));
        all.push(("last_layer.weight_v".to_owned(), vec![k, b]));
        all
    }
}

/// The head on tensors as they are now.
pub struct Head {
    /// (weight, bias) of each.
    layers: [(Tensor, Tensor); 3],
    /// (K, bottleneck), rows of length g.
    last: Tensor,
    dtype: DType,
}

impl Head {
    /// `tensors` as [`HeadConfig::tensors`] names them.
    ///
    /// # Errors
    /// One that is missing.
    pub(super) fn new(tensors: &HashMap<String, Tensor>, dtype: DType) -> Result<Self> {
        let get = |name: &str| match tensors.get(name) {
            Some(tensor) => Ok(tensor),
            None => bail!("tensor head.{name} is missing"),
        };
        let layer = |name: &str| -> Result<(Tensor, Tensor)> {
            let part = |part: &str| get(&format!("{name}.{part}"))?.to_dtype(dtype);
            Ok((part("weight")?, part("bias")?))
        };
        let v = get("last_layer.weight_v")?;
        let norm = v.sqr()?.sum_keepdim(1)?.sqrt()?; // (K, 1)
        let last = v.broadcast_mul(&get("last_layer.weight_g")?.div(&norm)?)?.to_dtype(dtype)?;
        Ok(Self { layers: [layer("mlp.0")?, layer("mlp.2")?, layer("mlp.4")?], last, dtype })
    }

    /// `(B, C)` to `(B, K)` in float32.
    pub(super) fn forward(&self, features: &Tensor) -> Result<Tensor> {
        let fused = ComputePath::Train.trains(features);
        let mut x = features.clone();
        for (i, (weight, bias)) in self.layers.iter().enumerate() {
            x = if fused { grad::linear(&x, weight, bias)? } else { x.matmul(&weight.t()?)?.broadcast_add(bias)? };
            if i < 2 {
                x = x.gelu_erf()?;
            }
        }
        // Sums of squares want float32.
        let x = x.to_dtype(DType::F32)?; // (B, bottleneck)
        let length = x.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?.maximum(1e-12)?;
        x.broadcast_div(&length)?.to_dtype(self.dtype)?.matmul(&self.last.t()?)?.to_dtype(DType::F32)
    }
}
