//! The one-to-one matching of labels with the greatest total weight.

use super::Label;
use crate::matching::matching;

/// Weights are compared in steps of this fraction.
const STEPS: f64 = (1_u64 << 32) as f64;

/// Pairs each label of the shorter list with one of the other, so that the sum of `weight` (0 to a million) is greatest.
pub fn assignment(truths: &[Label], found: &[Label], weight: impl Fn(Label, Label) -> f64) -> Vec<(Label, Label)> {
    let steps = |t: usize, f: usize| (weight(truths[t], found[f]) * STEPS).round() as i64;
    matching(truths.len(), found.len(), steps).into_iter().map(|(t, f)| (truths[t], found[f])).collect()
}
