//! What repeated measurements come to.

use serde::{Deserialize, Serialize};

/// Median, least, and the middle half of some measurements.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    /// Lower and upper quartile.
    pub quartiles: (f64, f64),
}

impl Spread {
    /// All zero of nothing. Between two measurements it is interpolated.
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * sorted.len().saturating_sub(1) as f64;
            let (low, high) = (place.floor() as usize, place.ceil() as usize);
            match (sorted.get(low), sorted.get(high)) {
                (Some(a), Some(b)) => a + (b - a) * place.fract(),
                _ => 0.0,
            }
        };
        Self { median: at(0.5), min: at(0.0), quartiles: (at(0.25), at(0.75)) }
    }

    /// The middle half's width, in per cent of the median.
    pub fn percent(&self) -> f64 {
        100.0 * (self.quartiles.1 - self.quartiles.0) / self.median.max(f64::MIN_POSITIVE)
    }
}
