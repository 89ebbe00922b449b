//! Masks of a whole set, judged.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use rayon::prelude::*;
use serde::Serialize;

use super::{
    Sequence,
    figures::{Figures, Identities},
    identities::Names,
    labels::Labels,
    score::Score,
    truth::{Region, Truth},
};
use crate::Job as _;

/// The figures of one sequence.
#[derive(Clone, Debug, Serialize)]
pub struct SequenceFigures {
    /// The sequence.
    pub name: String,
    /// Frames that were judged.
    pub judged: usize,
    /// What was found.
    pub figures: Figures,
    /// Under which names; none where the set does not say which thing is which.
    pub identities: Option<Identities>,
}

/// Judges the masks in `results`, `SEQUENCE/FRAME.png`: indexed PNGs, or grey ones of up to 16 bits; 0 is scene, other
/// values are instances. `judged` is called after each frame.
///
/// # Errors
/// A file that is missing, cannot be read, or is of another size than its truth: the error names it.
pub fn judge(sequences: &[Sequence], results: &Path, judged: &(dyn Fn() + Sync)) -> Result<Vec<SequenceFigures>> {
    sequences.par_iter().map(|sequence| judge_one(sequence, results, judged)).collect()
}

fn judge_one(sequence: &Sequence, results: &Path, judged: &(dyn Fn() + Sync)) -> Result<SequenceFigures> {
    let region = sequence.region.as_deref().map(Region::read).transpose()?;
    let (mut score, mut names) = (Score::default(), Names::default());
    for (index, shot) in sequence.judged() {
        let Some(path) = &shot.truth else { continue };
        let mut truth = Truth::read(path)?;
        if let Some(region) = &region {
            truth.within(region)?;
        }
        let path = sequence.result_path(results, index);
        ensure!(path.is_file(), "{}: missing, the results are not complete", path.display());
        let found = Labels::read(&path)?;
        let (size, expected) = (found.size, truth.size);
        ensure!(size == expected, "{}: it is {size}, the truth is {expected}", path.display());
        if let Some(path) = &shot.identities {
            names.add(path, &truth, &found).with_context(|| format!("sequence {}", sequence.name))?;
        }
        score.add(&truth, &found);
        judged();
    }
    Ok(SequenceFigures {
        name: sequence.name.clone(),
        judged: score.frames(),
        figures: score.figures(),
        identities: names.figures(),
    })
}
