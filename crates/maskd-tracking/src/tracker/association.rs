//! Association: proposals become new instances, correct known ones, or are nothing new.
//!
//! A scene that has just begun is searched several times, because what moves in it is seen only then. Each search has
//! its say about an instance's mask, and the most salient proposals take what less salient ones hold.

use super::{
    channels,
    frame_context::FrameContext,
    instances::{Beginning, Instances},
    reidentification,
    scene::Scene,
    schedule::Schedule,
    track::Track,
};
use crate::discover::{Proposal, discover as cut_out, motion, region};
use maskd_types::instance::{InstanceId, Origin};

/// A proposal with at least this share of patches that are owned is nothing new.
const KNOWN: f32 = 0.5;
/// Most patches of a fragment.
const FRAGMENT: usize = 3;
/// How far features see around a thing, in patches.
const FRINGE: usize = 2;
/// Before a fixed camera, a cut must hold at least this share of changed patches.
pub const MOVED: f32 = 0.3;
/// Least weight of a search's mask against what is carried.
const LEAST_WEIGHT: f32 = 0.25;

/// A proposal, and whether it was found because it moved.
struct Candidate {
    patches: Vec<bool>,
    by_motion: bool,
    salience: f32,
}

/// Looks for new instances: by cuts where the frame is to be searched, by motion where something keeps moving.
pub fn discover(instances: &mut Instances, scene: &mut Scene, schedule: &mut Schedule, frame: &mut FrameContext<'_>) {
    let (grid, config) = (frame.grid(), frame.config);
    if frame.things.is_some() && !config.discover.include_static {
        return;
    }
    schedule.since_search = schedule.since_search.saturating_add(1);
    let mut moving = Vec::new();
    if let Some(motion) = frame.motion.as_ref().filter(|m| m.usable) {
        moving = motion::proposals(motion, grid, &frame.owned(), &config.motion);
        moving.retain(|p| region::overlap(&p.patches, &scene.changed_before) > 0);
        scene.changed_before = region::dilate(grid, &motion.changed, 1);
        moving.retain(|p| {
            !belongs_to_neighbour(&instances.tracks, &p.patches, frame)
                && !is_fringe(&instances.tracks, &p.patches, frame)
        });
    } else {
        scene.changed_before.clear();
    }
    scene.uncovered_frames = if moving.is_empty() { 0 } else { scene.uncovered_frames.saturating_add(1) };
    let persists = scene.uncovered_frames >= config.persist_frames;
    if !frame.search && !persists {
        return;
    }
    frame.discovered = true;
    let mut cuts = Vec::new();
    if frame.search {
        schedule.since_search = 0;
        let residual = scene.own_motion(&frame.features);
        cuts = cut_out(&frame.features, &residual, &config.discover, &[]);
        let top = cuts.first().map_or(0.0, |cut| cut.salience).max(f32::MIN_POSITIVE);
        cuts.iter_mut().for_each(|cut| cut.salience /= top);
        let mut matched = Vec::new();
        if scene.settling() && instances.tracks.iter().all(|t| t.origin == Origin::Discovered) {
            // What was first seen was seen without its motion: older frames must not outvote what is known now.
            instances.memory.clear();
        }
        cuts.retain(|cut| !refresh(&mut instances.tracks, &mut matched, cut, frame));
        if let Some(motion) = frame.motion.as_ref().filter(|m| m.usable && !config.discover.include_static) {
            // Before a fixed camera the cut sees hedges and houses: what is worth following has moved.
            let moved = |p: &Proposal| region::overlap(&p.patches, &motion.changed) as f32;
            cuts.retain(|cut| moved(cut) >= MOVED * region::count(&cut.patches) as f32);
        }
        if scene.settling() {
            take_over(instances, &mut cuts, frame);
        }
    }
    for candidate in merge(moving, cuts) {
        propose(instances, candidate, frame);
    }
}

/// A few changed patches beside a larger moving instance are a foot or a shadow of it: it gets them.
fn belongs_to_neighbour(tracks: &[Track], patches: &[bool], frame: &mut FrameContext<'_>) -> bool {
    let size = region::count(patches);
    let near = region::dilate(frame.grid(), patches, 1);
    let larger = (0..tracks.len()).filter(|&k| tracks[k].by_motion && tracks[k].visible()).find(|&k| {
        let held = frame.patches_of(k + 1);
        region::overlap(&near, &held) > 0 && region::count(&held) >= 2 * size
    });
    let Some(k) = larger.filter(|_| size <= FRAGMENT) else { return false };
    channels::assign(&mut frame.soft, patches, k + 1, 0.6);
    true
}

