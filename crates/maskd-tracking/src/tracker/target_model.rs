//! What the instances of a stream look like against everything else: a ridge regression from a patch's token to its labels.
//!
//! Labels that go from frame to frame lose what they once lost: a hole in a mask is remembered as background, and is
//! background to every later frame. The regression is solved from the frames whose labels were given and from a slowly
//! moving mean of all later ones, so that a part of a thing is still told from the scene after its label was lost.
//! A target model of this kind, on a network's features, is in Robinson et al. 2020 ("Learning fast and robust target
//! models for video object segmentation"); here it is linear and has a closed form.

use rayon::prelude::*;

use crate::{
    discover::product::{dot, outer_products},
    propagate::ContextFrame,
};
use maskd_types::{features::Features, mask::SoftLabels};

// The constants below were chosen on five sequences of DAVIS 2016's training part (dance-jump, drift-turn, motorbike,
// rollerblade, scooter-gray, 30 frames each), played forth, back and forth.

/// Share of the recent frames in what is solved for; those that were given have the rest.
const RECENT: f32 = 0.2;
/// Share of the newest frame in the mean of the recent ones.
const RATE: f32 = 0.1;
/// Weight of all background patches of a frame together; all instances together have the rest, each the same.
const BACKGROUND: f32 = 0.5;
/// Patches without a label of at least this share teach nothing.
const CERTAIN: f32 = 0.6;
/// The ridge: what is added to the diagonal, where the gram matrix of unit tokens has a trace of about 1.
const RIDGE: f32 = 1e-3;
/// The constant input beside a token's channels.
const BIAS: f32 = 0.5;
/// Conjugate gradient steps; they start from the weights of the frame before.
const STEPS: usize = 30;

/// Weighted sums over labelled patches, of which the regression is solved.
#[derive(Clone)]
struct Moments {
    /// `(D, D)`: tokens by tokens; D is C and the constant.
    gram: Vec<f32>,
    /// `(K, D)`: labels by tokens.
    cross: Vec<f32>,
}

impl Moments {
    /// Of one frame. Its classes weigh the same whatever their areas.
    fn of(ContextFrame { features, labels }: &ContextFrame) -> Self {
        let (channels, tokens, dim) = (labels.channels, with_constant(features), features.dim + 1);
        let certain = |row: &&[f32]| row.iter().any(|share| *share >= CERTAIN);
        let mut mass = vec![0f32; channels];
        for row in labels.values.chunks_exact(channels).filter(certain) {
            mass.iter_mut().zip(row).for_each(|(mass, share)| *mass += share);
        }
        let seen = mass.iter().skip(1).filter(|mass| **mass > 0.5).count().max(1) as f32;
        let weigh = |(channel, mass): (usize, &f32)| {
            let of_class = if channel == 0 { BACKGROUND } else { (1.0 - BACKGROUND) / seen };
            of_class / mass.max(1.0)
        };
        let weight_of: Vec<f32> = mass.iter().enumerate().map(weigh).collect();

        let mut weighted = vec![0f32; tokens.len()];
        let mut cross = vec![0f32; channels * dim];
        let rows =
            labels.values.chunks_exact(channels).zip(tokens.chunks_exact(dim)).zip(weighted.chunks_exact_mut(dim));
        for ((row, token), weighted) in rows.filter(|((row, _), _)| certain(row)) {
            let weight: f32 = row.iter().zip(&weight_of).map(|(share, weight)| share * weight).sum();
            weighted.iter_mut().zip(token).for_each(|(out, x)| *out = weight * x);
            for (cross, share) in cross.chunks_exact_mut(dim).zip(row).filter(|(_, share)| **share > 0.0) {
                cross.iter_mut().zip(&*weighted).for_each(|(out, x)| *out += share * x);
            }
        }
        Self { gram: outer_products(&weighted, &tokens, dim), cross }
    }

    /// Moves the share `rate` of the way to `other`.
    fn blend(&mut self, other: &Self, rate: f32) {
        let blend = |mine: &mut [f32], theirs: &[f32]| {
            mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine += rate * (theirs - *mine));
        };
        blend(&mut self.gram, &other.gram);
        blend(&mut self.cross, &other.cross);
    }
}

