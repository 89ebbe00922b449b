//! What a fixed camera makes of drawn scenes: masks against what was drawn, and identities over time.

#![allow(clippy::unwrap_used)]

mod support;

use maskd_types::features::Grid;
use support::{
    BLUE, DARK, HEIGHT, LIGHT, RED, Shot, Shown, Stage, Thing, WIDTH, in_shadow, momentary, nothing, one, random,
    seconds, texture, walk,
};

#[test]
fn a_scene_alone_is_nothing() {
    for seed in 0..3 {
        nothing(&Stage::new(seed).play(0.0..10.0, 0.1, |_| Shot::default()));
        nothing(&Stage::new(seed).play(0.0..4.0, 0.04, |_| Shot::default().noise(6.0)));
    }
}

/// The scene alone, then a thing that walks through it.
fn watch(seed: u64, thing: &Thing) {
    let mut stage = Stage::new(seed);
    nothing(&stage.play(0.0..3.0, 0.04, |_| Shot::default()));
    let walking = stage.play(3.0..7.0, 0.04, |t| walk(thing, 3.0, 30.0, t));
    one(&walking[50..], 1, 0.7);
    assert!(walking.iter().all(|s| s.fixed));
}

#[test]
fn a_moving_thing_is_one_instance_within_two_seconds() {
    watch(0, &Thing::ellipse(20.0, 44.0, DARK));
    watch(1, &Thing::rectangle(36.0, 22.0, RED));
}

#[test]
fn a_bright_thing_is_one_instance_within_two_seconds() {
    watch(2, &Thing::ellipse(16.0, 36.0, LIGHT));
}

#[test]
fn what_was_there_first_and_walks_away_leaves_no_ghost() {
    let thing = Thing::ellipse(20.0, 40.0, DARK);
    for stands in [0.0, 1.0, 4.0] {
        // 30 pixels a second: it has left its place 0.7 s after it starts, and the picture 4 s after.
        let mut stage = Stage::new(5);
        let place = |t: f32| (60.0 + 30.0 * (t - stands).max(0.0), 60.0);
        let shown = stage.play(0.0..stands + 10.0, 0.04, |t| Shot::of(&[(&thing, place(t))]));
        for s in shown.iter().filter(|s| s.t > stands + 0.7 + 2.0) {
            let ghost = (50..70).flat_map(|x| (40..80).map(move |y| y * WIDTH + x)).filter(|p| s.ids[*p] > 0).count();
            assert!(ghost < 20, "stood {stands} s: {ghost} pixels of a ghost at {:.2} s", s.t);
        }
        nothing(&shown[((stands + 4.0 + 2.0) / 0.04) as usize..]);
    }
}

#[test]
fn what_stops_keeps_its_identity() {
    let thing = Thing::ellipse(20.0, 40.0, RED);
    let mut stage = Stage::new(6);
    // 30 pixels a second up to x = 80; there for 20 s; on to the right.
    let x = |t: f32| -10.0 + 30.0 * (t - 3.0).clamp(0.0, 3.0) + 30.0 * (t - 26.0).max(0.0);
    let shown = stage.play(0.0..34.0, 0.1, |t| Shot::of(&[(&thing, (x(t), 60.0))]));
    let from = shown.iter().position(|s| s.t >= 5.0).unwrap();
    let to = shown.iter().position(|s| s.t >= 27.5).unwrap();
    one(&shown[from..to], 1, 0.7);
    nothing(&shown[315..]);
}

#[test]
fn a_shadow_is_no_part_of_a_thing() {
    let thing = Thing::ellipse(18.0, 40.0, RED);
    let mut stage = Stage::new(7);
    stage.play(0.0..3.0, 0.04, |_| Shot::default());
    let place = |t: f32| (-10.0 + 30.0 * (t - 3.0), 60.0);
    let shade = |t: f32| ((place(t).0 + 16.0, 76.0), (36.0, 14.0));
    let shown = stage.play(3.0..7.0, 0.04, |t| Shot::of(&[(&thing, place(t))]).shadow(shade(t).0, shade(t).1, 0.6));
    one(&shown[50..], 1, 0.7);
    for s in &shown[50..] {
        let dark = |p: &usize| {
            let at = ((p % WIDTH) as f32, (p / WIDTH) as f32);
            s.truth[*p] == 0 && in_shadow(at, shade(s.t).0, shade(s.t).1) > 0.5
        };
        let (all, taken) =
            (0..WIDTH * HEIGHT).filter(dark).fold((0, 0), |(n, k), p| (n + 1, k + usize::from(s.ids[p] > 0)));
        assert!((taken as f32) < 0.3 * all as f32, "at {:.2} s: {taken} of {all} pixels of the shadow", s.t);
    }
}

