//! The search: proposals become new instances, correct known ones, or are nothing new.
//!
//! A scene that has just begun is searched several times, because what moves in it is seen only then. Each search has
//! its say about an instance's mask, and the most salient proposals take what less salient ones hold.

use super::{REVISITS, Tracker, channels, step::Step, track};
use crate::discover::{
    Proposal, discover,
    motion::{self, cosine},
    parallax, region,
};
use maskd_types::{
    features::Features,
    instance::{InstanceId, Origin},
};

/// How far, in patches, an instance may turn up from where it went out of sight; it grows with each frame.
const REACH: f32 = 3.0;
/// A proposal with at least this share of patches that are owned is nothing new.
const KNOWN: f32 = 0.5;
/// Most patches of a fragment.
const FRAGMENT: usize = 3;
/// How far features see around a thing, in patches.
const FRINGE: usize = 2;
/// Before a fixed camera, a cut must hold at least this share of changed patches.
pub(super) const MOVED: f32 = 0.3;

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
    /// Looks for new instances: by cuts where `search` says so, by motion where something keeps moving.
    pub(super) fn discover(&mut self, step: &mut Step, search: bool) {
        let grid = step.grid();
        self.since_discovery = self.since_discovery.saturating_add(1);
        let mut moving = Vec::new();
        if let Some(motion) = step.motion.as_ref().filter(|m| m.usable) {
            moving = motion::proposals(motion, grid, &step.owned(), &self.config.motion);
            moving.retain(|p| region::overlap(&p.patches, &self.previous_changed) > 0);
            self.previous_changed = region::dilate(grid, &motion.changed, 1);
            moving.retain(|p| !self.belongs_to_neighbour(&p.patches, step) && !self.is_fringe(&p.patches, step));
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
            if self.settling() && self.tracks.iter().all(|t| t.origin == Origin::Discovered) {
                // What was first seen was seen without its motion: older frames must not outvote what is known now.
                self.memories.clear();
            }
            cuts.retain(|cut| !self.refresh(cut, step));
            if let Some(motion) = step.motion.as_ref().filter(|m| m.usable && !self.config.discover.include_static) {
                // Before a fixed camera the cut sees hedges and houses: what is worth following has moved.
                let moved = |p: &Proposal| region::overlap(&p.patches, &motion.changed) as f32;
                cuts.retain(|cut| moved(cut) >= MOVED * region::count(&cut.patches) as f32);
            }
            self.take_over(&mut cuts, step);
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

    /// Whether changed patches are the fringe of an instance that was given or cut out: features see around a thing,
    /// so the ground beside it changes with it.
    fn is_fringe(&self, patches: &[bool], step: &Step) -> bool {
        let size = region::count(patches);
        (0..self.tracks.len()).filter(|&k| !self.tracks[k].by_motion && self.tracks[k].visible()).any(|k| {
            let held = step.patches_of(k + 1);
            let near = region::dilate(step.grid(), &held, FRINGE);
            region::count(&held) > size && 2 * region::overlap(patches, &near) >= size
        })
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
        if !self.settling() {
            return;
        }
        cuts.retain(|cut| {
            let held = |k: usize| region::overlap(&cut.patches, &step.patches_of(k + 1));
            let owner =
                (0..self.tracks.len()).map(|k| (held(k), k)).max_by_key(|&(held, k)| (held, std::cmp::Reverse(k)));
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

    /// Whether the scene is so new that nothing in it is settled.
    fn settling(&self) -> bool {
        self.since_start <= REVISITS[REVISITS.len() - 1]
    }

    /// Notes how salient the search found a new instance.
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
            self.welcome_back(k, &open, step);
        } else if self.tracks.len() < self.max_instances() {
            let id = self.start(&open, Origin::Discovered, candidate.by_motion, None, step);
            self.credit(id, candidate.salience);
        }
    }

    /// An instance that was out of sight holds these patches.
    pub(super) fn welcome_back(&mut self, k: usize, patches: &[bool], step: &mut Step) {
        (self.tracks[k].unseen, self.tracks[k].adrift) = (0, false);
        self.tracks[k].learn(&step.features, patches, self.config.prototype_rate);
        channels::assign(&mut step.soft, patches, k + 1, 1.0);
        step.new.push(self.tracks[k].id);
        step.edited = true;
    }

    /// The instance out of sight that looks most like these patches and was last seen near them.
    pub(super) fn find_again(&self, patches: &[bool], step: &Step) -> Option<usize> {
        let look = track::prototype(&step.features, patches)?;
        let (row, col) = region::centre(step.grid(), patches)?;
        (0..self.tracks.len())
            .filter(|&k| !self.tracks[k].visible() && self.tracks[k].prototype.len() == look.len())
            .filter(|&k| {
                let track = &self.tracks[k];
                track.adrift || (row - track.centre.0).hypot(col - track.centre.1) <= REACH + track.unseen as f32
            })
            .map(|k| (cosine(&look, &self.tracks[k].prototype), k))
            .filter(|(like, _)| *like >= self.config.match_similarity)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, k)| k)
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