/// The regression, and the sums that it is solved from.
#[derive(Clone, Default)]
pub struct TargetModel {
    channels: usize,
    /// Channels of a token, and the constant.
    dim: usize,
    given: Option<Moments>,
    recent: Option<Moments>,
    /// `(K, D)`.
    weights: Vec<f32>,
}

impl TargetModel {
    /// From the frames whose labels were given, all with the same channels, and the newest of the others.
    pub fn of<'a>(given: impl Iterator<Item = &'a ContextFrame>, newest: Option<&ContextFrame>) -> Self {
        let mut model = Self::default();
        for (nth, frame) in given.enumerate() {
            let fits = model.fits(frame);
            match &mut model.given {
                None => {
                    (model.channels, model.dim) = (frame.labels.channels, frame.features.dim + 1);
                    model.given = Some(Moments::of(frame));
                }
                Some(given) if fits => given.blend(&Moments::of(frame), 1.0 / (nth + 1) as f32),
                Some(_) => {}
            }
        }
        model.recent = newest.filter(|frame| model.fits(frame)).map(Moments::of);
        model.weights = vec![0.0; model.channels * model.dim];
        model.solve();
        model
    }

    /// Whether the frame has the model's instances, and tokens of its width.
    pub fn fits(&self, frame: &ContextFrame) -> bool {
        self.knows(frame.labels.channels, &frame.features)
    }

    fn knows(&self, channels: usize, features: &Features) -> bool {
        self.given.is_some() && (self.channels, self.dim) == (channels, features.dim + 1)
    }

    /// Learns from one more frame that [`Self::fits`].
    pub fn learn(&mut self, frame: &ContextFrame) {
        let moments = Moments::of(frame);
        match &mut self.recent {
            Some(recent) => recent.blend(&moments, RATE),
            None => self.recent = Some(moments),
        }
        self.solve();
    }

    /// What each patch's labels should be `(N, K)` by what it looks like: near 0 to 1, not bounded. `None` where nothing
    /// was learnt of these channels or of such tokens.
    pub fn scores(&self, features: &Features, channels: usize) -> Option<SoftLabels> {
        if !self.knows(channels, features) {
            return None;
        }
        let score = |token: &[f32]| {
            let score = |weights: &[f32]| dot(token, &weights[..token.len()]) + BIAS * weights[token.len()];
            self.weights.chunks_exact(self.dim).map(score).collect::<Vec<_>>()
        };
        Some(SoftLabels { channels, values: features.patches().flat_map(score).collect() })
    }

    /// Solves `(gram + ridge) w = cross` for each channel, by conjugate gradients (Hestenes and Stiefel 1952).
    fn solve(&mut self) {
        let Some(given) = &self.given else { return };
        let mut all = given.clone();
        if let Some(recent) = &self.recent {
            all.blend(recent, RECENT);
        }
        let dim = self.dim;
        all.gram.iter_mut().step_by(dim + 1).for_each(|diagonal| *diagonal += RIDGE);
        let (gram, pairs) = (&all.gram, self.weights.par_chunks_exact_mut(dim).zip(all.cross.par_chunks_exact(dim)));
        pairs.for_each(|(weights, wanted)| conjugate_gradients(gram, wanted, weights));
    }
}

fn conjugate_gradients(matrix: &[f32], wanted: &[f32], solution: &mut [f32]) {
    let apply = |x: &[f32]| matrix.chunks_exact(x.len()).map(|row| dot(row, x)).collect::<Vec<f32>>();
    let mut residual: Vec<f32> = wanted.iter().zip(apply(solution)).map(|(b, ax)| b - ax).collect();
    let mut direction = residual.clone();
    let mut size = dot(&residual, &residual);
    for _ in 0..STEPS {
        let image = apply(&direction);
        let curvature = dot(&direction, &image);
        // Solved, or not a number.
        if !(size > 1e-14 && curvature > 0.0) {
            return;
        }
        let step = size / curvature;
        solution.iter_mut().zip(&direction).for_each(|(x, d)| *x += step * d);
        residual.iter_mut().zip(&image).for_each(|(r, i)| *r -= step * i);
        let next = dot(&residual, &residual);
        direction.iter_mut().zip(&residual).for_each(|(d, r)| *d = r + next / size * *d);
        size = next;
    }
}

