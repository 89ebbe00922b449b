//! A small vision transformer with seeded random weights, in the tensor names of DINO's official files: it loads like
//! the real ones, takes milliseconds, and its features tell textures apart well enough to follow a drawn shape.

use std::path::Path;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

/// Its shape.
#[derive(Clone, Copy, Debug)]
pub struct TinyVit {
    /// Channels; heads are 64 wide, so 64 or 128.
    pub dim: usize,
    /// Blocks.
    pub depth: usize,
    /// Pixels of a patch's side.
    pub patch: usize,
    /// Patches of a side that the position embedding is for.
    pub grid: usize,
}

impl Default for TinyVit {
    fn default() -> Self {
        Self { dim: 64, depth: 2, patch: 8, grid: 8 }
    }
}

impl TinyVit {
    /// Writes the weights that `seed` stands for as `.safetensors`.
    pub fn write(self, path: &Path, seed: u64) {
        self.write_edited(path, seed, |_, _, _| {});
    }

    /// The same after `edit` has had its way with the name, shape and values of each tensor.
    pub fn write_edited(self, path: &Path, seed: u64, mut edit: impl FnMut(&str, &mut Vec<usize>, &mut Vec<f32>)) {
        let mut tensors = self.tensors(seed);
        tensors.iter_mut().for_each(|(name, shape, values)| edit(name, shape, values));
        let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
            .into_iter()
            .map(|(name, shape, values)| (name, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect()))
            .collect();
        let views =
            bytes.iter().map(|(name, shape, data)| (name, TensorView::new(Dtype::F32, shape.clone(), data).unwrap()));
        serialize_to_file(views, None, path).unwrap();
    }

    fn tensors(self, seed: u64) -> Vec<(String, Vec<usize>, Vec<f32>)> {
        let Self { dim, depth, patch, grid } = self;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut out = Vec::new();
        // Each tensor: its values are N(0, deviation), or all `constant`.
        let mut random = |name: &str, shape: &[usize], deviation: f32| {
            let values = (0..shape.iter().product()).map(|_| normal(&mut rng) * deviation).collect();
            out.push((name.to_owned(), shape.to_vec(), values));
        };
        random("cls_token", &[1, 1, dim], 0.02);
        random("pos_embed", &[1, 1 + grid * grid, dim], 0.02);
        // Large beside the position embedding: what a patch looks like must outweigh where it is.
        random("patch_embed.proj.weight", &[dim, 3, patch, patch], 0.1);
        random("patch_embed.proj.bias", &[dim], 0.02);
        for i in 0..depth {
            for (part, shape) in [
                ("attn.qkv", [3 * dim, dim]),
                ("attn.proj", [dim, dim]),
                ("mlp.fc1", [4 * dim, dim]),
                ("mlp.fc2", [dim, 4 * dim]),
            ] {
                random(&format!("blocks.{i}.{part}.weight"), &shape, 0.05);
                random(&format!("blocks.{i}.{part}.bias"), &shape[..1], 0.02);
            }
        }
        let norms = (0..depth).flat_map(|i| [format!("blocks.{i}.norm1"), format!("blocks.{i}.norm2")]);
        for norm in norms.chain(["norm".to_owned()]) {
            out.push((format!("{norm}.weight"), vec![dim], vec![1.0; dim]));
            out.push((format!("{norm}.bias"), vec![dim], vec![0.0; dim]));
        }
        out
    }
}

/// One value of N(0, 1), after Box and Muller.
fn normal(rng: &mut ChaCha8Rng) -> f32 {
    let (u, v): (f32, f32) = (rng.random(), rng.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f32::consts::TAU * v).cos()
}
