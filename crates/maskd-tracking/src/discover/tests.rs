//! Discovery against exact truth.

use super::{
    motion::{Background, Motion, MotionConfig, proposals},
    synthetic::{Thing, field},
    *,
};

const GRID: Grid = Grid { rows: 16, cols: 24 };

#[test]
fn two_things_are_found_and_nothing_else() {
    let things = [Thing::new(1, (2, 3), (5, 4)), Thing::new(2, (9, 14), (4, 6))];
    let frame = field(GRID, 0, 0, &things, 0);
    let found = discover(&frame, &[], &DiscoverConfig::default(), &[]);
    for thing in &things {
        let best = found.iter().map(|p| region::iou(&p.patches, &thing.patches(GRID))).fold(0.0, f32::max);
        assert!(best > 0.9, "{thing:?}: {best}");
    }
    assert_eq!(found.len(), 2);
    assert!(
        found.iter().all(|p| p.score > 0.5 && p.score <= 1.0),
        "{:?}",
        found.iter().map(|p| p.score).collect::<Vec<_>>()
    );
    assert_eq!(found, discover(&frame, &[], &DiscoverConfig::default(), &[]), "not deterministic");
}

#[test]
fn covered_patches_take_no_part() {
    let things = [Thing::new(1, (2, 3), (5, 4)), Thing::new(2, (9, 14), (4, 6))];
    let frame = field(GRID, 0, 0, &things, 0);
    let covered = things[0].patches(GRID);
    let found = discover(&frame, &[], &DiscoverConfig::default(), &covered);
    assert_eq!(found.len(), 1);
    assert!(region::overlap(&found[0].patches, &covered) == 0);
    assert!(region::iou(&found[0].patches, &things[1].patches(GRID)) > 0.9);
}

#[test]
fn too_small_too_large_and_nothing() {
    let config = DiscoverConfig::default();
    // Two patches of 384 are under 0.6 %, a thing over most of the picture is background.
    assert!(discover(&field(GRID, 0, 0, &[Thing::new(1, (5, 5), (1, 2))], 0), &[], &config, &[]).is_empty());
    let wall = [Thing::new(1, (0, 0), (16, 15))];
    assert!(discover(&field(GRID, 0, 0, &wall, 0), &[], &config, &[]).iter().all(|p| region::count(&p.patches) < 160));
    let tiny = Features::new(Grid { rows: 0, cols: 0 }, 4, vec![]);
    assert!(discover(&tiny, &[], &config, &[]).is_empty());
    for (rows, cols) in [(1, 1), (1, 3), (2, 2)] {
        let grid = Grid { rows, cols };
        discover(&field(grid, 0, 0, &[], 0), &[], &config, &vec![true; grid.len()]);
        discover(&field(grid, 0, 0, &[], 0), &[], &config, &[]);
    }
}

#[test]
fn keys_are_preferred_to_tokens() {
    let thing = Thing::new(1, (2, 3), (5, 4));
    let keys = field(GRID, 0, 0, &[thing], 0).tokens().to_vec();
    let frame = field(GRID, 0, 0, &[], 0).with_discovery(keys);
    assert!(
        region::iou(&discover(&frame, &[], &DiscoverConfig::default(), &[])[0].patches, &thing.patches(GRID)) > 0.9
    );
}

fn watch(frames: u64, scene: impl Fn(u64) -> Features) -> Vec<Motion> {
    let mut background = Background::new();
    (0..frames).map(|t| background.observe(&scene(t), &[], &MotionConfig::default())).collect()
}

#[test]
fn a_walker_before_a_fixed_camera_is_exactly_what_changed() {
    let walker = |t: u64| Thing::new(5, (6, t as i32 - 10), (3, 2));
    let seen = watch(30, |t| field(GRID, 0, 0, &[walker(t)], t));
    assert!(!seen[4].usable && seen[5].usable);
    for (t, motion) in seen.iter().enumerate().skip(12) {
        assert_eq!(motion.changed, walker(t as u64).patches(GRID), "frame {t}");
    }
    let found = proposals(&seen[20], GRID, &[], &MotionConfig::default());
    assert_eq!(found.len(), 1);
    assert!(proposals(&seen[20], GRID, &walker(20).patches(GRID), &MotionConfig::default()).is_empty(), "covered");
}

#[test]
fn ground_that_a_leaving_thing_uncovers_is_no_thing() {
    // It stands for ten frames, long enough to be furniture, then is gone.
    let parked = Thing::new(5, (6, 8), (3, 3));
    let seen = watch(20, |t| field(GRID, 0, 0, &[parked][..usize::from(t < 10)], t));
    assert!(seen[10].usable);
    let left = region::count(&seen[12].changed);
    assert!(left <= 1, "{left} ghost patches");
}

#[test]
fn a_moving_camera_switches_the_cue_off() {
    let seen = watch(30, |t| field(GRID, 0, t, &[Thing::new(5, (6, 8), (3, 3))], t));
    assert!(seen.iter().all(|m| !m.usable && region::count(&m.changed) == 0));
}

#[test]
fn two_groups_that_touch_through_a_faint_patch_are_taken_apart() {
    let mut motion = Motion { changed: vec![false; GRID.len()], distance: vec![0.0; GRID.len()], usable: true };
    for (p, distance) in [(24, 0.9), (48, 0.9), (25, 0.3), (26, 0.8), (50, 0.8)] {
        motion.changed[p] = true;
        motion.distance[p] = distance;
    }
    let found = proposals(&motion, GRID, &[], &MotionConfig::default());
    assert_eq!(found.len(), 2);
    assert_eq!(found.iter().map(|p| region::count(&p.patches)).sum::<usize>(), 5);
    assert!(found[0].score > found[1].score || region::count(&found[0].patches) == 3);
}

#[test]
fn what_stands_perfectly_still_becomes_scene_in_time_though_it_is_followed() {
    let parked = Thing::new(5, (6, 8), (3, 3));
    let (mut background, owned) = (Background::new(), parked.patches(GRID));
    for t in 0..130 {
        let frame = field(GRID, 0, 0, &[parked][..usize::from(t >= 10)], t);
        // Nobody follows what has not come yet: what was followed all along hides its ground.
        let followed: &[bool] = if t >= 10 { &owned } else { &[] };
        let motion = background.observe(&frame, followed, &MotionConfig::default());
        match t {
            10..105 => assert_eq!(motion.changed, owned, "frame {t}"),
            115.. => assert!(motion.usable && region::count(&motion.changed) == 0, "frame {t}"),
            _ => {}
        }
    }
}
