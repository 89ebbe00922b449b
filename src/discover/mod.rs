//! First masks from features alone: repeated normalised cuts of the patch graph, and what moved before a fixed camera.
//!
//! The cut is TokenCut's (Wang et al. 2022) repeated as in MaskCut (CutLER, Wang et al. 2023): two groups of patches
//! that resemble each other least; one is an object, is taken out of the graph, and the rest is cut again.

mod eigen;
mod graph;
pub mod motion;
pub mod region;
#[cfg(test)]
pub(crate) mod synthetic;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::backbone::{Features, Grid};
use graph::Graph;
use region::Connect;

/// Cosine above which patches are alike, for output tokens of DINOv2.
pub const TAU_DINOV2_TOKENS: f32 = 0.3;
/// Cosine above which patches are alike, for last-block keys of DINO v1 (TokenCut).
pub const TAU_DINO_KEYS: f32 = 0.2;

/// How instances are searched for in one frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiscoverConfig {
    /// Cosine above which two patches are alike, -1..1. Unset: what suits the weights, [`TAU_DINOV2_TOKENS`] or, set by
    /// the caller who knows that it has them, [`TAU_DINO_KEYS`].
    pub tau: Option<f32>,
    /// Most instances from one frame, 0..=255.
    pub max_instances: usize,
    /// Smallest instance, as a share of all patches; never less than two patches.
    pub min_area_fraction: f32,
    /// Largest instance, as a share of all patches: larger ones are background.
    pub max_area_fraction: f32,
    /// Largest share of the picture's border that an instance may hold: what runs along the edges is background.
    pub max_border_fraction: f32,
    /// Least share of an instance's look-alikes that lie within it, beyond chance, 0..1.
    pub min_score: f32,
}

impl Default for DiscoverConfig {
    fn default() -> Self {
        Self {
            tau: None,
            max_instances: 3,
            min_area_fraction: 0.01,
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
}

/// Proposals on one frame, best cut first, none overlapping; `covered` `(N)` patches belong to instances already and
/// take no part (a slice of another length covers nothing).
///
/// Works on `features.discovery`, else on `features.tokens`. The same input gives the same output.
pub fn discover(features: &Features, config: &DiscoverConfig, covered: &[bool]) -> Vec<Proposal> {
    let grid = features.grid;
    let values = features.discovery.as_ref().unwrap_or(&features.tokens);
    let n = grid.len();
    let least = ((config.min_area_fraction * n as f32).ceil() as usize).max(2);
    let most = (config.max_area_fraction * n as f32) as usize;
    let dim = values.len().checked_div(n).unwrap_or(0);
    let mut graph = Graph::new(values, n, dim, config.tau.unwrap_or(TAU_DINOV2_TOKENS));
    if covered.len() == n {
        graph.remove(covered);
    }
    let mut proposals = Vec::new();
    // A cut that is dropped uses a round as well: what it found is out of the graph and the next differs.
    for _ in 0..config.max_instances * 2 {
        graph.remove_small_islands(least);
        if proposals.len() == config.max_instances || graph.active_count() < least {
            break;
        }
        let Some(found) = cut(&graph, grid) else { break };
        let area = region::count(&found);
        // Any group of a uniform picture keeps its share of look-alikes: only what is beyond chance counts.
        let chance = area as f32 / graph.active_count().max(1) as f32;
        let score = if chance < 1.0 { ((graph.cohesion(&found) - chance) / (1.0 - chance)).max(0.0) } else { 0.0 };
        graph.remove(&found);
        let background = border_fraction(grid, &found) > config.max_border_fraction;
        if (least..=most).contains(&area) && !background && score >= config.min_score {
            proposals.push(Proposal { patches: found, score });
        }
    }
    proposals
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

/// One cut: the connected foreground that holds the patch farthest from zero.
fn cut(graph: &Graph, grid: Grid) -> Option<Vec<bool>> {
    let mut v = eigen::second_eigenvector(graph)?;
    let active: Vec<usize> = (0..graph.len()).filter(|&p| graph.is_active(p)).collect();
    let mut mean = active.iter().map(|&p| v[p]).sum::<f64>() / active.len() as f64;
    let strongest = active.iter().copied().max_by(|&a, &b| v[a].abs().total_cmp(&v[b].abs()))?;
    let corners = [0, grid.cols - 1, (grid.rows - 1) * grid.cols, grid.len() - 1];
    let high_corners = corners.iter().filter(|&&p| graph.is_active(p) && v[p] > mean).count();
    let low_corners = corners.iter().filter(|&&p| graph.is_active(p) && v[p] <= mean).count();
    // An object holds the strongest patch and at most two of the picture's corners.
    let high = v[strongest] > mean;
    let flip = if high { high_corners >= 3 } else { low_corners < 3 };
    if flip {
        v.iter_mut().for_each(|x| *x = -*x);
        mean = -mean;
    }
    let seed = active.iter().copied().max_by(|&a, &b| v[a].total_cmp(&v[b]))?;
    let foreground: Vec<bool> = (0..graph.len()).map(|p| graph.is_active(p) && v[p] > mean).collect();
    Some(region::component_of(grid, &foreground, seed, Connect::Four))
}
