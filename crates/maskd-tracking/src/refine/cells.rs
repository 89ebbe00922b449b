//! The labels of a frame's cells, for those patches where one label would not do.

use super::planes::shrink;
use maskd_types::{features::Grid, frame::Size, mask::SoftLabels};

/// No cells of their own: the patch's label is that of all its cells.
const NONE: u32 = u32::MAX;

/// Soft labels of cells. Only patches that instances share have any; each patch's soft label is the mean of its cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Cells {
    /// Cells along a side of a patch, S.
    side: usize,
    /// For each patch which block of `labels` is its own, or [`NONE`].
    blocks: Vec<u32>,
    /// `(blocks * S * S, K)`; not public, so that blocks and rows keep their count.
    labels: SoftLabels,
}

impl Cells {
    /// No patch has cells yet.
    pub fn new(patches: usize, side: usize, channels: usize) -> Self {
        Self { side, blocks: vec![NONE; patches], labels: SoftLabels { channels, values: Vec::new() } }
    }

    /// Cells along a side of a patch, S.
    pub fn side(&self) -> usize {
        self.side
    }

    /// Channels, K.
    pub fn channels(&self) -> usize {
        self.labels.channels
    }

    /// The labels of a patch's cells `(S * S, K)`, where it has any of its own.
    pub fn of_patch(&self, patch: usize) -> Option<&[f32]> {
        let block = *self.blocks.get(patch).filter(|block| **block != NONE)? as usize;
        let len = self.side * self.side * self.labels.channels;
        self.labels.values.get(block * len..)?.get(..len)
    }

    /// Gives a patch cells `(S * S, K)` in place of those that it has.
    pub fn put(&mut self, patch: usize, cells: &[f32]) {
        assert_eq!(cells.len(), self.side * self.side * self.labels.channels, "This is a bug.");
        if self.blocks[patch] == NONE {
            self.blocks[patch] = (self.labels.values.len() / cells.len()) as u32;
            self.labels.values.extend_from_slice(cells);
        } else {
            let start = self.blocks[patch] as usize * cells.len();
            self.labels.values[start..][..cells.len()].copy_from_slice(cells);
        }
    }

    /// The patch's label is that of all its cells again.
    pub fn forget(&mut self, patch: usize) {
        self.blocks[patch] = NONE;
    }

    /// Forgets the cells of the patches whose soft label is another in `now` than in `before`, both `(N, K)`.
    pub fn forget_changed(&mut self, before: &SoftLabels, now: &SoftLabels) {
        let rows = before.values.chunks_exact(before.channels).zip(now.values.chunks_exact(now.channels));
        for (block, (old, new)) in self.blocks.iter_mut().zip(rows) {
            // A channel that was added since and holds nothing changes nothing.
            let same = old.iter().zip(new).all(|(a, b)| (a - b).abs() < 1e-6)
                && new.iter().skip(old.len()).chain(old.iter().skip(new.len())).all(|v| *v == 0.0);
            if !same {
                *block = NONE;
            }
        }
    }

    /// Edits the channels of all cells alike.
    pub fn edit_channels(&mut self, edit: impl FnOnce(&mut SoftLabels)) {
        edit(&mut self.labels);
    }

    /// Gives `channel` what `mask` (one value per pixel of `size`) covers of each cell, and its mean to the patch's
    /// label in `soft` `(N, K)`: no finer truth about a mask can be kept.
    pub fn paint(&mut self, soft: &mut SoftLabels, grid: Grid, mask: &[bool], size: Size, channel: usize) {
        let (side, channels) = (self.side, soft.channels);
        if mask.len() != size.area() || size.area() == 0 || channel >= channels || channels != self.labels.channels {
            return;
        }
        let cols = grid.cols * side;
        let covered = shrink(
            |i| f32::from(u8::from(mask[i])),
            (size.height as usize, size.width as usize),
            (grid.rows * side, cols),
        );
        for patch in 0..grid.len() {
            let corner = patch / grid.cols * side * cols + patch % grid.cols * side;
            let shares: Vec<f32> = (0..side).flat_map(|row| &covered[corner + row * cols..][..side]).copied().collect();
            let share = shares.iter().sum::<f32>() / shares.len() as f32;
            if share <= 0.0 {
                continue;
            }
            let row = &mut soft.values[patch * channels..][..channels];
            let mut cells: Vec<f32> = match self.of_patch(patch) {
                Some(cells) => cells.to_vec(),
                None => row.repeat(side * side),
            };
            for (cell, share) in cells.chunks_exact_mut(channels).zip(&shares) {
                cell.iter_mut().for_each(|v| *v *= 1.0 - share);
                cell[channel] += share;
            }
            row.copy_from_slice(&mean(&cells, channels));
            self.put(patch, &cells);
        }
    }
}

/// The mean of rows of `channels` values.
pub(crate) fn mean(cells: &[f32], channels: usize) -> Vec<f32> {
    let mut sum = vec![0.0; channels];
    for cell in cells.chunks_exact(channels) {
        sum.iter_mut().zip(cell).for_each(|(sum, v)| *sum += v);
    }
    let count = (cells.len() / channels) as f32;
    sum.iter_mut().for_each(|v| *v /= count);
    sum
}
