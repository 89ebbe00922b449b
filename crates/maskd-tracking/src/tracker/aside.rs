//! Another world for a moment: what was known of the scene is put aside until the scene is back.
//!
//! A decoder that has lost data shows grey, or the remains of other pictures. Whoever is looked for there may be found in
//! a wrong place. Once the scene is back, nothing of that may be remembered.

use std::sync::Arc;

use super::{Tracker, memory::Memories, step::Step, track::Track};
use crate::discover::motion::{Background, cosine};
use maskd_types::{
    features::Features,
    instance::{EndCause, InstanceId},
};

/// Frames that a scene is waited for after a cut: key frames, with which spoiled pictures end, are seldom farther apart.
const AWAY: u32 = 100;
/// Frames for which a new connection is not trusted: where it breaks within them, what they showed is forgotten.
const DOUBT: u32 = 16;

/// What was known before a cut or an outage.
#[derive(Clone)]
pub struct Aside {
    /// The last frame before it.
    previous: Arc<Features>,
    /// Who was alive then and still is, with the channels of `memories`.
    tracks: Vec<Track>,
    memories: Memories,
    background: Background,
    ground: Vec<f32>,
    since_start: u32,
    /// Whether it is known that later pictures were not of this scene, or were bad ones.
    away: bool,
    /// Frames for which this is still kept.
    frames: u32,
}

impl Aside {
    /// Who has ended does not come back.
    pub fn end(&mut self, id: InstanceId) {
        if let Some(k) = self.tracks.iter().position(|track| track.id == id) {
            self.tracks.remove(k);
            self.memories.remove_channel(k + 1);
        }
    }
}

impl Tracker {
    /// Whether so much was replaced between two frames of one grid that labels cannot be carried.
    pub(super) fn is_cut(&self, before: &Features, now: &Features) -> bool {
        let pairs = before.tokens.chunks_exact(now.dim).zip(now.tokens.chunks_exact(now.dim));
        let replaced = pairs.filter(|(a, b)| cosine(a, b) < self.config.scene_cut_similarity).count();
        replaced as f32 > self.config.scene_cut_fraction * now.grid.len() as f32
    }

    /// After an outage: where there was one just before, the pictures between them are not believed.
    pub(super) fn doubt(&mut self) {
        match &mut self.aside {
            Some(aside) => aside.away = true,
            None => self.put_aside(false, DOUBT),
        }
    }

    /// Before a cut. Of several in a row the scene before the first is kept.
    pub(super) fn leave_scene(&mut self) {
        match &mut self.aside {
            Some(aside) => (aside.away, aside.frames) = (true, AWAY),
            None => self.put_aside(true, AWAY),
        }
    }

    fn put_aside(&mut self, away: bool, frames: u32) {
        let Some(previous) = self.previous.clone().filter(|_| self.config.gating && !self.tracks.is_empty()) else {
            return;
        };
        let (tracks, background, ground) = (self.tracks.clone(), self.background.clone(), self.ground.clone());
        let mut memories = self.memories.clone();
        memories.forget_course();
        let since_start = self.since_start;
        self.aside = Some(Aside { previous, tracks, memories, background, ground, since_start, away, frames });
    }

    /// Where the scene that was put aside is back, everybody is who and where they were, as if the pictures since then
    /// had been missed; who appeared in those ends. Says whether it is.
    pub(super) fn take_back(&mut self, step: &mut Step) -> bool {
        let now = step.features.clone();
        let fits = |old: &Features| (old.grid, old.dim) == (now.grid, now.dim);
        let Some(mut aside) = self.aside.take().filter(|aside| aside.frames > 0 && fits(&aside.previous)) else {
            return false;
        };
        aside.frames -= 1;
        if !aside.away || self.is_cut(&aside.previous, &now) {
            self.aside = Some(aside);
            return false;
        }
        let known = |track: &Track| aside.tracks.iter().any(|old| old.id == track.id);
        while let Some(k) = self.tracks.iter().position(|track| !known(track)) {
            self.end(k, EndCause::SceneCut, step);
        }
        for old in &mut aside.tracks {
            old.age = self.tracks.iter().find(|track| track.id == old.id).map_or(old.age, |track| track.age);
        }
        (aside.away, aside.frames) = (false, DOUBT);
        self.aside = Some(aside.clone());
        (self.tracks, self.memories, self.previous) = (aside.tracks, aside.memories, Some(aside.previous));
        (self.background, self.ground, self.since_start) = (aside.background, aside.ground, aside.since_start);
        self.lose_touch();
        true
    }
}
