//! Measurements that want a process of their own: this program again, with a hidden argument. The child answers with
//! one line of JSON.

use std::{
    collections::VecDeque,
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, anyhow, bail};
use maskd::{
    backbone::{Backbone, BackboneConfig, DeviceChoice},
    engine::Engine,
    frame::{Frame, Quality, Size},
    ingest::Clip,
    mask::LabelMap,
    refine::Colours,
    tracker::{Tracker, TrackerConfig},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    report::{Instances, Peak, Steady},
    spread::Spread,
};

/// The hidden argument.
pub const FLAG: &str = "--child";

/// Frames until the tracker asks as many earlier ones as it ever does, and those that are timed after it.
const FILL: usize = 9;
const TIMED: usize = 9;

/// Runs `order` in a new process and waits for its answer.
pub fn ask<T: DeserializeOwned>(order: &[&str]) -> Result<T> {
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.arg(FLAG).args(order).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("{}: {}", order.join(" "), output.status);
    }
    serde_json::from_slice(&output.stdout).with_context(|| order.join(" "))
}

/// What a child does.
pub fn run(order: &[String]) -> Result<()> {
    let order: Vec<&str> = order.iter().map(String::as_str).collect();
    match order[..] {
        ["peak", weights, width, height, runs] => {
            answer(peak(weights.as_ref(), Size::new(width.parse()?, height.parse()?), runs.parse()?)?)
        }
        ["steady", weights, frames] => answer(steady(weights.as_ref(), frames.parse()?)?),
        ["instances", weights, clip, count] => answer(instances(weights.as_ref(), clip.as_ref(), count.parse()?)?),
        _ => Err(anyhow!("no such order: {order:?}")),
    }
}

fn answer(value: impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(&value)?);
    Ok(())
}

/// Resident memory of process `pid` (or `self`), MB of 10^6 bytes: `VmRSS` now, `VmHWM` at its highest.
pub fn resident_mb(pid: &str, key: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("memory is read from /proc")?;
    let kib = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')?.trim().strip_suffix(" kB"));
    Ok(kib.with_context(|| format!("no {key} in /proc/{pid}/status"))?.parse::<f64>()? * 1024.0 / 1e6)
}

fn load(weights: &Path, short_side: Option<u32>) -> Result<Backbone> {
    let defaults = BackboneConfig::default();
    Backbone::load(&BackboneConfig {
        weights: Some(weights.to_owned()),
        device: DeviceChoice::Cpu,
        short_side: short_side.unwrap_or(defaults.short_side),
        ..defaults
    })
}

/// A bright square on its way over a textured ground.
fn picture(size: Size, sequence: u64) -> Result<Frame> {
    let (side, width) = (u64::from(size.height / 3), u64::from(size.width));
    let left = sequence * 3 % (width - side).max(1);
    let pixel = |i: u64| {
        let (x, y) = (i % width, i / width);
        let inside = (left..left + side).contains(&x) && (side..2 * side).contains(&y);
        let texture = ((x * 7919 + y * 104_729) % 61) as u8;
        if inside { [250 - texture, 200, texture] } else { [60 + texture, 90, 80 + texture / 2] }
    };
    Ok(Frame {
        stream: "bench".parse()?,
        rgb: (0..size.area() as u64).flat_map(pixel).collect(),
        size,
        source: size,
        pts_ns: None,
        captured_unix_ns: SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64,
        captured: Instant::now(),
        sequence,
        epoch: 0,
        quality: Quality::FULL,
    })
}

/// Loads weights and runs the network on key frames of `size`.
fn peak(weights: &Path, size: Size, runs: usize) -> Result<Peak> {
    let backbone = load(weights, Some(size.height))?;
    let loaded_mb = resident_mb("self", "VmHWM")?;
    let (mut times, mut tokens) = (Vec::new(), 0);
    for sequence in 0..runs {
        let frame = picture(size, sequence as u64)?;
        let input = backbone.prepare(&[&frame], size)?;
        let start = Instant::now();
        let features = backbone.run(&input, true)?;
        times.push(1e3 * start.elapsed().as_secs_f64());
        tokens = 1 + features.first().map_or(0, |features| features.grid.len());
    }
    Ok(Peak { tokens, loaded_mb, peak_mb: resident_mb("self", "VmHWM")?, ms: Spread::of(&times).median })
}

