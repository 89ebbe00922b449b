//! Masks: label maps at frame size, soft labels on the patch grid, and how one becomes the other;
//! COCO run-length encoding, palette PNGs, first masks, and drawing labels over a picture.

mod first_mask;
mod label_map;
mod mark;
mod overlay;
mod palette;
mod png_file;
mod readout;
mod rle;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use first_mask::{FirstMask, FirstMaskError};
pub use mark::{is_own_png, sign_png};
pub use overlay::overlay;
pub use palette::palette;
pub use readout::{ReadoutConfig, readout, readout_plain};
pub use rle::EncodedMask;

use crate::{files::OutputError, frame::Size};

/// The largest picture that a mask from outside may claim: 8K UHD (7680 x 4320) fits.
pub const MAX_AREA: usize = 1 << 25;

/// One label per pixel, `(height, width)` row by row; 0 is background, others are palette indices
/// or, inside the tracker, positions in its list of instances plus one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelMap {
    /// Size in pixels.
    pub size: Size,
    /// `size.area()` labels.
    pub labels: Vec<u8>,
}

/// An axis-aligned box in pixels of the source frame, COCO order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BBox {
    /// Left edge.
    pub x: u32,
    /// Top edge.
    pub y: u32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
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

/// A mask from outside that cannot be used, or one of ours that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum MaskError {
    /// The run lengths are not COCO's, or do not cover the picture.
    #[error("mask: bad run-length counts: {0}; send COCO's compressed string, columns first")]
    BadCounts(&'static str),
    /// The mask is for a picture of another size.
    #[error("mask: it is {found} pixels, the picture is {expected}; send it at the picture's size")]
    WrongSize {
        /// What the mask says.
        found: Size,
        /// What was needed.
        expected: Size,
    },
    /// The mask says that it is empty or larger than [`MAX_AREA`].
    #[error("mask: {0} pixels; from 1 to {MAX_AREA} pixels in all can be used")]
    BadSize(Size),
    /// A picture that is no mask.
    #[error("{}: {reason}; a mask is an indexed PNG{}", path.display(), if *grey { ", or a grey one of up to 8 bits" } else { "" })]
    BadPng {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// Whether a grey one would have done.
        grey: bool,
    },
    /// The file is not written.
    #[error("{0}")]
    Output(#[source] OutputError),
    /// The file could not be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl SoftLabels {
    /// The labels of a first frame: 1 in the channel of each patch's label, 0 elsewhere. `labels` is
    /// a map at grid size, one label per patch; labels from `channels` on count as background.
    pub fn one_hot(labels: &LabelMap, channels: usize) -> Self {
        let channels = channels.max(1);
        let mut values = vec![0.0; labels.labels.len() * channels];
        for (row, &label) in values.chunks_exact_mut(channels).zip(&labels.labels) {
            let label = usize::from(label);
            row[if label < channels { label } else { 0 }] = 1.0;
        }
        Self { channels, values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_hot_rows_have_one_one_and_unknown_labels_are_background() {
        let map = LabelMap { size: Size::new(4, 1), labels: vec![0, 1, 2, 9] };
        let soft = SoftLabels::one_hot(&map, 3);
        assert_eq!(soft.values, [1., 0., 0., 0., 1., 0., 0., 0., 1., 1., 0., 0.]);
    }
}
