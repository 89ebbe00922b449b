//! Each fused operator beside its plain twin, at the sizes of ViT-S/8 on 240x416: 1,561 tokens of 384 channels.
//!
//! `cargo bench --bench kernels` prints the times.

use std::{hint::black_box, time::Duration};

use candle_core::{DType, Device, Result, Tensor};
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use maskd::kernels::{ComputePath, attention, bias_gelu, exp, layer_norm};

const TOKENS: usize = 1561;
const DIM: usize = 384;
const HEADS: usize = 6;

fn noise(shape: &[usize]) -> Result<Tensor> {
    Tensor::randn(0f32, 1.0, shape, &Device::Cpu)
}

fn group_of<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    group
}

/// Both ways of one operator.
fn twins(group: &mut BenchmarkGroup<'_, WallTime>, run: impl Fn(ComputePath) -> Result<Tensor>) {
    for (name, path) in [("fused", ComputePath::Fused), ("plain", ComputePath::Plain)] {
        if let Err(error) = run(path) {
            eprintln!("{name}: {error}");
            continue;
        }
        group.bench_function(name, |bencher| bencher.iter(|| run(black_box(path))));
    }
}

fn kernels(criterion: &mut Criterion) -> Result<()> {
    let qkv = noise(&[1, TOKENS, 3 * DIM])?;
    twins(&mut group_of(criterion, "attention"), |path| attention(&qkv, HEADS, path));

    let (hidden, bias) = (noise(&[1, TOKENS, 4 * DIM])?, noise(&[4 * DIM])?);
    // It may work in place, so each run has a copy of its own: see the line after for what that costs.
    twins(&mut group_of(criterion, "bias and gelu, with a copy"), |path| bias_gelu(hidden.copy()?, &bias, path));
    group_of(criterion, "the copy").bench_function("plain", |bencher| bencher.iter(|| hidden.copy()));

    let (x, weight, shift) = (noise(&[1, TOKENS, DIM])?, noise(&[DIM])?, Tensor::zeros(DIM, DType::F32, &Device::Cpu)?);
    twins(&mut group_of(criterion, "layer norm"), |path| layer_norm(&x, &weight, &shift, 1e-6, path));

    let mut group = group_of(criterion, "exp of a head's scores");
    let scores: Vec<f32> = (0..64 * TOKENS).map(|i| -((i % 977) as f32) / 50.0).collect();
    let copy = |of: fn(&mut [f32])| {
        let mut scores = scores.clone();
        of(&mut scores);
        scores
    };
    group.bench_function("fused", |bencher| bencher.iter(|| copy(exp)));
    group.bench_function("plain", |bencher| bencher.iter(|| copy(|all| all.iter_mut().for_each(|v| *v = v.exp()))));
    group.finish();
    Ok(())
}

fn all(criterion: &mut Criterion) {
    if let Err(error) = kernels(criterion) {
        eprintln!("kernels: {error}");
    }
}

criterion_group!(benches, all);
criterion_main!(benches);
