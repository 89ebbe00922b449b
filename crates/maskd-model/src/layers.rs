//! The layers of a block. All take and give `(B, N, C)`.

use std::collections::HashMap;

use candle_core::{Result, Tensor, bail};

use super::{Architecture, rotary::Rotary};
use maskd_kernels::{self as kernels, BlockWeights, ComputePath, Isa, Norm, PackedB, bf16};

/// Tensors by name, handed out one by one.
pub(super) struct NamedTensors<'a>(pub(super) &'a HashMap<String, Tensor>);

impl NamedTensors<'_> {
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
    pub(super) fn new(source: &NamedTensors, name: &str) -> Result<Self> {
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

    /// Packed for `isa` in blocks of (inputs, outputs), with LayerScale in it.
    pub(super) fn packed(&self, isa: Isa, scale: Option<&Tensor>, block: (usize, usize)) -> Result<PackedB> {
        let weight = self.weight.flatten_all()?.to_vec1::<f32>()?;
        let scale = scale.map(Tensor::to_vec1::<f32>).transpose()?;
        Ok(PackedB::new(isa, &weight, &self.bias.to_vec1()?, scale.as_deref(), block))
    }

    /// Rounded to bfloat16, with LayerScale in it; panels begin anew with each `group` of outputs.
    fn rounded(&self, scale: Option<&Tensor>, group: usize) -> Result<bf16::PackedB> {
        let weight = self.weight.flatten_all()?.to_vec1::<f32>()?;
        let scale = scale.map(Tensor::to_vec1::<f32>).transpose()?;
        Ok(bf16::PackedB::new(&weight, &self.bias.to_vec1()?, scale.as_deref(), group))
    }
}

pub(super) struct LayerNorm {
    pub(super) weight: Tensor,
    pub(super) bias: Tensor,
    pub(super) eps: f64,
}

impl LayerNorm {
    pub(super) fn new(source: &NamedTensors, name: &str, eps: f64) -> Result<Self> {
        Ok(Self { weight: source.get(&format!("{name}.weight"))?, bias: source.get(&format!("{name}.bias"))?, eps })
    }

    pub(super) fn forward(&self, x: &Tensor, path: ComputePath) -> Result<Tensor> {
        kernels::layer_norm(x, &self.weight, &self.bias, self.eps, path)
    }

    fn packed(&self) -> Result<Norm> {
        Ok(Norm { weight: self.weight.to_vec1()?, bias: self.bias.to_vec1()?, eps: self.eps as f32 })
    }
}

/// Pre-norm transformer block: x + ls1(attn(norm1(x))), then x + ls2(mlp(norm2(x))), as its family's design says.
pub(super) struct Block {
    layers: Layers,
    heads: usize,
}

/// The linear part of a block.
enum Layers {
    /// Candle's own operators: any device, any type, differentiable.
    Plain(Box<Plain>),
    /// Packed for the CPU's kernels; the plain tensors are not kept.
    Packed(BlockWeights),
    /// The same in bfloat16.
    Bf16(bf16::BlockWeights),
}

pub(super) struct Plain {
    pub(super) norm1: LayerNorm,
    pub(super) qkv: Linear,
    pub(super) proj: Linear,
    pub(super) norm2: LayerNorm,
    pub(super) fc1: Linear,
    pub(super) fc2: Linear,
    /// The gate of a gated MLP.
    pub(super) gate: Option<Linear>,
    pub(super) scales: Option<(Tensor, Tensor)>,
}

impl Block {
    pub(super) fn new(source: &NamedTensors, i: usize, arch: &Architecture, path: ComputePath) -> Result<Self> {
        let name = |part: &str| format!("blocks.{i}.{part}");
        let design = arch.family.design();
        let plain = Plain {
            norm1: LayerNorm::new(source, &name("norm1"), design.eps)?,
            qkv: Linear::new(source, &name("attn.qkv"))?,
            proj: Linear::new(source, &name("attn.proj"))?,
            norm2: LayerNorm::new(source, &name("norm2"), design.eps)?,
            fc1: Linear::new(source, &name("mlp.fc1"))?,
            fc2: Linear::new(source, &name("mlp.fc2"))?,
            gate: arch.gated.then(|| Linear::new(source, &name("mlp.gate"))).transpose()?,
            scales: match design.layer_scale {
                true => Some((source.get(&name("ls1.gamma"))?, source.get(&name("ls2.gamma"))?)),
                false => None,
            },
        };
        let layers = match path {
            ComputePath::Bf16 if !arch.has_packed_blocks() => {
                bail!("bf16 on the CPU has no kernels for {}: choose f32", design.title)
            }
            ComputePath::Bf16 => Layers::Bf16(plain.round(arch.heads)?),
            _ if arch.has_packed_blocks() && path.fuses(&plain.qkv.weight) => Layers::Packed(plain.pack(arch.heads)?),
            _ => Layers::Plain(Box::new(plain)),
        };
        Ok(Self { layers, heads: arch.heads })
    }

