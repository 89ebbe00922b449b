//! A day's result: what was measured, as a file that plots and people read.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::spread::Spread;

/// Everything; what was not run is absent.
#[derive(Serialize, Deserialize)]
pub struct Report {
    pub machine: Machine,
    #[serde(default)]
    pub backbone: Option<Backbone>,
    #[serde(default)]
    pub operators: Option<Operators>,
    #[serde(default)]
    pub memory: Option<Memory>,
    #[serde(default)]
    pub propagation: Option<Propagation>,
    #[serde(default)]
    pub stages: Option<Stages>,
    #[serde(default)]
    pub trackers: Option<Trackers>,
    #[serde(default)]
    pub growth: Option<Growth>,
    #[serde(default)]
    pub fixed: Option<Fixed>,
}

/// Where and what.
#[derive(Serialize, Deserialize)]
pub struct Machine {
    /// Year, month, day.
    pub date: String,
    pub cpu: String,
    pub cores: usize,
    /// Threads that each engine has.
    pub threads: usize,
    /// Of the sources, where git knows.
    pub commit: String,
}

#[derive(Serialize, Deserialize)]
pub struct Backbone {
    pub comparisons: Vec<Comparison>,
    pub batches: Vec<Batch>,
}

/// One network, all engines.
#[derive(Serialize, Deserialize)]
pub struct Comparison {
    pub work: String,
    pub tokens: usize,
    pub gflop: f64,
    /// Fused multiply-adds on all threads, measured in the same rounds.
    pub limit_gflops: Spread,
    /// Ours first.
    pub engines: Vec<Engine>,
}

#[derive(Serialize, Deserialize)]
pub struct Engine {
    pub name: String,
    pub version: String,
    pub ms: Spread,
    pub gflops: f64,
    /// Its time over ours, round by round.
    pub ratio: Option<Spread>,
}

/// One image alone, and each of eight in one call.
#[derive(Serialize, Deserialize)]
pub struct Batch {
    pub work: String,
    pub alone_ms: Spread,
    pub in_eight_ms: Spread,
    /// The second over the first.
    pub ratio: Spread,
}

/// A block of ViT-S/8 on 240x416, step by step.
#[derive(Serialize, Deserialize)]
pub struct Operators {
    pub rows: Vec<Operator>,
    /// The product to queries, keys and values alone, by the `gemm` crate.
    pub gemm_gflops: f64,
    /// The same by ours, the norm before it and the bias included, counted as the plain product.
    pub ours_gflops: f64,
}

#[derive(Serialize, Deserialize)]
pub struct Operator {
    pub name: String,
    /// By candle's own operators.
    pub plain_ms: f64,
    pub ours_ms: f64,
}

#[derive(Serialize, Deserialize)]
pub struct Memory {
    /// ViT-S/8 at 480x832.
    pub peak: Peak,
    pub steady: Steady,
}

/// Resident memory of a process that loads weights and runs the network.
#[derive(Serialize, Deserialize)]
pub struct Peak {
    pub tokens: usize,
    /// The highest until the weights were loaded, MB (10^6 bytes).
    pub loaded_mb: f64,
    /// The highest at all.
    pub peak_mb: f64,
    /// One image, median.
    pub ms: f64,
}

/// The whole engine on many frames.
#[derive(Serialize, Deserialize)]
pub struct Steady {
    pub frames: usize,
    pub first_mb: f64,
    pub last_mb: f64,
    /// Slope of a line through all, kB in 1,000 frames.
    pub slope_kb: f64,
    /// The same of what is allocated and not freed, where the allocator tells (glibc): the rest of what is resident is
    /// the allocator's own, or pages that were touched for the first time.
    #[serde(default)]
    pub live_slope_kb: Option<f64>,
    /// The slope of what is resident in the second half alone.
    #[serde(default)]
    pub late_slope_kb: f64,
}

#[derive(Serialize, Deserialize)]
pub struct Propagation {
    pub ms: Spread,
    pub backbone_ms: Spread,
    /// Of the network's time, round by round.
    pub percent: Spread,
}

/// One frame of each of several cameras, after the network.
#[derive(Serialize, Deserialize)]
pub struct Trackers {
    pub cameras: usize,
    /// Those of the second measurement; the first has one.
    pub threads: usize,
    pub alone_ms: Spread,
    pub together_ms: Spread,
    /// The second over the first, step by step.
    pub ratio: Spread,
}

