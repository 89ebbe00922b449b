//! What is said about a method: a score for each object, and the means over all of them.

use anyhow::{Result, ensure};
use serde::Serialize;

use super::Statistics;

/// The score of one object of one sequence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ObjectScore {
    /// The sequence.
    pub sequence: String,
    /// Its number in the official tables, from 1. The semi-supervised task: the object's label. The unsupervised one:
    /// the official evaluator numbers the pairs of object and proposal in the order of the proposals.
    pub object: u8,
    /// The label that was judged as this object in the results: the same in the semi-supervised task.
    pub proposal: u8,
    /// The object's label in the annotations.
    pub annotated: u8,
    /// Region similarity over the judged frames.
    pub j: Statistics,
    /// Contour accuracy over the judged frames.
    pub f: Statistics,
}

/// The scores of a whole dataset: the mean over its objects, not over its sequences.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Each object, in the order of sequences and labels.
    pub objects: Vec<ObjectScore>,
    /// Region similarity.
    pub j: Statistics,
    /// Contour accuracy.
    pub f: Statistics,
}

impl Report {
    /// The means over `objects`.
    ///
    /// # Errors
    /// No object.
    pub fn of(objects: Vec<ObjectScore>) -> Result<Self> {
        ensure!(!objects.is_empty(), "the first annotations hold no object: there is nothing to judge");
        let mean = |of: fn(&ObjectScore) -> Statistics| Statistics::mean(&objects.iter().map(of).collect::<Vec<_>>());
        Ok(Self { j: mean(|object| object.j), f: mean(|object| object.f), objects })
    }

    /// The figure that methods are ranked by.
    pub fn j_and_f(&self) -> f64 {
        (self.j.mean + self.f.mean) / 2.0
    }
}
