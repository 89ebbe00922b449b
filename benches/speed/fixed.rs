//! What a fixed camera costs: each stage of [`Camera::step`] on a drawn scene, on one thread (`taskset -c 1` for one core), and
//! the memory of one stream.

use std::{collections::HashMap, time::Instant};

use anyhow::Result;
use maskd_fixed::camera::{Camera, Config, Stage};
use maskd_types::{features::Grid, frame::Size};

use super::{
    child::live_mb,
    report::{Fixed, FixedStage, FixedWork},
    spread::Spread,
};

/// Pictures that are looked at in full, and pictures that are looked at at half their size.
const SIZES: [Size; 2] = [Size::new(320, 240), Size::new(768, 576)];
/// Patches of the default network on such pictures, and its channels.
const GRID: Grid = Grid { rows: 24, cols: 32 };
const CHANNELS: usize = 384;
/// Frames a second.
const RATE: f32 = 25.0;
/// Frames before the measurement: the camera is known to be fixed, and the scene is learnt.
const WARM_UP: usize = 100;

pub fn measure(frames: usize) -> Result<Fixed> {
    let mut works = Vec::new();
    for size in SIZES {
        for features in [true, false] {
            works.push(alone(size, features, frames));
        }
    }
    let threads = std::thread::available_parallelism()?.get();
    let together_ms = side_by_side(SIZES[0], threads, frames);
    Ok(Fixed { frames, works, threads, together_ms: Spread::of(&together_ms) })
}

/// One camera on this thread.
fn alone(size: Size, features: bool, frames: usize) -> FixedWork {
    let mut film = Film::new(size, features);
    let before = live_mb();
    let mut camera = Camera::new(Config::default());
    let (mut whole, mut stages): (Vec<f64>, HashMap<Stage, Vec<f64>>) = Default::default();
    for at in 0..WARM_UP + frames {
        film.draw(at);
        let mut spent: HashMap<Stage, f64> = HashMap::new();
        let start = Instant::now();
        let mut last = start;
        camera.step_in_stages(&film.rgb, size, film.features(), 1.0 / RATE, &mut |stage| {
            *spent.entry(stage).or_default() += 1e3 * last.elapsed().as_secs_f64();
            last = Instant::now();
        });
        let ms = 1e3 * start.elapsed().as_secs_f64();
        if at >= WARM_UP {
            whole.push(ms);
            spent.into_iter().for_each(|(stage, ms)| stages.entry(stage).or_default().push(ms));
        }
    }
    let state_mb = live_mb().zip(before).map(|(after, before)| after - before);
    let ns = |ms: f64| 1e6 * ms / size.area() as f64;
    let stages = Stage::ALL.iter().filter_map(|stage| {
        let ms = Spread::of(stages.get(stage)?).median;
        Some(FixedStage { name: format!("{stage:?}").to_lowercase(), ms, ns_per_pixel: ns(ms) })
    });
    let ms = Spread::of(&whole);
    FixedWork {
        width: size.width,
        height: size.height,
        features,
        fixed: camera.fixed(),
        stages: stages.collect(),
        ms,
        ns_per_pixel: ns(ms.median),
        bytes_per_pixel: state_mb.map(|mb| 1e6 * mb / size.area() as f64),
    }
}

/// Milliseconds of a frame where each of several threads has a camera of its own.
fn side_by_side(size: Size, threads: usize, frames: usize) -> Vec<f64> {
    let camera = || {
        let mut film = Film::new(size, true);
        let mut camera = Camera::new(Config::default());
        let time = |at| {
            film.draw(at);
            let start = Instant::now();
            camera.step(&film.rgb, size, film.features(), 1.0 / RATE);
            1e3 * start.elapsed().as_secs_f64()
        };
        (0..WARM_UP + frames).map(time).skip(WARM_UP).collect::<Vec<f64>>()
    };
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(camera)).collect();
        all.into_iter().filter_map(|thread| thread.join().ok()).flatten().collect()
    })
}

/// A drawn scene: a textured background, ellipses that cross it with their shadows, and the sensor's noise.
struct Film {
    size: Size,
    background: Vec<[f32; 3]>,
    rgb: Vec<u8>,
    /// L2-normalised, `(N, C)`; empty where features are not wanted.
    tokens: Vec<f32>,
    noise: Noise,
}

/// An ellipse that crosses the picture; lengths are shares of the picture's height.
struct Thing {
    axes: (f32, f32),
    /// In a second, to the right.
    speed: f32,
    /// Where it walks, from the top.
    line: f32,
    colour: [f32; 3],
}

