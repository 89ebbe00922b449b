//! The empty scene as the network sees it: a few features for each patch.

use maskd_types::features::Grid;

const PROTOTYPES: usize = 3;

/// How patches are compared.
#[derive(Clone, Debug)]
pub struct PatchesConfig {
    /// A feature belongs to a prototype when one minus their cosine is at most this.
    pub reach: f32,
    /// Distance that says nothing either way.
    pub middle: f32,
    /// And how far from it evidence is full.
    pub spread: f32,
    /// Seconds in which the scene is learnt anew.
    pub memory_s: f32,
}

impl Default for PatchesConfig {
    fn default() -> Self {
        Self { reach: 0.15, middle: 0.2, spread: 0.2, memory_s: 8.0 }
    }
}

/// Prototypes of each patch.
#[derive(Clone, Debug, Default)]
pub struct Patches {
    dim: usize,
    vectors: Vec<f32>,
    weights: Vec<[f32; PROTOTYPES]>,
    age: f32,
}

impl Patches {
    /// Starts from `tokens` where nothing is known yet.
    pub fn prepare(&mut self, tokens: &[f32], grid: Grid, dim: usize) {
        if self.weights.len() != grid.len() || self.dim != dim {
            self.dim = dim;
            self.vectors = vec![0.0; grid.len() * PROTOTYPES * dim];
            self.weights = vec![[1.0, 0.0, 0.0]; grid.len()];
            self.age = 0.0;
            for (to, from) in self.vectors.chunks_exact_mut(PROTOTYPES * dim).zip(tokens.chunks_exact(dim)) {
                to[..dim].copy_from_slice(from);
            }
        }
    }

    /// One minus the cosine to the nearest prototype of the scene `(N)`; `tokens` `(N, C)` are L2-normalised.
    pub fn compare(&mut self, tokens: &[f32], grid: Grid, dim: usize, out: &mut Vec<f32>) {
        self.prepare(tokens, grid, dim);
        out.clear();
        for ((token, vectors), weights) in
            tokens.chunks_exact(dim).zip(self.vectors.chunks_exact(PROTOTYPES * dim)).zip(&self.weights)
        {
            let heaviest = weights.iter().fold(0f32, |a, w| a.max(*w));
            let mut best = f32::MAX;
            for (v, _) in vectors.chunks_exact(dim).zip(weights).filter(|(_, w)| **w >= 0.35 * heaviest && **w > 0.0) {
                best = best.min(1.0 - cosine(v, token));
            }
            out.push(best);
        }
    }

    /// Learns `dt` seconds, except where `hold` `(N)`.
    pub fn learn(&mut self, tokens: &[f32], hold: &[bool], dt: f32, config: &PatchesConfig) {
        self.age += dt;
        let rate = (dt / config.memory_s).max(dt / self.age.max(dt)).min(0.5);
        let dim = self.dim;
        for (((token, vectors), weights), _) in tokens
            .chunks_exact(dim)
            .zip(self.vectors.chunks_exact_mut(PROTOTYPES * dim))
            .zip(&mut self.weights)
            .zip(hold)
            .filter(|(_, hold)| !**hold)
        {
            let mut best = (f32::MAX, 0);
            for (k, v) in vectors.chunks_exact(dim).enumerate().filter(|(k, _)| weights[*k] > 0.0) {
                let d = 1.0 - cosine(v, token);
                if d < best.0 {
                    best = (d, k);
                }
            }
            let (d, k) = best;
            if d < config.reach {
                for (i, w) in weights.iter_mut().enumerate() {
                    *w += rate * (f32::from(u8::from(i == k)) - *w);
                }
                let r = (rate / weights[k].max(rate)).min(0.25).max(rate);
                vectors[k * dim..][..dim].iter_mut().zip(token).for_each(|(v, t)| *v += r * (t - *v));
            } else {
                weights.iter_mut().for_each(|w| *w *= 1.0 - rate);
                let weakest = weights.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(i, _)| i);
                weights[weakest] = rate;
                vectors[weakest * dim..][..dim].copy_from_slice(token);
            }
        }
    }

    /// Makes what is seen at a patch the scene there.
    pub fn adopt(&mut self, tokens: &[f32], patch: usize) {
        let dim = self.dim;
        self.weights[patch] = [1.0, 0.0, 0.0];
        self.vectors[patch * PROTOTYPES * dim..][..dim].copy_from_slice(&tokens[patch * dim..][..dim]);
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let (mut ab, mut aa, mut bb) = (0f32, 0f32, 0f32);
    for (x, y) in a.iter().zip(b) {
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    ab / (aa * bb).sqrt().max(1e-9)
}

/// A plane of patches enlarged bilinearly to `(height, width)` pixels.
pub fn enlarge(plane: &[f32], grid: Grid, width: usize, height: usize, out: &mut Vec<f32>) {
    out.clear();
    out.reserve(width * height);
    let taps = |at: usize, to: usize, from: usize| {
        let c = ((at as f32 + 0.5) * from as f32 / to as f32 - 0.5).clamp(0.0, (from - 1) as f32);
        let low = c as usize;
        (low, (low + 1).min(from - 1), c - low as f32)
    };
    let columns: Vec<_> = (0..width).map(|x| taps(x, width, grid.cols)).collect();
    for y in 0..height {
        let (a, b, wy) = taps(y, height, grid.rows);
        let (a, b) = (&plane[a * grid.cols..][..grid.cols], &plane[b * grid.cols..][..grid.cols]);
        out.extend(columns.iter().map(|&(l, h, wx)| {
            let top = a[l] + wx * (a[h] - a[l]);
            let bottom = b[l] + wx * (b[h] - b[l]);
            top + wy * (bottom - top)
        }));
    }
}