/// Tokens `(N, C)` with the constant beside them `(N, C + 1)`.
fn with_constant(features: &Features) -> Vec<f32> {
    features.patches().flat_map(|token| token.iter().copied().chain([BIAS])).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use maskd_types::features::Grid;

    const GRID: Grid = Grid { rows: 4, cols: 6 };
    const DIM: usize = 5;

    /// Patches of three looks, one for each of background and two instances, with some noise; labels by `of`.
    fn frame(seed: usize, of: impl Fn(usize) -> usize) -> ContextFrame {
        let noise = |patch: usize, c: usize| ((patch * 7 + c * 13 + seed * 5) % 11) as f32 / 110.0;
        let token = |patch: usize| {
            let look = patch % 3;
            let raw: Vec<f32> = (0..DIM).map(|c| f32::from(u8::from(c == look)) + noise(patch, c)).collect();
            let length = dot(&raw, &raw).sqrt();
            raw.into_iter().map(move |x| x / length)
        };
        let features = Arc::new(Features::new(GRID, DIM, (0..GRID.len()).flat_map(token).collect::<Vec<_>>()));
        let mut values = vec![0.0; GRID.len() * 3];
        (0..GRID.len()).for_each(|patch| values[patch * 3 + of(patch)] = 1.0);
        ContextFrame { features, labels: SoftLabels { channels: 3, values } }
    }

    #[test]
    fn sums_are_the_naive_ones() {
        let frame = frame(1, |patch| patch % 3);
        let moments = Moments::of(&frame);
        let (tokens, dim) = (with_constant(&frame.features), DIM + 1);
        // Each class has a third of the patches: background weighs a half of all, each instance a quarter.
        let weight = |patch: usize| if patch.is_multiple_of(3) { 0.5 / 8.0 } else { 0.25 / 8.0 };
        for i in 0..dim {
            for j in 0..dim {
                let sum: f32 = (0..GRID.len()).map(|p| weight(p) * tokens[p * dim + i] * tokens[p * dim + j]).sum();
                assert!((moments.gram[i * dim + j] - sum).abs() < 1e-5, "gram {i} {j}");
            }
            for k in 0..3 {
                let of_class = (0..GRID.len()).filter(|p| p % 3 == k);
                let sum: f32 = of_class.map(|p| weight(p) * tokens[p * dim + i]).sum();
                assert!((moments.cross[k * dim + i] - sum).abs() < 1e-5, "cross {k} {i}");
            }
        }
    }

    #[test]
    fn the_equations_are_solved() {
        let frame = frame(2, |patch| patch % 3);
        let model = TargetModel::of([&frame].into_iter(), None);
        let moments = Moments::of(&frame);
        let dim = DIM + 1;
        for (weights, wanted) in model.weights.chunks_exact(dim).zip(moments.cross.chunks_exact(dim)) {
            for (i, wanted) in wanted.iter().enumerate() {
                let found = dot(&moments.gram[i * dim..][..dim], weights) + RIDGE * weights[i];
                assert!((found - wanted).abs() < 1e-5, "{found} for {wanted}");
            }
        }
    }

    #[test]
    fn a_thing_is_known_after_its_label_was_lost() {
        let given = frame(3, |patch| patch % 3);
        let mut model = TargetModel::of([&given].into_iter(), None);
        // From now on the second instance is taken for background.
        for seed in 4..12 {
            model.learn(&frame(seed, |patch| if patch % 3 == 2 { 0 } else { patch % 3 }));
        }
        let scores = model.scores(&frame(20, |_| 0).features, 3).unwrap();
        for (patch, row) in scores.values.chunks_exact(3).enumerate() {
            let best = (0..3).max_by(|a, b| row[*a].total_cmp(&row[*b]));
            assert_eq!(best, Some(patch % 3), "{row:?}");
        }
        assert!(model.scores(&given.features, 4).is_none(), "another set of instances");
        assert!(TargetModel::default().scores(&given.features, 3).is_none());
    }
}