#[test]
fn a_change_of_light_is_nothing() {
    for gain in [1.2, 0.8] {
        let mut stage = Stage::new(8);
        nothing(&stage.play(0.0..8.0, 0.04, |t| Shot::default().gain(if t < 3.0 { 1.0 } else { gain })));
    }
    let mut stage = Stage::new(8);
    nothing(&stage.play(0.0..25.0, 0.1, |t| Shot::default().gain(1.0 + 0.02 * (t - 3.0).clamp(0.0, 20.0))));
}

#[test]
fn a_thing_goes_on_through_a_change_of_light() {
    let thing = Thing::ellipse(20.0, 40.0, RED);
    let mut stage = Stage::new(9);
    stage.play(0.0..3.0, 0.04, |_| Shot::default());
    let shown = stage.play(3.0..7.0, 0.04, |t| walk(&thing, 3.0, 30.0, t).gain(if t < 5.5 { 1.0 } else { 1.2 }));
    one(&shown[50..], 1, 0.7);
}

#[test]
fn a_thing_is_found_at_night() {
    // A quarter of the light, and noise that has not become less.
    let thing = Thing::ellipse(16.0, 36.0, LIGHT);
    let mut stage = Stage::new(2);
    nothing(&stage.play(0.0..3.0, 0.04, |_| Shot::default().gain(0.25).noise(3.0)));
    let shown = stage.play(3.0..7.0, 0.04, |t| walk(&thing, 3.0, 30.0, t).gain(0.25).noise(3.0));
    let found: Vec<(u32, f32)> = shown[50..].iter().map(|s| s.of(1)).collect();
    // In the middle the scene is nearly as bright as the thing.
    let mean = found.iter().map(|f| f.1).sum::<f32>() / found.len() as f32;
    assert!(found[0].0 > 0 && found.iter().all(|f| f.0 == found[0].0) && mean >= 0.6, "identities and IoU: {found:?}");
}

/// Identities of two things before and after they meet.
fn meet(stage: &mut Stage, things: [&Thing; 2], heights: [f32; 2]) -> [[u32; 2]; 2] {
    stage.play(0.0..3.0, 0.04, |_| Shot::default());
    let x = |t: f32| 15.0 + 30.0 * (t - 3.0);
    let film = |t: f32| Shot::of(&[(things[0], (x(t), heights[0])), (things[1], (160.0 - x(t), heights[1]))]);
    let shown = stage.play(3.0..7.4, 0.04, film);
    // They meet 2.2 s after they came.
    [&shown[(1.2 / 0.04) as usize], &shown[(3.8 / 0.04) as usize]].map(|s| {
        [1, 2].map(|thing| {
            let (id, iou) = s.of(thing);
            assert!(iou >= 0.6, "at {:.2} s: IoU {iou:.2} of thing {thing}", s.t);
            id
        })
    })
}

#[test]
fn what_crosses_keeps_its_identity() {
    for colours in [[RED, BLUE], [BLUE, RED], [DARK, LIGHT]] {
        let things = colours.map(|c| Thing::ellipse(20.0, 40.0, c));
        let [before, after] = meet(&mut Stage::new(13), [&things[0], &things[1]], [60.0, 64.0]);
        assert_ne!(before[0], before[1]);
        assert_eq!(before, after, "{colours:?}");
    }
}

#[test]
fn what_passes_behind_another_has_its_identity_again() {
    let (small, large) = (Thing::ellipse(14.0, 30.0, RED), Thing::rectangle(44.0, 70.0, DARK));
    let mut stage = Stage::new(3);
    stage.play(0.0..3.0, 0.04, |_| Shot::default());
    // The large one comes from below, stands at x = 80 from 5 s on, and is before the other, which comes at 6 s and goes
    // slower from the time on at which nobody sees it.
    let large_at = |t: f32| (80.0, 70.0 + 45.0 * (5.0 - t).max(0.0));
    let small_at = |t: f32| (-10.0 + 40.0 * (t.min(8.2) - 6.0) + 24.0 * (t - 8.2).max(0.0), 80.0);
    let shown = stage.play(3.0..11.0, 0.04, |t| Shot::of(&[(&small, small_at(t)), (&large, large_at(t))]));
    let at = |t: f32| [1, 2].map(|thing| shown[((t - 3.0) / 0.04) as usize].of(thing));
    for ((id, iou), (same, now)) in at(7.2).into_iter().zip(at(10.8)) {
        assert!(id > 0 && id == same && iou > 0.6 && now > 0.6, "{:?}, then {:?}", at(7.2), at(10.8));
    }
}

