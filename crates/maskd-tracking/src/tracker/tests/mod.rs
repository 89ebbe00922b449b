//! The tracker over synthetic scenes with exact truth.

mod books;
mod exchange;
mod outage;
mod prompts;
mod regrid;
mod reidentification;
mod scene_snapshot;
mod stages;
mod target_model;

use std::sync::Arc;

use super::*;
use crate::{
    discover::{
        region,
        synthetic::{Thing, field},
    },
    propagate::{ContextFrame, PropagateConfig, propagate},
};
use maskd_types::{
    features::Grid,
    instance::{BBox, EndCause, Origin},
    mask::Rle,
};

const GRID: Grid = Grid { rows: 12, cols: 18 };
const PATCH: usize = 4;
const SIZE: Size = Size::new(72, 48);

fn quick() -> TrackerConfig {
    TrackerConfig {
        propagate: PropagateConfig { radius: 5, context: 3, ..PropagateConfig::default() },
        lost_after_frames: 8,
        ..TrackerConfig::default()
    }
}

/// Pixels of a set of patches.
fn pixels(patches: &[bool]) -> Vec<bool> {
    (0..SIZE.area()).map(|i| patches[(i / 72 / PATCH) * GRID.cols + i % 72 / PATCH]).collect()
}

fn iou(labels: &LabelMap, palette: u8, thing: Thing) -> f32 {
    let mask: Vec<bool> = labels.labels.iter().map(|&l| l == palette).collect();
    region::iou(&mask, &pixels(&thing.patches(GRID)))
}

fn first(things: &[Thing]) -> LabelMap {
    let mut map = LabelMap::new(SIZE);
    for (k, thing) in things.iter().enumerate() {
        pixels(&thing.patches(GRID))
            .iter()
            .zip(&mut map.labels)
            .filter(|(p, _)| **p)
            .for_each(|(_, l)| *l = k as u8 + 1);
    }
    map
}

/// A camera that pans, so that only cuts and propagation help.
fn panned(t: u64, things: &[Thing]) -> Arc<Features> {
    Arc::new(field(GRID, 0, t, things, t))
}

fn fixed(t: u64, things: &[Thing]) -> Arc<Features> {
    Arc::new(field(GRID, 0, 0, things, t))
}

fn ids(tracked: &Tracked) -> Vec<InstanceId> {
    tracked.instances.iter().map(|i| i.id).collect()
}

fn check(tracker: &Tracker, tracked: &Tracked) {
    let channels = tracker.state.instances.tracks.len() + 1;
    assert!(tracker.state.instances.memory.channels().iter().all(|&c| c == channels), "channels");
    let mut palettes: Vec<u8> = tracker.state.instances.tracks.iter().map(|t| t.palette).collect();
    palettes.sort_unstable();
    palettes.dedup();
    assert_eq!(palettes.len(), tracker.state.instances.tracks.len(), "palette collision");
    for instance in &tracked.instances {
        let track = tracker.state.instances.tracks.iter().find(|t| t.id == instance.id).expect("a live instance");
        let area = tracked.labels.labels.iter().filter(|&&l| l == track.palette).count();
        assert_eq!(area as u64, instance.area);
        assert!(instance.area > 0 && (0.0..=1.0).contains(&instance.score));
    }
    let known: usize = tracked.instances.iter().map(|i| i.area as usize).sum();
    assert_eq!(tracked.labels.labels.iter().filter(|&&l| l != 0).count(), known, "a label without an instance");
}

#[test]
fn discovered_things_keep_their_ids_over_searches() {
    let mut tracker = Tracker::new(quick(), PATCH);
    let things = |t: u64| {
        let at = (t / 5) as i32;
        [Thing::new(1, (1, 1 + at), (4, 3)), Thing::new(2, (7, 13 - at), (4, 4))]
    };
    for t in 0..66 {
        assert_eq!(tracker.needs_discovery(), [0, 2, 4, 8, 16].contains(&t), "frame {t}");
        let tracked = tracker.step(panned(t, &things(t)), SIZE, 0);
        check(&tracker, &tracked);
        assert_eq!(ids(&tracked), [1, 2], "frame {t}");
        for thing in things(t) {
            let best = iou(&tracked.labels, 1, thing).max(iou(&tracked.labels, 2, thing));
            assert!(best > 0.75, "frame {t}: {best}");
        }
        assert_eq!(tracked.instances[0].age, t);
        assert_eq!(tracked.events.len(), if t == 0 { 2 } else { 0 }, "frame {t}: {:?}", tracked.events);
    }
    assert!(tracker.needs_discovery(), "fifty frames after the last search");
    let tracked = tracker.step(panned(66, &things(66)), SIZE, 0);
    assert!(ids(&tracked) == [1, 2], "found again under another name: {:?}", ids(&tracked));
}

