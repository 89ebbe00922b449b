//! A new epoch: pictures were missed, and everybody has moved meanwhile.

use super::*;

/// Follows `before` for a while, misses pictures, and sees `after`: the ids of the frames from then on.
fn interrupted(mut tracker: Tracker, before: &[Thing], after: &[Thing], after_frame: impl Fn(u64) -> Arc<Features>) {
    for t in 0..6 {
        tracker.step(fixed(t, before), SIZE, 0);
    }
    let known: Vec<InstanceId> = tracker.state.instances.tracks.iter().map(|track| track.id).collect();
    assert_eq!(known.len(), before.len());
    for t in 6..12 {
        let tracked = tracker.step(after_frame(t), SIZE, 1);
        check(&tracker, &tracked);
        assert_eq!((ids(&tracked), tracked.events.len()), (known.clone(), 0), "frame {t}: {:?}", tracked.events);
        for (thing, id) in after.iter().zip(1..) {
            assert!(iou(&tracked.labels, id, *thing) > 0.75, "frame {t}: {id}");
        }
    }
}

fn given(things: &[Thing]) -> Tracker {
    let mut tracker = Tracker::new(TrackerConfig { discovery: false, ..quick() }, PATCH);
    tracker.first_mask(first(things));
    tracker
}

#[test]
fn who_moved_far_has_its_name() {
    let before = [Thing::new(1, (1, 1), (4, 4)), Thing::new(2, (7, 12), (4, 4))];
    let after = [Thing::new(1, (7, 2), (4, 4)), Thing::new(2, (1, 1), (4, 4))];
    interrupted(given(&before), &before, &after, |t| fixed(t, &after));
}

#[test]
fn who_changed_places_changes_no_names() {
    let before = [Thing::new(1, (1, 1), (4, 4)), Thing::new(2, (7, 13), (4, 4))];
    let after = [Thing::new(1, (7, 13), (4, 4)), Thing::new(2, (1, 1), (4, 4))];
    interrupted(given(&before), &before, &after, |t| fixed(t, &after));
}

#[test]
fn who_was_discovered_survives_another_view_and_a_spoiled_picture() {
    let before = [Thing::new(1, (1, 3), (4, 4)), Thing::new(2, (7, 10), (4, 5))];
    let after = [Thing::new(1, (6, 11), (4, 4)), Thing::new(2, (2, 4), (4, 5))];
    for spoiled in [false, true] {
        let mut tracker = Tracker::new(quick(), PATCH);
        for t in 0..6 {
            tracker.step(panned(t, &before), SIZE, 0);
        }
        let mut named: Vec<(InstanceId, f32)> = Vec::new();
        let held = tracker.step(panned(6, &before), SIZE, 0);
        for thing in before {
            let best = |i: &Instance| (i.id, iou(&held.labels, i.id as u8, thing));
            named.push(held.instances.iter().map(best).max_by(|a, b| a.1.total_cmp(&b.1)).unwrap());
        }
        assert!(named.iter().all(|(_, iou)| *iou > 0.75), "{named:?}");
        if spoiled {
            // As a decoder shows that has no key frame yet: another world, without anybody.
            let tracked = tracker.step(Arc::new(field(GRID, 99, 0, &[], 7)), SIZE, 1);
            assert!(tracked.events.iter().all(|e| matches!(e, TrackEvent::Appeared { .. })), "{:?}", tracked.events);
        }
        // The camera was turned: another background.
        for t in 8..14 {
            let tracked = tracker.step(Arc::new(field(GRID, 77, 0, &after, t)), SIZE, 1);
            check(&tracker, &tracked);
            for (thing, (id, _)) in after.iter().zip(&named) {
                let palette =
                    tracker.state.instances.tracks.iter().find(|track| track.id == *id).map(|track| track.palette);
                let palette = palette.unwrap_or_else(|| panic!("frame {t}: {id} ended: {:?}", tracked.events));
                assert!(iou(&tracked.labels, palette, *thing) > 0.75, "spoiled {spoiled}, frame {t}: {id}");
            }
        }
    }
}

#[test]
fn a_walker_before_a_fixed_camera_is_known_again_on_the_other_side() {
    let mut tracker = Tracker::new(quick(), PATCH);
    let walker = |col: i32| Thing::new(5, (6, col), (4, 3));
    (0..12).for_each(|t| drop(tracker.step(fixed(t, &[]), SIZE, 0)));
    let mut last = vec![];
    for t in 12..24 {
        last = ids(&tracker.step(fixed(t, &[walker((t as i32 - 12) / 3)]), SIZE, 0));
    }
    assert_eq!((last.len(), tracker.state.instances.tracks[0].by_motion), (1, true));
    for t in 24..30 {
        let now = walker(14 - (t as i32 - 24) / 3);
        let tracked = tracker.step(fixed(t, &[now]), SIZE, 1);
        check(&tracker, &tracked);
        assert!(tracked.events.is_empty(), "frame {t}: {:?}", tracked.events);
        assert!(t < 26 || ids(&tracked) == last, "frame {t}: {:?}", ids(&tracked));
        assert!(t < 26 || iou(&tracked.labels, last[0] as u8, now) > 0.6, "frame {t}");
    }
}

#[test]
fn who_is_gone_after_the_outage_ends_in_its_time() {
    let before = [Thing::new(1, (1, 1), (4, 4)), Thing::new(2, (7, 12), (4, 4))];
    let mut tracker = given(&before);
    (0..6).for_each(|t| drop(tracker.step(fixed(t, &before), SIZE, 0)));
    let mut events = Vec::new();
    for t in 6..20 {
        let tracked = tracker.step(fixed(t, &before[1..]), SIZE, 1);
        check(&tracker, &tracked);
        assert_eq!(ids(&tracked), [2], "frame {t}");
        events.extend(tracked.events);
    }
    assert_eq!(events, [TrackEvent::Ended { id: 1, cause: EndCause::Lost }]);
}
