//! What changed in front of a fixed camera: proposals that a global cut is too coarse for.
//!
//! A slowly adapting mean feature per patch is the empty scene; patches that differ from it hold something that came.
//! Small pedestrians in a wide view are a few patches among hundreds: no cut finds them, their features give them away.
//! When the camera itself moves most patches differ, and the cue says nothing.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{
    Proposal,
    region::{self, Connect},
};
use maskd_types::features::{Features, Grid, cosine};

/// When a patch counts as changed. Distances are `1 - cosine`, 0..2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MotionConfig {
    /// Whether motion is looked for at all.
    pub enabled: bool,
    /// Distance to the empty scene above which a patch has changed; the patch's usual noise comes on top.
    pub distance: f32,
    /// Distance by which a group of changed patches is taken apart where its cores are separate.
    pub split_distance: f32,
    /// Share of the new frame that goes into the empty scene, each frame.
    pub adapt: f32,
    /// Frames from which the empty scene is learnt before anything is proposed.
    pub warm_up_frames: u32,
    /// What has not stirred for this many frames is part of the scene; 0 never.
    pub absorb_after_frames: u32,
    /// Smallest group of changed patches that is proposed.
    pub min_patches: usize,
    /// The camera moves when the median patch is farther than this from the empty scene.
    pub still_distance: f32,
    /// The camera moves, or the light changed, when a larger share of patches than this has changed.
    pub max_changed_fraction: f32,
}

impl Default for MotionConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            distance: 0.2,
            split_distance: 0.5,
            adapt: 0.02,
            warm_up_frames: 5,
            absorb_after_frames: 100,
            min_patches: 2,
            still_distance: 0.05,
            max_changed_fraction: 0.4,
        }
    }
}

/// Changed patches learn this much slower: what stands still for seconds is not yet furniture.
const CHANGED: f32 = 0.2;
/// Patches of a followed instance learn this much slower.
const OWNED: f32 = 0.02;
/// A patch that looks this much like its unchanged surroundings can be ground that was uncovered.
const GHOST_SIMILARITY: f32 = 0.7;
/// And must do so by this much more than what was there before.
const GHOST_MARGIN: f32 = 0.15;
/// A patch stirs when its distance to the empty scene changes by this much from one frame to the next.
const STIRRED: f32 = 0.03;
/// Surroundings closer to the empty scene than this are surely ground.
const WITNESS: f32 = 0.05;
/// How far a patch looks around for unchanged surroundings, in patches.
const GHOST_REACH: usize = 2;

/// What a frame says about motion.
#[derive(Clone, Debug, PartialEq)]
pub struct Motion {
    /// Patches that differ from the empty scene, `(N)`; none while the camera moves or the scene is being learnt.
    pub changed: Vec<bool>,
    /// Distance of each patch to the empty scene, `(N)`.
    pub distance: Vec<f32>,
    /// Whether `changed` means anything: the camera stands still and the scene is known.
    pub usable: bool,
}

/// The empty scene of one stream, learnt from its frames.
#[derive(Clone, Debug)]
pub struct Background {
    grid: Grid,
    /// Unnormalised mean features `(N, C)`.
    mean: Vec<f32>,
    /// Mean distance of each patch to `mean`, `(N)`.
    noise: Vec<f32>,
    /// Distance of each patch in the frame before, `(N)`.
    last: Vec<f32>,
    /// Frames since that distance stirred, `(N)`.
    steady: Vec<u32>,
    /// Patches whose place in `mean` was replaced by ground that something uncovered, `(N)`.
    uncovered: Vec<bool>,
    /// Patches that were never seen empty: an instance stood on or beside them while the scene was learnt, `(N)`.
    covered: Vec<bool>,
    /// Frames in `mean`.
    seen: u32,
}

impl Background {
    /// A scene that nothing is known about.
    pub fn new() -> Self {
        Self {
            grid: Grid { rows: 0, cols: 0 },
            mean: Vec::new(),
            noise: Vec::new(),
            last: Vec::new(),
            steady: Vec::new(),
            uncovered: Vec::new(),
            covered: Vec::new(),
            seen: 0,
        }
    }

