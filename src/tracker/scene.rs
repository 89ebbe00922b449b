//! How instances come into a frame other than by propagation: carried over a cut, given, asked for, discovered.

use super::{REVISITS, Tracker, channels, prompt, select, step::Step, track, track::Track};
use crate::{
    backbone::Features,
    discover::{
        Proposal, discover,
        motion::{self, Background, cosine},
        parallax, region,
    },
    instance::{EndCause, InstanceId, Origin, Prompt, TrackEvent},
};

/// A discovered instance that loses this share of its patches to a prompt was the prompt's.
const REPLACED: f32 = 0.6;
/// How far, in patches, an instance may turn up from where it went out of sight; it grows with each frame.
const REACH: f32 = 3.0;
/// A proposal with at least this share of patches that are owned is nothing new.
const KNOWN: f32 = 0.5;

/// Most patches of a fragment.
const FRAGMENT: usize = 3;
/// Before a fixed camera, a cut must hold at least this share of changed patches.
const MOVED: f32 = 0.3;

/// Frames back that motion is measured over.
const LAGS: [usize; 2] = [2, 4];
/// Least weight of a search's mask against what is carried.
const LEAST_WEIGHT: f32 = 0.25;

/// A proposal, and whether it was found because it moved.
struct Candidate {
    patches: Vec<bool>,
    by_motion: bool,
    salience: f32,
}

impl Tracker {
    /// After a scene cut, or when the grid is another, labels cannot be carried: given instances are looked for by
    /// what they look like, all others end. After a change of grid, every instance is looked for.
    pub(super) fn carry_over_cut(&mut self, step: &mut Step) {
        let Some(previous) = self.previous.clone() else { return };
        let features = step.features.clone();
        let same = (previous.grid, previous.dim) == (features.grid, features.dim);
        if same {
            let replaced = previous
                .tokens
                .chunks_exact(features.dim)
                .zip(features.tokens.chunks_exact(features.dim))
                .filter(|(a, b)| cosine(a, b) < self.config.scene_cut_similarity)
                .count();
            let cut = replaced as f32 > self.config.scene_cut_fraction * features.grid.len() as f32;
            if !cut || !self.config.gating {
                return;
            }
        }
        step.cut = true;
        self.memories.clear();
        self.background = Background::new();
        self.previous_changed.clear();
        self.uncovered_frames = 0;
        self.forget_history();
        let mut taken = vec![false; features.grid.len()];
        let mut k = 0;
        while k < self.tracks.len() {
            let wanted = !same || self.tracks[k].origin != Origin::Discovered;
            let similarity = self.config.match_similarity;
            match self.tracks[k].search(&features, &taken, similarity).filter(|_| wanted) {
                Some(patches) => {
                    region::unite(&mut taken, &patches);
                    step.found.push((self.tracks[k].id, patches));
                    k += 1;
                }
                None => self.end(k, EndCause::SceneCut, step),
            }
        }
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
        let small = map.resize_nearest(crate::frame::Size::new(grid.cols as u32, grid.rows as u32));
        let mut present = [false; 256];
        map.labels.iter().for_each(|&l| present[usize::from(l)] = true);
        let fresh = self.next_id == 1;
        for label in (1..=255u8).filter(|&l| present[usize::from(l)]) {
            if fresh {
                self.next_id = InstanceId::from(label);
            }
            let patches: Vec<bool> = small.labels.iter().map(|&l| l == label).collect();
            let id = self.start(&patches, Origin::FirstMask, false, Some(label), step);
            step.draw(id, map.labels.iter().map(|&l| l == label));
        }
    }

    /// What people asked for since the last frame.
    pub(super) fn apply_prompts(&mut self, step: &mut Step) {
        while let Some(prompt) = self.waiting.pop_front() {
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
            let id = self.start(&patches, Origin::Prompt, false, None, step);
            if let Some(mask) = exact {
                step.draw(id, mask.into_iter());
            }
        }
    }

