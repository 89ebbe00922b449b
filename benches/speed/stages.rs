//! Where a frame's time goes in the daemon, at its default settings and with its own weights, on a surveillance clip.

use std::fs;

use anyhow::Result;

use super::{
    Shared,
    daemon::{Daemon, Look},
    report::{Latency, StageTime, Stages},
};

/// Frames before the measurement: buffers are there, and the first searches of a scene are over.
const WARM_UP: u64 = 18;
/// Frames of the camera that is slower than the engine.
const UNHURRIED: u64 = 15;

/// The engine's stages as the metrics call them, what they are, and whether they are part of the one before.
const STAGES: [(&str, &str, bool); 9] = [
    ("Preprocess", "preprocess", false),
    ("Backbone", "backbone", false),
    ("Track", "track", false),
    ("Propagate", "colours and propagation", true),
    ("Discover", "motion and discovery", true),
    ("Remember", "memory", true),
    ("Mask", "cells to label map", true),
    ("Encode", "run-length encoding", true),
    ("Publish", "message and zenoh", false),
];
/// Of these, what goes around the network and the masks.
const AROUND: [&str; 4] = ["Preprocess", "Discover", "Encode", "Publish"];

pub fn measure(shared: &Shared, frames: u64) -> Result<Stages> {
    let clip = shared.clip.display();
    // Every frame, as fast as it goes: then what decoding costs belongs to the frames that the rest worked on.
    let mut daemon =
        Daemon::start(None, &format!("[streams.vtest]\nkind = 'file'\nlocation = '{clip}'\npace = 'fast'\n"))?;
    let before = daemon.published(WARM_UP)?;
    let after = daemon.published(WARM_UP + frames)?;
    drop(daemon);

    let counted = |name: &str| after.total(name) - before.total(name);
    let published = counted("maskd_frames_published_total").max(1.0);
    let decoding = 1e3 * (after.decoding_s - before.decoding_s) / counted("maskd_frames_captured_total").max(1.0);
    let mean = |stage: &str| after.stage_since(&before, stage).0 / published;
    let whole = STAGES.iter().filter(|stage| !stage.2).map(|stage| mean(stage.0)).sum::<f64>() + decoding;
    let around = AROUND.iter().map(|stage| mean(stage)).sum::<f64>() + decoding;
    let row = |name: &str, ms: f64, part| StageTime { name: name.to_owned(), ms, percent: 100.0 * ms / whole, part };
    let stages = std::iter::once(row("decode, scale, convert (processor time)", decoding, false))
        .chain(STAGES.iter().map(|(stage, name, part)| row(name, mean(stage), *part)))
        .collect();
    Ok(Stages {
        frames: published as u64,
        discoveries: counted("maskd_discoveries_total") as u64,
        frame_ms: whole,
        stages,
        around_percent: 100.0 * around / whole,
        latency: latency(shared, whole)?,
    })
}

/// A camera with one frame every other `frame_ms`.
fn latency(shared: &Shared, frame_ms: f64) -> Result<Latency> {
    let folder = tempfile::tempdir()?;
    let (launch, clip) = (folder.path().join("slow.launch"), shared.clip.display());
    let period = (2.0 * frame_ms).ceil().max(100.0);
    fs::write(
        &launch,
        format!(
            "filesrc name=source location={clip} ! decodebin expose-all-streams=false caps=video/x-raw(ANY)\n\
             ! videorate drop-only=true ! video/x-raw,framerate=1000/{period}\n\
             ! videoscale name=scale add-borders=false ! videoconvert\n\
             ! capsfilter name=size caps=video/x-raw,format=RGB\n\
             ! appsink name=frames max-buffers=1 drop=true wait-on-eos=false\n"
        ),
    )?;
    let stream = format!("[streams.slow]\nkind = 'file'\nlocation = '{clip}'\npipeline = '{}'\n", launch.display());
    let mut daemon = Daemon::start(None, &stream)?;
    let before = daemon.published(3)?;
    let after = daemon.published(3 + UNHURRIED)?;
    let mean = |stage: &str| mean_of(&before, &after, stage);
    let compute_ms = ["Preprocess", "Backbone", "Track"].iter().map(|stage| mean(stage)).sum();
    let frames = after.stage_since(&before, "Total").1 as u64;
    Ok(Latency { frames, total_ms: mean("Total"), compute_ms })
}

/// Milliseconds that one passage through `stage` took between two looks.
pub fn mean_of(before: &Look, after: &Look, stage: &str) -> f64 {
    let (ms, count) = after.stage_since(before, stage);
    if count > 0.0 { ms / count } else { 0.0 }
}
