//! What is learnt of a scene beside its instances: the empty scene, what the ground looks like, what moves.

use std::{collections::VecDeque, sync::Arc};

use super::{TrackerConfig, frame_context::FrameContext, last_frame::LastFrame};
use crate::discover::{motion::Background, parallax};
use maskd_types::features::Features;

/// Frames that are remembered to see motion.
const HISTORY: usize = 4;
/// Frames back that motion is measured over.
const LAGS: [usize; 2] = [2, 4];
/// Frames after the start of a scene in which it is searched again: by then things have moved.
pub const REVISITS: [u32; 4] = [2, 4, 8, 16];

/// What was learnt of a scene since it began.
#[derive(Default)]
pub struct Scene {
    /// The empty scene, by features.
    pub background: Background,
    /// What the ground looked like in the last calm frame: tokens of some of its patches.
    pub ground: Vec<f32>,
    /// Patches that had changed in the frame before and their neighbours: noise does not stay.
    pub changed_before: Vec<bool>,
    /// Frames in a row in which something moved that no instance holds.
    pub uncovered_frames: u32,
    /// The newest frames, oldest first, to see what moves.
    pub history: VecDeque<Arc<Features>>,
    /// Frames since the scene began.
    pub frames: u32,
}

impl Scene {
    /// Another scene: nothing of it is known.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// Frames were missed: what moves is told from one frame to the next only.
    pub fn forget_motion(&mut self) {
        self.history.clear();
        self.changed_before.clear();
    }

    /// The same scene on another grid: what is compared patch by patch is learnt anew.
    pub fn forget_patches(&mut self) {
        self.background = Background::new();
        self.uncovered_frames = 0;
        self.forget_motion();
    }

    /// Whether the scene is so new that nothing in it is settled.
    pub fn settling(&self) -> bool {
        self.frames <= REVISITS[REVISITS.len() - 1]
    }

    /// Motion of its own for each patch, over the remembered frames; empty while there are none.
    pub fn own_motion(&self, features: &Features) -> Vec<f32> {
        let seen = self.history.len();
        let before = LAGS.iter().filter_map(|lag| self.history.get(seen.checked_sub(*lag)?));
        let all: Vec<Vec<f32>> = before.filter_map(|before| parallax::residual(features, before)).collect();
        let mut sum = all.first().cloned().unwrap_or_default();
        for other in all.iter().skip(1) {
            sum.iter_mut().zip(other).for_each(|(a, b)| *a += b);
        }
        sum
    }
}

/// Keeps what the next frames are compared with.
pub fn keep(scene: &mut Scene, last: &mut LastFrame, frame: &FrameContext<'_>) {
    if scene.history.len() == HISTORY {
        scene.history.pop_front();
    }
    scene.history.push_back(frame.features.clone());
    last.features = Some(frame.features.clone());
    (last.source, last.epoch) = (Some(frame.source), Some(frame.epoch));
}

/// Whether so much was replaced between two frames of one grid that labels cannot be carried.
pub fn is_cut(before: &Features, now: &Features, config: &TrackerConfig) -> bool {
    let alike = before.similarities_by_place(now);
    let replaced = alike.filter(|cosine| *cosine < config.scene_cut_similarity).count();
    replaced as f32 > config.scene_cut_fraction * now.grid.len() as f32
}
