//! Who was out of sight, and comes back where labels do not reach or touching somebody else.

use super::*;

fn given(things: &[Thing]) -> Tracker {
    let mut tracker = Tracker::new(TrackerConfig { discovery: false, ..quick() }, PATCH);
    tracker.first_mask(first(things));
    tracker
}

#[test]
fn what_comes_back_far_away_has_its_name() {
    let here = [Thing::new(1, (1, 1), (4, 4)), Thing::new(2, (7, 3), (4, 4))];
    let mut tracker = given(&here);
    (0..5).for_each(|t| drop(tracker.step(fixed(t, &here), SIZE, 0)));
    (5..10).for_each(|t| assert_eq!(ids(&tracker.step(fixed(t, &here[1..]), SIZE, 0)), [2]));
    // Farther than any memory of it looks.
    let there = [Thing::new(1, (2, 12), (4, 4)), here[1]];
    for t in 10..14 {
        let tracked = tracker.step(fixed(t, &there), SIZE, 0);
        check(&tracker, &tracked);
        assert_eq!(ids(&tracked), [1, 2], "frame {t}");
        assert!(iou(&tracked.labels, 1, there[0]) > 0.75, "frame {t}");
    }
}

#[test]
fn a_stranger_is_not_who_left() {
    let here = [Thing::new(1, (1, 1), (4, 4)), Thing::new(2, (7, 3), (4, 4))];
    let mut tracker = given(&here);
    (0..5).for_each(|t| drop(tracker.step(fixed(t, &here), SIZE, 0)));
    let stranger = [Thing::new(9, (2, 12), (4, 4)), here[1]];
    (5..12).for_each(|t| assert_eq!(ids(&tracker.step(fixed(t, &stranger), SIZE, 0)), [2]));
}

#[test]
fn what_comes_out_from_behind_another_has_its_name() {
    let things = |t: u64| [Thing::new(1, (4, t as i32), (3, 3)), Thing::new(2, (3, 6), (6, 5))];
    let mut tracker = given(&things(0));
    for t in 0..15 {
        let tracked = tracker.step(fixed(t, &things(t)), SIZE, 0);
        check(&tracker, &tracked);
        let hidden = (6..=8).contains(&t);
        assert_eq!(ids(&tracked), if hidden { vec![2] } else { vec![1, 2] }, "frame {t}");
        if !(4..11).contains(&t) {
            assert!(iou(&tracked.labels, 1, things(t)[0]) > 0.75, "frame {t}");
        }
    }
}