#[test]
fn the_protocol_is_the_published_rule_to_the_bit() {
    let config = TrackerConfig { propagate: quick().propagate, ..TrackerConfig::protocol() };
    let mut tracker = Tracker::new(config.clone(), PATCH);
    let things = |t: u64| [Thing::new(1, (1, 1 + t as i32), (4, 3)), Thing::new(2, (6, 12 - t as i32), (4, 4))];
    let map = first(&things(0));
    tracker.first_mask(map.clone());
    let tracked = tracker.step(panned(0, &things(0)), SIZE, 0);
    assert_eq!(tracked.labels, map, "the first frame is the given mask");
    let small = map.resize_nearest(Size::new(18, 12));
    let anchor =
        ContextFrame { features: panned(0, &things(0)), labels: maskd_types::mask::SoftLabels::one_hot(&small, 3) };
    let mut queue: Vec<ContextFrame> = Vec::new();
    for t in 1..9 {
        let features = panned(t, &things(t));
        let contexts: Vec<&ContextFrame> = std::iter::once(&anchor).chain(&queue).collect();
        let soft = propagate(&features, &contexts, &config.propagate);
        let config = maskd_types::mask::ReadoutConfig { min_max: true };
        let expected = maskd_types::mask::readout(&soft, (12, 18), PATCH, SIZE, config, &[true; 3]);
        assert!(!tracker.needs_discovery());
        let tracked = tracker.step(features.clone(), SIZE, 0);
        assert_eq!(tracked.labels, expected, "frame {t}");
        queue.push(ContextFrame { features, labels: soft });
        if queue.len() > 3 {
            queue.remove(0);
        }
    }
}

#[test]
fn first_mask_ids_are_its_palette_indices() {
    let mut tracker = Tracker::new(quick(), PATCH);
    let thing = Thing::new(1, (3, 3), (4, 4));
    let mut map = first(&[thing]);
    map.labels.iter_mut().filter(|l| **l == 1).for_each(|l| *l = 7);
    tracker.first_mask(map.clone());
    let tracked = tracker.step(fixed(0, &[thing]), SIZE, 0);
    assert_eq!((ids(&tracked), &tracked.labels), (vec![7], &map));
    assert_eq!(tracked.events, [TrackEvent::Appeared { id: 7, origin: Origin::FirstMask }]);
    // A second one replaces it, keeps the label and takes an id of its own.
    tracker.first_mask(map.clone());
    let tracked = tracker.step(fixed(1, &[thing]), SIZE, 0);
    assert_eq!((ids(&tracked), &tracked.labels), (vec![8], &map));
    assert_eq!(tracked.events[0], TrackEvent::Ended { id: 7, cause: EndCause::Replaced });
    check(&tracker, &tracked);
}

/// Runs a thing that is hidden from frame 5 for `hidden` frames; the events after frame 0 and the ids at the end.
fn hide(hidden: u64) -> (Vec<TrackEvent>, Vec<InstanceId>) {
    let mut tracker = Tracker::new(TrackerConfig { discovery: false, ..quick() }, PATCH);
    let thing = Thing::new(1, (4, 6), (4, 4));
    tracker.first_mask(first(&[thing]));
    let mut events = Vec::new();
    let mut last = vec![];
    for t in 0..12 + hidden {
        let gone = (5..5 + hidden).contains(&t);
        let tracked = tracker.step(fixed(t, if gone { &[] } else { std::slice::from_ref(&thing) }), SIZE, 0);
        check(&tracker, &tracked);
        assert!(!gone || ids(&tracked).is_empty(), "seen while hidden");
        last = ids(&tracked);
        events.extend(tracked.events);
    }
    events.remove(0);
    (events, last)
}

#[test]
fn hidden_for_less_than_the_limit_it_comes_back_and_for_longer_it_ends() {
    assert_eq!(hide(3), (vec![], vec![1]));
    assert_eq!(hide(8), (vec![], vec![1]));
    assert_eq!(hide(9), (vec![TrackEvent::Ended { id: 1, cause: EndCause::Lost }], vec![]));
}

#[test]
fn a_lost_end_frees_its_channel_and_ids_are_not_used_again() {
    let mut tracker = Tracker::new(TrackerConfig { discovery: false, ..quick() }, PATCH);
    let things = [Thing::new(1, (1, 1), (4, 4)), Thing::new(2, (7, 10), (4, 4))];
    tracker.first_mask(first(&things));
    for t in 0..16 {
        let tracked = tracker.step(fixed(t, if t < 3 { &things } else { &things[1..] }), SIZE, 0);
        check(&tracker, &tracked);
        assert_eq!(ids(&tracked), if t < 3 { vec![1, 2] } else { vec![2] });
        assert!(iou(&tracked.labels, 2, things[1]) > 0.75);
    }
    assert_eq!(tracker.state.instances.tracks.len(), 1);
    tracker.prompt(Prompt::Points { positive: vec![[10, 10]], negative: vec![] }).unwrap();
    assert_eq!(ids(&tracker.step(fixed(16, &things), SIZE, 0)), [2, 3]);
}

