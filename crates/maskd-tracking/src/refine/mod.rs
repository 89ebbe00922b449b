//! Masks finer than the patch grid. A patch is cut into cells of 2 x 2 pixels of the network's input, and a patch
//! that instances share is decided cell by cell: the patches that match it (see [`crate::propagate`]) lend the
//! labels of those of their cells that have the same colour. The cells are then smoothed along the edges of the frame.
//!
//! ```text
//! frame -> Colours ┐
//! soft labels (N, K), matches, earlier Cells -> transfer -> Cells -> (tracker edits) -> render -> label map
//! ```

mod cells;
mod colours;
mod guided;
mod planes;
mod regrid;
mod render;
#[cfg(test)]
mod tests;
mod transfer;

use serde::{Deserialize, Serialize};

pub use cells::Cells;
pub(crate) use cells::mean;
pub use colours::Colours;
pub use guided::{Guide, guided_plain};
pub use regrid::Regrid;
pub use render::render;
pub use transfer::{Earlier, transfer, transfer_plain};

/// How masks get finer than the patch grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RefineConfig {
    /// Whether they do. Without it masks are read out as published: bilinearly, patch by patch.
    pub enabled: bool,
    /// Colours this far apart are different (root of summed squares, each of R, G and B in 0..1), 0.001..=10.
    pub colour_sigma: f32,
    /// Cells this far from the same place in their patches matter less, in cells, 0.1..=1000.
    pub place_sigma: f32,
    /// A patch is decided cell by cell when the share of any channel is further than this from 0 and 1, 0..=0.5;
    /// 0.5 never does.
    pub band: f32,
    /// The guided filter looks this many cells far in each direction, 0 (no filter) to 64.
    pub guided_radius: usize,
    /// Variances of colour below this are no edge to the guided filter, 1e-6..=1.
    pub guided_epsilon: f32,
}

impl Default for RefineConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            colour_sigma: 0.025,
            place_sigma: 4.0,
            band: 0.01,
            guided_radius: 4,
            guided_epsilon: 1e-4,
        }
    }
}
