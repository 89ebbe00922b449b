//! How alike the patches of a frame are, and what that says about which of them belong to a thing in an area.

use rayon::prelude::*;

use super::{
    area::{Area, at_rim},
    otsu,
};
use crate::discover::product;
use maskd_kernels as kernels;
use maskd_types::features::{Features, Grid};

/// More patches than this are compared in blocks, each by the mean of its tokens: time grows with the square.
const MOST_PATCHES: usize = 2400;
/// Alikeness of two patches: `exp(BROAD * (cosine - 1))`; its cube where small differences count.
const BROAD: f32 = 8.0;
/// Patches covered less than this are around an area.
const OUTSIDE: f32 = 0.05;
/// Patches covered more than this decide where the area is parted into thing and surroundings.
pub const INSIDE: f32 = 0.3;
/// How many of the patches around that are most alike a patch speak for its being of the surroundings.
const VOTES: usize = 5;
/// A patch of an area whose cosine to its surroundings is this far below that of every patch there to the others is of the
/// thing: where a thing of several looks fills its area, a threshold would part it.
const STRANGE: f32 = 0.15;
/// Steepness of the logarithm of odds: by the surroundings alone, and by both.
const STEEP: [f32; 2] = [3.0, 4.0];
/// Features alone do not say more than this.
const MOST: f32 = 2.5;
/// What of the surroundings counts however far it is, and how many patches away the rest counts 1/e.
const NEAR: (f32, f32) = (0.03, 3.0);
/// What patches of the area that do not look like the thing count among its surroundings.
const INNER: f32 = 0.3;

/// The alikeness of all pairs of patches of one frame.
pub struct Likeness {
    /// The grid of the patches that are compared.
    pub grid: Grid,
    /// The frame's patches along a side of one of them.
    pub factor: usize,
    /// `(N, N)`.
    alike: Vec<f32>,
    /// Mean cosine of each patch to those most alike of all others.
    company: Vec<f32>,
}

impl Likeness {
    /// Of all patches of a frame.
    pub fn of(features: &Features) -> Self {
        let factor = (1..).find(|f| pooled(features.grid, *f).len() <= MOST_PATCHES).unwrap_or(1);
        let (grid, dim) = (pooled(features.grid, factor), features.dim);
        let tokens = pool(features, grid, factor);
        let mut alike = vec![0.0; grid.len() * grid.len()];
        const ROWS: usize = 64;
        alike.par_chunks_mut(ROWS * grid.len()).zip(tokens.par_chunks(ROWS * dim)).for_each(|(alike, rows)| {
            alike.copy_from_slice(&product::similarities(rows, &tokens, dim));
            alike.iter_mut().for_each(|v| *v = BROAD * (*v - 1.0));
            kernels::exp(alike);
        });
        let mut likeness = Self { grid, factor, alike, company: Vec::new() };
        let all: Vec<usize> = (0..grid.len()).collect();
        likeness.company = all.par_iter().map(|&p| likeness.surrounded(p, &all)).collect();
        likeness
    }

    /// How alike each patch is to this one.
    pub fn row(&self, patch: usize) -> &[f32] {
        &self.alike[patch * self.grid.len()..][..self.grid.len()]
    }

