//! `[crops]`: the views of a sample. The defaults are the paper's.

use serde::{Deserialize, Serialize};

/// Sizes, scales and probabilities of the crops; checked by [`CropConfig::validate`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CropConfig {
    /// Side of the two global crops in pixels; a multiple of the patch size.
    pub global_size: usize,
    /// Area of a global crop as a share of the picture, from and to.
    pub global_scale: [f64; 2],
    /// How many local crops a sample has (8 in the paper's default, 10 in its best run, 0 for none).
    pub local_count: usize,
    /// Side of a local crop in pixels; a multiple of the patch size.
    pub local_size: usize,
    /// Area of a local crop as a share of the picture, from and to.
    pub local_scale: [f64; 2],
    /// Probability that a crop is mirrored. 0 for scenes in which left and right matter.
    pub flip: f64,
    /// Probability that a crop's colours are jittered.
    pub jitter: f64,
    /// Brightness is multiplied by 1 minus to 1 plus this.
    pub brightness: f64,
    /// Contrast is multiplied by 1 minus to 1 plus this.
    pub contrast: f64,
    /// Saturation is multiplied by 1 minus to 1 plus this.
    pub saturation: f64,
    /// Hue is turned by up to this share of the circle either way; 0.5 at most.
    pub hue: f64,
    /// Probability that a crop loses its colour.
    pub grey: f64,
    /// Probability that the first global crop is blurred.
    pub blur_global_1: f64,
    /// Probability that the second global crop is blurred.
    pub blur_global_2: f64,
    /// Probability that a local crop is blurred.
    pub blur_local: f64,
    /// Standard deviation of the blur in pixels of the crop, from and to.
    pub blur_radius: [f64; 2],
    /// Probability that the second global crop is solarised (values of 128 and more inverted).
    pub solarise: f64,
    /// The second global crop of a video's frame is cut out of a frame up to so many samples before or after it, which
    /// shows what has moved; 0: out of the same frame.
    pub neighbours: usize,
}

impl Default for CropConfig {
    fn default() -> Self {
        Self {
            global_size: 224,
            global_scale: [0.4, 1.0],
            local_count: 8,
            local_size: 96,
            local_scale: [0.05, 0.4],
            flip: 0.5,
            jitter: 0.8,
            brightness: 0.4,
            contrast: 0.4,
            saturation: 0.2,
            hue: 0.1,
            grey: 0.2,
            blur_global_1: 1.0,
            blur_global_2: 0.1,
            blur_local: 0.5,
            blur_radius: [0.1, 2.0],
            solarise: 0.2,
            neighbours: 0,
        }
    }
}

impl CropConfig {
    /// Checks the ranges of all values.
    ///
    /// # Errors
    /// The key, and what is wrong with its value.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        let counts = [
            ("global_size", self.global_size, 8..=2048),
            ("local_size", self.local_size, 8..=2048),
            ("local_count", self.local_count, 0..=64),
            ("neighbours", self.neighbours, 0..=64),
        ];
        for (key, value, range) in counts {
            if !range.contains(&value) {
                return Err((key, format!("{value} is not in {} to {}", range.start(), range.end())));
            }
        }
        let numbers = [
            ("flip", self.flip, 1.0),
            ("jitter", self.jitter, 1.0),
            ("grey", self.grey, 1.0),
            ("blur_global_1", self.blur_global_1, 1.0),
            ("blur_global_2", self.blur_global_2, 1.0),
            ("blur_local", self.blur_local, 1.0),
            ("solarise", self.solarise, 1.0),
            ("brightness", self.brightness, 10.0),
            ("contrast", self.contrast, 10.0),
            ("saturation", self.saturation, 10.0),
            ("hue", self.hue, 0.5),
        ];
        for (key, value, most) in numbers {
            // Not a number is in no range.
            if !(0.0..=most).contains(&value) {
                return Err((key, format!("{value} is not in 0 to {most}")));
            }
        }
        let ranges = [
            ("global_scale", self.global_scale, 0.001, 1.0),
            ("local_scale", self.local_scale, 0.001, 1.0),
            ("blur_radius", self.blur_radius, 0.0, 20.0),
        ];
        for (key, [from, to], least, most) in ranges {
            if !(least..=most).contains(&from) || !(from..=most).contains(&to) {
                return Err((key, format!("[{from}, {to}] is no range within {least} to {most}")));
            }
        }
        Ok(())
    }
}
