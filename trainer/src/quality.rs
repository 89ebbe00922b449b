//! `[quality]`: what a run is judged by while it goes on.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[quality]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QualityConfig {
    /// A set in DAVIS layout: at each checkpoint the teacher's features propagate the first masks through it.
    pub davis: String,
    /// The list in its ImageSets.
    pub davis_set: String,
    /// Only these sequences; none named: all of the list.
    pub davis_sequences: Vec<String>,
    /// Only the first frames of each.
    pub davis_frames: usize,
    /// Pixels of the short side for it and for the probes.
    pub short_side: u32,
    /// A folder with one folder of images for each class: k-NN on `[CLS]`.
    pub knn: String,
    /// Pictures or videos whose attention is drawn; none named: some of the data.
    pub probes: Vec<PathBuf>,
}

impl Default for QualityConfig {
    fn default() -> Self {
        Self {
            davis: String::new(),
            davis_set: "val".to_owned(),
            davis_sequences: Vec::new(),
            davis_frames: 25,
            short_side: 240,
            knn: String::new(),
            probes: Vec::new(),
        }
    }
}

impl QualityConfig {
    pub(crate) fn validate(&self) -> Result<(), (&'static str, String)> {
        match self {
            // The first and the last frame of a sequence are not judged.
            Self { davis_frames: 0..=2, .. } => {
                Err(("davis_frames", format!("{} leaves no frame to judge; take 3 or more", self.davis_frames)))
            }
            Self { short_side, .. } if !(64..=2048).contains(short_side) => {
                Err(("short_side", format!("{short_side} is not in 64 to 2048")))
            }
            _ => Ok(()),
        }
    }
}
