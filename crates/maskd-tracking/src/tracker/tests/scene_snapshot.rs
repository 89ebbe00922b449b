//! Pictures of another world for a moment, as a decoder shows that has lost data.

use super::*;

const THINGS: [Thing; 2] =
    [Thing { look: 1, row: 1, col: 1, rows: 4, cols: 4 }, Thing { look: 2, row: 7, col: 12, rows: 4, cols: 4 }];

/// Another world, in which a stain looks like the second thing.
fn spoiled(t: u64) -> Arc<Features> {
    Arc::new(field(GRID, 99, 0, &[Thing::new(2, (0, 2), (6, 5))], t))
}

/// Follows the things as given for a while.
fn tracker(config: TrackerConfig) -> Tracker {
    let mut tracker = Tracker::new(config, PATCH);
    tracker.first_mask(first(&THINGS));
    (0..6).for_each(|t| drop(tracker.step(fixed(t, &THINGS), SIZE, 0)));
    tracker
}

/// Two trackers see the same, are as sure of it, and have learnt the same.
fn same((a, seen_by_a): (&Tracker, &Tracked), (b, seen_by_b): (&Tracker, &Tracked), at: &str) {
    assert_eq!(seen_by_a.labels, seen_by_b.labels, "{at}");
    let scores = |seen: &Tracked| seen.instances.iter().map(|i| (i.id, i.score)).collect::<Vec<_>>();
    assert_eq!(scores(seen_by_a), scores(seen_by_b), "{at}");
    let learnt =
        |tracker: &Tracker| tracker.state.instances.tracks.iter().map(|t| t.prototype.clone()).collect::<Vec<_>>();
    assert!(learnt(a) == learnt(b), "{at}: what they look like");
}

#[test]
fn spoiled_pictures_leave_no_trace() {
    let config = || TrackerConfig { discovery: false, ..quick() };
    // The epochs of the spoiled pictures and of those after them: rebuilt before, after, both, or not at all.
    for (count, epochs) in [(1, [1, 2]), (3, [1, 1]), (1, [0, 0]), (5, [0, 1])] {
        let (mut missed, mut saw) = (tracker(config()), tracker(config()));
        for t in 0..count {
            let tracked = saw.step(spoiled(t), SIZE, epochs[0]);
            check(&saw, &tracked);
            assert!(tracked.events.is_empty(), "{count} in {epochs:?}, picture {t}: {:?}", tracked.events);
        }
        for t in 10..20 {
            let moved = THINGS.map(|thing| Thing { col: thing.col + (t as i32 - 10) / 3, ..thing });
            let expected = missed.step(fixed(t, &moved), SIZE, 1);
            let tracked = saw.step(fixed(t, &moved), SIZE, epochs[1]);
            check(&saw, &tracked);
            assert_eq!((ids(&tracked), &tracked.events), (vec![1, 2], &vec![]), "{count} in {epochs:?}, frame {t}");
            same((&saw, &tracked), (&missed, &expected), &format!("{count} in {epochs:?}, frame {t}"));
        }
    }
}

#[test]
fn what_a_connection_showed_that_broke_at_once_is_forgotten() {
    let config = || TrackerConfig { discovery: false, ..quick() };
    let (mut missed, mut saw) = (tracker(config()), tracker(config()));
    for (epoch, t) in [(1, 6), (1, 7), (2, 8), (3, 9)] {
        // A third of the picture shows the second thing: too little to be a cut.
        let smeared = [THINGS[0], Thing::new(2, (8, 0), (4, 18))];
        let tracked = saw.step(fixed(t, &smeared), SIZE, epoch);
        check(&saw, &tracked);
        assert!(iou(&tracked.labels, 2, smeared[1]) > 0.5, "it is taken in for now, at {t}");
    }
    for t in 10..20 {
        let expected = missed.step(fixed(t, &THINGS), SIZE, 1);
        let tracked = saw.step(fixed(t, &THINGS), SIZE, 4);
        check(&saw, &tracked);
        assert!(tracked.events.is_empty(), "frame {t}: {:?}", tracked.events);
        same((&saw, &tracked), (&missed, &expected), &format!("frame {t}"));
    }
}

#[test]
fn who_appeared_in_spoiled_pictures_ends_with_them() {
    let mut tracker = tracker(quick());
    let ghost = Thing::new(9, (5, 5), (4, 5));
    let mut events = Vec::new();
    for t in 0..4 {
        events.extend(tracker.step(Arc::new(field(GRID, 99, 0, &[ghost], t)), SIZE, 1).events);
    }
    assert!(matches!(events[..], [TrackEvent::Appeared { id: 3, .. }]), "{events:?}");
    let tracked = tracker.step(fixed(10, &THINGS), SIZE, 1);
    check(&tracker, &tracked);
    assert_eq!(ids(&tracked), [1, 2]);
    assert_eq!(tracked.events, [TrackEvent::Ended { id: 3, cause: EndCause::SceneCut }]);
    assert!(tracker.needs_discovery(), "somebody may have come in the meantime");
}

#[test]
fn what_somebody_asks_for_in_the_new_scene_makes_it_the_scene() {
    let mut tracker = tracker(TrackerConfig { discovery: false, ..quick() });
    let thing = Thing::new(9, (5, 5), (4, 5));
    let elsewhere = |t| Arc::new(field(GRID, 99, 0, &[thing], t));
    tracker.step(elsewhere(0), SIZE, 1);
    let patches = thing.patches(GRID);
    tracker.prompt(Prompt::Mask { mask: Rle::from_mask(SIZE, &pixels(&patches)) }).unwrap();
    assert_eq!(ids(&tracker.step(elsewhere(1), SIZE, 1)), [3]);
    let tracked = tracker.step(fixed(10, &THINGS), SIZE, 1);
    check(&tracker, &tracked);
    assert!(tracked.events.is_empty(), "{:?}", tracked.events);
}

#[test]
fn a_scene_is_not_waited_for_for_ever() {
    for (epoch, frames) in [(0, 100), (1, 15)] {
        let mut tracker = tracker(TrackerConfig { discovery: false, lost_after_frames: 0, ..quick() });
        let picture = |t| if epoch == 0 { spoiled(t) } else { fixed(t, &THINGS) };
        for t in 0..=frames {
            tracker.step(picture(t), SIZE, epoch);
            assert!(tracker.state.snapshot.is_some(), "frame {t}");
        }
        tracker.step(picture(0), SIZE, epoch);
        assert!(tracker.state.snapshot.is_none(), "it is in memory for nothing");
    }
}
