//! A stand-in for the augmentation room until it is merged.

use serde::{Deserialize, Serialize};

/// `[crops]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CropConfig {
    /// Side of the two global crops in pixels.
    pub global_size: usize,
    /// Side of the local crops in pixels.
    pub local_size: usize,
    /// How many local crops.
    pub local_crops: usize,
}

impl Default for CropConfig {
    fn default() -> Self {
        Self { global_size: 224, local_size: 96, local_crops: 8 }
    }
}
