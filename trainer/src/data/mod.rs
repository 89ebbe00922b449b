//! A stand-in for the data room until it is merged: seeded synthetic crops behind the agreed interface.

use std::{path::PathBuf, time::Duration};

use crate::augment::CropConfig;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

mod config;
pub use config::DataConfig;

/// Crops of one view of every image.
pub struct CropBatch {
    /// Side in pixels, S.
    pub size: usize,
    /// `(B, 3, S, S)`, normalised.
    pub pixels: Vec<f32>,
}

/// The views of B images: globals first, then locals.
pub struct Batch {
    /// One for each view.
    pub crops: Vec<CropBatch>,
    /// B.
    pub images: usize,
}

/// Gives batches in an order that the seed fixes.
pub struct Loader {
    crops: CropConfig,
    batch: usize,
    seed: u64,
    next: u64,
}

impl Loader {
    /// Opens the sources.
    ///
    /// # Errors
    /// None here.
    pub fn open(
        _sources: &[PathBuf],
        _data: &DataConfig,
        crops: &CropConfig,
        batch: usize,
        seed: u64,
        start_batch: u64,
    ) -> anyhow::Result<Self> {
        Ok(Self { crops: crops.clone(), batch, seed, next: start_batch })
    }

    /// The next batch.
    ///
    /// # Errors
    /// None here.
    pub fn next_batch(&mut self) -> anyhow::Result<Batch> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed ^ (self.next << 20));
        self.next += 1;
        let mut sizes = vec![self.crops.global_size; 2];
        sizes.extend(vec![self.crops.local_size; self.crops.local_count]);
        let mut crop = |size: usize| CropBatch {
            size,
            pixels: (0..self.batch * 3 * size * size).map(|_| rng.random_range(-2.0..2.0)).collect(),
        };
        Ok(Batch { crops: sizes.into_iter().map(&mut crop).collect(), images: self.batch })
    }

    /// Images in an epoch.
    pub fn samples(&self) -> usize {
        64
    }

    /// What the data are.
    pub fn fingerprint(&self) -> String {
        "synthetic".to_owned()
    }

    /// How long `next_batch` waited.
    pub fn waited(&self) -> Duration {
        Duration::ZERO
    }

    /// What could not be read.
    pub fn skipped(&self) -> Vec<String> {
        Vec::new()
    }
}
