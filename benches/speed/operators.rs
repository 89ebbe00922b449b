//! Where a block's time goes, before and after: each step by candle's own operators, whose products are the `gemm`
//! crate's, and by ours. A block of ViT-S/8 on 240x416.

use std::{hint::black_box, time::Instant};

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use maskd::kernels::{BlockWeights, ComputePath, Isa, Norm, PackedB, attention_plain, bias_gelu_plain, layer_norm};

use super::{
    network::{S8, Work},
    report::{Operator, Operators},
    spread::Spread,
};

const EPS: f64 = 1e-6;

/// A linear layer as candle has it: `(inputs, outputs)` and `(outputs)`.
struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    fn new(inputs: usize, outputs: usize) -> Result<Self> {
        let scale = (inputs as f64).powf(-0.5);
        let weight = (Tensor::randn(0f32, 1.0, (outputs, inputs), &Device::Cpu)? * scale)?;
        Ok(Self { weight, bias: Tensor::randn(0f32, 0.1, outputs, &Device::Cpu)? })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.product(x)?.broadcast_add(&self.bias)?)
    }

    fn product(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.matmul(&self.weight.t()?)?)
    }

    fn packed(&self) -> Result<PackedB> {
        let (weight, bias) = (self.weight.flatten_all()?.to_vec1()?, self.bias.to_vec1()?);
        Ok(PackedB::new(Isa::best(), &weight, &bias, None, (S8.dim, S8.dim)))
    }
}

/// Milliseconds of one run.
fn ms(run: impl FnOnce() -> Result<Tensor>) -> Result<f64> {
    let start = Instant::now();
    black_box(run()?);
    Ok(1e3 * start.elapsed().as_secs_f64())
}

pub fn measure(rounds: usize) -> Result<Operators> {
    let work = Work::new("ViT-S/8 240x416", S8, (240, 416), 1);
    let (tokens, dim, heads) = (work.tokens(), S8.dim, S8.heads);
    let (qkv, proj) = (Linear::new(dim, 3 * dim)?, Linear::new(dim, dim)?);
    let (fc1, fc2) = (Linear::new(dim, S8.hidden)?, Linear::new(S8.hidden, dim)?);
    let (ones, zeros) = (Tensor::ones(dim, DType::F32, &Device::Cpu)?, Tensor::zeros(dim, DType::F32, &Device::Cpu)?);
    let norm = || Norm { weight: vec![1.0; dim], bias: vec![0.0; dim], eps: EPS as f32 };
    let ours =
        BlockWeights::new((norm(), qkv.packed()?), heads, proj.packed()?, norm(), (fc1.packed()?, fc2.packed()?))?;
    let x = Tensor::randn(0f32, 1.0, (tokens, dim), &Device::Cpu)?;
    let image = x.unsqueeze(0)?;
    let normed = |x: &Tensor| -> Result<Tensor> { Ok(layer_norm(x, &ones, &zeros, EPS, ComputePath::Plain)?) };
    let plain_qkv = || qkv.forward(&normed(&x)?);
    let mixed = plain_qkv()?.unsqueeze(0)?;
    let plain_rest = || {
        let x = (&x + proj.forward(&x)?)?;
        let hidden = bias_gelu_plain(&fc1.product(&normed(&x)?)?, &fc1.bias)?;
        Ok((&x + fc2.forward(&hidden)?)?)
    };

    let mut times: [Vec<f64>; 6] = Default::default();
    for round in 0..=rounds.max(1) {
        let block = image.copy()?;
        let of = [
            ms(plain_qkv)?,
            ms(|| Ok(ours.qkv(&image)?))?,
            ms(|| Ok(attention_plain(&mixed, heads, ComputePath::Plain)?.0))?,
            ms(plain_rest)?,
            ms(|| {
                ours.forward(&block)?;
                Ok(block.clone())
            })?,
            ms(|| qkv.product(&x))?,
        ];
        // The first round warms up.
        if round > 0 {
            times.iter_mut().zip(of).for_each(|(all, ms)| all.push(ms));
        }
    }
    let [plain_qkv, our_qkv, plain_attention, plain_rest, our_block, gemm] =
        times.map(|times| Spread::of(&times).median);
    let row = |name: &str, plain_ms: f64, ours_ms: f64| Operator { name: name.to_owned(), plain_ms, ours_ms };
    let gflop = 2.0 * (tokens * dim * 3 * dim) as f64 / 1e9;
    Ok(Operators {
        rows: vec![
            row("norm; queries, keys and values", plain_qkv, our_qkv),
            row(
                "attention, projection, norm, MLP with GELU, residuals",
                plain_attention + plain_rest,
                our_block - our_qkv,
            ),
            row("the whole block", plain_qkv + plain_attention + plain_rest, our_block),
        ],
        gemm_gflops: 1e3 * gflop / gemm,
        ours_gflops: 1e3 * gflop / our_qkv,
    })
}
