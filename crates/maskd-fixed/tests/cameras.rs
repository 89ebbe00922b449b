//! Cameras that shake, pan, are turned, or change what they send.

mod support;

use maskd_types::frame::Size;
use support::{DARK, HEIGHT, RED, Shot, Stage, Thing, WIDTH, nothing, one, random, walk, world};

/// A seeded shake of up to `most` pixels.
fn shake(t: f32, most: f32) -> (f32, f32) {
    let at = |k| most * (2.0 * random(77, (t * 100.0).round() as i64, k) - 1.0);
    (at(0), at(1))
}

#[test]
fn a_shaken_camera_is_fixed_and_sees_one_thing() {
    let thing = Thing::ellipse(20.0, 40.0, DARK);
    for most in [1.0, 4.0] {
        let mut stage = Stage::new(10);
        let alone = stage.play(0.0..4.0, 0.04, |t| {
            let (x, y) = shake(t, most);
            Shot::default().view(x, y)
        });
        nothing(&alone);
        assert!(alone.iter().filter(|s| s.t > 1.5).all(|s| s.fixed));
        let walking = stage.play(4.0..8.0, 0.04, |t| {
            let (x, y) = shake(t, most);
            walk(&thing, 4.0, 30.0, t).view(x, y)
        });
        one(&walking[50..], 1, 0.7);
        assert!(walking.iter().all(|s| s.fixed));
    }
}

#[test]
fn a_pan_is_not_fixed() {
    for speed in [20.0, 60.0] {
        let shown = Stage::new(11).play(0.0..6.0, 0.04, |t| Shot::default().view(speed * t, 0.0));
        assert!(
            shown.iter().filter(|s| s.t > 1.0).all(|s| !s.fixed),
            "{speed} pixels a second from the first picture on"
        );
        let mut stage = Stage::new(11);
        let pan = |t: f32| Shot::default().view(speed * (t - 3.0).clamp(0.0, 4.0), 0.0);
        let shown = stage.play(0.0..12.0, 0.04, pan);
        let at = |t: f32| &shown[(t / 0.04) as usize];
        assert!(at(2.9).fixed && !at(6.0).fixed && at(11.0).fixed, "{speed} pixels a second from 3 s to 7 s");
        nothing(&shown[(9.0 / 0.04) as usize..]);
    }
}

#[test]
fn a_camera_that_is_turned_forgets_the_scene() {
    let thing = Thing::ellipse(20.0, 40.0, DARK);
    let mut stage = Stage::new(12);
    let x = |t: f32| -10.0 + 30.0 * (t - 2.0).clamp(0.0, 2.5);
    let shown = stage.play(0.0..12.0, 0.04, |t| {
        let view = if t < 5.0 { (0.0, 0.0) } else { (900.0, 400.0) };
        Shot::of(&[(&thing, (x(t), 60.0))]).view(view.0, view.1)
    });
    let before = one(&shown[105..125], 1, 0.7);
    nothing(&shown[175..]);
    assert!(shown[200..].iter().all(|s| s.fixed));
    // Identities are not given again.
    let after =
        stage.play(12.0..16.0, 0.04, |t| Shot::of(&[(&thing, (890.0 + 30.0 * (t - 12.0), 460.0))]).view(900.0, 400.0));
    assert_ne!(one(&after[50..], 1, 0.7), before);
}

fn picture(size: Size) -> Vec<u8> {
    let (w, h) = (size.width as usize, size.height as usize);
    (0..w * h).flat_map(|p| world(21, (p % w) as f32, (p / w) as f32).map(|c| c as u8)).collect()
}

#[test]
fn the_size_may_change_within_a_stream() {
    let thing = Thing::ellipse(20.0, 40.0, RED);
    let sizes = [(120, 160), (160, 120), (80, 60), (320, 240), (64, 300)];
    let mut stage = Stage::new(21);
    for (width, height) in sizes {
        stage.play(0.0..5.0, 0.1, |t| walk(&thing, 2.0, 30.0, t));
        let size = Size::new(width, height);
        let rgb = picture(size);
        for i in 0..40 {
            let ids = stage.camera.step(&rgb, size, None, 0.1);
            assert_eq!(ids.len(), size.area());
            assert!(i < 10 || ids.iter().all(|id| *id == 0), "{size}: something remains {i} pictures after");
        }
        assert!(stage.camera.fixed(), "{size}");
    }
}

#[test]
fn the_smallest_pictures_are_taken() {
    let mut stage = Stage::new(22);
    for (width, height) in [(0, 0), (1, 1), (2, 2), (1, 50), (50, 1), (3, 200), (200, 2), (7, 7)] {
        let size = Size::new(width, height);
        for _ in 0..3 {
            assert_eq!(stage.camera.step(&picture(size), size, None, 0.1).len(), size.area());
        }
    }
}

#[test]
fn a_picture_of_a_wrong_length_is_passed_over() {
    let thing = Thing::ellipse(20.0, 40.0, RED);
    let mut stage = Stage::new(23);
    stage.play(0.0..3.0, 0.04, |_| Shot::default());
    let size = Size::new(WIDTH as u32, HEIGHT as u32);
    let mut film = |times| stage.play(times, 0.04, |t| walk(&thing, 3.0, 30.0, t));
    let before = one(&film(3.0..5.4)[50..], 1, 0.7);
    for length in [0, 1, WIDTH * HEIGHT, WIDTH * HEIGHT * 3 - 1, WIDTH * HEIGHT * 4] {
        let ids = stage.camera.step(&vec![9; length], size, None, 0.04);
        assert!(ids.len() == size.area() && ids.iter().all(|id| *id == 0));
    }
    let after = stage.play(5.4..7.0, 0.04, |t| walk(&thing, 3.0, 30.0, t));
    assert_eq!(one(&after, 1, 0.7), before);
}
