//! A static camera, known by features alone: labels of instances that were found by motion are corrected by it, frame for
//! frame. What pixels say of such a camera is [`super::fixed_camera`].
//!
//! Propagated labels diffuse, and people look alike. Where the empty scene is known, an instance that was found because
//! it moved is one group of changed patches that cannot jump, and the changed patches beside it are its own.

use super::{channels, frame_context::FrameContext, track::Track};
use crate::discover::{
    motion::Motion,
    region::{self, Connect},
};
use maskd_types::features::cosine;

/// How much less likely background is where the scene differs, and an instance where it does not.
const UNLIKELY: f32 = 0.25;
/// How far an instance may come in a frame, in patches.
const STRIDE: usize = 2;
/// A changed patch beside an instance is part of it when it resembles it by this much (cosine).
const SAME: f32 = 0.5;

/// Corrects the labels of all instances found by motion.
pub fn correct(tracks: &[Track], motion: &Motion, frame: &mut FrameContext<'_>) {
    let grid = frame.grid();
    let near = 0.5 * frame.config.motion.distance;
    let moving: Vec<bool> = std::iter::once(false).chain(tracks.iter().map(|t| t.by_motion)).collect();
    for (p, row) in frame.soft.values.chunks_exact_mut(frame.soft.channels).enumerate() {
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
    for (k, track) in tracks.iter().enumerate().filter(|(_, t)| t.by_motion) {
        if track.held.len() == grid.len() && !track.position_unknown {
            let reach = STRIDE + track.frames_since_seen.min(grid.len() as u32) as usize;
            let within = region::dilate(grid, &track.held, reach.min(grid.rows.max(grid.cols)));
            channels::fade(&mut frame.soft, k + 1, 0.0, |p| !within[p]);
        }
        let held = frame.patches_of(k + 1);
        let main = region::largest(grid, &held, Connect::Eight);
        channels::fade(&mut frame.soft, k + 1, 0.0, |p| held[p] && !main[p]);
    }
    fill(tracks, motion, frame);
}

/// Gives changed patches that nobody holds to the instance beside them that they resemble most.
fn fill(tracks: &[Track], motion: &Motion, frame: &mut FrameContext<'_>) {
    let grid = frame.grid();
    let owners = channels::owners(&frame.soft);
    let mut gains = vec![vec![false; grid.len()]; tracks.len()];
    for patch in (0..grid.len()).filter(|&p| motion.changed[p] && owners[p] == 0) {
        let mut best = (SAME, None);
        region::neighbours(grid, patch, Connect::Eight, |next| {
            let Some(track) = owners[next].checked_sub(1).and_then(|k| tracks.get(k)) else { return };
            if track.by_motion {
                let like = cosine(frame.features.patch(patch), &track.prototype);
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
        channels::assign(&mut frame.soft, gain, k + 1, 0.6);
    }
}
