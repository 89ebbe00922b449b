//! The one-to-one matching of greatest total weight.

use pathfinding::prelude::{Matrix, kuhn_munkres};

use super::Label;

/// Weights are compared in steps of this fraction: the solver wants a total order, which floats lack.
const STEPS: f64 = (1_u64 << 32) as f64;

/// Pairs each label of the shorter list with one of the other, so that the sum of `weight` (0 to a million) is greatest.
pub fn assignment(truths: &[Label], found: &[Label], weight: impl Fn(Label, Label) -> f64) -> Vec<(Label, Label)> {
    if truths.is_empty() || found.is_empty() {
        return Vec::new();
    }
    let steps = |t: Label, f: Label| (weight(t, f) * STEPS).round() as i64;
    if truths.len() <= found.len() {
        let weights = Matrix::from_fn(truths.len(), found.len(), |(t, f)| steps(truths[t], found[f]));
        let (_, columns) = kuhn_munkres(&weights);
        truths.iter().zip(columns).map(|(&t, f)| (t, found[f])).collect()
    } else {
        let weights = Matrix::from_fn(found.len(), truths.len(), |(f, t)| steps(truths[t], found[f]));
        let (_, columns) = kuhn_munkres(&weights);
        found.iter().zip(columns).map(|(&f, t)| (truths[t], f)).collect()
    }
}