#[test]
fn a_scene_cut_ends_what_was_discovered_and_keeps_what_was_given() {
    let thing = Thing::new(1, (3, 3), (4, 4));
    for given in [false, true] {
        let mut tracker = Tracker::new(quick(), PATCH);
        if given {
            tracker.first_mask(first(&[thing]));
        }
        for t in 0..5 {
            assert_eq!(ids(&tracker.step(panned(t, &[thing]), SIZE, 0)), [1]);
        }
        // Another place; the thing is there too, elsewhere.
        let moved = Thing::new(1, (6, 11), (4, 4));
        let tracked = tracker.step(Arc::new(field(GRID, 77, 0, &[moved], 9)), SIZE, 0);
        check(&tracker, &tracked);
        if given {
            assert_eq!((ids(&tracked), tracked.events.len()), (vec![1], 0));
            assert!(iou(&tracked.labels, 1, moved) > 0.75);
        } else {
            assert_eq!(tracked.events, [TrackEvent::Ended { id: 1, cause: EndCause::SceneCut }]);
        }
        assert!(tracker.needs_discovery(), "the new scene is searched in the next frame");
        let tracked = tracker.step(Arc::new(field(GRID, 77, 0, &[moved], 10)), SIZE, 0);
        assert_eq!(ids(&tracked), if given { [1] } else { [2] });
    }
}

#[test]
fn things_that_cross_keep_their_names() {
    let mut tracker = Tracker::new(TrackerConfig { discovery: false, ..quick() }, PATCH);
    let things = |t: u64| [Thing::new(1, (3, t as i32), (5, 3)), Thing::new(2, (4, 15 - t as i32), (5, 3))];
    tracker.first_mask(first(&things(0)));
    for t in 0..15 {
        let tracked = tracker.step(fixed(t, &things(t)), SIZE, 0);
        check(&tracker, &tracked);
        if !(4..11).contains(&t) {
            assert!(iou(&tracked.labels, 1, things(t)[0]) > 0.75, "frame {t}");
            assert!(iou(&tracked.labels, 2, things(t)[1]) > 0.75, "frame {t}");
        }
    }
}

#[test]
fn a_walker_before_a_fixed_camera_is_one_instance_from_entry_to_exit() {
    let mut tracker = Tracker::new(quick(), PATCH);
    let walker = |t: u64| Thing::new(5, (6, t as i32 / 2 - 6), (3, 2));
    let mut seen = Vec::new();
    for t in 0..70 {
        let tracked = tracker.step(fixed(t, &[walker(t)]), SIZE, 0);
        check(&tracker, &tracked);
        seen.extend(tracked.events.iter().map(|e| (t, e.clone())));
        if (18..44).contains(&t) {
            assert_eq!(ids(&tracked), [1], "frame {t}");
            assert!(iou(&tracked.labels, 1, walker(t)) > 0.6, "frame {t}");
        }
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(matches!(seen[0].1, TrackEvent::Appeared { id: 1, origin: Origin::Discovered }));
    assert!(matches!(seen[1], (48.., TrackEvent::Ended { id: 1, cause: EndCause::Lost })), "{seen:?}");
}

#[test]
fn a_reconnect_keeps_identities_and_searches_again() {
    let mut tracker = Tracker::new(quick(), PATCH);
    let thing = Thing::new(1, (3, 3), (4, 4));
    (0..4).for_each(|t| drop(tracker.step(panned(t, &[thing]), SIZE, 0)));
    let tracked = tracker.step(panned(4, &[thing]), SIZE, 1);
    assert_eq!((ids(&tracked), tracked.events.len()), (vec![1], 0));
    assert!(tracker.needs_discovery());
    assert_eq!(ids(&tracker.step(panned(5, &[thing]), SIZE, 1)), [1]);
    assert!(!tracker.needs_discovery());
}

#[test]
fn another_size_carries_instances_over_by_their_look() {
    let mut tracker = Tracker::new(quick(), PATCH);
    let thing = Thing::new(1, (2, 3), (4, 6));
    (0..4).for_each(|t| drop(tracker.step(panned(t, &[thing]), SIZE, 0)));
    let (grid, size) = (Grid { rows: 6, cols: 9 }, Size::new(36, 24));
    let half = Thing::new(1, (1, 2), (2, 3));
    let tracked = tracker.step(Arc::new(field(grid, 0, 0, &[half], 4)), size, 0);
    check(&tracker, &tracked);
    assert_eq!((ids(&tracked), tracked.events.len()), (vec![1], 0));
    let tracked = tracker.step(Arc::new(field(GRID, 0, 0, &[], 5)), SIZE, 0);
    assert_eq!(tracked.events, [TrackEvent::Ended { id: 1, cause: EndCause::SceneCut }]);
}

#[test]
fn features_that_do_not_fit_their_grid_change_nothing() {
    let mut tracker = Tracker::new(quick(), PATCH);
    let thing = Thing::new(1, (3, 3), (4, 4));
    tracker.step(panned(0, &[thing]), SIZE, 0);
    let broken = Features::new(GRID, 48, vec![0.0; 5]);
    assert!(tracker.step(Arc::new(broken), SIZE, 0).instances.is_empty());
    assert_eq!(ids(&tracker.step(panned(1, &[thing]), SIZE, 0)), [1]);
}
