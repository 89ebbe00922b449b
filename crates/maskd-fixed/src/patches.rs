//! The empty scene as the network sees it: a few features for each patch.

use maskd_types::features::Grid;

const PROTOTYPES: usize = 3;

/// How patches are compared.
#[derive(Clone, Debug)]
pub struct PatchesConfig {
    /// A feature belongs to a prototype when one minus their cosine is at most this.
    pub reach: f32,
    /// Seconds in which the scene is learnt anew.
    pub memory_s: f32,
}

impl Default for PatchesConfig {
    fn default() -> Self {
        Self { reach: 0.15, memory_s: 8.0 }
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

/// Cosine of the angle between two vectors, summed in lanes that a compiler can add side by side.
fn cosine(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 8;
    let (mut ab, mut aa, mut bb) = ([0f32; LANES], [0f32; LANES], [0f32; LANES]);
    let mut add = |i: usize, x: f32, y: f32| {
        ab[i] += x * y;
        aa[i] += x * x;
        bb[i] += y * y;
    };
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a.remainder().iter().zip(b.remainder());
    rest.enumerate().for_each(|(i, (x, y))| add(i, *x, *y));
    for (x, y) in a.zip(b) {
        (0..LANES).for_each(|i| add(i, x[i], y[i]));
    }
    let sum = |lanes: [f32; LANES]| lanes.iter().sum::<f32>();
    sum(ab) / (sum(aa) * sum(bb)).sqrt().max(1e-9)
}

/// The patch that pixel `p` of a picture of `(width, height)` lies in.
pub fn patch_of(p: usize, (width, height): (usize, usize), grid: Grid) -> usize {
    (p / width) * grid.rows / height * grid.cols + (p % width) * grid.cols / width
}

/// The patches `(N)` that a set pixel of `mask` `(height, width)` lies in.
pub fn touched(mask: &[bool], width: usize, grid: Grid) -> Vec<bool> {
    let height = mask.len() / width.max(1);
    let columns: Vec<usize> = (0..width).map(|x| x * grid.cols / width).collect();
    let mut touched = vec![false; grid.len()];
    for (y, row) in mask.chunks_exact(width.max(1)).enumerate() {
        let patches = &mut touched[y * grid.rows / height * grid.cols..][..grid.cols];
        row.iter().zip(&columns).for_each(|(set, column)| patches[*column] |= set);
    }
    touched
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
    let mut row = vec![0.0; grid.cols];
    for y in 0..height {
        let (a, b, wy) = taps(y, height, grid.rows);
        let (a, b) = (&plane[a * grid.cols..][..grid.cols], &plane[b * grid.cols..][..grid.cols]);
        row.iter_mut().zip(a).zip(b).for_each(|((row, a), b)| *row = a + wy * (b - a));
        out.extend(columns.iter().map(|&(l, h, wx)| row[l] + wx * (row[h] - row[l])));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GRID: Grid = Grid { rows: 2, cols: 3 };

    /// The same unit vector of four for each patch.
    fn tokens(axis: usize) -> Vec<f32> {
        (0..GRID.len() * 4).map(|i| f32::from(u8::from(i % 4 == axis))).collect()
    }

    fn distances(patches: &mut Patches, axis: usize) -> Vec<f32> {
        let mut out = Vec::new();
        patches.compare(&tokens(axis), GRID, 4, &mut out);
        out
    }

    fn learn(patches: &mut Patches, axis: usize, hold: bool, frames: usize) {
        for _ in 0..frames {
            patches.learn(&tokens(axis), &[hold; GRID.len()], 0.1, &PatchesConfig::default());
        }
    }

    #[test]
    fn distances_are_cosines() {
        let mut patches = Patches::default();
        assert_eq!(distances(&mut patches, 0), [0.0; 6]);
        assert_eq!(distances(&mut patches, 1), [1.0; 6]);
        let mut out = Vec::new();
        let slanted: Vec<f32> = tokens(0).iter().zip(&tokens(1)).map(|(a, b)| (a + b) * 0.5f32.sqrt()).collect();
        patches.compare(&slanted, GRID, 4, &mut out);
        assert!(out.iter().all(|d| (d - (1.0 - 0.5f32.sqrt())).abs() < 1e-5));
    }

    #[test]
    fn features_that_stay_become_the_scene_unless_they_are_held() {
        let mut patches = Patches::default();
        distances(&mut patches, 0);
        learn(&mut patches, 0, false, 100);
        learn(&mut patches, 1, true, 200);
        assert_eq!(distances(&mut patches, 1), [1.0; 6]);
        learn(&mut patches, 1, false, 10);
        assert_eq!(distances(&mut patches, 1), [1.0; 6]);
        learn(&mut patches, 1, false, 150);
        assert_eq!(distances(&mut patches, 1), [0.0; 6]);
    }

    #[test]
    fn an_adopted_patch_is_the_scene_at_once() {
        let mut patches = Patches::default();
        distances(&mut patches, 0);
        patches.adopt(&tokens(2), 4);
        assert_eq!(distances(&mut patches, 2), [1.0, 1.0, 1.0, 1.0, 0.0, 1.0]);
    }

    #[test]
    fn another_grid_starts_anew() {
        let mut patches = Patches::default();
        distances(&mut patches, 0);
        let mut out = Vec::new();
        patches.compare(&[0.0, 1.0, 1.0, 0.0], Grid { rows: 1, cols: 2 }, 2, &mut out);
        assert_eq!(out, [0.0, 0.0]);
    }

    #[test]
    fn enlarging_keeps_constants_and_ramps() {
        let mut out = Vec::new();
        enlarge(&[0.3; 6], GRID, 24, 16, &mut out);
        assert!(out.len() == 24 * 16 && out.iter().all(|v| (v - 0.3).abs() < 1e-6));
        enlarge(&[0.0, 1.0, 2.0, 0.0, 1.0, 2.0], GRID, 24, 16, &mut out);
        for (p, v) in out.iter().enumerate() {
            let ideal = ((p % 24) as f32 + 0.5) / 8.0 - 0.5;
            assert!((v - ideal.clamp(0.0, 2.0)).abs() < 1e-5, "{v} at {p}");
        }
        enlarge(&[0.7], Grid { rows: 1, cols: 1 }, 3, 3, &mut out);
        assert_eq!(out, [0.7; 9]);
    }

    proptest! {
        #[test]
        fn cosines_and_touched_patches_are_those_of_plain_loops(
            pairs in prop::collection::vec((-1f32..1.0, -1f32..1.0), 1..60), (width, height) in (1usize..30, 1usize..20),
            set in prop::collection::vec(0usize..600, 0..5), (rows, cols) in (1usize..5, 1usize..7),
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
            let ideal = dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt().max(1e-9);
            prop_assert!((f64::from(cosine(&a, &b)) - ideal).abs() < 1e-4);
            let grid = Grid { rows, cols };
            let mask: Vec<bool> = (0..width * height).map(|p| set.contains(&p)).collect();
            let mut plain = vec![false; grid.len()];
            (0..mask.len()).filter(|p| mask[*p]).for_each(|p| plain[patch_of(p, (width, height), grid)] = true);
            prop_assert_eq!(touched(&mask, width, grid), plain);
        }
    }
}