    /// Compares a frame with the empty scene, then learns from it. `owned` `(N)` are the patches of instances that
    /// are followed already: they hardly count as scene.
    pub fn observe(&mut self, features: &Features, owned: &[bool], config: &MotionConfig) -> Motion {
        let (grid, dim, n) = (features.grid, features.dim, features.grid.len());
        let still = Motion { changed: vec![false; n], distance: vec![0.0; n], usable: false };
        if !config.enabled || !features.fits() {
            return still;
        }
        if self.seen == 0 || self.grid != grid || self.mean.len() != n * dim {
            self.restart(features);
            return still;
        }
        let distance: Vec<f32> =
            features.patches().zip(self.mean.chunks_exact(dim)).map(|(x, mean)| 1.0 - cosine(x, mean)).collect();
        let mut changed: Vec<bool> =
            distance.iter().zip(&self.noise).map(|(d, noise)| *d > config.distance + noise).collect();
        let moving = median(&distance) > config.still_distance
            || region::count(&changed) as f32 > config.max_changed_fraction * n as f32;
        if moving {
            self.restart(features);
            return Motion { distance, ..still };
        }
        self.uncover(features, owned, &mut changed, config.warm_up_frames);
        self.forget_ghosts(features, &distance, &mut changed);
        self.absorb_furniture(features, &distance, &mut changed, config.absorb_after_frames);
        self.learn(features, &distance, &changed, owned, config);
        let usable = self.seen > config.warm_up_frames;
        if !usable {
            changed.fill(false);
        }
        Motion { changed, distance, usable }
    }

    fn restart(&mut self, features: &Features) {
        self.grid = features.grid;
        features.tokens().clone_into(&mut self.mean);
        self.noise = vec![0.0; features.grid.len()];
        self.last = vec![0.0; features.grid.len()];
        self.steady = vec![0; features.grid.len()];
        self.uncovered = vec![false; features.grid.len()];
        self.covered = vec![false; features.grid.len()];
        self.seen = 1;
    }

    /// Where a followed instance stood while the scene was learnt, the scene is first seen when it has moved on.
    fn uncover(&mut self, features: &Features, owned: &[bool], changed: &mut [bool], warm_up: u32) {
        if owned.len() != changed.len() {
            return;
        }
        // Features see around a thing: beside it the ground looks different too.
        let near = region::dilate(features.grid, owned, 1);
        if self.seen <= warm_up {
            region::unite(&mut self.covered, &near);
        }
        let dim = features.dim;
        for p in 0..changed.len() {
            changed[p] &= !self.covered[p];
            if self.covered[p] && !near[p] {
                self.mean[p * dim..][..dim].copy_from_slice(features.patch(p));
                self.covered[p] = false;
            }
        }
    }

    /// Something that was there from the start and left uncovers ground that the scene never held: such a patch
    /// resembles its unchanged surroundings, and what the scene remembers there does not.
    fn forget_ghosts(&mut self, features: &Features, distance: &[f32], changed: &mut [bool]) {
        let (grid, dim) = (features.grid, features.dim);
        let now = |p: usize| features.patch(p);
        let was = changed.to_vec();
        for patch in (0..was.len()).filter(|&p| was[p]) {
            let (row, col) = (patch / grid.cols, patch % grid.cols);
            let (mut like_now, mut like_before) = (-1f32, -1f32);
            for r in row.saturating_sub(GHOST_REACH)..=(row + GHOST_REACH).min(grid.rows - 1) {
                for c in col.saturating_sub(GHOST_REACH)..=(col + GHOST_REACH).min(grid.cols - 1) {
                    let q = r * grid.cols + c;
                    // A patch that was itself taken for uncovered ground is no witness: one error would spread.
                    if !was[q] && !self.uncovered[q] && distance[q] < WITNESS {
                        like_now = like_now.max(cosine(now(patch), now(q)));
                        like_before = like_before.max(cosine(&self.mean[patch * dim..][..dim], now(q)));
                    }
                }
            }
            if like_now > GHOST_SIMILARITY && like_now > like_before + GHOST_MARGIN {
                self.mean[patch * dim..][..dim].copy_from_slice(now(patch));
                self.uncovered[patch] = true;
                changed[patch] = false;
            }
        }
    }