    /// Looks for new instances: by cuts where `search` says so, by motion where something keeps moving.
    pub(super) fn discover(&mut self, step: &mut Step, search: bool) {
        let grid = step.grid();
        self.since_discovery = self.since_discovery.saturating_add(1);
        let mut moving = Vec::new();
        if let Some(motion) = step.motion.as_ref().filter(|m| m.usable) {
            moving = motion::proposals(motion, grid, &step.owned(), &self.config.motion);
            moving.retain(|p| region::overlap(&p.patches, &self.previous_changed) > 0);
            self.previous_changed = region::dilate(grid, &motion.changed, 1);
            moving.retain(|p| !self.belongs_to_neighbour(&p.patches, step));
        } else {
            self.previous_changed.clear();
        }
        self.uncovered_frames = if moving.is_empty() { 0 } else { self.uncovered_frames.saturating_add(1) };
        let persists = self.uncovered_frames >= self.config.persist_frames;
        if !search && !persists {
            return;
        }
        step.discovered = true;
        let mut cuts = Vec::new();
        if search {
            self.since_discovery = 0;
            let residual = self.own_motion(&step.features);
            cuts = discover(&step.features, &residual, &self.config.discover, &[]);
            let top = cuts.first().map_or(0.0, |cut| cut.salience).max(f32::MIN_POSITIVE);
            cuts.iter_mut().for_each(|cut| cut.salience /= top);
            self.matched.clear();
            cuts.retain(|cut| !self.refresh(cut, step));
            self.take_over(&mut cuts, step);
            if let Some(motion) = step.motion.as_ref().filter(|m| m.usable) {
                // Before a fixed camera the cut sees hedges and houses: what is worth following has moved.
                let moved = |p: &Proposal| region::overlap(&p.patches, &motion.changed) as f32;
                cuts.retain(|cut| moved(cut) >= MOVED * region::count(&cut.patches) as f32);
            }
        }
        for candidate in merge(moving, cuts) {
            self.propose(candidate, step);
        }
    }

    /// A few changed patches beside a larger moving instance are a foot or a shadow of it: it gets them.
    fn belongs_to_neighbour(&self, patches: &[bool], step: &mut Step) -> bool {
        let size = region::count(patches);
        let near = region::dilate(step.grid(), patches, 1);
        let larger =
            (0..self.tracks.len()).filter(|&k| self.tracks[k].by_motion && self.tracks[k].visible()).find(|&k| {
                let held = step.patches_of(k + 1);
                region::overlap(&near, &held) > 0 && region::count(&held) >= 2 * size
            });
        let Some(k) = larger.filter(|_| size <= FRAGMENT) else { return false };
        channels::assign(&mut step.soft, patches, k + 1, 0.6);
        true
    }

    /// Motion of its own for each patch, over the remembered frames; empty while there are none.
    fn own_motion(&self, features: &Features) -> Vec<f32> {
        let seen = self.history.len();
        let before = LAGS.iter().filter_map(|lag| self.history.get(seen.checked_sub(*lag)?));
        let all: Vec<Vec<f32>> = before.filter_map(|before| parallax::residual(features, before)).collect();
        let mut sum = all.first().cloned().unwrap_or_default();
        for other in all.iter().skip(1) {
            sum.iter_mut().zip(other).for_each(|(a, b)| *a += b);
        }
        sum
    }

    /// Corrects the instance in sight that a proposal overlaps; false when there is none. A discovered instance is
    /// the mean of what the searches since its first said.
    fn refresh(&mut self, cut: &Proposal, step: &mut Step) -> bool {
        let open = |k: &usize| !self.matched.contains(&self.tracks[*k].id);
        let overlap = |k: usize| region::iou(&cut.patches, &step.patches_of(k + 1));
        let best = (0..self.tracks.len()).filter(open).map(|k| (overlap(k), k)).max_by(|a, b| a.0.total_cmp(&b.0));
        let Some((_, k)) = best.filter(|(iou, _)| *iou >= self.config.match_iou) else { return false };
        self.matched.push(self.tracks[k].id);
        if self.tracks[k].origin == Origin::Discovered {
            let given: Vec<bool> = (0..self.tracks.len())
                .filter(|&other| self.tracks[other].origin != Origin::Discovered)
                .fold(vec![false; cut.patches.len()], |mut all, other| {
                    region::unite(&mut all, &step.patches_of(other + 1));
                    all
                });
            let mut patches = cut.patches.clone();
            region::subtract(&mut patches, &given);
            let track = &mut self.tracks[k];
            track.salience += cut.salience;
            track.searches += 1;
            let weight = (1.0 / track.searches as f32).max(LEAST_WEIGHT);
            channels::fade(&mut step.soft, k + 1, 1.0 - weight, |p| !patches[p]);
            channels::assign(&mut step.soft, &patches, k + 1, weight);
            step.edited = true;
        }
        true
    }