#[test]
fn things_of_one_look_that_pass_keep_their_identities() {
    let thing = Thing::ellipse(18.0, 36.0, RED);
    let [before, after] = meet(&mut Stage::new(14), [&thing, &thing], [36.0, 82.0]);
    assert_ne!(before[0], before[1]);
    assert_eq!(before, after);
}

#[test]
fn a_walk_has_one_identity_at_any_rate() {
    let thing = Thing::ellipse(20.0, 40.0, RED);
    for (dt, speed) in [(0.5, 20.0), (0.5, 40.0), (0.1, 30.0), (0.04, 30.0)] {
        let mut stage = Stage::new(15);
        stage.play(0.0..4.0, dt, |_| Shot::default());
        // From 2 s after it has come until it leaves.
        let leaves = 4.0 + (WIDTH as f32 / speed);
        let shown = stage.play(4.0..leaves, dt, |t| walk(&thing, 4.0, speed, t));
        one(&shown[(2.0 / dt) as usize..], 1, 0.6);
        assert_eq!(seconds(&shown, dt).len(), 1, "dt {dt}: {:?}", seconds(&shown, dt));
    }
}

#[test]
fn a_walk_has_one_identity_though_pictures_are_lost() {
    let thing = Thing::ellipse(20.0, 40.0, RED);
    for dt in [0.04, 0.1] {
        let mut stage = Stage::new(16);
        stage.play(0.0..4.0, dt, |_| Shot::default());
        let (mut shown, mut last) = (Vec::new(), 4.0 - dt);
        for i in (0..(5.0 / dt) as usize).filter(|i| i % 3 != 2) {
            let t = 4.0 + i as f32 * dt;
            shown.push(Shown { t, ..stage.show(&walk(&thing, 4.0, 30.0, t), t - last) });
            last = t;
        }
        let from = shown.iter().position(|s| s.t >= 6.0).unwrap();
        one(&shown[from..], 1, 0.7);
        assert_eq!(seconds(&shown, dt).len(), 1, "dt {dt}: {:?}", seconds(&shown, dt));
    }
}

#[test]
fn a_small_thing_is_found() {
    for colour in [DARK, RED] {
        let thing = Thing::rectangle(8.0, 16.0, colour);
        let mut stage = Stage::new(17);
        stage.play(0.0..3.0, 0.04, |_| Shot::default());
        let shown = stage.play(3.0..8.0, 0.04, |t| walk(&thing, 3.0, 25.0, t));
        one(&shown[50..], 1, 0.5);
    }
}

/// Digits of a clock, of seven bars each.
fn digit(n: usize, x: usize, y: usize) -> bool {
    const BARS: [u8; 10] = [0x3f, 0x06, 0x5b, 0x4f, 0x66, 0x6d, 0x7d, 0x07, 0x7f, 0x6f];
    let on = |bar: u8| BARS[n % 10] >> bar & 1 == 1;
    let (left, right, upper) = (x < 2, (4..6).contains(&x), y < 6);
    (y < 2 && on(0))
        || (y >= 10 && on(3))
        || ((5..7).contains(&y) && on(6))
        || (right && on(if upper { 1 } else { 2 }))
        || (left && on(if upper { 5 } else { 4 }))
}

/// A clock in a corner whose last digit changes `rate` times a second.
fn clock(rate: f32, t: f32) -> Shot<'static> {
    Shot::default().paint(move |x, y, c| {
        if !(8..56).contains(&x) || !(6..22).contains(&y) {
            return c;
        }
        let (place, column, row) = ((x - 8) / 8, (x - 8) % 8, y as i32 - 8);
        let count = (t * rate + 0.01) as usize + 5900;
        let n = count / [100_000, 10_000, 1000, 100, 10, 1][place];
        let lit = (1..7).contains(&column) && (0..12).contains(&row) && digit(n, column - 1, row as usize);
        if lit { [250.0; 3] } else { [10.0; 3] }
    })
}

#[test]
#[ignore = "not mended yet: changing digits count as travel, and a clock is published for two thirds of the time"]
fn a_clock_is_nothing() {
    for dt in [0.04, 0.1, 0.5] {
        momentary(&Stage::new(18).play(0.0..30.0, dt, |t| clock(1.0, t)), dt, 0.5);
    }
}

#[test]
#[ignore = "not mended yet: changing digits count as travel, and a clock is published for two thirds of the time"]
fn a_clock_of_tenths_is_nothing() {
    momentary(&Stage::new(18).play(0.0..30.0, 0.1, |t| clock(10.0, t)), 0.1, 0.5);
}