/// The whole engine on many frames, its memory looked at every twenty-fifth.
fn steady(weights: &Path, frames: usize) -> Result<Steady> {
    const EVERY: usize = 25;
    // What the first frames allocate is kept for the next.
    const WARM_UP: usize = 100;
    let mut engine = Engine::new(load(weights, Some(112))?, TrackerConfig::default());
    let mut seen: Vec<(f64, f64)> = Vec::new();
    let mut live: Vec<(f64, f64)> = Vec::new();
    for at in 0..WARM_UP + frames {
        for result in engine.step(vec![picture(Size::new(192, 112), at as u64)?], &()) {
            result.map_err(|failure| anyhow!("{:#}", failure.cause))?;
        }
        if at >= WARM_UP && at % EVERY == 0 {
            seen.push((at as f64, resident_mb("self", "VmRSS")?));
            live.extend(live_mb().map(|mb| (at as f64, mb)));
        }
    }
    let (first_mb, last_mb) = (seen.first().map_or(0.0, |s| s.1), seen.last().map_or(0.0, |s| s.1));
    let live_slope_kb = (!live.is_empty()).then(|| 1e6 * slope(&live));
    let late_slope_kb = 1e6 * slope(&seen[seen.len() / 2..]);
    Ok(Steady { frames, first_mb, last_mb, slope_kb: 1e6 * slope(&seen), live_slope_kb, late_slope_kb })
}

/// What is allocated and not yet freed, MB of 10^6 bytes, where the allocator tells.
pub fn live_mb() -> Option<f64> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: it reads the allocator's books under its own locks.
        let books = unsafe { libc::mallinfo2() };
        Some((books.uordblks + books.hblkhd) as f64 / 1e6)
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    None
}

/// Of the line nearest to all points.
fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len().max(1) as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |sum, p| (sum.0 + p.0 / n, sum.1 + p.1 / n));
    let (xy, xx) =
        points.iter().fold((0.0, 0.0), |sum, p| (sum.0 + (p.0 - x) * (p.1 - y), sum.1 + (p.0 - x) * (p.0 - x)));
    if xx > 0.0 { xy / xx } else { 0.0 }
}

/// Follows so many drawn discs through a clip; only the tracker is timed.
fn instances(weights: &Path, clip: &Path, count: usize) -> Result<Instances> {
    let backbone = load(weights, None)?;
    let patch = backbone.architecture().patch;
    let mut tracker = Tracker::new(TrackerConfig { discovery: false, ..TrackerConfig::default() }, patch);
    let (mut times, mut visible) = (VecDeque::new(), 0);
    for (at, picture) in Clip::open(clip)?.enumerate().take(FILL + TIMED) {
        let frame = picture?.to_frame(&"bench".parse()?, at as u64);
        if at == 0 {
            tracker.first_mask(discs(frame.source, count));
        }
        let input = backbone.prepare(&[&frame], backbone.input_size_of(&frame))?;
        let features = backbone.run(&input, false)?.pop().context("no features. This is a bug.")?;
        let start = Instant::now();
        let colours = Colours::of(&frame.rgb, frame.size, features.grid, patch);
        let tracked = tracker.step_in_colour(Arc::new(features), colours, frame.source, 0);
        times.push_back(1e3 * start.elapsed().as_secs_f64());
        visible = tracked.instances.len();
    }
    let timed: Vec<f64> = times.into_iter().skip(FILL).collect();
    let peak_mb = resident_mb("self", "VmHWM")?;
    Ok(Instances { instances: count, visible, step_ms: Spread::of(&timed).median, peak_mb })
}

/// `count` discs in rows over the whole picture.
fn discs(size: Size, count: usize) -> LabelMap {
    let mut map = LabelMap::new(size);
    let cols = (count as f64 * f64::from(size.width) / f64::from(size.height)).sqrt().ceil().max(1.0) as usize;
    let rows = count.div_ceil(cols).max(1);
    let (across, down) = (f64::from(size.width) / cols as f64, f64::from(size.height) / rows as f64);
    let radius = 0.35 * across.min(down).min(f64::from(size.height) / 3.0);
    for (i, label) in map.labels.iter_mut().enumerate() {
        let (x, y) = ((i as u32 % size.width) as f64, (i as u32 / size.width) as f64);
        let (col, row) = ((x / across) as usize, (y / down) as usize);
        let (dx, dy) = (x - (col as f64 + 0.5) * across, y - (row as f64 + 0.5) * down);
        let number = row * cols + col;
        if dx.hypot(dy) <= radius && number < count {
            *label = u8::try_from(number + 1).unwrap_or(0);
        }
    }
    map
}
