//! The layers of a block. All take and give `(B, N, C)`.

use std::collections::HashMap;

use candle_core::{Result, Tensor, bail};

use super::{Architecture, Family};
use crate::kernels::{self, Path};

/// Epsilon of every LayerNorm in both papers.
const EPS: f64 = 1e-6;

/// Tensors by name, handed out one by one.
pub(super) struct Source<'a>(pub(super) &'a HashMap<String, Tensor>);

impl Source<'_> {
    pub(super) fn get(&self, name: &str) -> Result<Tensor> {
        match self.0.get(name) {
            Some(tensor) => Ok(tensor.clone()),
            None => bail!("tensor {name} is missing"),
        }
    }
}

/// y = x W^T + b, W `(output, input)`.
pub(super) struct Linear {
    pub(super) weight: Tensor,
    pub(super) bias: Tensor,
}

impl Linear {
    pub(super) fn new(source: &Source, name: &str) -> Result<Self> {
        Ok(Self { weight: source.get(&format!("{name}.weight"))?, bias: source.get(&format!("{name}.bias"))? })
    }

    /// The product without the bias: one (B N, C) matrix, so that the whole batch is one call.
    fn product(&self, x: &Tensor) -> Result<Tensor> {
        let (b, n, c) = x.dims3()?;
        x.reshape((b * n, c))?.matmul(&self.weight.t()?)?.reshape((b, n, ()))
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.product(x)?.broadcast_add(&self.bias)
    }
}

pub(super) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    pub(super) fn new(source: &Source, name: &str) -> Result<Self> {
        Ok(Self { weight: source.get(&format!("{name}.weight"))?, bias: source.get(&format!("{name}.bias"))? })
    }

    pub(super) fn forward(&self, x: &Tensor, path: Path) -> Result<Tensor> {
        kernels::layer_norm(x, &self.weight, &self.bias, EPS, path)
    }
}

/// What one block's attention saw, for those who ask.
pub(super) struct Seen {
    /// (B, N, 3C): query, key and value of every token.
    pub(super) qkv: Tensor,
}

/// Pre-norm transformer block: x + ls1(attn(norm1(x))), then x + ls2(mlp(norm2(x))).
pub(super) struct Block {
    norm1: LayerNorm,
    qkv: Linear,
    proj: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    scales: Option<(Tensor, Tensor)>,
    heads: usize,
}

impl Block {
    pub(super) fn new(source: &Source, i: usize, arch: &Architecture) -> Result<Self> {
        let name = |part: &str| format!("blocks.{i}.{part}");
        Ok(Self {
            norm1: LayerNorm::new(source, &name("norm1"))?,
            qkv: Linear::new(source, &name("attn.qkv"))?,
            proj: Linear::new(source, &name("attn.proj"))?,
            norm2: LayerNorm::new(source, &name("norm2"))?,
            fc1: Linear::new(source, &name("mlp.fc1"))?,
            fc2: Linear::new(source, &name("mlp.fc2"))?,
            scales: match arch.family {
                Family::Dino => None,
                Family::DinoV2 => Some((source.get(&name("ls1.gamma"))?, source.get(&name("ls2.gamma"))?)),
            },
            heads: arch.heads,
        })
    }

    /// `factors`: what attention and the MLP add to each image is multiplied by these, `(B, 1, 1)` each.
    pub(super) fn forward(&self, x: &Tensor, factors: Option<&[Tensor; 2]>, path: Path) -> Result<(Tensor, Seen)> {
        let qkv = self.qkv.forward(&self.norm1.forward(x, path)?)?; // (B, N, 3C)
        let attended = self.proj.forward(&kernels::attention(&qkv, self.heads, path)?)?;
        let scaled = |y: Tensor, scale: Option<&Tensor>| match scale {
            Some(gamma) => y.broadcast_mul(gamma),
            None => Ok(y),
        };
        let attended = scaled(attended, self.scales.as_ref().map(|s| &s.0))?;
        let x = (x + scaled(attended, factors.map(|f| &f[0]))?)?;
        let hidden = self.fc1.product(&self.norm2.forward(&x, path)?)?; // (B, N, 4C)
        let hidden = kernels::bias_gelu(hidden, &self.fc1.bias, path)?;
        let mlp = scaled(self.fc2.forward(&hidden)?, self.scales.as_ref().map(|s| &s.1))?;
        let x = (&x + scaled(mlp, factors.map(|f| &f[1]))?)?;
        Ok((x, Seen { qkv }))
    }
}
