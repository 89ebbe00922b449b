//! `[data]`: what is read, how videos are sampled, and how much stands in memory and on disc.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Reading images and videos; checked by [`DataConfig::validate`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Threads that decode and crop; 0 takes half of the machine's cores, 16 at most. They change no batch.
    pub workers: usize,
    /// Batches that are being made ahead of the one in use. Each holds its crops at a byte a value.
    pub prefetch: usize,
    /// Images and videos with more pixels than this many millions are skipped: a header of a few bytes can ask for
    /// all memory there is.
    pub max_megapixels: u32,
    /// Images and videos whose shorter side has fewer pixels are skipped.
    pub min_side: u32,
    /// Frames taken from each second of a video's own time.
    pub video_rate: f64,
    /// A frame is left out if it differs from the last one taken by less than this: root mean square over the grey
    /// levels (0 to 255) of thumbnails of 32 x 32. The noise of a camera at rest stays below 1; half a second in a
    /// busy street makes 5 to 15, half a second of a moving camera 15 to 60. 0 takes every frame.
    pub video_difference: f64,
    /// Frames of videos are kept with a shorter side of this many pixels at most.
    pub video_short_side: u32,
    /// Where frames of videos are kept, as JPEG. Absent, it is a temporary folder that goes when the loader does:
    /// a resumed run then decodes its videos again.
    pub cache: Option<PathBuf>,
    /// Most space for a run's frames, in millions of bytes. Each video in turn has an even part of what is left;
    /// one that would need more is sampled half as often, and half again, over its whole length, with a warning.
    pub cache_megabytes: u64,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            workers: 0,
            prefetch: 2,
            max_megapixels: 64,
            min_side: 32,
            video_rate: 2.0,
            video_difference: 2.0,
            video_short_side: 480,
            cache: None,
            cache_megabytes: 4000,
        }
    }
}

impl DataConfig {
    /// Checks the ranges of all values.
    ///
    /// # Errors
    /// The key, and what is wrong with its value.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        let counts = [
            ("workers", self.workers as u64, 0..=256),
            ("prefetch", self.prefetch as u64, 1..=64),
            ("max_megapixels", self.max_megapixels.into(), 1..=1000),
            ("min_side", self.min_side.into(), 1..=4096),
            ("video_short_side", self.video_short_side.into(), 32..=4096),
            ("cache_megabytes", self.cache_megabytes, 1..=1_000_000_000),
        ];
        for (key, value, range) in counts {
            if !range.contains(&value) {
                return Err((key, format!("{value} is not in {} to {}", range.start(), range.end())));
            }
        }
        let numbers =
            [("video_rate", self.video_rate, 0.001..=1000.0), ("video_difference", self.video_difference, 0.0..=255.0)];
        for (key, value, range) in numbers {
            // Not a number is in no range.
            if !range.contains(&value) {
                return Err((key, format!("{value} is not in {} to {}", range.start(), range.end())));
            }
        }
        Ok(())
    }

    /// Most pixels of an image.
    pub(super) fn max_pixels(&self) -> u64 {
        u64::from(self.max_megapixels) * 1_000_000
    }

    /// Threads to start.
    pub(super) fn threads(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from).div_ceil(2).min(16),
            workers => workers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_out_of_range_is_named_and_an_unknown_key_refused() {
        let refused = |text: &str| {
            let config: DataConfig = toml::from_str(text).unwrap();
            config.validate().unwrap_err().0
        };
        assert_eq!(refused("prefetch = 0"), "prefetch");
        assert_eq!(refused("video_rate = 0.0"), "video_rate");
        assert_eq!(refused("video_difference = nan"), "video_difference");
        assert_eq!(refused("cache_megabytes = 0"), "cache_megabytes");
        assert!(toml::from_str::<DataConfig>("rate = 1").is_err());
        assert_eq!(toml::from_str::<DataConfig>(""), Ok(DataConfig::default()));
        assert_eq!(DataConfig::default().validate(), Ok(()));
    }
}
