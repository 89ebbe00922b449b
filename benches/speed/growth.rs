//! How time and memory grow with tokens, cameras and instances.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context, Result};

use super::{
    Shared, child,
    daemon::Daemon,
    network::{S8, write_random},
    report::{Cameras, Growth},
    stages::mean_of,
};

/// Sizes that ViT-S/8 sees, and how often.
const SIZES: [(&str, &str, &str); 6] = [
    ("160", "96", "9"),
    ("256", "144", "7"),
    ("416", "240", "5"),
    ("560", "320", "3"),
    ("688", "400", "3"),
    ("832", "480", "3"),
];
const CAMERAS: [usize; 4] = [1, 2, 4, 8];
const INSTANCES: [&str; 3] = ["1", "5", "20"];

/// Tokens alone where there is no footage.
pub fn measure(shared: Option<&Shared>, seconds: u64) -> Result<Growth> {
    let mut growth = Growth { tokens: Vec::new(), cameras: Vec::new(), instances: Vec::new() };
    let folder = tempfile::tempdir()?;
    let weights = folder.path().join("vits8.safetensors");
    write_random(&S8, &weights)?;
    let weights = weights.to_str().context("a folder's name")?;
    for (width, height, runs) in SIZES {
        growth.tokens.push(child::ask(&["peak", weights, width, height, runs])?);
    }
    let Some(shared) = shared else { return Ok(growth) };
    for count in CAMERAS {
        growth.cameras.push(cameras(shared, count, Duration::from_secs(seconds))?);
    }
    for count in INSTANCES {
        let (weights, clip) = (shared.weights.to_str(), shared.clip.to_str());
        let (weights, clip) = weights.zip(clip).context("MASKD_SHARED is not readable as text")?;
        growth.instances.push(child::ask(&["instances", weights, clip, count])?);
    }
    Ok(growth)
}

/// The daemon with so many cameras, each at the clip's own pace.
fn cameras(shared: &Shared, count: usize, time: Duration) -> Result<Cameras> {
    let mut streams = String::new();
    for camera in 0..count {
        write!(
            streams,
            "[streams.camera-{camera}]\nkind = 'file'\nlocation = '{}'\nloop = true\n",
            shared.clip.display()
        )?;
    }
    let mut daemon = Daemon::start(Some(&shared.weights), &streams)?;
    let before = daemon.published(3)?;
    std::thread::sleep(time);
    let after = daemon.look()?;
    let published = after.total("maskd_frames_published_total") - before.total("maskd_frames_published_total");
    Ok(Cameras {
        cameras: count,
        frames_per_second: published / (after.at - before.at).as_secs_f64(),
        latency_ms: mean_of(&before, &after, "Total"),
        peak_mb: daemon.peak_mb()?,
    })
}
