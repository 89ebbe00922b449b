//! The same scene on other grids: the network sees it at another resolution.

use super::*;
use crate::refine::Regrid;

/// Half of [`GRID`], down and across.
const HALF: Grid = Grid { rows: 6, cols: 9 };

/// Two things, alike or not but for their texture; the second may be away.
fn twins(grid: Grid, t: u64, both: bool, look: u64) -> Arc<Features> {
    let things = [Thing::new(1, (4, 2), (4, 4)), Thing::new(look, (4, 12), (4, 4))];
    let features = field(GRID, 0, 0, if both { &things } else { &things[..1] }, t);
    // A coarser look at the same picture.
    Arc::new(if grid == GRID { features } else { Regrid::new(GRID, grid).features(&features) })
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
        let tracked = tracker.step(twins(grid, t as u64, true, 1), SIZE, 0);
        check(&tracker, &tracked);
        assert_eq!((ids(&tracked), tracked.events.len()), (vec![1, 2], if t == 0 { 2 } else { 0 }), "frame {t}");
        for (k, col) in [(1, 2), (2, 12)] {
            let held = iou(&tracked.labels, k, Thing::new(1, (4, col), (4, 4)));
            // A twin is two patches wide on the coarse grid.
            assert!(held > if grid == HALF { 0.5 } else { 0.7 }, "frame {t}, twin {k}: {held}");
        }
    }
}

#[test]
fn who_is_out_of_sight_at_the_change_comes_back_by_name() {
    let mut tracker = tracker();
    (0..3).for_each(|t| drop(tracker.step(twins(GRID, t, true, 2), SIZE, 0)));
    assert_eq!(ids(&tracker.step(twins(GRID, 3, false, 2), SIZE, 0)), [1]);
    assert_eq!(ids(&tracker.step(twins(HALF, 4, false, 2), SIZE, 0)), [1]);
    let back = (5..8).map(|t| tracker.step(twins(HALF, t, true, 2), SIZE, 0)).last().unwrap();
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
