//! Stochastic depth (Huang et al. 2016), for the student only: what a block adds is left out for some images.

use maskd_model::Branches;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

/// Rates rise linearly from 0 in the first block to `rate` in the last, as in the paper's code.
#[derive(Clone, Copy, Debug)]
pub struct DropPath {
    /// Rate of the last block, 0 to below 1.
    pub rate: f64,
    /// Blocks.
    pub depth: usize,
}

impl DropPath {
    /// For each of `images` its factors, block by block, of attention and MLP: 0 with the block's rate, else
    /// 1 / (1 - rate), so that the expectation stays. Nothing where the rate is 0.
    pub fn draw(&self, images: usize, rng: &mut ChaCha8Rng) -> Option<Branches> {
        if self.rate == 0.0 {
            return None;
        }
        let mut factors = |rate: f64| -> Vec<f32> {
            let keep = 1.0 / (1.0 - rate);
            (0..images).map(|_| if rng.random::<f64>() < rate { 0.0 } else { keep as f32 }).collect()
        };
        let last = (self.depth.max(2) - 1) as f64;
        let rates = (0..self.depth).map(|block| self.rate * block as f64 / last);
        Some(rates.map(|rate| [factors(rate), factors(rate)]).collect())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn rates_rise_and_expectations_stay() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let drop = DropPath { rate: 0.4, depth: 3 };
        let factors = drop.draw(20_000, &mut rng).unwrap();
        for (pair, rate) in factors.iter().zip([0.0, 0.2, 0.4]) {
            for values in pair {
                let dropped = values.iter().filter(|x| **x == 0.0).count() as f64 / values.len() as f64;
                let mean = values.iter().sum::<f32>() / values.len() as f32;
                assert!((dropped - rate).abs() < 0.015 && (mean - 1.0).abs() < 0.03, "{dropped} {mean} {rate}");
            }
        }
        assert!(DropPath { rate: 0.0, depth: 3 }.draw(2, &mut rng).is_none());
    }
}