const THINGS: [Thing; 6] = [
    Thing { axes: (0.05, 0.10), speed: 0.15, line: 0.35, colour: [40.0, 42.0, 50.0] },
    Thing { axes: (0.04, 0.09), speed: -0.12, line: 0.55, colour: [190.0, 50.0, 45.0] },
    Thing { axes: (0.12, 0.07), speed: 0.40, line: 0.75, colour: [215.0, 215.0, 205.0] },
    Thing { axes: (0.10, 0.06), speed: -0.30, line: 0.88, colour: [40.0, 70.0, 200.0] },
    Thing { axes: (0.03, 0.07), speed: 0.08, line: 0.30, colour: [90.0, 60.0, 30.0] },
    Thing { axes: (0.06, 0.14), speed: 0.20, line: 0.60, colour: [60.0, 110.0, 70.0] },
];

impl Film {
    fn new(size: Size, features: bool) -> Self {
        let (w, h) = (size.width as usize, size.height as usize);
        let wave = |x: f32, y: f32, a: f32, b: f32| (a * x + b * y).sin() * (b * x - 0.7 * a * y).cos();
        let colour = |p: usize| {
            let scale = 240.0 / h as f32;
            let (x, y) = (scale * (p % w) as f32, scale * (p / w) as f32);
            let luma = 115.0 + 30.0 * wave(x, y, 0.11, 0.05) + 15.0 * wave(x, y, 0.31, 0.23);
            let tint = 10.0 * wave(x, y, 0.04, 0.07);
            [luma + tint, luma, luma - tint]
        };
        let tokens = if features { vec![0.0; GRID.len() * CHANNELS] } else { Vec::new() };
        let background = (0..w * h).map(colour).collect();
        Self { size, background, rgb: Vec::new(), tokens, noise: Noise(7) }
    }

    fn features(&self) -> Option<(Grid, usize, &[f32])> {
        (!self.tokens.is_empty()).then_some((GRID, CHANNELS, &self.tokens[..]))
    }

    fn draw(&mut self, at: usize) {
        let (w, h) = (self.size.width as usize, self.size.height as usize);
        let seconds = at as f32 / RATE;
        let places = THINGS.map(|Thing { axes, speed, line, colour }| {
            let (a, b) = (axes.0 * h as f32, axes.1 * h as f32);
            let way = w as f32 + 4.0 * a;
            let x = (0.3 * w as f32 + speed * h as f32 * (seconds - 1.0).max(0.0)).rem_euclid(way) - 2.0 * a;
            // Nothing is there in the first second.
            (if seconds < 1.0 { -way } else { x }, line * h as f32, a, b, colour)
        });
        let inside = |x: f32, y: f32, (cx, cy, a, b): (f32, f32, f32, f32)| {
            ((x - cx) / a).powi(2) + ((y - cy) / b).powi(2) <= 1.0
        };
        self.rgb.clear();
        for (p, colour) in self.background.iter().enumerate() {
            let (x, y) = ((p % w) as f32, (p / w) as f32);
            let mut colour = *colour;
            for &(cx, cy, a, b, of) in &places {
                if inside(x, y, (cx, cy, a, b)) {
                    colour = of;
                } else if inside(x, y, (cx + 0.8 * a, cy + b, a, 0.3 * b)) {
                    colour = colour.map(|c| 0.6 * c);
                }
            }
            self.rgb.extend(colour.map(|c| (c + 4.0 * self.noise.next()) as u8));
        }
        let patches = if self.tokens.is_empty() { 0 } else { GRID.len() };
        for patch in 0..patches {
            let (x, y) = ((patch % GRID.cols) as f32 + 0.5, (patch / GRID.cols) as f32 + 0.5);
            let (x, y) = (x * w as f32 / GRID.cols as f32, y * h as f32 / GRID.rows as f32);
            let thing = places.iter().position(|&(cx, cy, a, b, _)| inside(x, y, (cx, cy, a, b)));
            let mut look = Noise(thing.map_or(1000 + patch as u32, |thing| thing as u32));
            let token = &mut self.tokens[patch * CHANNELS..][..CHANNELS];
            token.iter_mut().for_each(|t| *t = look.next() + 0.2 * self.noise.next());
            let norm = token.iter().map(|t| t * t).sum::<f32>().sqrt();
            token.iter_mut().for_each(|t| *t /= norm);
        }
    }
}

/// Even noise -1..1 (a linear congruential generator).
struct Noise(u32);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / (1 << 23) as f32 - 1.0
    }
}
