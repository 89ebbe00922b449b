//! A batch: the crops of some samples, side by side.

use crate::augment::{Picture, normalise};

/// One crop of every sample of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct CropBatch {
    /// Side `S` in pixels.
    pub size: usize,
    /// `(B, 3, S, S)`, normalised with [`MEAN`](crate::augment::MEAN) and [`STD`](crate::augment::STD).
    pub pixels: Vec<f32>,
}

/// The crops of some samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The two global crops, then the local ones.
    pub crops: Vec<CropBatch>,
    /// Samples `B`.
    pub images: usize,
}

impl Batch {
    /// Puts together the crops of each sample, which are alike in number and sizes.
    pub(super) fn of(samples: &[Vec<Picture>]) -> Self {
        let sizes = samples.iter().take(1).flatten().map(|crop| crop.width() as usize);
        let crop = |(index, size): (usize, usize)| {
            let mut pixels = vec![0f32; samples.len() * 3 * size * size];
            for (sample, planes) in samples.iter().zip(pixels.chunks_exact_mut(3 * size * size)) {
                if let Some(crop) = sample.get(index) {
                    normalise(crop.rgb(), planes);
                }
            }
            CropBatch { size, pixels }
        };
        Self { crops: sizes.enumerate().map(crop).collect(), images: samples.len() }
    }
}
