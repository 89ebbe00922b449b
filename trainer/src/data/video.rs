//! Frames of a video worth learning from: at a steady rate, and none that looks like the one before.

use anyhow::Result;
use fast_image_resize::Resizer;
use image::{ExtendedColorType, codecs::jpeg::JpegEncoder};
use indicatif::ProgressBar;
use maskd_ingest::{Clip, ClipFrame};

use super::{DataConfig, cache::EntryWriter, decode, files::DataFile};
use crate::augment::{Picture, Rect};

/// At 4:2:2, what is lost is below what the crops' resize leaves.
const JPEG_QUALITY: u8 = 92;
/// Side of the thumbnails that are compared.
const THUMBNAIL: u32 = 32;
/// Frames a second where a video does not say.
const USUAL_RATE: f64 = 25.0;

/// Decodes `file` and adds its sampled frames to `entry`. Returns what ended it early, if anything did:
/// the video's fault, and no reason to stop.
///
/// # Errors
/// Frames cannot be stored.
pub(super) fn sample(
    file: &DataFile,
    config: &DataConfig,
    entry: &mut EntryWriter,
    progress: &ProgressBar,
) -> Result<Option<String>> {
    let clip = match Clip::open(&file.path) {
        Ok(clip) => clip,
        Err(error) => return Ok(Some(format!("{:#}", error.root_cause()))),
    };
    if let Err(error) = decode::check_size(clip.size().width, clip.size().height, config) {
        return Ok(Some(error.to_string()));
    }
    progress.set_length(clip.len_hint().unwrap_or(0) as u64);
    let frames_a_second = clip.fps().map_or(USUAL_RATE, |(numer, denom)| f64::from(numer) / f64::from(denom));
    let mut clock = SampleClock::new(config.video_rate);
    let mut selection = Selection { config, resizer: Resizer::new(), last: None };
    for (number, frame) in clip.enumerate() {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => return Ok(Some(format!("after frame {number}: {:#}", error.root_cause()))),
        };
        progress.inc(1);
        let time_ns = frame.pts_ns.unwrap_or((number as f64 * 1e9 / frames_a_second) as u64);
        if !clock.is_due(time_ns) {
            continue;
        }
        if let Some(jpeg) = selection.take(&frame)? {
            let halved = entry.add(number, time_ns, &jpeg)?;
            if halved > 0 {
                clock.slow_down(halved, entry.last_ns());
                // What comes next is compared with a frame that may be gone.
                selection.last = None;
            }
        }
    }
    Ok(None)
}

/// Which frames are due: the first at or after each tick of the video's own clock.
struct SampleClock {
    interval_ns: f64,
    next_ns: Option<f64>,
}

impl SampleClock {
    fn new(rate: f64) -> Self {
        Self { interval_ns: 1e9 / rate, next_ns: None }
    }

    fn is_due(&mut self, time_ns: u64) -> bool {
        let time = time_ns as f64;
        let next = self.next_ns.unwrap_or(time);
        // Containers round timestamps, many to milliseconds. A clock that jumped back by a tick or more began anew.
        let slack = (self.interval_ns / 100.0).max(1e6).min(self.interval_ns / 4.0);
        if time + slack >= next {
            let ticks = ((time + slack - next) / self.interval_ns).floor() + 1.0;
            self.next_ns = Some(next + ticks * self.interval_ns);
            return true;
        }
        if time + 2.0 * self.interval_ns < next {
            self.next_ns = Some(time + self.interval_ns);
            return true;
        }
        false
    }

    /// Halves the rate some times; the next frame is due a whole interval after `last_ns`.
    fn slow_down(&mut self, times: u32, last_ns: u64) {
        self.interval_ns *= f64::from(times).exp2();
        self.next_ns = Some(last_ns as f64 + self.interval_ns);
    }
}

/// Makes frames small and leaves out near-equal ones.
struct Selection<'a> {
    config: &'a DataConfig,
    resizer: Resizer,
    /// Grey thumbnail of the last frame that was taken.
    last: Option<Vec<f32>>,
}

impl Selection<'_> {
    /// The frame as JPEG, or none where it looks like the last one.
    fn take(&mut self, frame: &ClipFrame) -> Result<Option<Vec<u8>>> {
        let (width, height) = (frame.size.width, frame.size.height);
        let picture = Picture::new(width, height, frame.rgb.to_vec())?;
        let shrink = (f64::from(self.config.video_short_side) / f64::from(width.min(height))).min(1.0);
        let side = |full: u32| ((f64::from(full) * shrink).round() as u32).max(1);
        let whole = Rect::whole(width, height);
        let picture = picture.crop(whole, side(width), side(height), &mut self.resizer)?;
        let grey = self.thumbnail(&picture)?;
        let near = |last: &Vec<f32>| f64::from(difference(last, &grey)) < self.config.video_difference;
        if self.last.as_ref().is_some_and(near) {
            return Ok(None);
        }
        self.last = Some(grey);
        let mut jpeg = Vec::new();
        let mut encoder = JpegEncoder::new_with_quality(&mut jpeg, JPEG_QUALITY);
        encoder.encode(picture.rgb(), picture.width(), picture.height(), ExtendedColorType::Rgb8)?;
        Ok(Some(jpeg))
    }

    fn thumbnail(&mut self, picture: &Picture) -> Result<Vec<f32>> {
        let whole = Rect::whole(picture.width(), picture.height());
        let small = picture.crop(whole, THUMBNAIL, THUMBNAIL, &mut self.resizer)?;
        let grey = |p: &[u8; 3]| 0.299 * f32::from(p[0]) + 0.587 * f32::from(p[1]) + 0.114 * f32::from(p[2]);
        Ok(small.rgb().as_chunks::<3>().0.iter().map(grey).collect())
    }
}

/// Root of the mean squared difference, in grey levels.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    let sum: f32 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
    (sum / a.len().max(1) as f32).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(rate: f64, times_ms: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let mut clock = SampleClock::new(rate);
        times_ms.into_iter().filter(|ms| clock.is_due(ms * 1_000_000)).collect()
    }

    #[test]
    fn frames_are_due_by_the_videos_clock() {
        assert_eq!(due(2.0, (0..20).map(|i| i * 100)), [0, 500, 1000, 1500]);
        assert_eq!(due(10.0, (0..4).map(|i| i * 100)), [0, 100, 200, 300]);
        // 30 frames a second, rounded down.
        assert_eq!(due(30.0, [0, 33, 66, 100, 133]), [0, 33, 66, 100, 133]);
        // A gap, a late start, and a clock that begins anew.
        assert_eq!(due(1.0, [7000, 7400, 12_500, 12_900, 13_100]), [7000, 12_500, 13_100]);
        assert_eq!(due(1.0, [50_000, 50_500, 0, 500, 1000]), [50_000, 0, 1000]);
    }

    #[test]
    fn halving_leaves_every_second_tick() {
        let mut clock = SampleClock::new(1.0);
        assert!((0..4).all(|s| clock.is_due(s * 1_000_000_000)));
        // Of 0, 1, 2 and 3 stay 0 and 2.
        clock.slow_down(1, 2_000_000_000);
        let due: Vec<u64> = (4..11).filter(|s| clock.is_due(s * 1_000_000_000)).collect();
        assert_eq!(due, [4, 6, 8, 10]);
    }

    #[test]
    fn difference_is_in_grey_levels() {
        assert_eq!(difference(&[10.0, 20.0], &[10.0, 20.0]), 0.0);
        assert_eq!(difference(&[0.0, 0.0], &[5.0, -5.0]), 5.0);
    }
}