#[test]
fn noise_is_nothing() {
    // A screen of snow, and a lamp that flickers.
    let snow = |t: f32| {
        Shot::default().paint(move |x, y, c| {
            let frame = (t * 100.0).round() as i64;
            if (20..60).contains(&x) && (20..50).contains(&y) {
                [20.0 + 200.0 * random(3, frame, (y * WIDTH + x) as i64); 3]
            } else if (110..130).contains(&x) && (60..80).contains(&y) {
                c.map(|c| c * (0.6 + 0.8 * random(4, frame, 0)))
            } else {
                c
            }
        })
    };
    momentary(&Stage::new(19).play(0.0..20.0, 0.04, snow), 0.04, 0.5);
}

#[test]
fn what_waves_is_nothing() {
    let waves = |t: f32| {
        Shot::default().paint(move |x, y, c| {
            if !(40..100).contains(&x) || !(10..60).contains(&y) {
                return c;
            }
            let by = 2.5 * (4.0 * t + 0.1 * y as f32).sin();
            let leaf = texture(61, x as f32 + by, y as f32, 6.0);
            [90.0 + 30.0 * leaf, 120.0 + 40.0 * leaf, 70.0 + 20.0 * leaf]
        })
    };
    momentary(&Stage::new(20).play(0.0..20.0, 0.04, waves), 0.04, 0.5);
}

const GRID: Grid = Grid { rows: HEIGHT / 8, cols: WIDTH / 8 };
const DIM: usize = 8;

/// Features of patches of 8 x 8 pixels: seven channels say what the scene is, the last one what the thing is.
fn features(truth: &[u32]) -> Vec<f32> {
    let mut tokens = Vec::new();
    for patch in 0..GRID.len() {
        let (x, y) = (patch % GRID.cols * 8, patch / GRID.cols * 8);
        let covered = (0..64).filter(|i| truth[(y + i / 8) * WIDTH + x + i % 8] > 0).count();
        let share = covered as f32 / 64.0;
        let mut token: Vec<f32> = (0..DIM as i64 - 1).map(|k| (1.0 - share) * random(30, patch as i64, k)).collect();
        token.push(share);
        let norm = token.iter().map(|v| v * v).sum::<f32>().sqrt();
        tokens.extend(token.iter().map(|v| v / norm));
    }
    tokens
}

fn play_with_features<'a>(stage: &mut Stage, from: f32, to: f32, film: impl Fn(f32) -> Shot<'a>) -> Vec<Shown> {
    let count = ((to - from) / 0.04) as usize;
    let times = (0..count).map(|i| from + i as f32 * 0.04);
    times
        .map(|t| {
            let shot = film(t);
            let truth = stage.draw(&shot).1;
            Shown { t, ..stage.show_with(&shot, 0.04, Some((GRID, DIM, &features(&truth)))) }
        })
        .collect()
}

#[test]
fn a_thing_is_one_instance_with_features() {
    let thing = Thing::ellipse(24.0, 44.0, RED);
    let mut stage = Stage::new(24);
    nothing(&play_with_features(&mut stage, 0.0, 3.0, |_| Shot::default()));
    let shown = play_with_features(&mut stage, 3.0, 7.0, |t| walk(&thing, 3.0, 30.0, t));
    one(&shown[50..], 1, 0.7);
}

#[test]
#[ignore = "features that differ by 0.67 do not outweigh colours that might be a shadow: nothing is found"]
fn features_find_what_colours_do_not() {
    // Colours that might be a shadow of the scene's.
    for (colour, least) in [([80.0; 3], 0.5), ([115.0; 3], 0.5)] {
        let thing = Thing::ellipse(24.0, 44.0, colour);
        let mut stage = Stage::new(24);
        nothing(&play_with_features(&mut stage, 0.0, 3.0, |_| Shot::default()));
        let shown = play_with_features(&mut stage, 3.0, 7.0, |t| walk(&thing, 3.0, 30.0, t));
        one(&shown[50..], 1, least);
    }
}

#[test]
fn features_leave_no_ghost() {
    let thing = Thing::ellipse(20.0, 40.0, DARK);
    let mut stage = Stage::new(25);
    let x = |t: f32| 60.0 + 30.0 * (t - 1.0).max(0.0);
    let shown = play_with_features(&mut stage, 0.0, 10.0, |t| Shot::of(&[(&thing, (x(t), 60.0))]));
    nothing(&shown[(7.0 / 0.04) as usize..]);
}

#[test]
fn features_may_come_and_go() {
    let thing = Thing::ellipse(20.0, 40.0, RED);
    let mut stage = Stage::new(26);
    play_with_features(&mut stage, 0.0, 3.0, |_| Shot::default());
    let with = play_with_features(&mut stage, 3.0, 5.4, |t| walk(&thing, 3.0, 30.0, t));
    let without = stage.play(5.4..6.6, 0.04, |t| walk(&thing, 3.0, 30.0, t));
    assert_eq!(one(&with[50..], 1, 0.7), one(&without, 1, 0.7));
}
