//! One training step on the CPU as `maskd-train` runs it, ours and PyTorch's in turns on the same cores: images per second, and the
//! peak resident set of each process.
//!
//! `cargo bench -p maskd-trainer --bench step`. PyTorch is measured where `MASKD_PEER_PYTHON` names a python that has
//! torch, or `target/peers/bin/python` exists; `MASKD_BENCH_STEPS` sets the number of steps (10).
//! ViT-Ti/16, 2 crops of 224 and 6 of 96 pixels, batch 8, 4096 outputs, float32, drop path 0.1.

use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device};
use maskd_model::{Architecture, Family};
use maskd_trainer::{
    data::{Batch, CropBatch},
    learner::{Learner, StepSchedule},
    loss::{GLOBAL_VIEWS, LossConfig},
    network::{HeadConfig, Shape, init},
    optim::{OptimConfig, Rates},
};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Steps that warm caches, allocators and PyTorch's kernels.
const WARM: usize = 2;

const BATCH: usize = 8;
const LOCAL_VIEWS: usize = 6;
const BACKBONE: Architecture = Architecture {
    family: Family::Dino,
    patch: 16,
    dim: 192,
    depth: 12,
    heads: 3,
    hidden: 768,
    grid: 14,
    registers: 0,
    gated: false,
};

/// A training with what its steps take.
struct Training {
    learner: Learner,
    crops: Vec<CropBatch>,
    done: u64,
}

impl Training {
    fn new() -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let shape = Shape { backbone: BACKBONE, head: HeadConfig { outputs: 4096, ..HeadConfig::default() } };
        let tensors = init::fresh(&shape, &mut rng)?;
        let config = (&LossConfig::default(), &OptimConfig::default());
        let learner = Learner::new(shape, &tensors, config, 0, (&Device::Cpu, DType::F32))?;
        let mut crop = |size: usize| {
            let pixels = (0..BATCH * 3 * size * size).map(|_| rng.random_range(-1.7..1.7)).collect();
            CropBatch { size, pixels }
        };
        let sizes = [224; GLOBAL_VIEWS].into_iter().chain([96; LOCAL_VIEWS]);
        Ok(Self { learner, crops: sizes.map(&mut crop).collect(), done: 0 })
    }

    /// One step; gives the loss.
    fn step(&mut self) -> Result<f64> {
        let copy = |c: &CropBatch| CropBatch { size: c.size, pixels: c.pixels.clone() };
        let knobs = StepSchedule {
            rates: Rates { lr: 1e-5, weight_decay: 0.04, frozen_last_layer: false },
            teacher_momentum: 0.996,
            teacher_temperature: 0.04,
        };
        let crops = &self.crops;
        let mut next = || Ok(Batch { crops: crops.iter().map(copy).collect(), images: BATCH });
        let outcome = self.learner.step(self.done, 1, &mut next, &knobs, false)?;
        self.done += 1;
        Ok(outcome.loss)
    }
}

/// PyTorch's process, which steps once for each line it reads.
struct Peer {
    child: Child,
    asks: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    fn start() -> Result<Option<Self>> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let installed = root.join("../target/peers/bin/python");
        let python = match std::env::var_os("MASKD_PEER_PYTHON") {
            Some(python) => PathBuf::from(python),
            None if installed.exists() => installed,
            None => return Ok(None),
        };
        let threads = rayon::current_num_threads().to_string();
        let mut child = Command::new(&python)
            .arg(root.join("benches/peer.py"))
            .envs([("OMP_NUM_THREADS", threads.as_str()), ("BATCH", &BATCH.to_string())])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", python.display()))?;
        let asks = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().context("the peer has no output")?);
        Ok(Some(Self { child, asks, answers }))
    }

    /// Seconds of one step, and the process's peak bytes so far.
    fn step(&mut self) -> Result<(f64, f64)> {
        self.asks.as_mut().context("the peer takes no input")?.write_all(b"step\n")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let answer: serde_json::Value =
            serde_json::from_str(&line).context("the peer stopped: does its python have torch?")?;
        let number = |key: &str| answer[key].as_f64().with_context(|| format!("the peer gave no {key}"));
        Ok((number("seconds")?, number("peak_bytes")?))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.asks.take(); // the end of its input ends it
        let _ = self.child.wait();
    }
}

/// The peak resident set of this process, in bytes.
fn peak_bytes() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).context("no VmHWM in /proc/self/status")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<f64>()? * 1024.0)
}

fn report(name: &str, mut seconds: Vec<f64>, peak: f64) -> Result<f64> {
    seconds.sort_by(f64::total_cmp);
    let (Some(fastest), Some(slowest)) = (seconds.first(), seconds.last()) else { bail!("no step was measured") };
    let speed = |seconds: f64| BATCH as f64 / seconds;
    let median = seconds[seconds.len() / 2];
    println!(
        "{name:8} {:5.2} img/s ({:.2} to {:.2}), {:6.1} ms a step, peak {:4.2} GB",
        speed(median),
        speed(*slowest),
        speed(*fastest),
        median * 1e3,
        peak / 1e9
    );
    Ok(speed(median))
}

fn main() -> Result<()> {
    let steps = std::env::var("MASKD_BENCH_STEPS").ok().and_then(|s| s.parse().ok()).unwrap_or(10usize);
    let mut peer = Peer::start()?;
    let mut training = Training::new()?;
    let (mut ours, mut theirs, mut their_peak) = (Vec::new(), Vec::new(), 0.0);
    for i in 0..WARM + steps {
        let start = Instant::now();
        let loss = training.step()?;
        let seconds = start.elapsed().as_secs_f64();
        if !loss.is_finite() {
            bail!("the loss is {loss}")
        }
        if i >= WARM {
            ours.push(seconds);
        }
        if let Some(peer) = &mut peer {
            let (seconds, peak) = peer.step()?;
            their_peak = peak;
            if i >= WARM {
                theirs.push(seconds);
            }
        }
    }
    println!("{} steps, {} threads, medians (range)", steps, rayon::current_num_threads());
    let own_peak = peak_bytes()?;
    let own = report("maskd", ours, own_peak)?;
    if peer.is_some() {
        let their = report("PyTorch", theirs, their_peak)?;
        println!("ratio    {:5.2} of PyTorch's speed, {:.2} of its memory", own / their, own_peak / their_peak);
    } else {
        println!("PyTorch was not measured: MASKD_PEER_PYTHON names no python that has torch");
    }
    Ok(())
}
