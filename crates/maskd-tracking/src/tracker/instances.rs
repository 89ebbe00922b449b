//! The instances of a stream, and their beginning and end.
//!
//! The `k`-th track has channel `k + 1` of a frame's labels and of every remembered frame's. Only what is here changes the
//! number of tracks in a frame, so that they agree.

use super::{appearance::Appearance, channels, frame_context::FrameContext, memory_bank::MemoryBank, track::Track};
use maskd_types::instance::{EndCause, InstanceId, Origin, TrackEvent};

/// The instances that have not ended.
pub struct Instances {
    /// The oldest first, those out of sight included.
    pub tracks: Vec<Track>,
    /// The frames that labels are propagated from.
    pub memory: MemoryBank,
    next_id: InstanceId,
}

impl Default for Instances {
    fn default() -> Self {
        Self { tracks: Vec::new(), memory: MemoryBank::default(), next_id: 1 }
    }
}

/// What an instance begins with.
pub struct Beginning<'a> {
    /// The patches that it holds.
    pub patches: &'a [bool],
    /// Where it comes from.
    pub origin: Origin,
    /// It was found because it moved.
    pub by_motion: bool,
    /// Its label in published maps, where that is given.
    pub palette: Option<u8>,
}

impl<'a> Beginning<'a> {
    /// With the next free label.
    pub fn new(patches: &'a [bool], origin: Origin) -> Self {
        Self { patches, origin, by_motion: false, palette: None }
    }
}

impl Instances {
    /// Number of instances that people asked for.
    pub fn given(&self) -> usize {
        self.tracks.iter().filter(|track| track.origin != Origin::Discovered).count()
    }

    /// Whether no instance was ever here.
    pub fn fresh(&self) -> bool {
        self.next_id == 1
    }

    /// The identity of the next instance, on a fresh stream that starts from a first mask.
    pub fn set_next_id(&mut self, id: InstanceId) {
        self.next_id = id;
    }

    /// Where they are is not known: frames were missed.
    pub fn lose_position(&mut self) {
        self.tracks.iter_mut().for_each(|track| track.position_unknown = true);
        self.memory.forget_course();
    }

    /// A new identity that holds its patches.
    pub fn start(&mut self, beginning: Beginning<'_>, frame: &mut FrameContext<'_>) -> InstanceId {
        let patches = beginning.patches;
        let id = self.enrol(beginning, frame);
        channels::assign(&mut frame.soft, patches, self.tracks.len(), 1.0);
        id
    }

    /// A new identity whose mask is known to the pixel; its patches are those of `mask` by the nearest pixel.
    pub fn give(&mut self, beginning: Beginning<'_>, mask: &[bool], frame: &mut FrameContext<'_>) -> InstanceId {
        let id = if frame.colours.is_none() {
            self.start(beginning, frame)
        } else {
            let id = self.enrol(beginning, frame);
            frame.paint(self.tracks.len(), mask);
            id
        };
        frame.draw(id, mask.iter().copied());
        id
    }

    /// A new identity that looks like its patches and holds nothing yet.
    fn enrol(&mut self, beginning: Beginning<'_>, frame: &mut FrameContext<'_>) -> InstanceId {
        let Beginning { patches, origin, by_motion, palette } = beginning;
        let id = self.next_id;
        self.next_id = self.next_id.saturating_add(1);
        let free = |label: &u8| self.tracks.iter().all(|t| t.palette != *label);
        let wanted = 1 + (id - 1) % 255;
        let palette =
            palette.or_else(|| (0..255).map(|i| (1 + (wanted - 1 + i) % 255) as u8).find(free)).unwrap_or(u8::MAX);
        let mut track = Track {
            id,
            palette,
            origin,
            by_motion,
            // Once a camera is known to be fixed, only what has changed is proposed.
            has_moved: by_motion || frame.motion.as_ref().is_some_and(|motion| motion.usable),
            thing: None,
            age: 0,
            frames_since_seen: 0,
            position_unknown: false,
            salience: 0.0,
            searches: 1,
            prototype: Vec::new(),
            appearance: Appearance::new(&frame.features, patches),
            held: Vec::new(),
            began: (0.0, 0.0),
            centre: (0.0, 0.0),
        };
        track.learn(&frame.features, patches, 1.0);
        track.began = track.centre;
        self.tracks.push(track);
        let channel = self.tracks.len();
        channels::widen(&mut frame.soft, channel + 1);
        self.memory.add_channel(channel + 1);
        frame.new.push(id);
        frame.edited = true;
        frame.events.push(TrackEvent::Appeared { id, origin });
        id
    }

    /// Ends the `k`-th instance and frees its channel.
    pub fn end(&mut self, k: usize, cause: EndCause, frame: &mut FrameContext<'_>) {
        let track = self.tracks.remove(k);
        frame.remove_channel(k + 1);
        self.memory.remove_channel(k + 1);
        frame.new.retain(|&id| id != track.id);
        frame.events.push(TrackEvent::Ended { id: track.id, cause });
    }

    /// Ends all of them: others take their place.
    pub fn end_all(&mut self, frame: &mut FrameContext<'_>) {
        while !self.tracks.is_empty() {
            self.end(0, EndCause::Replaced, frame);
        }
        self.memory.clear();
    }

    /// Ends instances until one more may live, each that `who_goes` names; false when it names none.
    pub fn make_room(&mut self, who_goes: fn(&[Track]) -> Option<usize>, frame: &mut FrameContext<'_>) -> bool {
        while self.tracks.len() >= frame.config.most_instances() {
            let Some(k) = who_goes(&self.tracks) else { return false };
            self.end(k, EndCause::Replaced, frame);
        }
        true
    }
}

/// One more frame of each instance's life.
pub fn grow_older(instances: &mut Instances) {
    instances.tracks.iter_mut().for_each(|track| track.age += 1);
}

/// Ends the instances that have been out of sight for too long.
pub fn end_lost(instances: &mut Instances, frame: &mut FrameContext<'_>) {
    let limit = frame.config.lost_after_frames;
    while let Some(k) = instances.tracks.iter().position(|t| limit > 0 && t.frames_since_seen > limit) {
        instances.end(k, EndCause::Lost, frame);
    }
    // Before a fixed camera a cut through the first frames sees furniture too: it becomes part of the scene.
    let usable = frame.config.gating && frame.motion.as_ref().is_some_and(|motion| motion.usable);
    let absorbed = u64::from(frame.config.motion.absorb_after_frames);
    if usable && absorbed > 0 {
        let furniture = |t: &Track| t.origin == Origin::Discovered && t.age >= absorbed && t.never_moved();
        while let Some(k) = instances.tracks.iter().position(furniture) {
            instances.end(k, EndCause::Lost, frame);
        }
    }
}