    /// The logarithm of the odds that each patch of an area belongs to the thing in it; those outside are not judged.
    ///
    /// The patches of the area that are least like what is around it are the thing at first; then its likeness to them counts
    /// as well. Where the thing ends is the threshold that parts the patches of the area best. `known` is added to what
    /// features say, patch by patch.
    pub fn odds(&self, area: Area, known: Option<&[f32]>) -> Vec<f32> {
        let cover = area.cover(self.grid);
        let known = |p: usize| known.map_or(0.0, |known| known[p]);
        let around = self.around(&cover);
        let inside: Vec<usize> = (0..cover.len()).filter(|&p| cover[p] > 0.0).collect();
        let surrounded: Vec<f32> = inside.par_iter().map(|&p| self.surrounded(p, &around)).collect();
        let strange = around.iter().map(|&p| self.company[p]).fold(f32::INFINITY, f32::min) - STRANGE;
        let first: Vec<f32> = surrounded.iter().map(|v| -v).collect();
        let first = parted(&first, &inside, &cover, STEEP[0], -strange);

        let mut thing = vec![0.0; cover.len()];
        let mut ground: Vec<f32> = (0..cover.len())
            .map(|p| {
                let (least, reach) = NEAR;
                (1.0 - cover[p]) * (least + (-area.distance(self.grid, p) / reach).exp())
            })
            .collect();
        for (&p, odds) in inside.iter().zip(&first) {
            thing[p] = cover[p] / (1.0 + (-(odds + known(p))).exp());
            ground[p] += INNER * (cover[p] - thing[p]);
        }
        let (all_thing, all_ground) = (thing.iter().sum::<f32>() + 1e-9, ground.iter().sum::<f32>() + 1e-9);
        let both = |(&p, surrounded): (&usize, &f32)| {
            let (mut like, mut unlike) = (0.0, 0.0);
            for ((alike, thing), ground) in self.row(p).iter().zip(&thing).zip(&ground) {
                let sharp = alike * alike * alike;
                like += sharp * thing;
                unlike += sharp * ground;
            }
            (like / all_thing + 1e-9).ln() - (unlike / all_ground + 1e-9).ln() - 3.0 * BROAD * surrounded
        };
        let second: Vec<f32> = inside.par_iter().zip(&surrounded).map(both).collect();
        let judged = inside.iter().zip(&surrounded).zip(&second);
        let least = judged
            .filter(|((p, surrounded), _)| cover[**p] > INSIDE && **surrounded < strange)
            .fold(f32::INFINITY, |least, (_, score)| least.min(score - 1e-3));
        let mut odds = vec![-MOST; cover.len()];
        for (&p, value) in inside.iter().zip(parted(&second, &inside, &cover, STEEP[1], least)) {
            odds[p] = value + known(p);
        }
        odds
    }

    /// The patches around an area. Where it leaves next to none, the rim of the picture stands for them.
    fn around(&self, cover: &[f32]) -> Vec<usize> {
        let outside: Vec<usize> = (0..cover.len()).filter(|&p| cover[p] < OUTSIDE).collect();
        if outside.len() >= VOTES {
            return outside;
        }
        (0..cover.len()).filter(|&p| at_rim(self.grid, p)).collect()
    }

    /// Mean cosine of a patch to those most alike of `around`.
    fn surrounded(&self, patch: usize, around: &[usize]) -> f32 {
        let row = self.row(patch);
        let mut best = [0f32; VOTES];
        for &q in around.iter().filter(|&&q| q != patch) {
            let mut alike = row[q];
            if alike <= best[VOTES - 1] {
                continue;
            }
            for slot in &mut best {
                if alike > *slot {
                    std::mem::swap(&mut alike, slot);
                }
            }
        }
        let voters = best.iter().filter(|v| **v > 0.0);
        let (sum, count) = voters.fold((0.0, 0), |(sum, n), alike| (sum + 1.0 + alike.ln() / BROAD, n + 1));
        sum / count.max(1) as f32
    }
}

/// Scores of the patches `inside` to odds: 0 where Otsu's threshold is, or at `most`; `steep` for as much as the two groups
/// differ.
fn parted(scores: &[f32], inside: &[usize], cover: &[f32], steep: f32, most: f32) -> Vec<f32> {
    let judged = inside.iter().zip(scores).filter(|(p, _)| cover[**p] > INSIDE).map(|(p, score)| (*score, cover[*p]));
    match otsu::threshold(judged.collect()) {
        // All alike: of the thing, or features say nothing.
        None => scores.iter().map(|score| if *score > most { MOST } else { 0.0 }).collect(),
        Some(otsu::Threshold { at, apart }) => {
            scores.iter().map(|score| (steep * (score - at.min(most)) / apart).clamp(-MOST, MOST)).collect()
        }
    }
}

/// The grid of blocks of `factor` patches a side.
fn pooled(grid: Grid, factor: usize) -> Grid {
    Grid { rows: grid.rows.div_ceil(factor), cols: grid.cols.div_ceil(factor) }
}

/// The normalised mean token of each block.
fn pool(features: &Features, grid: Grid, factor: usize) -> Vec<f32> {
    let (dim, cols) = (features.dim, features.grid.cols);
    let mut tokens = vec![0.0; grid.len() * dim];
    for (p, token) in features.patches().enumerate() {
        let block = p / cols / factor * grid.cols + p % cols / factor;
        tokens[block * dim..][..dim].iter_mut().zip(token).for_each(|(sum, v)| *sum += v);
    }
    for token in tokens.chunks_exact_mut(dim.max(1)) {
        let length = token.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-9);
        token.iter_mut().for_each(|v| *v /= length);
    }
    tokens
}
