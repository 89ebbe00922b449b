//! How instances come into a frame other than by propagation or search: carried over a cut, given, asked for.

use super::{Tracker, channels, look::Portrait, prompt, select, step::Step, track::Track};
use crate::discover::{motion::Background, region};
use maskd_types::{
    features::Grid,
    instance::{EndCause, InstanceId, Origin, Prompt, TrackEvent},
};

/// A discovered instance that loses this share of its patches to a prompt was the prompt's.
const REPLACED: f32 = 0.6;

/// Patches of one grid as patches of another, by the nearest; empty where they do not fit their grid.
fn resample(patches: &[bool], from: Grid, to: Grid) -> Vec<bool> {
    if patches.len() != from.len() {
        return Vec::new();
    }
    let nearest = |at: usize, to: usize, from: usize| (2 * at + 1) * from / (2 * to);
    (0..to.len())
        .map(|p| {
            patches[nearest(p / to.cols, to.rows, from.rows) * from.cols + nearest(p % to.cols, to.cols, from.cols)]
        })
        .collect()
}

impl Tracker {
    /// After a scene cut, or when the picture has another size, labels cannot be carried: given instances are looked for by
    /// what they look like, for a while, and all others end. After a change of size or an outage, every instance is looked
    /// for.
    pub(super) fn carry_over_cut(&mut self, step: &mut Step) {
        let Some(previous) = self.previous.clone() else { return };
        let features = step.features.clone();
        let same = (previous.grid, previous.dim) == (features.grid, features.dim);
        if same {
            if !self.config.gating || !self.is_cut(&previous, &features) {
                return;
            }
            self.leave_scene();
        }
        self.forget_scene(step);
        let mut taken = vec![false; features.grid.len()];
        let mut k = 0;
        while k < self.tracks.len() {
            let track = &self.tracks[k];
            let wait = track.origin != Origin::Discovered || track.adrift;
            let wanted = !same || wait;
            let similarity = self.config.match_similarity;
            match self.tracks[k].search(&features, &taken, similarity).filter(|_| wanted) {
                Some(patches) => {
                    region::unite(&mut taken, &patches);
                    step.found.push((self.tracks[k].id, patches));
                    k += 1;
                }
                // The first pictures after an outage, and pictures that look like a cut, are often spoiled: it is looked for
                // in the next ones, too.
                None if wait && self.config.gating => {
                    self.tracks[k].adrift = true;
                    k += 1;
                }
                None => self.end(k, EndCause::SceneCut, step),
            }
        }
    }

    /// After the network was exchanged, features cannot be compared: instances in sight keep the patches they held in the
    /// frame before, one frame's motion off at most, and are learnt anew; all others end.
    pub(super) fn carry_over_exchange(&mut self, step: &mut Step) {
        let Some(before) = self.exchanged.take() else { return };
        self.forget_scene(step);
        let mut k = 0;
        while k < self.tracks.len() {
            let track = &mut self.tracks[k];
            let patches = if track.visible() { resample(&track.held, before, step.grid()) } else { Vec::new() };
            if region::count(&patches) == 0 {
                self.end(k, EndCause::Lost, step);
                continue;
            }
            track.prototype.clear();
            track.portrait = Portrait::new(&step.features, &patches);
            step.found.push((track.id, patches));
            k += 1;
        }
    }

    fn forget_scene(&mut self, step: &mut Step) {
        step.cut = true;
        self.memories.clear();
        self.background = Background::new();
        self.ground.clear();
        self.previous_changed.clear();
        self.uncovered_frames = 0;
        self.forget_history();
    }

    /// Gives the instances that were carried over a cut their labels.
    pub(super) fn restore_found(&mut self, step: &mut Step) {
        for (id, patches) in std::mem::take(&mut step.found) {
            let Some(k) = self.tracks.iter().position(|t| t.id == id) else { continue };
            channels::assign(&mut step.soft, &patches, k + 1, 1.0);
            step.edited = true;
        }
    }

    /// The label map that a stream starts from.
    pub(super) fn apply_first_mask(&mut self, step: &mut Step) {
        let Some(map) = self.first.take() else { return };
        if map.size != step.source {
            tracing::warn!(mask = %map.size, frame = %step.source, "the first mask is not of the frame's size: resized");
        }
        self.end_all(step);
        let map = map.resize_nearest(step.source);
        let grid = step.grid();
        // As DINO's script: the nearest pixel of the full mask for each patch.
        let small = map.resize_nearest(maskd_types::frame::Size::new(grid.cols as u32, grid.rows as u32));
        let mut present = [false; 256];
        map.labels.iter().for_each(|&l| present[usize::from(l)] = true);
        let fresh = self.next_id == 1;
        for label in (1..=255u8).filter(|&l| present[usize::from(l)]) {
            if fresh {
                self.next_id = InstanceId::from(label);
            }
            let patches: Vec<bool> = small.labels.iter().map(|&l| l == label).collect();
            let mask: Vec<bool> = map.labels.iter().map(|&l| l == label).collect();
            let id = self.give(&patches, &mask, Origin::FirstMask, Some(label), step);
            step.draw(id, mask.into_iter());
        }
    }