/// The mean frame in the daemon.
#[derive(Serialize, Deserialize)]
pub struct Stages {
    pub frames: u64,
    /// In how many of them instances were searched for.
    pub discoveries: u64,
    /// Everything that one frame costs, milliseconds.
    pub frame_ms: f64,
    pub stages: Vec<StageTime>,
    /// Of the stages that are neither the network nor the tracker's own work, per cent of the frame.
    pub around_percent: f64,
    pub latency: Latency,
}

#[derive(Serialize, Deserialize)]
pub struct StageTime {
    pub name: String,
    pub ms: f64,
    pub percent: f64,
    /// Counted in the stage above it.
    pub part: bool,
}

/// A camera that is slower than the engine.
#[derive(Serialize, Deserialize)]
pub struct Latency {
    pub frames: u64,
    /// From leaving the decoder to published, mean.
    pub total_ms: f64,
    /// Of it, the engine's work on the frame.
    pub compute_ms: f64,
}

#[derive(Serialize, Deserialize)]
pub struct Growth {
    pub tokens: Vec<Peak>,
    pub cameras: Vec<Cameras>,
    pub instances: Vec<Instances>,
}

#[derive(Serialize, Deserialize)]
pub struct Cameras {
    pub cameras: usize,
    /// Published, all cameras together.
    pub frames_per_second: f64,
    pub latency_ms: f64,
    pub peak_mb: f64,
}

#[derive(Serialize, Deserialize)]
pub struct Instances {
    pub instances: usize,
    /// Still in sight after the last frame.
    pub visible: usize,
    /// The tracker's step, median.
    pub step_ms: f64,
    pub peak_mb: f64,
}

/// What a fixed camera costs.
#[derive(Serialize, Deserialize)]
pub struct Fixed {
    /// Measured frames.
    pub frames: usize,
    pub works: Vec<FixedWork>,
    /// Threads that had a camera each, of the first work.
    pub threads: usize,
    pub together_ms: Spread,
}

/// Frames of one size on one thread.
#[derive(Serialize, Deserialize)]
pub struct FixedWork {
    pub width: u32,
    pub height: u32,
    /// Whether there were features, or pixels alone.
    pub features: bool,
    /// Whether the camera was known to be fixed at the end: without that, less is done.
    pub fixed: bool,
    pub stages: Vec<FixedStage>,
    /// The whole step.
    pub ms: Spread,
    pub ns_per_pixel: f64,
    /// State that a stream keeps, where the allocator tells.
    pub bytes_per_pixel: Option<f64>,
}

/// A median.
#[derive(Serialize, Deserialize)]
pub struct FixedStage {
    pub name: String,
    pub ms: f64,
    pub ns_per_pixel: f64,
}

impl Machine {
    pub fn here() -> Result<Self> {
        let said = |program: &str, args: &[&str]| {
            let output = Command::new(program).args(args).output().ok().filter(|output| output.status.success())?;
            Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Ok(Self {
            date: said("date", &["+%F"]).context("'date' does not say what day it is")?,
            cpu: model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            threads: rayon::current_num_threads(),
            commit: said("git", &["describe", "--always", "--dirty"]).unwrap_or_else(|| "unknown".to_owned()),
        })
    }
}

impl Report {
    /// The day's result so far, or an empty one.
    pub fn open(folder: &Path, machine: Machine) -> Result<Self> {
        let path = folder.join(&machine.date).with_extension("json");
        let earlier = fs::read_to_string(&path).ok().map(|text| serde_json::from_str::<Self>(&text));
        match earlier.transpose().with_context(|| format!("{}: move it away", path.display()))? {
            Some(earlier) => Ok(Self { machine, ..earlier }),
            None => Ok(Self {
                machine,
                backbone: None,
                operators: None,
                memory: None,
                propagation: None,
                stages: None,
                trackers: None,
                growth: None,
                fixed: None,
            }),
        }
    }

    /// Writes DATE.json, and `page` as DATE.md; the path of the first.
    pub fn save(&self, folder: &Path, page: &str) -> Result<PathBuf> {
        fs::create_dir_all(folder)?;
        let path = folder.join(&self.machine.date).with_extension("json");
        fs::write(&path, serde_json::to_string_pretty(self)? + "\n")?;
        fs::write(path.with_extension("md"), page)?;
        Ok(path)
    }
}