    /// While a scene is new, a proposal that is more salient than the instances that hold its patches takes them.
    fn take_over(&mut self, cuts: &mut Vec<Proposal>, step: &mut Step) {
        if self.since_start > REVISITS[REVISITS.len() - 1] {
            return;
        }
        cuts.retain(|cut| {
            let held = |k: usize| region::overlap(&cut.patches, &step.patches_of(k + 1));
            let owner = (0..self.tracks.len()).map(|k| (held(k), k)).max_by_key(|&(held, k)| (held, std::cmp::Reverse(k)));
            let Some((held, k)) = owner else { return true };
            let owner = &self.tracks[k];
            let weaker = owner.origin == Origin::Discovered
                && cut.salience > owner.salience / owner.searches.max(1) as f32
                && self.tracks.len() < self.max_instances();
            if 2 * held < region::count(&cut.patches) || !weaker {
                return true;
            }
            let id = self.start(&cut.patches, Origin::Discovered, false, None, step);
            self.credit(id, cut.salience);
            false
        });
    }

    fn credit(&mut self, id: InstanceId, salience: f32) {
        if let Some(track) = self.tracks.iter_mut().find(|t| t.id == id) {
            track.salience += salience;
        }
    }

    /// A proposal becomes an instance found again, a new one, or nothing.
    fn propose(&mut self, candidate: Candidate, step: &mut Step) {
        let mut open = candidate.patches;
        let all = region::count(&open);
        region::subtract(&mut open, &step.owned());
        let left = region::count(&open);
        if left == 0 || (all - left) as f32 >= KNOWN * all as f32 {
            return;
        }
        if let Some(k) = self.find_again(&open, step) {
            self.tracks[k].unseen = 0;
            self.tracks[k].learn(&step.features, &open, self.config.prototype_rate);
            channels::assign(&mut step.soft, &open, k + 1, 1.0);
            step.new.push(self.tracks[k].id);
            step.edited = true;
        } else if self.tracks.len() < self.max_instances() {
            let id = self.start(&open, Origin::Discovered, candidate.by_motion, None, step);
            self.credit(id, candidate.salience);
        }
    }

    /// The instance out of sight that looks most like these patches and was last seen near them.
    fn find_again(&self, patches: &[bool], step: &Step) -> Option<usize> {
        let look = track::prototype(&step.features, patches)?;
        let (row, col) = region::centre(step.grid(), patches)?;
        (0..self.tracks.len())
            .filter(|&k| !self.tracks[k].visible() && self.tracks[k].prototype.len() == look.len())
            .filter(|&k| {
                let track = &self.tracks[k];
                (row - track.centre.0).hypot(col - track.centre.1) <= REACH + track.unseen as f32
            })
            .map(|k| (cosine(&look, &self.tracks[k].prototype), k))
            .filter(|(like, _)| *like >= self.config.match_similarity)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, k)| k)
    }

    /// A new identity that holds `patches`.
    fn start(
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
        let mut track = Track {
            id,
            palette,
            origin,
            by_motion,
            age: 0,
            unseen: 0,
            salience: 0.0,
            searches: 1,
            prototype,
            held,
            centre,
        };
        track.learn(&step.features, patches, 1.0);
        self.tracks.push(track);
        let channel = self.tracks.len();
        channels::widen(&mut step.soft, channel + 1);
        self.memories.add_channel(channel + 1);
        channels::assign(&mut step.soft, patches, channel, 1.0);
        step.new.push(id);
        step.edited = true;
        step.events.push(TrackEvent::Appeared { id, origin });
        id
    }

    fn end_all(&mut self, step: &mut Step) {
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

/// What moved and what was cut out, as one list: a cut that is mostly one moving group is that group, drawn better.
fn merge(moving: Vec<Proposal>, cuts: Vec<Proposal>) -> Vec<Candidate> {
    let mut all: Vec<Candidate> =
        moving.into_iter().map(|p| Candidate { patches: p.patches, by_motion: true, salience: 0.0 }).collect();
    for cut in cuts {
        let same = all.iter_mut().find(|c| c.by_motion && region::iou(&c.patches, &cut.patches) >= 0.3);
        match same {
            Some(candidate) => region::unite(&mut candidate.patches, &cut.patches),
            None => all.push(Candidate { patches: cut.patches, by_motion: false, salience: cut.salience }),
        }
    }
    all
}
