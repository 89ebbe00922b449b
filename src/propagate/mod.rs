//! Labels carried from frames that have them to one that has not: each patch asks the patches near
//! its place in the earlier frames, and the most alike answer.
//!
//! The rule is that of DINO's DAVIS script (`label_propagation` in `eval_video_segmentation.py`):
//! `exp(cos / temperature)` inside a square window, the largest `top_k` over all contexts together
//! (and whatever equals the last of them), normalised to sum 1.

mod plain;
mod tiled;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use plain::propagate_plain;
pub use tiled::propagate;

use crate::{backbone::Features, mask::SoftLabels};

/// How labels are propagated. The defaults are the published protocol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PropagateConfig {
    /// A patch looks this many patches far in each direction, 0..=1000.
    pub radius: usize,
    /// How many patches answer, over all contexts together, 1..=1000; equals of the last one answer too.
    pub top_k: usize,
    /// Similarities are divided by this before the exponential, 0.001..=100.
    pub temperature: f32,
    /// How many previous frames are asked beside the anchor, 0..=64.
    pub context: usize,
}

impl Default for PropagateConfig {
    fn default() -> Self {
        Self { radius: 12, top_k: 5, temperature: 0.1, context: 7 }
    }
}

/// An earlier frame that can be asked.
#[derive(Clone, Debug)]
pub struct Memory {
    /// Its features.
    pub features: Arc<Features>,
    /// Its labels, on the same grid.
    pub labels: SoftLabels,
}

impl Memory {
    /// Whether patches of `query` can be compared with this frame's.
    fn fits(&self, query: &Features) -> bool {
        let n = query.grid.len();
        let Features { grid, dim, tokens, .. } = &*self.features;
        (*grid, *dim) == (query.grid, query.dim)
            && tokens.len() == n * dim
            && self.labels.channels > 0
            && self.labels.values.len() == n * self.labels.channels
    }
}

/// The contexts that `query` can be compared with, and the channels of the result: as many as the
/// richest of them has. A frame of another grid or width cannot answer and is left out.
fn comparable<'a>(query: &Features, contexts: &[&'a Memory]) -> (Vec<&'a Memory>, usize) {
    let whole = query.tokens.len() == query.grid.len() * query.dim && query.dim > 0;
    let contexts: Vec<&Memory> = contexts.iter().copied().filter(|memory| whole && memory.fits(query)).collect();
    let channels = contexts.iter().map(|memory| memory.labels.channels).max().unwrap_or(1);
    (contexts, channels)
}

#[cfg(test)]
mod tests;