    /// What came and then stands as still as the scene does is the scene, whoever follows it. It also heals what
    /// [`Background::forget_ghosts`] got wrong.
    fn absorb_furniture(&mut self, features: &Features, distance: &[f32], changed: &mut [bool], after: u32) {
        let dim = features.dim;
        for p in 0..distance.len() {
            let stirred = (distance[p] - self.last[p]).abs() > STIRRED;
            self.steady[p] = if stirred { 0 } else { self.steady[p].saturating_add(1) };
            self.last[p] = distance[p];
            if changed[p] && after > 0 && self.steady[p] >= after {
                self.mean[p * dim..][..dim].copy_from_slice(features.patch(p));
                (self.steady[p], self.last[p]) = (0, 0.0);
                changed[p] = false;
            }
        }
    }

    fn learn(
        &mut self,
        features: &Features,
        distance: &[f32],
        changed: &[bool],
        owned: &[bool],
        config: &MotionConfig,
    ) {
        let dim = features.dim;
        self.seen = self.seen.saturating_add(1);
        let base = config.adapt.max(1.0 / self.seen as f32);
        for (p, (mean, x)) in self.mean.chunks_exact_mut(dim).zip(features.patches()).enumerate() {
            let slower = if owned.get(p) == Some(&true) {
                OWNED
            } else if changed[p] && self.seen > config.warm_up_frames {
                CHANGED
            } else {
                1.0
            };
            let rate = base * slower;
            mean.iter_mut().zip(x).for_each(|(m, x)| *m += rate * (x - *m));
            // Never faster: who walks by while the scene is learnt must not make the place blind.
            self.noise[p] += config.adapt * slower * (distance[p] - self.noise[p]);
        }
    }
}

impl Default for Background {
    fn default() -> Self {
        Self::new()
    }
}

/// The groups of changed patches that are not `covered`, largest distance first; each scores its mean distance.
///
/// A group whose cores, patches above `split_distance`, are separate is taken apart: two people who pass each other
/// share the patches between them.
pub fn proposals(motion: &Motion, grid: Grid, covered: &[bool], config: &MotionConfig) -> Vec<Proposal> {
    let mut open = motion.changed.clone();
    region::subtract(&mut open, covered);
    let mut found = Vec::new();
    for part in region::components(grid, &open, Connect::Eight) {
        let core: Vec<bool> = (0..part.len()).map(|p| part[p] && motion.distance[p] > config.split_distance).collect();
        let mut cores = region::components(grid, &core, Connect::Eight);
        cores.retain(|core| region::count(core) >= config.min_patches);
        if cores.len() > 1 {
            found.extend(grow(grid, &part, cores));
        } else {
            found.push(part);
        }
    }
    found.retain(|part| region::count(part) >= config.min_patches);
    let score = |part: &[bool]| {
        let sum: f32 = (0..part.len()).filter(|&p| part[p]).map(|p| motion.distance[p]).sum();
        (sum / region::count(part) as f32).clamp(0.0, 1.0)
    };
    let mut found: Vec<Proposal> = found
        .into_iter()
        .map(|patches| (score(&patches), patches))
        .map(|(score, patches)| Proposal { patches, score, salience: score })
        .collect();
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found
}

/// Gives every patch of `whole` to the core that reaches it first.
fn grow(grid: Grid, whole: &[bool], mut cores: Vec<Vec<bool>>) -> Vec<Vec<bool>> {
    let mut left = whole.to_vec();
    let mut open = VecDeque::new();
    for (k, core) in cores.iter().enumerate() {
        region::subtract(&mut left, core);
        open.extend((0..core.len()).filter(|&p| core[p]).map(|p| (k, p)));
    }
    while let Some((k, patch)) = open.pop_front() {
        region::neighbours(grid, patch, Connect::Eight, |next| {
            if left[next] {
                left[next] = false;
                cores[k][next] = true;
                open.push_back((k, next));
            }
        });
    }
    cores
}

fn median(values: &[f32]) -> f32 {
    let mut sorted = values.to_vec();
    let middle = sorted.len() / 2;
    if sorted.is_empty() { 0.0 } else { *sorted.select_nth_unstable_by(middle, f32::total_cmp).1 }
}
