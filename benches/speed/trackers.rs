//! The trackers of several cameras side by side, on one thread and on all: the same frames through the same network, and only
//! what comes after it is timed.

use std::time::Instant;

use anyhow::{Result, anyhow};
use maskd::{
    backbone::{Backbone, BackboneConfig},
    engine::{Engine, Observer},
    frame::{Frame, StreamId},
    ingest::Clip,
    metrics::Stage,
    tracker::TrackerConfig,
};
use parking_lot::Mutex;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::{Shared, report::Trackers, spread::Spread};

const CAMERAS: usize = 8;
/// Frames between two cameras' places in the clip.
const APART: usize = 40;
/// Steps before the measurement: instances are there.
const WARM_UP: usize = 12;

pub fn measure(shared: &Shared, steps: usize) -> Result<Trackers> {
    let streams = (0..CAMERAS).map(|i| format!("camera-{i}").parse()).collect::<Result<Vec<StreamId>, _>>()?;
    let clip = Clip::open(&shared.clip)?.take(APART * CAMERAS + WARM_UP + steps);
    let pictures = clip.collect::<Result<Vec<_>, _>>()?;
    let cores = std::thread::available_parallelism()?.get();
    let (mut alone, mut together) = (Lane::new(1)?, Lane::new(cores)?);
    let (mut alone_ms, mut together_ms) = (Vec::new(), Vec::new());
    for step in 0..WARM_UP + steps {
        let frames: Vec<Frame> = streams
            .iter()
            .enumerate()
            .filter_map(|(i, stream)| Some(pictures.get(APART * i + step)?.to_frame(stream, step as u64)))
            .collect();
        // In turns, so that both see the same machine.
        let (one, all) = (alone.step(frames.clone())?, together.step(frames)?);
        if step >= WARM_UP {
            alone_ms.push(one);
            together_ms.push(all);
        }
    }
    let ratios: Vec<f64> = together_ms.iter().zip(&alone_ms).map(|(all, one)| all / one).collect();
    Ok(Trackers {
        cameras: CAMERAS,
        threads: cores,
        alone_ms: Spread::of(&alone_ms),
        together_ms: Spread::of(&together_ms),
        ratio: Spread::of(&ratios),
    })
}

/// An engine and the threads that it has.
struct Lane {
    engine: Engine,
    pool: ThreadPool,
}

impl Lane {
    fn new(threads: usize) -> Result<Self> {
        // The daemon's own weights and side.
        let backbone = Backbone::load(&BackboneConfig::default())?;
        let pool = ThreadPoolBuilder::new().num_threads(threads).build()?;
        Ok(Self { engine: Engine::new(backbone, TrackerConfig::default()), pool })
    }

    /// Milliseconds from the network's end to the last tracker's.
    fn step(&mut self, frames: Vec<Frame>) -> Result<f64> {
        let watch = AfterNetwork::default();
        let (engine, pool) = (&mut self.engine, &self.pool);
        let results = pool.install(|| engine.step(frames, &watch));
        if let Some(failure) = results.into_iter().find_map(Result::err) {
            return Err(anyhow!("{:#}", failure.cause));
        }
        let spent = watch.0.into_inner();
        Ok(spent.ms)
    }
}

/// Adds up the time between the network's end and the trackers'.
#[derive(Default)]
struct AfterNetwork(Mutex<Spent>);

#[derive(Default)]
struct Spent {
    since: Option<Instant>,
    ms: f64,
}

impl Observer for AfterNetwork {
    fn ended(&self, stage: Stage) {
        let mut spent = self.0.lock();
        match (stage, spent.since) {
            (Stage::Backbone, _) => spent.since = Some(Instant::now()),
            (Stage::Track, Some(since)) => spent.ms += 1e3 * since.elapsed().as_secs_f64(),
            _ => {}
        }
    }

    fn track(&self) -> Box<dyn FnMut(Stage) + '_> {
        Box::new(|_| {})
    }
}
