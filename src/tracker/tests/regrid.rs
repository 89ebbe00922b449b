//! The same scene on other grids: the network sees it at another resolution.

use super::*;

/// Half of [`GRID`], down and across.
const HALF: Grid = Grid { rows: 6, cols: 9 };

/// Two things that look alike, on either grid at once, so that only place and memory tell them apart.
fn twins(grid: Grid, t: u64) -> Arc<Features> {
    let k = if grid == HALF { 2 } else { 1 };
    let thing = |col: i32| Thing::new(1, (4 / k, col / k), (4 / k, 4 / k));
    Arc::new(field(grid, 0, 0, &[thing(2), thing(12)], t))
}

fn tracker() -> Tracker {
    let mut tracker = Tracker::new(TrackerConfig { discovery: false, ..quick() }, PATCH);
    tracker.first_mask(first(&[Thing::new(1, (4, 2), (4, 4)), Thing::new(1, (4, 12), (4, 4))]));
    tracker
}

#[test]
fn twins_keep_their_names_through_every_grid() {
    let mut tracker = tracker();
    let grids = [GRID, GRID, GRID, HALF, HALF, HALF, GRID, GRID, HALF, GRID, GRID];
    for (t, grid) in grids.into_iter().enumerate() {
        let tracked = tracker.step(twins(grid, t as u64), SIZE, 0);
        check(&tracker, &tracked);
        assert_eq!((ids(&tracked), tracked.events.len()), (vec![1, 2], if t == 0 { 2 } else { 0 }), "frame {t}");
        for (k, col) in [(1, 2), (2, 12)] {
            let held = iou(&tracked.labels, k, Thing::new(1, (4, col), (4, 4)));
            assert!(held > 0.7, "frame {t}, twin {k}: {held}");
        }
    }
}

#[test]
fn who_is_out_of_sight_at_the_change_comes_back_by_name() {
    let mut tracker = tracker();
    let alone = |grid: Grid, t| {
        let k = if grid == HALF { 2 } else { 1 };
        Arc::new(field(grid, 0, 0, &[Thing::new(1, (4 / k, 2 / k), (4 / k, 4 / k))], t))
    };
    (0..3).for_each(|t| drop(tracker.step(twins(GRID, t), SIZE, 0)));
    assert_eq!(ids(&tracker.step(alone(GRID, 3), SIZE, 0)), [1]);
    assert_eq!(ids(&tracker.step(alone(HALF, 4), SIZE, 0)), [1]);
    let back = (5..8).map(|t| tracker.step(twins(HALF, t), SIZE, 0)).last().unwrap();
    assert_eq!(ids(&back), [1, 2]);
}

#[test]
fn another_scene_on_another_grid_is_a_cut() {
    let mut tracker = Tracker::new(quick(), PATCH);
    let thing = Thing::new(1, (2, 3), (4, 6));
    (0..4).for_each(|t| drop(tracker.step(panned(t, &[thing]), SIZE, 0)));
    let tracked = tracker.step(Arc::new(field(HALF, 7, 0, &[], 4)), SIZE, 0);
    assert_eq!(tracked.events, [TrackEvent::Ended { id: 1, cause: EndCause::SceneCut }]);
    assert!(tracker.needs_discovery());
}
