//! The networks that are timed: real architectures, random weights.

use std::{
    collections::HashMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use maskd::{
    kernels,
    model::{Architecture, Family, OutputRequest, Vit},
};

/// A turn lasts at least this long, so that a small network runs several times in it.
pub const TURN: Duration = Duration::from_millis(250);

/// A network and its input.
#[derive(Clone, Copy)]
pub struct Work {
    pub name: &'static str,
    pub arch: Architecture,
    pub height: usize,
    pub width: usize,
    pub batch: usize,
}

/// A ViT of twelve blocks and 64 channels a head.
const fn vit(family: Family, patch: usize, dim: usize) -> Architecture {
    let grid = match family {
        Family::Dino => 224 / patch,
        _ => 518 / patch,
    };
    Architecture { family, patch, dim, depth: 12, heads: dim / 64, hidden: 4 * dim, grid, registers: 0, gated: false }
}

pub const S8: Architecture = vit(Family::Dino, 8, 384);
pub const S16: Architecture = vit(Family::Dino, 16, 384);
pub const S14: Architecture = vit(Family::DinoV2, 14, 384);
pub const TI16: Architecture = vit(Family::Dino, 16, 192);

impl Work {
    pub const fn new(name: &'static str, arch: Architecture, (height, width): (usize, usize), batch: usize) -> Self {
        Self { name, arch, height, width, batch }
    }

    /// Tokens of one image, `[CLS]` included.
    pub const fn tokens(&self) -> usize {
        1 + (self.height / self.arch.patch) * (self.width / self.arch.patch)
    }

    /// Billions of floating-point operations of the blocks' products and attention, patch embedding left out.
    pub fn gflop(&self) -> f64 {
        let (n, c) = (self.tokens() as f64, self.arch.dim as f64);
        self.batch as f64 * self.arch.depth as f64 * (12.0 * c * c * n + 2.0 * n * n * c) * 2.0 / 1e9
    }

    /// As benches/peers.py reads it.
    pub fn spec(&self) -> String {
        let Self { arch, height, width, batch, .. } = self;
        let layer_scale = u8::from(arch.family.design().layer_scale);
        let Architecture { patch, dim, heads, depth, .. } = arch;
        format!("{patch} {dim} {heads} {depth} {height} {width} {batch} {layer_scale}")
    }

    /// Our network in float32, ready to run.
    pub fn build(&self) -> Result<Ours> {
        self.build_by(kernels::ComputePath::Fused)
    }

    /// Our network in bfloat16, where this CPU multiplies it.
    pub fn build_bf16(&self) -> Result<Option<Ours>> {
        if !kernels::bf16::is_available() {
            eprintln!("SKIPPED maskd in bf16 on {}: this CPU has no AVX512_BF16", self.name);
            return Ok(None);
        }
        self.build_by(kernels::ComputePath::Bf16).map(Some)
    }

    fn build_by(&self, path: kernels::ComputePath) -> Result<Ours> {
        let vit = Vit::new(self.arch, &random(&self.arch)?, &Device::Cpu, DType::F32, path)?;
        let images = Tensor::randn(0f32, 1.0, (self.batch, 3, self.height, self.width), &Device::Cpu)?;
        Ok(Ours { vit, images })
    }
}

/// Our network and its input.
pub struct Ours {
    vit: Vit,
    images: Tensor,
}

impl Ours {
    /// One untimed pass, then timed ones for `least`, at least one: milliseconds, the median.
    pub fn turn(&self, least: Duration) -> Result<f64> {
        let want = OutputRequest { tokens: vec![self.vit.architecture().depth - 1], ..OutputRequest::default() };
        self.vit.forward(&self.images, &want)?;
        let (mut times, began) = (Vec::new(), Instant::now());
        while times.is_empty() || began.elapsed() < least {
            let start = Instant::now();
            std::hint::black_box(self.vit.forward(&self.images, &want)?);
            times.push(1e3 * start.elapsed().as_secs_f64());
        }
        Ok(super::spread::Spread::of(&times).median)
    }
}

/// Weights as a network has them before training; norms and scales pass everything.
pub fn random(arch: &Architecture) -> Result<HashMap<String, Tensor>> {
    let tensor = |(name, shape): (String, Vec<usize>)| {
        let passes = name.ends_with("gamma") || (name.contains("norm") && name.ends_with("weight"));
        let tensor = match passes {
            true => Tensor::ones(shape, DType::F32, &Device::Cpu),
            false => Tensor::randn(0f32, 0.05, shape, &Device::Cpu),
        };
        Ok((name, tensor?))
    };
    arch.tensors().into_iter().map(tensor).collect()
}

/// Such weights as a file.
pub fn write_random(arch: &Architecture, path: &Path) -> Result<()> {
    Ok(candle_core::safetensors::save(&random(arch)?, path)?)
}
