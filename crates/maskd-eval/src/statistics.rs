//! What is said about a metric over the frames of a sequence.

use serde::Serialize;

/// Mean, recall and decay of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Statistics {
    /// The mean.
    pub mean: f64,
    /// The share of values above 0.5.
    pub recall: f64,
    /// The mean of the first quarter less that of the last: positive where quality falls with time.
    pub decay: f64,
}

impl Statistics {
    /// The statistics of a value per frame (`db_statistics` in davis2017-evaluation, whose quarters
    /// are wrong from 257 frames on: they are right here). All NaN for no frame.
    pub fn of(values: &[f64]) -> Self {
        let recall = values.iter().filter(|value| **value > 0.5).count() as f64 / values.len() as f64;
        Self { mean: mean(values), recall, decay: mean(quarter(values, 0)) - mean(quarter(values, 3)) }
    }

    /// The mean of several objects' statistics, each for itself. All NaN for none.
    pub fn mean(all: &[Self]) -> Self {
        let of = |field: fn(&Self) -> f64| all.iter().map(field).sum::<f64>() / all.len() as f64;
        Self { mean: of(|s| s.mean), recall: of(|s| s.recall), decay: of(|s| s.decay) }
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// One of four quarters; neighbours share the frame between them.
fn quarter(values: &[f64], index: usize) -> &[f64] {
    let Some(last) = values.len().checked_sub(1) else { return values };
    // round(linspace(1, n, 5) + 1e-10) - 1: the summand takes halves upwards.
    let edge = |i: usize| ((1.0 + last as f64 * i as f64 / 4.0 + 1e-10).round_ties_even() - 1.0) as usize;
    &values[edge(index)..=edge(index + 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarters_share_their_edges_and_are_right_for_long_sequences() {
        let values: Vec<f64> = (0..300).map(f64::from).collect();
        let span = |i| (quarter(&values, i)[0], quarter(&values, i).last().copied().unwrap());
        assert_eq!([span(0), span(1), span(2), span(3)], [(0., 75.), (75., 150.), (150., 224.), (224., 299.)]);
        assert_eq!(quarter(&values[..18], 0).len(), 5);
        assert_eq!(Statistics::of(&values).decay, 37.5 - 261.5);
    }

    #[test]
    fn one_frame_has_no_decay_and_half_is_not_recalled() {
        assert_eq!(Statistics::of(&[0.5]), Statistics { mean: 0.5, recall: 0.0, decay: 0.0 });
        assert!(Statistics::of(&[]).mean.is_nan() && Statistics::of(&[]).decay.is_nan());
    }
}
