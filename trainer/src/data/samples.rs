//! The list of samples: image files, and the frames taken from videos, in one order.

use std::{
    ops::{Range, RangeInclusive},
    path::PathBuf,
};

use anyhow::{Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};

use super::{
    DataConfig,
    cache::{Cache, Listing},
    files::{self, DataFile, Kind},
    video,
};

/// Everything there is to learn from.
pub(super) struct Samples {
    /// Image files, those of the cache among them.
    pub paths: Vec<PathBuf>,
    /// Where in them the frames of each video are, in their order.
    pub videos: Vec<Range<usize>>,
    /// What was left out, with the reason.
    pub skipped: Vec<String>,
    /// Hash of names, sizes and what was taken from each video, in hexadecimal.
    pub fingerprint: String,
    /// Holds the frames of videos in place.
    pub cache: Option<Cache>,
}

impl Samples {
    /// The frames of the same video that are up to `reach` samples away from `place`, itself among them; of an image,
    /// only itself.
    pub(super) fn around(&self, place: usize, reach: usize) -> RangeInclusive<usize> {
        let next = self.videos.partition_point(|video| video.end <= place);
        match self.videos.get(next).filter(|video| video.contains(&place)) {
            Some(video) => place.saturating_sub(reach).max(video.start)..=(place + reach).min(video.end - 1),
            None => place..=place,
        }
    }
}

/// Finds all files and samples the videos.
///
/// # Errors
/// Nothing found, or nothing readable, or the cache cannot be written.
pub(super) fn gather(sources: &[PathBuf], config: &DataConfig) -> Result<Samples> {
    let (files, skipped) = files::find(sources)?;
    let mut videos_left = files.iter().filter(|file| file.kind == Kind::Video).count() as u64;
    let mut cache = if videos_left > 0 { Some(Cache::open(config)?) } else { None };
    let mut space = config.cache_megabytes * 1_000_000;
    let mut samples =
        Samples { paths: Vec::new(), videos: Vec::new(), skipped, fingerprint: String::new(), cache: None };
    let mut digest = Sha256::new();
    let progress = progress();
    for file in files {
        // Names may hold any character but this one.
        digest.update(format!("{}\0{}\0", file.name, file.bytes));
        match (file.kind, &mut cache) {
            (Kind::Video, Some(cache)) => {
                let listing = take(&file, config, cache, space / videos_left, &progress, &mut samples)?;
                videos_left -= 1;
                let Some(listing) = listing else { continue };
                space -= listing.bytes().min(space);
                let sampling = (config.video_rate, config.video_difference, config.video_short_side);
                digest.update(format!("{sampling:?}{}\0", listing.halvings));
                listing.frames.iter().for_each(|frame| digest.update(frame.time_ns.to_le_bytes()));
            }
            _ => samples.paths.push(file.path),
        }
    }
    progress.finish_and_clear();
    ensure!(!samples.paths.is_empty(), "no frame can be read from any of the videos: {}", samples.skipped.join("; "));
    ensure!(samples.paths.len() < u32::MAX as usize, "{} samples are more than can be counted", samples.paths.len());
    samples.fingerprint = hex::encode(&digest.finalize()[..16]);
    samples.cache = cache;
    Ok(samples)
}

/// Adds the frames of a video, from the cache if they are there; none if it has none.
fn take(
    file: &DataFile,
    config: &DataConfig,
    cache: &mut Cache,
    share: u64,
    progress: &ProgressBar,
    samples: &mut Samples,
) -> Result<Option<Listing>> {
    let name = file.path.display();
    let key = match Cache::key(file, config) {
        Ok(key) => key,
        Err(error) => {
            samples.skipped.push(format!("{name}: {error}"));
            return Ok(None);
        }
    };
    let (folder, listing) = match cache.find(&key, share) {
        Some(found) => found,
        None => {
            progress.reset();
            progress.set_message(format!("reading {name}"));
            let mut entry = cache.start(share)?;
            let fault = video::sample(file, config, &mut entry, progress)?;
            if entry.is_empty() {
                samples.skipped.push(format!("{name}: {}", fault.as_deref().unwrap_or("no frame in it")));
                return Ok(None);
            }
            let made = cache.finish(&key, entry, fault)?;
            tracing::info!(frames = made.1.frames.len(), kept = cache.is_kept(), "{name}: frames sampled");
            made
        }
    };
    if listing.halvings > 0 {
        let rate = config.video_rate / f64::powi(2.0, listing.halvings.cast_signed());
        tracing::warn!(
            "{name}: its part of the cache is full: sampled at {rate} frames a second instead of {}; \
             raise data.cache_megabytes for more",
            config.video_rate,
        );
    }
    if let Some(fault) = &listing.fault {
        samples.skipped.push(format!("{name}: {} frames taken, then {fault}", listing.frames.len()));
    }
    let start = samples.paths.len();
    samples.paths.extend(listing.frames.iter().map(|frame| folder.join(&frame.file)));
    samples.videos.push(start..samples.paths.len());
    Ok(Some(listing))
}

/// Shows itself on a terminal only, and once the first video has to be decoded.
fn progress() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {bar:30} {pos}/{len} frames  {per_sec}  ETA {eta}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_around_a_frame_is_of_its_video() {
        // An image, a video of three frames, two images, one of two.
        let mut samples = Samples {
            paths: Vec::new(),
            videos: vec![1..4, 6..8],
            skipped: vec![],
            fingerprint: String::new(),
            cache: None,
        };
        samples.paths.resize(8, PathBuf::new());
        let all: Vec<_> = (0..8).map(|place| samples.around(place, 1)).collect();
        assert_eq!(all, [0..=0, 1..=2, 1..=3, 2..=3, 4..=4, 5..=5, 6..=7, 6..=7]);
        assert_eq!((samples.around(3, 64), samples.around(2, 0)), (1..=3, 2..=2));
    }
}
