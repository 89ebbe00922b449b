//! Another network in the middle of a stream: its features compare with nothing that is remembered.

use super::*;

/// What another network would say: the same patches under other numbers.
fn other(features: &Features) -> Arc<Features> {
    let turned = |rows: &[f32]| {
        let mut rows = rows.to_vec();
        for row in rows.chunks_exact_mut(features.dim) {
            row.reverse();
            row.iter_mut().step_by(2).for_each(|x| *x = -*x);
        }
        rows
    };
    let other = Features::new(features.grid, features.dim, turned(features.tokens()));
    Arc::new(match features.discovery() {
        Some(rows) => other.with_discovery(turned(rows)),
        None => other,
    })
}

#[test]
fn everybody_in_sight_keeps_name_and_place() {
    let mut tracker = Tracker::new(quick(), PATCH);
    let things = |t: u64| [Thing::new(1, (1, 1 + (t / 6) as i32), (4, 3)), Thing::new(2, (7, 13), (4, 4))];
    for t in 0..40 {
        if t == 20 {
            tracker.exchange_network(quick(), PATCH);
        }
        let features = panned(t, &things(t));
        let tracked = tracker.step(if t < 20 { features } else { other(&features) }, SIZE, 0);
        check(&tracker, &tracked);
        assert_eq!(ids(&tracked), [1, 2], "frame {t}");
        assert_eq!(tracked.events.len(), if t == 0 { 2 } else { 0 }, "frame {t}: {:?}", tracked.events);
        for thing in things(t) {
            let best = iou(&tracked.labels, 1, thing).max(iou(&tracked.labels, 2, thing));
            assert!(best > 0.6, "frame {t}: {best}");
        }
    }
}

#[test]
fn another_grid_is_no_obstacle_and_who_is_out_of_sight_ends() {
    let coarse = Grid { rows: 6, cols: 9 };
    let mut tracker = Tracker::new(quick(), PATCH);
    let (stays, leaves) = (Thing::new(1, (2, 2), (4, 4)), Thing::new(2, (7, 11), (4, 4)));
    let mut named = (0, 0);
    for t in 0..6 {
        let seen = tracker.step(panned(t, &[stays, leaves]), SIZE, 0);
        let id = if iou(&seen.labels, 1, stays) > 0.5 { 1 } else { 2 };
        named = (id, 3 - id);
    }
    tracker.step(panned(6, &[stays]), SIZE, 0);
    tracker.exchange_network(quick(), 2 * PATCH);
    let shown = Thing::new(1, (1, 1), (2, 2));
    let tracked = tracker.step(Arc::new(field(coarse, 0, 7, &[shown], 7)), SIZE, 0);
    check(&tracker, &tracked);
    assert_eq!(ids(&tracked), [named.0]);
    assert!(iou(&tracked.labels, named.0 as u8, stays) > 0.5);
    assert_eq!(tracked.events, [TrackEvent::Ended { id: named.1, cause: EndCause::Lost }]);
}
