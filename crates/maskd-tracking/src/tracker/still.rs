//! What a fixed camera allows: labels of instances that were found by motion are corrected by it, frame for frame.
//!
//! Propagated labels diffuse, and people look alike. Where the empty scene is known, an instance that was found because
//! it moved is one group of changed patches that cannot jump, and the changed patches beside it are its own.

use super::{Tracker, channels, step::Step};
use crate::discover::{
    motion::{Motion, cosine},
    region::{self, Connect},
};

/// How much less likely background is where the scene differs, and an instance where it does not.
const UNLIKELY: f32 = 0.25;
/// How far an instance may come in a frame, in patches.
const STRIDE: usize = 2;
/// A changed patch beside an instance is part of it when it resembles it by this much (cosine).
const SAME: f32 = 0.5;

impl Tracker {
    /// Corrects the labels of all instances found by motion.
    pub(super) fn correct_by_motion(&mut self, step: &mut Step, motion: &Motion) {
        let grid = step.grid();
        let near = 0.5 * self.config.motion.distance;
        let moving: Vec<bool> = std::iter::once(false).chain(self.tracks.iter().map(|t| t.by_motion)).collect();
        for (p, row) in step.soft.values.chunks_exact_mut(step.soft.channels).enumerate() {
            let before: f32 = row.iter().sum();
            if motion.changed[p] {
                row[0] *= UNLIKELY;
            } else {
                let keep = if motion.distance[p] < near { 0.0 } else { UNLIKELY };
                row.iter_mut().zip(&moving).filter(|(_, moving)| **moving).for_each(|(v, _)| *v *= keep);
            }
            let after: f32 = row.iter().sum();
            if after > 0.0 {
                row.iter_mut().for_each(|v| *v *= before / after);
            } else {
                row[0] = before;
            }
        }
        for (k, track) in self.tracks.iter().enumerate().filter(|(_, t)| t.by_motion) {
            if track.held.len() == grid.len() && !track.adrift {
                let reach = STRIDE + track.unseen.min(grid.len() as u32) as usize;
                let within = region::dilate(grid, &track.held, reach.min(grid.rows.max(grid.cols)));
                channels::fade(&mut step.soft, k + 1, 0.0, |p| !within[p]);
            }
            let held = step.patches_of(k + 1);
            let main = region::largest(grid, &held, Connect::Eight);
            channels::fade(&mut step.soft, k + 1, 0.0, |p| held[p] && !main[p]);
        }
        self.fill(step, motion);
    }

    /// Gives changed patches that nobody holds to the instance beside them that they resemble most.
    fn fill(&mut self, step: &mut Step, motion: &Motion) {
        let (grid, dim) = (step.grid(), step.features.dim);
        let owners = channels::owners(&step.soft);
        let mut gains = vec![vec![false; grid.len()]; self.tracks.len()];
        for patch in (0..grid.len()).filter(|&p| motion.changed[p] && owners[p] == 0) {
            let mut best = (SAME, None);
            region::neighbours(grid, patch, Connect::Eight, |next| {
                let Some(track) = owners[next].checked_sub(1).and_then(|k| self.tracks.get(k)) else { return };
                if track.by_motion {
                    let like = cosine(&step.features.tokens[patch * dim..][..dim], &track.prototype);
                    if like > best.0 {
                        best = (like, Some(owners[next] - 1));
                    }
                }
            });
            if let (_, Some(k)) = best {
                gains[k][patch] = true;
            }
        }
        for (k, gain) in gains.iter().enumerate() {
            channels::assign(&mut step.soft, gain, k + 1, 0.6);
        }
    }
}
