//! Which samples a batch holds, and where each draws its chance from.

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

/// One sample of one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Draw {
    pub epoch: u64,
    /// Place in the list of samples.
    pub sample: usize,
}

/// Batches without end: each epoch is a shuffle of all samples, and what does not fill a batch is left out of it.
pub(super) struct Order {
    seed: u64,
    samples: usize,
    batch: usize,
    shuffled: Option<(u64, Vec<u32>)>,
}

impl Order {
    /// `batch` is 1 to `samples`, and `samples` below 2^32.
    pub(super) fn new(seed: u64, samples: usize, batch: usize) -> Self {
        Self { seed, samples, batch, shuffled: None }
    }

    pub(super) fn batch_size(&self) -> usize {
        self.batch
    }

    pub(super) fn batches_per_epoch(&self) -> u64 {
        (self.samples / self.batch) as u64
    }

    /// What batch `number` holds, counted from 0 over all epochs.
    pub(super) fn draws(&mut self, number: u64) -> Vec<Draw> {
        let (epoch, start) = (number / self.batches_per_epoch(), number % self.batches_per_epoch());
        let start = start as usize * self.batch;
        let batch = self.batch;
        let samples = self.epoch(epoch);
        samples[start..start + batch].iter().map(|&sample| Draw { epoch, sample: sample as usize }).collect()
    }

    fn epoch(&mut self, epoch: u64) -> &[u32] {
        let (seed, samples) = (self.seed, self.samples as u32);
        let shuffle = |epoch| {
            let mut order: Vec<u32> = (0..samples).collect();
            order.shuffle(&mut generator(seed, epoch, u64::MAX));
            (epoch, order)
        };
        let fresh = self.shuffled.take().filter(|(of, _)| *of == epoch).unwrap_or_else(|| shuffle(epoch));
        &self.shuffled.insert(fresh).1
    }
}

/// The generator of one sample in one epoch; `u64::MAX` is no sample and shuffles the epoch.
/// The three numbers are the cipher's key, so no two of them share a stream.
pub(super) fn generator(seed: u64, epoch: u64, sample: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (part, number) in key.chunks_exact_mut(8).zip([seed, epoch, sample]) {
        part.copy_from_slice(&number.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_epoch_holds_each_sample_at_most_once_in_an_order_of_its_own() {
        let mut order = Order::new(7, 23, 5);
        assert_eq!(order.batches_per_epoch(), 4);
        let mut epoch = |number: u64| (0..4).flat_map(|b| order.draws(number * 4 + b)).collect::<Vec<_>>();
        let (first, second) = (epoch(0), epoch(1));
        for (number, draws) in [(0, &first), (1, &second)] {
            assert_eq!(draws.iter().map(|d| d.sample).collect::<HashSet<_>>().len(), 20);
            assert!(draws.iter().all(|d| d.epoch == number && d.sample < 23));
        }
        let samples = |draws: &[Draw]| draws.iter().map(|d| d.sample).collect::<Vec<_>>();
        assert_ne!(samples(&first), samples(&second));
        assert_eq!(epoch(0), first, "going back gives the same");
        assert_ne!(Order::new(8, 23, 5).draws(0), first[..5], "another seed");
    }
}
