//! Masks: label maps at frame size, soft labels on the patch grid, and COCO run-length encoding.

use serde::{Deserialize, Serialize};

use crate::frame::Size;

/// One label per pixel, `(height, width)` row by row; 0 is background, others are palette indices
/// or, inside the tracker, positions in its list of instances plus one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelMap {
    /// Size in pixels.
    pub size: Size,
    /// `size.area()` labels.
    pub labels: Vec<u8>,
}

/// A binary mask in COCO's compressed run-length encoding (column by column, as pycocotools reads it).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rle {
    /// `[height, width]`.
    pub size: [u32; 2],
    /// COCO's 6-bit string of run lengths, zeros first.
    pub counts: String,
}

/// Soft labels on the patch grid, `(N, K)` patch by patch, channel 0 is background; each row sums to 1 or is all zero.
#[derive(Clone, Debug, PartialEq)]
pub struct SoftLabels {
    /// Number of channels, background included.
    pub channels: usize,
    /// `N * channels` values in 0..=1.
    pub values: Vec<f32>,
}
