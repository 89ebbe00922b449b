//! Scenes that are drawn for tests: a textured background, things that move before it, shadows, light, shakes, noise. All of
//! it is a function of time and of seeds, so that a test sees the same pixels wherever it runs.

#![allow(dead_code)]

use std::{collections::BTreeMap, ops::Range};

use maskd_fixed::camera::{Camera, Config};
use maskd_types::{features::Grid, frame::Size};

/// The picture.
pub const WIDTH: usize = 160;
/// The picture.
pub const HEIGHT: usize = 120;
const SIZE: Size = Size::new(WIDTH as u32, HEIGHT as u32);

/// A number 0..1 for three others.
pub fn random(seed: u64, a: i64, b: i64) -> f32 {
    (mix(seed, a, b) >> 40) as f32 / (1u32 << 24) as f32
}

/// Even bits for three numbers (SplitMix64).
fn mix(seed: u64, a: i64, b: i64) -> u64 {
    let mut z = (seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    for part in [a, b] {
        z = (z ^ part as u64).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
    }
    z
}

/// Smooth noise -1..1 whose spots are about `cell` pixels wide.
pub fn texture(seed: u64, x: f32, y: f32, cell: f32) -> f32 {
    let (x, y) = (x / cell, y / cell);
    let (x0, y0) = (x.floor(), y.floor());
    let ease = |t: f32| t * t * (3.0 - 2.0 * t);
    let (tx, ty) = (ease(x - x0), ease(y - y0));
    let at = |dx: i64, dy: i64| 2.0 * random(seed, x0 as i64 + dx, y0 as i64 + dy) - 1.0;
    let top = at(0, 0) + tx * (at(1, 0) - at(0, 0));
    let bottom = at(0, 1) + tx * (at(1, 1) - at(0, 1));
    top + ty * (bottom - top)
}

/// The colour of the background at a place of the world.
pub fn world(seed: u64, x: f32, y: f32) -> [f32; 3] {
    let luma = 115.0
        + 35.0 * texture(seed, x, y, 23.0)
        + 20.0 * texture(seed + 1, x, y, 7.0)
        + 6.0 * texture(seed + 2, x, y, 3.0);
    let tint = 10.0 * texture(seed + 3, x, y, 31.0);
    [luma + tint, luma, luma - tint]
}

/// Something that moves.
#[derive(Clone)]
pub struct Thing {
    pub ellipse: bool,
    pub size: (f32, f32),
    pub colour: [f32; 3],
    pub seed: u64,
}

impl Thing {
    pub fn ellipse(width: f32, height: f32, colour: [f32; 3]) -> Self {
        Self { ellipse: true, size: (width, height), colour, seed: 90 }
    }

    pub fn rectangle(width: f32, height: f32, colour: [f32; 3]) -> Self {
        Self { ellipse: false, ..Self::ellipse(width, height, colour) }
    }

    fn at(&self, x: f32, y: f32) -> Option<[f32; 3]> {
        let (a, b) = (2.0 * x / self.size.0, 2.0 * y / self.size.1);
        let inside = if self.ellipse { a * a + b * b <= 1.0 } else { a.abs() <= 1.0 && b.abs() <= 1.0 };
        inside.then(|| self.colour.map(|c| c + 12.0 * texture(self.seed, x, y, 4.0)))
    }
}

type Paint<'a> = Box<dyn Fn(usize, usize, [f32; 3]) -> [f32; 3] + 'a>;

/// What one picture shows.
pub struct Shot<'a> {
    /// The later ones are before the earlier ones; places are those of the world.
    pub things: Vec<(&'a Thing, (f32, f32))>,
    /// Where in the world the camera looks.
    pub view: (f32, f32),
    /// Changes of the background, in this order.
    pub paint: Vec<Paint<'a>>,
    /// Factor of all light.
    pub gain: f32,
    /// Deviation of the sensor's noise.
    pub noise: f32,
}

impl Default for Shot<'_> {
    fn default() -> Self {
        Self { things: Vec::new(), view: (0.0, 0.0), paint: Vec::new(), gain: 1.0, noise: 1.5 }
    }
}