/// Whether changed patches are the fringe of an instance that was given or cut out: features see around a thing,
/// so the ground beside it changes with it.
fn is_fringe(tracks: &[Track], patches: &[bool], frame: &FrameContext<'_>) -> bool {
    let size = region::count(patches);
    (0..tracks.len()).filter(|&k| !tracks[k].by_motion && tracks[k].visible()).any(|k| {
        let held = frame.patches_of(k + 1);
        let near = region::dilate(frame.grid(), &held, FRINGE);
        region::count(&held) > size && 2 * region::overlap(patches, &near) >= size
    })
}

/// Corrects the instance in sight that a proposal overlaps; false when there is none. A discovered instance is
/// the mean of what the searches since its first said.
fn refresh(tracks: &mut [Track], matched: &mut Vec<InstanceId>, cut: &Proposal, frame: &mut FrameContext<'_>) -> bool {
    let open = |k: &usize| !matched.contains(&tracks[*k].id);
    let overlap = |k: usize| region::iou(&cut.patches, &frame.patches_of(k + 1));
    let best = (0..tracks.len()).filter(open).map(|k| (overlap(k), k)).max_by(|a, b| a.0.total_cmp(&b.0));
    let Some((_, k)) = best.filter(|(iou, _)| *iou >= frame.config.match_iou) else { return false };
    matched.push(tracks[k].id);
    if tracks[k].origin == Origin::Discovered {
        let given: Vec<bool> = (0..tracks.len()).filter(|&other| tracks[other].origin != Origin::Discovered).fold(
            vec![false; cut.patches.len()],
            |mut all, other| {
                region::unite(&mut all, &frame.patches_of(other + 1));
                all
            },
        );
        let mut patches = cut.patches.clone();
        region::subtract(&mut patches, &given);
        let track = &mut tracks[k];
        track.salience += cut.salience;
        track.searches += 1;
        let weight = (1.0 / track.searches as f32).max(LEAST_WEIGHT);
        channels::fade(&mut frame.soft, k + 1, 1.0 - weight, |p| !patches[p]);
        channels::assign(&mut frame.soft, &patches, k + 1, weight);
        frame.edited = true;
    }
    true
}

/// While a scene is new, a proposal that is more salient than the instances that hold its patches takes them.
fn take_over(instances: &mut Instances, cuts: &mut Vec<Proposal>, frame: &mut FrameContext<'_>) {
    cuts.retain(|cut| {
        let held = |k: usize| region::overlap(&cut.patches, &frame.patches_of(k + 1));
        let owner =
            (0..instances.tracks.len()).map(|k| (held(k), k)).max_by_key(|&(held, k)| (held, std::cmp::Reverse(k)));
        let Some((held, k)) = owner else { return true };
        let owner = &instances.tracks[k];
        let weaker = owner.origin == Origin::Discovered
            && cut.salience > owner.salience / owner.searches.max(1) as f32
            && instances.tracks.len() < frame.config.most_instances();
        if 2 * held < region::count(&cut.patches) || !weaker {
            return true;
        }
        let id = instances.start(Beginning::new(&cut.patches, Origin::Discovered), frame);
        credit(&mut instances.tracks, id, cut.salience);
        false
    });
}

/// Notes how salient the search found a new instance.
fn credit(tracks: &mut [Track], id: InstanceId, salience: f32) {
    if let Some(track) = tracks.iter_mut().find(|t| t.id == id) {
        track.salience += salience;
    }
}

/// A proposal becomes an instance found again, a new one, or nothing.
fn propose(instances: &mut Instances, candidate: Candidate, frame: &mut FrameContext<'_>) {
    let mut open = candidate.patches;
    let all = region::count(&open);
    region::subtract(&mut open, &frame.owned());
    let left = region::count(&open);
    if left == 0 || (all - left) as f32 >= KNOWN * all as f32 {
        return;
    }
    if let Some(k) = reidentification::find_again(&instances.tracks, &open, frame) {
        reidentification::welcome_back(&mut instances.tracks, k, &open, frame);
    } else if instances.tracks.len() < frame.config.most_instances() {
        let beginning = Beginning { by_motion: candidate.by_motion, ..Beginning::new(&open, Origin::Discovered) };
        let id = instances.start(beginning, frame);
        credit(&mut instances.tracks, id, candidate.salience);
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
