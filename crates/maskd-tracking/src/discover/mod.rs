//! First masks from features alone: many cuts of the patch graph, of which those that look like objects are kept, and
//! what moved, before a fixed camera or against a moving one.
//!
//! The normalised cut of TokenCut (Wang et al. 2022) finds one object in one picture. Here the leading eigenvectors of
//! several graphs are cut into few and into many groups; groups that contrast with their surroundings, come out of
//! many cuts and move on their own go first, and take their patches with them.

mod cluster;
mod eigen;
mod graph;
pub mod motion;
pub mod parallax;
pub mod product;
pub mod region;
mod salience;
#[cfg(test)]
pub(crate) mod synthetic;
#[cfg(test)]
mod tests;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use graph::Graph;
use maskd_types::features::{Features, Grid};

/// Cosine above which patches are alike, for output tokens of DINOv2.
pub const TAU_DINOV2_TOKENS: f32 = 0.3;
/// Cosine above which patches are alike, for last-block keys of DINO v1 (TokenCut).
pub const TAU_DINO_KEYS: f32 = 0.2;
/// A second graph joins only what is more alike by this much.
const STRICTER: f32 = 0.2;
/// Cosine above which patches are alike for the tokens that labels are propagated by.
const TAU_PROPAGATION: f32 = 0.5;
/// Numbers of groups that each graph is cut into.
const WAYS: [usize; 6] = [2, 3, 4, 6, 8, 12];
/// A group of which less than this is left when better ones have taken theirs is no proposal.
const LEFT: f32 = 0.7;

/// How instances are searched for in one frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiscoverConfig {
    /// Cosine above which two patches are alike, -1..1. Unset: what suits the weights, [`TAU_DINOV2_TOKENS`] or, set by
    /// the caller who knows that it has them, [`TAU_DINO_KEYS`].
    pub tau: Option<f32>,
    /// Whether, before a fixed camera, things that never moved are instances, too.
    #[serde(rename = "static")]
    pub include_static: bool,
    /// Most instances from one frame, 0..=255.
    pub max_instances: usize,
    /// Smallest instance, as a share of all patches; never less than two patches.
    pub min_area_fraction: f32,
    /// Largest instance, as a share of all patches: larger ones are background.
    pub max_area_fraction: f32,
    /// Largest share of the picture's border that an instance may hold: what runs along the edges is background.
    pub max_border_fraction: f32,
    /// Least difference to its surroundings (of mean cosines), 0..1.
    pub min_score: f32,
}

impl Default for DiscoverConfig {
    fn default() -> Self {
        Self {
            tau: None,
            include_static: false,
            max_instances: 3,
            min_area_fraction: 0.006,
            max_area_fraction: 0.4,
            max_border_fraction: 0.35,
            min_score: 0.1,
        }
    }
}

/// A set of patches that may be an instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// One per patch, `(N)`.
    pub patches: Vec<bool>,
    /// How well it stands out, 0..=1.
    pub score: f32,
    /// How much it looks like the object of the picture, at least 0: comparable within a stream.
    pub salience: f32,
}

/// Proposals on one frame, most salient first, none overlapping.
///
/// `covered` `(N)` patches belong to instances already and take no part; `residual` `(N)` is what
/// [`parallax::residual`] says (a slice of another length says nothing). Works on what the features have for discovery, else on
/// their tokens, and on both where there are both. The same input gives the same output.
pub fn discover(features: &Features, residual: &[f32], config: &DiscoverConfig, covered: &[bool]) -> Vec<Proposal> {
    let grid = features.grid;
    let n = grid.len();
    let values = features.discovery().unwrap_or(features.tokens());
    if n == 0 || values.is_empty() || !values.len().is_multiple_of(n) || config.max_instances == 0 {
        return Vec::new();
    }
    let least = ((config.min_area_fraction * n as f32).ceil() as usize).max(2);
    let most = (config.max_area_fraction * n as f32) as usize;
    let tau = config.tau.unwrap_or(TAU_DINOV2_TOKENS);
    let mut graphs = vec![(values, tau), (values, tau + STRICTER)];
    if features.discovery().is_some() && features.fits() {
        graphs.push((features.tokens(), TAU_PROPAGATION));
    }
    let groups: Vec<Vec<bool>> = graphs
        .into_par_iter()
        .flat_map(|(values, tau)| {
            let mut graph = Graph::new(values, n, values.len() / n, tau);
            if covered.len() == n {
                graph.remove(covered);
            }
            graph.remove_small_islands(least);
            let vectors = eigen::leading_vectors(&graph, WAYS[WAYS.len() - 1]);
            let active: Vec<bool> = (0..n).map(|p| graph.is_active(p)).collect();
            cluster::groups(grid, &vectors, &active, &WAYS, least)
        })
        .collect();
    let recurrence = salience::recurrence(&groups);
    let mut found: Vec<Proposal> = groups
        .into_par_iter()
        .zip(recurrence)
        .filter(|(set, _)| region::count(set) <= most && border_fraction(grid, set) <= config.max_border_fraction)
        .map(|(patches, recurrence)| {
            let score = salience::contrast(grid, values, &patches);
            let apart = 1.0 - salience::edge_contact(grid, &patches);
            let salience = score * apart * recurrence * salience::own_motion(residual, &patches);
            Proposal { patches, score, salience }
        })
        .filter(|proposal| proposal.score >= config.min_score)
        .collect();
    found.sort_by(|a, b| b.salience.total_cmp(&a.salience));
    keep_apart(found, least, config.max_instances)
}

/// The best proposals, each without the patches of those before it; what loses too much of itself goes.
fn keep_apart(found: Vec<Proposal>, least: usize, most: usize) -> Vec<Proposal> {
    let mut taken = vec![false; found.first().map_or(0, |p| p.patches.len())];
    let mut kept = Vec::new();
    for mut proposal in found {
        let all = region::count(&proposal.patches);
        region::subtract(&mut proposal.patches, &taken);
        let left = region::count(&proposal.patches);
        if left < least || (left as f32) < LEFT * all as f32 {
            continue;
        }
        region::unite(&mut taken, &proposal.patches);
        kept.push(proposal);
        if kept.len() == most {
            break;
        }
    }
    kept
}

/// The share of the picture's border patches that `set` holds.
fn border_fraction(grid: Grid, set: &[bool]) -> f32 {
    let on_border = |p: usize| {
        let (row, col) = (p / grid.cols, p % grid.cols);
        row == 0 || col == 0 || row + 1 == grid.rows || col + 1 == grid.cols
    };
    let all = (0..set.len()).filter(|&p| on_border(p)).count();
    let held = (0..set.len()).filter(|&p| set[p] && on_border(p)).count();
    held as f32 / all.max(1) as f32
}
