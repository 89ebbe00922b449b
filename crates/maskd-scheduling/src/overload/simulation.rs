//! The controller with cameras and an engine, all drawn: what comes of a step of load, and of a constant one.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use super::{Controller, Demand, Fading, Gate, OverloadConfig};

/// Patches of a frame at the three default levels.
const PATCHES: [f64; 3] = [768.0, 432.0, 192.0];
/// Seconds between two plans.
const TICK: f64 = 0.5;
const MAX_BATCH: usize = 4;

struct Camera {
    fps: f64,
    weight: f64,
    next: f64,
    gate: Gate,
    limit: Option<f64>,
    slot: bool,
    arrived: f64,
    flow: Fading,
    served: u32,
}

/// Engine and cameras.
struct World {
    now: f64,
    tick: f64,
    start: Instant,
    cameras: Vec<Camera>,
    controller: Controller,
    level: usize,
    /// Seconds for a frame at each level, and by how much they scatter.
    frame: [f64; 3],
    noise: f64,
    dice: ChaCha8Rng,
    turn: usize,
}

/// What one load did: the level at each tick, and each camera's served frames a second and limit over its last half.
struct Seen {
    levels: Vec<usize>,
    served: Vec<f64>,
    limits: Vec<Option<f64>>,
}

impl Seen {
    fn settled(&self) -> usize {
        *self.levels.last().unwrap()
    }

    /// Changes of level, each with its tick.
    fn changes(&self) -> Vec<(usize, isize)> {
        let steps = self.levels.windows(2).enumerate();
        steps.map(|(i, w)| (i, w[1] as isize - w[0] as isize)).filter(|c| c.1 != 0).collect()
    }
}

impl World {
    /// `full` seconds for a frame at full resolution, growing with the number of patches to the power `growth`.
    fn new(full: f64, growth: f64, noise: f64, seed: u64) -> Self {
        Self {
            now: 0.0,
            tick: 0.0,
            start: Instant::now(),
            cameras: Vec::new(),
            controller: Controller::new(OverloadConfig::default()),
            level: 0,
            frame: PATCHES.map(|patches| full * (patches / PATCHES[0]).powf(growth)),
            noise,
            dice: ChaCha8Rng::seed_from_u64(seed),
            turn: 0,
        }
    }

    /// These cameras (frames a second, weight), and no others, for so long.
    fn run(&mut self, cameras: &[(f64, f64)], seconds: f64) -> Seen {
        self.cameras.truncate(cameras.len());
        for (i, &(fps, weight)) in cameras.iter().enumerate() {
            if self.cameras.get(i).is_none_or(|camera| (camera.fps, camera.weight) != (fps, weight)) {
                let next = self.now + self.dice.random_range(0.0..1.0) / fps;
                let (gate, flow) = (Gate::default(), Fading::default());
                let camera =
                    Camera { fps, weight, next, gate, limit: None, slot: false, arrived: 0.0, flow, served: 0 };
                if i < self.cameras.len() { self.cameras[i] = camera } else { self.cameras.push(camera) }
            }
        }
        let (end, mut levels, mut counted) = (self.now + seconds, Vec::new(), false);
        while self.now < end {
            if !counted && self.now > end - 0.5 * seconds {
                counted = true;
                self.cameras.iter_mut().for_each(|camera| camera.served = 0);
            }
            self.arrive();
            if self.now >= self.tick {
                self.plan();
                levels.push(self.level);
            }
            self.work();
        }
        let served = self.cameras.iter().map(|camera| f64::from(camera.served) / (0.5 * seconds)).collect();
        Seen { levels, served, limits: self.cameras.iter().map(|camera| camera.limit).collect() }
    }

    fn arrive(&mut self) {
        for camera in &mut self.cameras {
            while camera.next <= self.now {
                camera.slot |= camera.gate.admits(self.start + Duration::from_secs_f64(camera.next));
                camera.arrived += 1.0;
                camera.next += 1.0 / camera.fps;
            }
        }
    }

    fn plan(&mut self) {
        let passed = TICK + self.now - self.tick;
        self.tick = self.now + TICK;
        let demand = |camera: &mut Camera| {
            camera.flow.add(std::mem::take(&mut camera.arrived), passed, passed);
            let arrival = camera.flow.value().unwrap_or(0.0);
            let (patches, limit) = (PATCHES.to_vec(), camera.limit);
            Demand { arrival, weight: camera.weight, patches, patient: false, limit }
        };
        let demands: Vec<Demand> = self.cameras.iter_mut().map(demand).collect();
        let decision = self.controller.plan(self.now, &demands);
        self.level = decision.level;
        for (camera, rate) in self.cameras.iter_mut().zip(decision.rates) {
            camera.limit = rate;
            camera.gate.set(rate);
        }
    }

