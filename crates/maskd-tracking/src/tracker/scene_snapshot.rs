//! A snapshot of the scene: what was known of it is kept until it is back.
//!
//! A decoder that has lost data shows grey, or the remains of other pictures. Whoever is looked for there may be found in
//! a wrong place. Once the scene is back, nothing of that may be remembered.

use std::sync::Arc;

use super::{
    frame_context::FrameContext,
    instances::Instances,
    last_frame::LastFrame,
    memory_bank::MemoryBank,
    scene::{self, Scene},
    track::Track,
};
use crate::discover::motion::Background;
use maskd_types::{
    features::Features,
    instance::{EndCause, InstanceId, TrackEvent},
};

/// Frames that a scene is waited for after a cut: key frames, with which spoiled pictures end, are seldom farther apart.
const AWAY: u32 = 100;
/// Frames for which a new connection is not trusted: where it breaks within them, what they showed is forgotten.
const DOUBT: u32 = 16;

/// What was known before a cut or an outage.
#[derive(Clone)]
pub struct SceneSnapshot {
    /// The last frame before it.
    previous: Arc<Features>,
    /// Who was alive then and still is, with the channels of `memory`.
    tracks: Vec<Track>,
    memory: MemoryBank,
    background: Background,
    ground: Vec<f32>,
    /// Frames of the scene until then.
    seen: u32,
    /// Whether it is known that later pictures were not of this scene, or were bad ones.
    away: bool,
    /// Frames for which this is still kept.
    frames: u32,
}

impl SceneSnapshot {
    /// None where there is nothing to come back to.
    fn take(instances: &Instances, scene: &Scene, last: &LastFrame, frame: &FrameContext<'_>) -> Option<Self> {
        let worthwhile = frame.config.gating && !instances.tracks.is_empty();
        let previous = last.features.clone().filter(|_| worthwhile)?;
        let mut memory = instances.memory.clone();
        memory.forget_course();
        Some(Self {
            previous,
            tracks: instances.tracks.clone(),
            memory,
            background: scene.background.clone(),
            ground: scene.ground.clone(),
            seen: scene.frames,
            away: false,
            frames: DOUBT,
        })
    }

    /// Who has ended does not come back.
    fn end(&mut self, id: InstanceId) {
        if let Some(k) = self.tracks.iter().position(|track| track.id == id) {
            self.tracks.remove(k);
            self.memory.remove_channel(k + 1);
        }
    }
}

/// After an outage: where there was one just before, the pictures between them are not believed.
pub fn doubt(
    snapshot: &mut Option<SceneSnapshot>,
    instances: &Instances,
    scene: &Scene,
    last: &LastFrame,
    frame: &FrameContext<'_>,
) {
    match snapshot {
        Some(snapshot) => snapshot.away = true,
        None => *snapshot = SceneSnapshot::take(instances, scene, last, frame),
    }
}

/// Before a cut. Of several in a row the scene before the first is kept.
pub fn leave(
    snapshot: &mut Option<SceneSnapshot>,
    instances: &Instances,
    scene: &Scene,
    last: &LastFrame,
    frame: &FrameContext<'_>,
) {
    if snapshot.is_none() {
        *snapshot = SceneSnapshot::take(instances, scene, last, frame);
    }
    if let Some(snapshot) = snapshot {
        (snapshot.away, snapshot.frames) = (true, AWAY);
    }
}

/// Where the scene of the snapshot is back, everybody is who and where they were, as if the pictures since then had been
/// missed; who appeared in those ends.
pub fn restore(
    snapshot: &mut Option<SceneSnapshot>,
    instances: &mut Instances,
    scene: &mut Scene,
    last: &mut LastFrame,
    frame: &mut FrameContext<'_>,
) {
    let now = frame.features.clone();
    let Some(mut kept) = snapshot.take().filter(|kept| kept.frames > 0 && kept.previous.comparable(&now)) else {
        return;
    };
    kept.frames -= 1;
    if !kept.away || scene::is_cut(&kept.previous, &now, frame.config) {
        *snapshot = Some(kept);
        return;
    }
    let known = |track: &Track| kept.tracks.iter().any(|old| old.id == track.id);
    while let Some(k) = instances.tracks.iter().position(|track| !known(track)) {
        instances.end(k, EndCause::SceneCut, frame);
    }
    for old in &mut kept.tracks {
        old.age = instances.tracks.iter().find(|track| track.id == old.id).map_or(old.age, |track| track.age);
    }
    (kept.away, kept.frames) = (false, DOUBT);
    *snapshot = Some(kept.clone());
    (instances.tracks, instances.memory, last.features) = (kept.tracks, kept.memory, Some(kept.previous));
    (scene.background, scene.ground, scene.frames) = (kept.background, kept.ground, kept.seen);
    instances.lose_position();
    scene.forget_motion();
    frame.missed = true;
}

/// Takes those who ended in the frame out of the snapshot.
pub fn forget_ended(snapshot: &mut Option<SceneSnapshot>, frame: &FrameContext<'_>) {
    let Some(snapshot) = snapshot else { return };
    for event in &frame.events {
        if let TrackEvent::Ended { id, .. } = event {
            snapshot.end(*id);
        }
    }
}
