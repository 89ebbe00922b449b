//! Propagation beside the network that gives it features, on the grid of ViT-S/8 at 480x832.

use std::{sync::Arc, time::Duration, time::Instant};

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use maskd::{
    features::{Features, Grid},
    mask::SoftLabels,
    propagate::{ContextFrame, PropagateConfig, propagate_with_matches},
};

use super::{
    network::{S8, Work},
    report::Propagation,
    spread::Spread,
};

const GRID: Grid = Grid { rows: 60, cols: 104 };
/// Earlier frames that are asked.
const CONTEXTS: usize = 8;
/// Background and three instances.
const CHANNELS: usize = 4;

pub fn measure(rounds: usize) -> Result<Propagation> {
    let network = Work::new("ViT-S/8 480x832", S8, (GRID.rows * 8, GRID.cols * 8), 1).build()?;
    // Frames of one scene: a patch is most like itself in the others, as in a video.
    let scene = Tensor::randn(0f32, 1.0, (GRID.len(), S8.dim), &Device::Cpu)?;
    let query = frame(&scene)?;
    let labels = SoftLabels {
        channels: CHANNELS,
        values: (0..GRID.len() * CHANNELS).map(|i| f32::from(i % CHANNELS == (i / 97) % CHANNELS)).collect(),
    };
    let memories = (0..CONTEXTS)
        .map(|_| Ok(ContextFrame { features: Arc::new(frame(&scene)?), labels: labels.clone() }))
        .collect::<Result<Vec<_>>>()?;
    let contexts: Vec<&ContextFrame> = memories.iter().collect();
    let config = PropagateConfig { radius: 12, context: CONTEXTS - 1, ..PropagateConfig::default() };

    let (mut times, mut networks) = (Vec::new(), Vec::new());
    for _ in 0..rounds.max(1) {
        std::hint::black_box(propagate_with_matches(&query, &contexts, &config));
        let start = Instant::now();
        std::hint::black_box(propagate_with_matches(&query, &contexts, &config));
        times.push(1e3 * start.elapsed().as_secs_f64());
        networks.push(network.turn(Duration::ZERO)?);
    }
    let shares: Vec<f64> = times.iter().zip(&networks).map(|(ours, network)| 100.0 * ours / network).collect();
    Ok(Propagation { ms: Spread::of(&times), backbone_ms: Spread::of(&networks), percent: Spread::of(&shares) })
}

/// Features of one frame of `scene` `(N, C)`: its own noise on top, rows of length 1.
fn frame(scene: &Tensor) -> Result<Features> {
    let noisy = (scene + (scene.randn_like(0.0, 1.0)? * 0.3)?)?.to_dtype(DType::F32)?;
    let rows = noisy.broadcast_div(&noisy.sqr()?.sum_keepdim(1)?.sqrt()?)?;
    Ok(Features::new(GRID, S8.dim, rows.flatten_all()?.to_vec1()?))
}
