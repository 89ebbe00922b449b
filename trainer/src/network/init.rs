//! First values, seeded, as the paper's code draws them.

use std::{collections::HashMap, f64::consts::TAU};

use candle_core::{Device, Result, Tensor};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::Shape;

/// Standard deviation of tokens and linear layers.
const STD: f64 = 0.02;

/// A normal number of deviation [`STD`]. The paper's code cuts at +-2, a hundred deviations away: nothing is cut.
fn normal(rng: &mut ChaCha8Rng) -> f32 {
    // Box and Muller; 1 - u is in (0, 1].
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    (STD * radius * (TAU * rng.random::<f64>()).cos()) as f32
}

/// First values of every tensor of `shape` by name, on the CPU.
///
/// Linear layers and tokens: normal; biases 0; norms 1 and 0. The patch embedding and the last layer keep PyTorch's own
/// start, uniform within 1 / sqrt(inputs); g is 1.
///
/// # Errors
/// No memory left.
pub fn fresh(shape: &Shape, rng: &mut ChaCha8Rng) -> Result<HashMap<String, Tensor>> {
    values(shape.tensors(), shape.backbone.patch, shape.head.bottleneck, rng)
}

/// First values of `tensors` by name and shape: see [`fresh`].
///
/// # Errors
/// No memory left.
pub fn values(
    tensors: Vec<(String, Vec<usize>)>,
    patch: usize,
    bottleneck: usize,
    rng: &mut ChaCha8Rng,
) -> Result<HashMap<String, Tensor>> {
    let patch_inputs = 3 * patch * patch;
    let mut all = HashMap::new();
    for (name, dims) in tensors {
        let n: usize = dims.iter().product();
        let bound = match name.as_str() {
            "backbone.patch_embed.proj.weight" | "backbone.patch_embed.proj.bias" => {
                Some((patch_inputs as f64).powf(-0.5))
            }
            "head.last_layer.weight_v" => Some((bottleneck as f64).powf(-0.5)),
            _ => None,
        };
        let values: Vec<f32> = if let Some(bound) = bound {
            (0..n).map(|_| rng.random_range(-bound..bound) as f32).collect()
        } else if name.ends_with("weight_g")
            || name.ends_with(".gamma")
            || (dims.len() == 1 && name.ends_with("weight"))
        {
            vec![1.0; n]
        } else if name.ends_with(".bias") {
            vec![0.0; n]
        } else {
            (0..n).map(|_| normal(rng)).collect()
        };
        all.insert(name, Tensor::from_vec(values, dims, &Device::Cpu)?);
    }
    Ok(all)
}
