//! Labels carried from frames that have them to one that has not: each patch asks the patches near
//! its place in the earlier frames, and takes the labels of the most alike.
//!
//! The rule is that of DINO's DAVIS script (`label_propagation` in `eval_video_segmentation.py`):
//! `exp(cos / temperature)` inside a square window, the largest `top_k` over all contexts together
//! (and whatever equals the last of them), normalised to sum 1.

mod plain;
mod tiled;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use plain::propagate_plain;
pub use tiled::{propagate, propagate_with_matches};

use maskd_types::{features::Features, mask::SoftLabels};

/// How labels are propagated. The defaults are what was measured to be best; [`Self::protocol`] is as published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PropagateConfig {
    /// A patch looks this many patches far in each direction, 0..=1000.
    pub radius: usize,
    /// How many matches a patch has, over all contexts together, 1..=1000; equals of the last one count too.
    pub top_k: usize,
    /// Similarities are divided by this before the exponential, 0.001..=100.
    pub temperature: f32,
    /// How many previous frames are asked beside the anchor, 0..=64.
    pub context: usize,
    /// Whether it is learnt what instances look like, to correct what was carried over by it, where people asked for some of
    /// them.
    pub target_model: bool,
}

impl Default for PropagateConfig {
    fn default() -> Self {
        Self { radius: 12, top_k: 10, temperature: 0.05, context: 7, target_model: true }
    }
}

impl PropagateConfig {
    /// The published protocol.
    pub fn protocol() -> Self {
        Self { radius: 12, top_k: 5, temperature: 0.1, context: 7, target_model: false }
    }
}

/// A patch of an earlier frame that a patch takes its label from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match {
    /// Its frame: the position in the contexts that were given.
    pub context: u32,
    /// The patch.
    pub source: u32,
    /// Its share of the result; those of one patch's matches sum to 1.
    pub weight: f32,
}

/// The top-k matches of each patch of a frame.
#[derive(Clone, Debug, Default)]
pub struct TopMatches {
    /// For each patch where its matches begin, and at the end where the last ones end: N + 1 positions.
    starts: Vec<u32>,
    all: Vec<Match>,
}

impl TopMatches {
    /// Number of patches, N.
    pub fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// Whether there is no patch.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The matches of one patch; none where there was nothing to compare with.
    pub fn of_patch(&self, patch: usize) -> &[Match] {
        match self.starts.get(patch..patch + 2) {
            Some(&[start, end]) => &self.all[start as usize..end as usize],
            _ => &[],
        }
    }

    /// From the matches of each patch, in order.
    pub fn from_patches(patches: impl IntoIterator<Item = Vec<Match>>) -> Self {
        let mut matches = Self { starts: vec![0], all: Vec::new() };
        for patch in patches {
            matches.all.extend(patch);
            matches.starts.push(matches.all.len() as u32);
        }
        matches
    }
}

/// A context frame: an earlier frame that labels are taken from.
#[derive(Clone, Debug)]
pub struct ContextFrame {
    /// Its features.
    pub features: Arc<Features>,
    /// Its labels, on the same grid.
    pub labels: SoftLabels,
}

impl ContextFrame {
    /// Whether patches of `query` can be compared with this frame's.
    fn fits(&self, query: &Features) -> bool {
        let n = query.grid.len();
        self.features.comparable(query)
            && self.features.fits()
            && self.labels.channels > 0
            && self.labels.values.len() == n * self.labels.channels
    }
}

/// The contexts that `query` can be compared with, each with its position, and the channels of the result: as many as the
/// richest of them has. A frame of another grid or width cannot be compared and is left out.
fn comparable<'a>(query: &Features, contexts: &[&'a ContextFrame]) -> (Vec<(usize, &'a ContextFrame)>, usize) {
    let whole = query.fits();
    let contexts: Vec<(usize, &ContextFrame)> =
        contexts.iter().copied().enumerate().filter(|(_, memory)| whole && memory.fits(query)).collect();
    let channels = contexts.iter().map(|(_, memory)| memory.labels.channels).max().unwrap_or(1);
    (contexts, channels)
}

#[cfg(test)]
mod tests;
