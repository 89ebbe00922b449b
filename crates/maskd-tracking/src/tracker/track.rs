//! One identity: what is known about it beside its labels.

use super::appearance::Appearance;
use crate::discover::region::{self, Connect};
use maskd_types::{
    features::Features,
    instance::{InstanceId, Origin},
};

/// An instance that has not ended.
#[derive(Clone, Debug)]
pub struct Track {
    /// Its identity.
    pub id: InstanceId,
    /// Its label in published maps, 1..=255, different from that of every other live instance.
    pub palette: u8,
    /// Where it came from.
    pub origin: Origin,
    /// Found because it moved before a fixed camera: it is in sight only where something differs from the empty scene.
    pub by_motion: bool,
    /// Whether a good part of it has differed from the empty scene of a fixed camera at some time.
    pub has_moved: bool,
    /// The thing before a fixed camera that it is.
    pub thing: Option<u32>,
    /// Frames since its first mask.
    pub age: u64,
    /// Frames since it was last in sight, 0 when it is.
    pub frames_since_seen: u32,
    /// Pictures were missed since it was last in sight: it may be anywhere.
    pub position_unknown: bool,
    /// Sum over searches of how salient it was, each against the most salient of the picture, 0..=1.
    pub salience: f32,
    /// Searches that said where it is.
    pub searches: u32,
    /// Mean feature of its patches over time `(C)`; empty before it has any.
    pub prototype: Vec<f32>,
    /// What it looks like, patch by patch.
    pub appearance: Appearance,
    /// Where it was first seen, `(row, column)` in patches.
    pub began: (f32, f32),
    /// Where it was last in sight, `(row, column)` in patches.
    pub centre: (f32, f32),
    /// The patches that it held when last in sight `(N)`.
    pub held: Vec<bool>,
}

impl Track {
    /// Whether it is in sight.
    pub fn visible(&self) -> bool {
        self.frames_since_seen == 0
    }

    /// Whether it never moved: it never differed from the empty scene, and is where it was first seen.
    pub fn never_moved(&self) -> bool {
        !self.has_moved && (self.centre.0 - self.began.0).hypot(self.centre.1 - self.began.1) < 1.0
    }

    /// Learns from the patches that it holds in a frame; `rate` 1 forgets all before.
    pub fn learn(&mut self, features: &Features, patches: &[bool], rate: f32) {
        let Some(look) = features.mean(patches) else { return };
        if self.prototype.len() == look.len() {
            self.prototype.iter_mut().zip(&look).for_each(|(old, new)| *old += rate * (new - *old));
        } else {
            self.prototype = look;
        }
        self.centre = region::centre(features.grid, patches).unwrap_or(self.centre);
        self.held = patches.to_vec();
    }

    /// The connected patches of a frame that look like it, outside `taken`: for when labels cannot be carried over.
    pub fn search(&self, features: &Features, taken: &[bool], similarity: f32) -> Option<Vec<bool>> {
        if self.prototype.len() != features.dim {
            return None;
        }
        let alike: Vec<bool> = features
            .similarities(&self.prototype)
            .zip(taken)
            .map(|(cosine, taken)| !taken && cosine >= similarity)
            .collect();
        let found = region::largest(features.grid, &alike, Connect::Eight);
        // A share of the picture: the grid may be another.
        let share = |set: &[bool]| region::count(set) as f32 / set.len().max(1) as f32;
        let (now, before) = (share(&found), share(&self.held));
        (now > 0.0 && now >= 0.25 * before && now <= 4.0 * before).then_some(found)
    }
}