impl<'a> Shot<'a> {
    pub fn of(things: &[(&'a Thing, (f32, f32))]) -> Self {
        Self { things: things.to_vec(), ..Self::default() }
    }

    pub fn view(mut self, x: f32, y: f32) -> Self {
        self.view = (x, y);
        self
    }

    pub fn gain(mut self, gain: f32) -> Self {
        self.gain = gain;
        self
    }

    pub fn noise(mut self, noise: f32) -> Self {
        self.noise = noise;
        self
    }

    pub fn paint(mut self, paint: impl Fn(usize, usize, [f32; 3]) -> [f32; 3] + 'a) -> Self {
        self.paint.push(Box::new(paint));
        self
    }

    /// A cast shadow, an ellipse with a rim of some pixels.
    pub fn shadow(self, centre: (f32, f32), size: (f32, f32), light: f32) -> Self {
        self.paint(move |x, y, c| {
            let k = 1.0 - (1.0 - light) * in_shadow((x as f32, y as f32), centre, size);
            c.map(|c| c * k)
        })
    }
}

/// How much of a soft shadow lies on a pixel, 0..1.
pub fn in_shadow((x, y): (f32, f32), centre: (f32, f32), size: (f32, f32)) -> f32 {
    let r = (2.0 * (x - centre.0) / size.0).hypot(2.0 * (y - centre.1) / size.1);
    ((1.0 - r) * size.0.min(size.1) / 2.0 / 3.0 + 0.5).clamp(0.0, 1.0)
}

/// A camera in front of a scene.
pub struct Stage {
    pub camera: Camera,
    pub seed: u64,
    frame: i64,
    background: ((f32, f32), Vec<[f32; 3]>),
}

/// What was drawn, and what was found of it.
pub struct Shown {
    pub t: f32,
    pub ids: Vec<u32>,
    pub truth: Vec<u32>,
    pub fixed: bool,
}

impl Stage {
    pub fn new(seed: u64) -> Self {
        Self { camera: Camera::new(Config::default()), seed, frame: 0, background: ((f32::MAX, 0.0), Vec::new()) }
    }

    /// Draws a shot: its pixels, and the thing of each, counted from 1.
    pub fn draw(&mut self, shot: &Shot) -> (Vec<u8>, Vec<u32>) {
        if self.background.0 != shot.view {
            let at = |p: usize| ((p % WIDTH) as f32 + shot.view.0, (p / WIDTH) as f32 + shot.view.1);
            let pixels = (0..WIDTH * HEIGHT).map(at).map(|(x, y)| world(self.seed, x, y)).collect();
            self.background = (shot.view, pixels);
        }
        self.frame += 1;
        let (mut rgb, mut truth) = (Vec::new(), Vec::new());
        for (p, colour) in self.background.1.iter().enumerate() {
            let (x, y) = (p % WIDTH, p / WIDTH);
            let (mut colour, mut label) = (shot.paint.iter().fold(*colour, |c, paint| paint(x, y, c)), 0);
            for (i, (thing, at)) in shot.things.iter().enumerate() {
                if let Some(c) = thing.at(x as f32 + shot.view.0 - at.0, y as f32 + shot.view.1 - at.1) {
                    (colour, label) = (c, i as u32 + 1);
                }
            }
            truth.push(label);
            for (channel, c) in colour.into_iter().enumerate() {
                // The sum of three even distributions has a deviation of a half.
                let bits = mix(self.frame as u64, p as i64, channel as i64);
                let sum: u64 = [0, 21, 42].iter().map(|by| bits >> by & 0x1f_ffff).sum();
                let noise = 2.0 * shot.noise * (sum as f32 / (1 << 21) as f32 - 1.5);
                rgb.push((c * shot.gain + noise).round().clamp(0.0, 255.0) as u8);
            }
        }
        (rgb, truth)
    }

    /// Shows a shot `dt` seconds after the last one.
    pub fn show(&mut self, shot: &Shot, dt: f32) -> Shown {
        self.show_with(shot, dt, None)
    }

    /// As [`show`](Self::show), with features.
    pub fn show_with(&mut self, shot: &Shot, dt: f32, features: Option<(Grid, usize, &[f32])>) -> Shown {
        let (rgb, truth) = self.draw(shot);
        let ids = self.camera.step(&rgb, SIZE, features, dt);
        Shown { t: 0.0, ids, truth, fixed: self.camera.fixed() }
    }

    /// Shows the times of a film.
    pub fn play<'a>(&mut self, times: Range<f32>, dt: f32, film: impl Fn(f32) -> Shot<'a>) -> Vec<Shown> {
        let count = ((times.end - times.start) / dt).round() as usize;
        let times = (0..count).map(|i| times.start + i as f32 * dt);
        times.map(|t| Shown { t, ..self.show(&film(t), dt) }).collect()
    }
}

impl Shown {
    /// Pixels of each published thing.
    pub fn areas(&self) -> BTreeMap<u32, usize> {
        let mut areas = BTreeMap::new();
        self.ids.iter().filter(|id| **id > 0).for_each(|id| *areas.entry(*id).or_default() += 1);
        areas
    }