    /// A batch, or the wait for the next frame or plan.
    fn work(&mut self) {
        let (count, first) = (self.cameras.len(), self.turn);
        let turns = (0..count).map(|i| (first + i) % count);
        let batch: Vec<usize> = turns.filter(|&i| self.cameras[i].slot).take(MAX_BATCH).collect();
        if batch.is_empty() {
            let next = self.cameras.iter().map(|camera| camera.next).fold(self.tick, f64::min);
            self.now = next.max(self.now + 1e-6);
            return;
        }
        for &i in &batch {
            (self.cameras[i].slot, self.turn) = (false, i + 1);
            self.cameras[i].served += 1;
        }
        let scatter = 1.0 + self.noise * self.dice.random_range(-1.0..1.0);
        let time = batch.len() as f64 * self.frame[self.level] * scatter;
        self.now += time;
        self.controller.worked(self.now, batch.len() as f64 * PATCHES[self.level], time);
    }
}

fn same(count: usize) -> Vec<(f64, f64)> {
    vec![(10.0, 1.0); count]
}

#[test]
fn a_step_of_load_lowers_rate_then_resolution_and_all_of_it_comes_back() {
    // One frame takes an eighth of a second; a camera sends ten a second.
    let mut world = World::new(0.125, 1.2, 0.2, 7);
    let calm = world.run(&same(1), 30.0);
    assert_eq!((calm.settled(), calm.changes().len(), calm.limits[0]), (0, 0, None));
    assert!(calm.served[0] > 7.5, "one camera has all of the engine: {:?}", calm.served);

    // Three cameras fit with two frames a second and more: the rate alone gives way.
    let three = world.run(&same(3), 40.0);
    assert_eq!((three.settled(), three.changes().len()), (0, 0));
    assert!(three.served.iter().all(|fps| (2.2..2.8).contains(fps)), "{:?}", three.served);

    // Seven do not: 14 frames a second are more than 8, but fewer than what 3/4 of the resolution allows.
    let seven = world.run(&same(7), 60.0);
    assert_eq!((seven.settled(), seven.changes().len()), (1, 1), "{:?}", seven.changes());
    assert!(
        seven.changes()[0].0 as f64 * TICK < 9.0,
        "within the dwell time and the mean's own: {:?}",
        seven.changes()
    );
    assert!(seven.served.iter().all(|fps| (2.0..2.3).contains(fps)), "{:?}", seven.served);

    let sixteen = world.run(&same(16), 60.0);
    assert_eq!((sixteen.settled(), sixteen.changes().len()), (2, 1));

    let back = world.run(&same(1), 60.0);
    assert_eq!((back.settled(), back.limits[0]), (0, None));
    assert_eq!(back.changes().iter().map(|c| c.1).collect::<Vec<_>>(), [-1, -1]);
    // As fast as down: two dwell times and what the means need.
    assert!(back.changes()[1].0 as f64 * TICK < 16.0, "{:?}", back.changes());
    assert!(back.served[0] > 7.5, "{:?}", back.served);
}

#[test]
fn the_heavy_camera_keeps_its_rate_and_the_unused_goes_to_the_others() {
    let mut world = World::new(0.05, 1.2, 0.2, 3);
    let seen = world.run(&[(15.0, 4.0), (15.0, 1.0), (15.0, 1.0), (0.5, 1.0)], 60.0);
    let near = |fps: f64, expected: f64| (fps - expected).abs() < 0.08 * expected + 0.1;
    // 19 frames a second less the half that the last one sends, by 4 : 1 : 1.
    assert!(
        near(seen.served[0], 12.33) && near(seen.served[1], 3.08) && near(seen.served[2], 3.08),
        "{:?}",
        seen.served
    );
    assert!(near(seen.served[3], 0.5) && seen.limits[3].is_none(), "{:?} {:?}", seen.served, seen.limits);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn under_a_constant_load_the_level_moves_one_way_and_then_rests(
        loads in prop::collection::vec(prop::collection::vec((1.0f64..30.0, 1u32..10), 1..12), 2..4),
        full in 0.02f64..0.4, growth in 0.7f64..1.5, noise in 0.0f64..0.3, seed in any::<u64>(),
    ) {
        let mut world = World::new(full, growth, noise, seed);
        for load in loads {
            let cameras: Vec<(f64, f64)> = load.iter().map(|&(fps, weight)| (fps, f64::from(weight))).collect();
            let seen = world.run(&cameras, 80.0);
            let changes = seen.changes();
            prop_assert!(changes.iter().all(|c| c.1 == changes[0].1), "{changes:?}");
            // Where it rests the floors fit, if they fit anywhere; and they would not fit well one level higher.
            let floors: f64 = cameras.iter().map(|(fps, _)| fps.min(2.0)).sum();
            let level = seen.settled();
            prop_assert!(level == 2 || floors * world.frame[level] < 1.05, "{level}: {}", floors * world.frame[level]);
            prop_assert!(level == 0 || floors * world.frame[level - 1] > 0.75, "{level}: {}", floors * world.frame[level - 1]);
            for (fps, (arrival, _)) in seen.served.iter().zip(&cameras) {
                let fits = floors * world.frame[level] < 0.85;
                prop_assert!(!fits || *fps > 0.8 * arrival.min(2.0) - 0.1, "{fps} of {arrival} at {level}");
            }
        }
    }
}