    /// What people asked for since the last frame.
    pub(super) fn apply_prompts(&mut self, step: &mut Step) {
        while let Some(prompt) = self.waiting.pop_front() {
            // Somebody saw this picture and says what is what.
            self.aside = None;
            if let Err(error) = prompt::check(&prompt, Some(step.source)) {
                tracing::warn!(%error, "a prompt came before the stream's first frame and does not fit it: dropped");
                continue;
            }
            let (features, source) = (step.features.clone(), step.source);
            let mut exact = None;
            let patches = match prompt {
                Prompt::Reset => {
                    self.end_all(step);
                    continue;
                }
                Prompt::Box { bbox } => select::in_box(&features, source, bbox),
                Prompt::Points { positive, negative } => select::from_points(&features, source, &positive, &negative),
                Prompt::Mask { mask } => {
                    let Ok(mask) = mask.decode(Some(source)) else { continue };
                    let patches = select::from_mask(features.grid, source, &mask);
                    exact = Some(mask);
                    patches
                }
            };
            self.replace(&patches, step);
            if !self.make_room(step) {
                tracing::warn!("a prompt found as many given instances as may live: dropped");
                continue;
            }
            if let Some(mask) = exact {
                let id = self.give(&patches, &mask, Origin::Prompt, None, step);
                step.draw(id, mask.into_iter());
            } else {
                self.start(&patches, Origin::Prompt, false, None, step);
            }
        }
    }

    /// A new identity whose mask is known to the pixel; `patches` are its own by the nearest pixel.
    fn give(
        &mut self,
        patches: &[bool],
        mask: &[bool],
        origin: Origin,
        palette: Option<u8>,
        step: &mut Step,
    ) -> InstanceId {
        if step.colours.is_none() {
            return self.start(patches, origin, false, palette, step);
        }
        let id = self.enroll(patches, origin, false, palette, step);
        step.paint(self.tracks.len(), mask);
        id
    }

    /// A new identity that holds `patches`.
    pub(super) fn start(
        &mut self,
        patches: &[bool],
        origin: Origin,
        by_motion: bool,
        palette: Option<u8>,
        step: &mut Step,
    ) -> InstanceId {
        let id = self.enroll(patches, origin, by_motion, palette, step);
        channels::assign(&mut step.soft, patches, self.tracks.len(), 1.0);
        id
    }

    /// A new identity that looks like `patches` and holds nothing yet.
    fn enroll(
        &mut self,
        patches: &[bool],
        origin: Origin,
        by_motion: bool,
        palette: Option<u8>,
        step: &mut Step,
    ) -> InstanceId {
        let id = self.next_id;
        self.next_id = self.next_id.saturating_add(1);
        let free = |label: &u8| self.tracks.iter().all(|t| t.palette != *label);
        let wanted = 1 + (id - 1) % 255;
        let palette =
            palette.or_else(|| (0..255).map(|i| (1 + (wanted - 1 + i) % 255) as u8).find(free)).unwrap_or(u8::MAX);
        let (prototype, held, centre) = (Vec::new(), Vec::new(), (0.0, 0.0));
        let portrait = Portrait::new(&step.features, patches);
        let mut track = Track {
            id,
            palette,
            origin,
            by_motion,
            // Once a camera is known to be fixed, only what has changed is proposed.
            stirred: by_motion || step.motion.as_ref().is_some_and(|motion| motion.usable),
            thing: None,
            age: 0,
            unseen: 0,
            adrift: false,
            salience: 0.0,
            searches: 1,
            prototype,
            portrait,
            held,
            began: centre,
            centre,
        };
        track.learn(&step.features, patches, 1.0);
        track.began = track.centre;
        self.tracks.push(track);
        let channel = self.tracks.len();
        channels::widen(&mut step.soft, channel + 1);
        self.memories.add_channel(channel + 1);
        step.new.push(id);
        step.edited = true;
        step.events.push(TrackEvent::Appeared { id, origin });
        id
    }

    fn end_all(&mut self, step: &mut Step) {
        self.aside = None;
        while !self.tracks.is_empty() {
            self.end(0, EndCause::Replaced, step);
        }
        self.memories.clear();
    }

    /// Ends a discovered instance if no other may live, the one longest out of sight first; false when none can go.
    fn make_room(&mut self, step: &mut Step) -> bool {
        while self.tracks.len() >= self.max_instances() {
            let discovered = (0..self.tracks.len()).filter(|&k| self.tracks[k].origin == Origin::Discovered);
            let Some(k) = discovered.max_by_key(|&k| (self.tracks[k].unseen, std::cmp::Reverse(k))) else {
                return false;
            };
            self.end(k, EndCause::Replaced, step);
        }
        true
    }

    /// Ends the discovered instances that a prompt takes most of.
    fn replace(&mut self, patches: &[bool], step: &mut Step) {
        for k in (0..self.tracks.len()).rev() {
            let held = step.patches_of(k + 1);
            let (taken, all) = (region::overlap(&held, patches), region::count(&held));
            let discovered = self.tracks[k].origin == Origin::Discovered;
            if discovered && taken > 0 && taken as f32 >= REPLACED * all as f32 {
                self.end(k, EndCause::Replaced, step);
            }
        }
    }
}
