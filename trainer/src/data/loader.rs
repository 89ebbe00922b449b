//! What the training loop sees: one batch after the other.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, bail, ensure};
use parking_lot::Mutex;
use rand::{Rng, RngExt as _};

use super::{
    DataConfig,
    batch::Batch,
    decode,
    order::{Draw, Order, generator},
    samples::{self, Samples},
    workers::{Make, Workers},
};
use crate::augment::{CropConfig, Cropper, Picture};

/// Files in a row that may fail before the data as a whole is taken for unreadable.
const FAILURES: usize = 1000;

/// Endless batches; each epoch takes every sample once, in an order of its own, less what fills no batch.
pub struct Loader {
    samples: usize,
    batches_per_epoch: u64,
    fingerprint: String,
    waited: Duration,
    pool: Arc<Pool>,
    workers: Workers,
}

/// The samples, as all threads see them.
struct Pool {
    data: DataConfig,
    samples: Samples,
    /// [`CropConfig::neighbours`].
    reach: usize,
    seed: u64,
    /// Samples that could not be read, and why.
    bad: Mutex<BTreeMap<usize, String>>,
}

impl Loader {
    /// Finds the data, samples the videos that are not in the cache, and starts to make batches from number
    /// `start_batch` on (0 is the first of the first epoch).
    ///
    /// # Errors
    /// A configuration that is not valid, nothing to learn from, less than one batch, a cache that cannot be written.
    pub fn open(
        sources: &[PathBuf],
        data: &DataConfig,
        crops: &CropConfig,
        batch: usize,
        seed: u64,
        start_batch: u64,
    ) -> Result<Self> {
        data.validate().map_err(|(key, wrong)| anyhow!("data.{key}: {wrong}"))?;
        crops.validate().map_err(|(key, wrong)| anyhow!("crops.{key}: {wrong}"))?;
        let mut samples = samples::gather(sources, data)?;
        let count = samples.paths.len();
        ensure!(batch > 0, "a batch of 0 samples teaches nothing");
        ensure!(count >= batch, "{count} samples are less than one batch of {batch}: add data or lower the batch size");
        for skipped in &samples.skipped {
            tracing::warn!("left out: {skipped}");
        }
        let order = Order::new(seed, count, batch);
        let batches_per_epoch = order.batches_per_epoch();
        let fingerprint = std::mem::take(&mut samples.fingerprint);
        let pool = Arc::new(Pool { data: data.clone(), samples, reach: crops.neighbours, seed, bad: Mutex::default() });
        let maker = |_| {
            let (pool, mut cropper) = (Arc::clone(&pool), Cropper::new(crops.clone()));
            Box::new(move |draw| pool.make(draw, &mut cropper)) as Make
        };
        let makers = (0..data.threads()).map(maker).collect();
        let workers = Workers::start(makers, order, data.prefetch, start_batch)?;
        Ok(Self { samples: count, batches_per_epoch, fingerprint, waited: Duration::ZERO, pool, workers })
    }

    /// The next batch, waited for.
    ///
    /// # Errors
    /// No sample can be read any more, or a thread panicked; there are no more batches then.
    pub fn next_batch(&mut self) -> Result<Batch> {
        let start = Instant::now();
        let batch = self.workers.next();
        self.waited += start.elapsed();
        batch
    }

    /// Samples in the list; an epoch has `batches_per_epoch` full batches of them.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Batches of an epoch, at least one.
    pub fn batches_per_epoch(&self) -> u64 {
        self.batches_per_epoch
    }

    /// Hash of the list of samples: names below the sources, sizes, and the times taken from each video.
    /// Two loaders with the same one (and seed, batch and crops) make the same batches.
    pub fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    /// How long [`Self::next_batch`] has waited in all.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// What was left out so far, one entry a file: its name and the reason. Batches that are made ahead count.
    pub fn skipped(&self) -> Vec<String> {
        let bad = self.pool.bad.lock();
        self.pool.samples.skipped.iter().chain(bad.values()).cloned().collect()
    }
}

impl Pool {
    /// The crops of a sample, or in its place of the next in the list that can be read.
    fn make(&self, draw: Draw, cropper: &mut Cropper) -> Result<Vec<Picture>> {
        let count = self.samples.paths.len();
        let mut failures = 0;
        for place in (0..count).map(|offset| (draw.sample + offset) % count) {
            if self.bad.lock().contains_key(&place) {
                continue;
            }
            let path = &self.samples.paths[place];
            match decode::read(path, &self.data) {
                Ok(picture) => {
                    // Seeded by the sample that was drawn: where several are replaced by one, their crops differ.
                    let rng = &mut generator(self.seed, draw.epoch, draw.sample as u64);
                    let other = self.neighbour(place, rng);
                    return cropper.crops(&picture, other.as_ref().unwrap_or(&picture), rng);
                }
                Err(error) => self.note(place, format!("{}: {error:#}", path.display())),
            }
            failures += 1;
            if failures == FAILURES {
                bail!("{FAILURES} images in a row cannot be read, the last: {}", self.reason(place));
            }
        }
        bail!("none of {count} images can be read, for one: {}", self.reason(draw.sample));
    }

    /// A frame near the one at `place`, if there is to be another and it can be read.
    fn neighbour(&self, place: usize, rng: &mut impl Rng) -> Option<Picture> {
        let around = self.samples.around(place, self.reach);
        if around.start() == around.end() {
            return None;
        }
        let other = rng.random_range(around);
        (other != place).then(|| decode::read(&self.samples.paths[other], &self.data).ok()).flatten()
    }

    fn note(&self, place: usize, reason: String) {
        // Two threads may come upon the same file.
        let mut bad = self.bad.lock();
        if let std::collections::btree_map::Entry::Vacant(free) = bad.entry(place) {
            tracing::warn!("left out: {reason}");
            free.insert(reason);
        }
    }

    fn reason(&self, place: usize) -> String {
        self.bad.lock().get(&place).cloned().unwrap_or_default()
    }
}