    /// The block's output, of x `(B, N, C)`, which it may use up.
    pub(super) fn forward(&self, x: Tensor, path: ComputePath, rotary: Option<&Rotary>) -> Result<Tensor> {
        match &self.layers {
            Layers::Plain(plain) => plain.forward(&x, self.heads, path, rotary, None),
            Layers::Packed(weights) => {
                weights.forward(&x)?;
                Ok(x)
            }
            Layers::Bf16(weights) => {
                weights.forward(&x)?;
                Ok(x)
            }
        }
    }

    /// [`Self::forward`] with drop path's factors `(B, 1, 1)` on what attention and MLP add; plain layers only.
    pub(super) fn forward_scaled(
        &self,
        x: &Tensor,
        path: ComputePath,
        rotary: Option<&Rotary>,
        factors: Option<&[Tensor; 2]>,
    ) -> Result<Tensor> {
        self.plain()?.forward(x, self.heads, path, rotary, factors)
    }

    /// The layers as tensors, where they are.
    pub(super) fn plain(&self) -> Result<&Plain> {
        match &self.layers {
            Layers::Plain(plain) => Ok(plain),
            Layers::Packed(_) | Layers::Bf16(_) => bail!("a network packed for inference cannot be trained"),
        }
    }

    /// Query, key and value of every token of the block's input x `(B, N, C)`: `(B, N, 3C)`, for those who ask.
    pub(super) fn qkv(&self, x: &Tensor, path: ComputePath, rotary: Option<&Rotary>) -> Result<Tensor> {
        match &self.layers {
            Layers::Plain(plain) => plain.qkv(x, self.heads, path, rotary),
            Layers::Packed(weights) => weights.qkv(x),
            Layers::Bf16(weights) => weights.qkv(x),
        }
    }
}

impl Plain {
    fn qkv(&self, x: &Tensor, heads: usize, path: ComputePath, rotary: Option<&Rotary>) -> Result<Tensor> {
        let qkv = self.qkv.forward(&self.norm1.forward(x, path)?)?; // (B, N, 3C)
        match rotary {
            Some(rotary) => rotary.turn(&qkv, heads),
            None => Ok(qkv),
        }
    }

    /// With a factor (B, 1, 1) on what each image's attention and MLP give: drop path.
    fn forward(
        &self,
        x: &Tensor,
        heads: usize,
        path: ComputePath,
        rotary: Option<&Rotary>,
        factors: Option<&[Tensor; 2]>,
    ) -> Result<Tensor> {
        let qkv = self.qkv(x, heads, path, rotary)?;
        let attended = self.proj.forward(&kernels::attention(&qkv, heads, path)?)?;
        let by = |y: Tensor, scale: Option<&Tensor>| match scale {
            Some(scale) => y.broadcast_mul(scale),
            None => Ok(y),
        };
        let scaled = |y: Tensor, gamma: Option<&Tensor>, branch: usize| by(by(y, gamma)?, factors.map(|f| &f[branch]));
        let x = (x + scaled(attended, self.scales.as_ref().map(|s| &s.0), 0)?)?;
        let normed = self.norm2.forward(&x, path)?;
        let hidden = match &self.gate {
            Some(gate) => (gate.forward(&normed)?.silu()? * self.fc1.forward(&normed)?)?,
            None => kernels::bias_gelu(self.fc1.product(&normed)?, &self.fc1.bias, path)?, // (B, N, 4C)
        };
        &x + scaled(self.fc2.forward(&hidden)?, self.scales.as_ref().map(|s| &s.1), 1)?
    }

    /// Rounded to bfloat16.
    fn round(&self, heads: usize) -> Result<bf16::BlockWeights> {
        let (ls1, ls2) = (self.scales.as_ref().map(|s| &s.0), self.scales.as_ref().map(|s| &s.1));
        let dim = self.norm1.weight.elem_count();
        bf16::BlockWeights::new(
            (self.norm1.packed()?, self.qkv.rounded(None, dim / heads)?),
            heads,
            self.proj.rounded(ls1, dim)?,
            self.norm2.packed()?,
            (self.fc1.rounded(None, self.fc1.bias.elem_count())?, self.fc2.rounded(ls2, dim)?),
        )
    }

    /// In blocks as wide as the network, so that the MLP's inner channels go through the cache a block at a time.
    fn pack(&self, heads: usize) -> Result<BlockWeights> {
        let (ls1, ls2) = match &self.scales {
            Some((ls1, ls2)) => (Some(ls1), Some(ls2)),
            None => (None, None),
        };
        let dim = self.norm1.weight.elem_count();
        let (isa, block) = (Isa::best(), (dim, dim));
        BlockWeights::new(
            (self.norm1.packed()?, self.qkv.packed(isa, None, block)?),
            heads,
            self.proj.packed(isa, ls1, block)?,
            self.norm2.packed()?,
            (self.fc1.packed(isa, None, block)?, self.fc2.packed(isa, ls2, block)?),
        )
    }
}