    /// The identity that overlaps a drawn thing best, and how well: intersection over union.
    pub fn of(&self, thing: u32) -> (u32, f32) {
        let drawn = self.truth.iter().filter(|t| **t == thing).count();
        let ious = self.areas().into_iter().map(|(id, area)| {
            let both = self.ids.iter().zip(&self.truth).filter(|(i, t)| **i == id && **t == thing).count();
            (id, both as f32 / (drawn + area - both) as f32)
        });
        ious.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, 0.0))
    }

    /// Pixels that are published where nothing was drawn.
    pub fn excess(&self) -> usize {
        self.ids.iter().zip(&self.truth).filter(|(i, t)| **i > 0 && **t == 0).count()
    }

    /// Whether some of a thing is in the picture.
    pub fn shows(&self, thing: u32) -> bool {
        self.truth.contains(&thing)
    }
}

/// Seconds for which each identity is published.
pub fn seconds(shown: &[Shown], dt: f32) -> BTreeMap<u32, f32> {
    let mut seconds = BTreeMap::new();
    shown.iter().flat_map(|s| s.areas().into_keys()).for_each(|id| *seconds.entry(id).or_default() += dt);
    seconds
}

/// Colours of things.
pub const DARK: [f32; 3] = [40.0, 42.0, 50.0];
pub const RED: [f32; 3] = [190.0, 50.0, 45.0];
pub const LIGHT: [f32; 3] = [215.0, 215.0, 205.0];
pub const BLUE: [f32; 3] = [40.0, 70.0, 200.0];

/// Every picture shows `thing` as one instance of the same identity, which is returned.
pub fn one(shown: &[Shown], thing: u32, least: f32) -> u32 {
    let id = shown[0].of(thing).0;
    for s in shown {
        let (found, iou) = s.of(thing);
        assert!(found == id && iou >= least, "at {:.2} s: identity {found} for {id}, IoU {iou:.2}", s.t);
        assert_eq!(s.areas().len(), 1, "at {:.2} s: {:?}", s.t, s.areas());
    }
    id
}

/// Nothing is published.
pub fn nothing(shown: &[Shown]) {
    shown.iter().for_each(|s| assert!(s.areas().is_empty(), "at {:.2} s: {:?}", s.t, s.areas()));
}

/// No identity is published for more than `most` seconds.
pub fn momentary(shown: &[Shown], dt: f32, most: f32) {
    let long: Vec<_> = seconds(shown, dt).into_iter().filter(|(_, s)| *s > most).collect();
    assert!(long.is_empty(), "identities and their seconds: {long:?}");
}

/// A walk from the left side to the right, at `speed` pixels a second from `start` on.
pub fn walk(thing: &Thing, start: f32, speed: f32, t: f32) -> Shot<'_> {
    Shot::of(&[(thing, (-0.5 * thing.size.0 + speed * (t - start), 70.0))])
}
