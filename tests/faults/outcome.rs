//! What came of a fault, and figures over several.

use std::time::Duration;

/// One time that a fault happened.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// From the fault's end to the first correct mask at a subscriber; `None` where the masks never stopped being correct.
    pub recovery: Option<Duration>,
    /// From the first key frame that reached the daemon after the fault to the first correct mask, where a camera broke.
    pub from_key_frame: Option<Duration>,
    /// Frames that the camera made from the fault's start to the first correct mask, of which no masks came.
    pub lost: u64,
    /// Those of them that had reached the daemon: given up by it, by the books.
    pub dropped: u64,
    /// Milliseconds from decoder to subscriber, for each frame of the other cameras in calm before the fault...
    pub before: Vec<f64>,
    /// ...and from the fault's start to the recovery.
    pub during: Vec<f64>,
}

/// The value below which the share `q` (0..=1) of the values lies, by nearest rank; `None` of none.
pub fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

#[test]
fn quantiles_are_values_that_were_seen() {
    let values = [4.0, 1.0, 3.0, 2.0];
    assert_eq!(quantile(&values, 0.5), Some(2.0));
    assert_eq!((quantile(&values, 0.99), quantile(&values, 0.0)), (Some(4.0), Some(1.0)));
    assert_eq!(quantile(&[], 0.5), None);
}
