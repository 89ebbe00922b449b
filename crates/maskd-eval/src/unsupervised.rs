//! The unsupervised task: a method proposes up to 20 objects of its own, and the best assignment of proposals to
//! annotated objects is judged, in all frames (`DAVISEvaluation` with `task="unsupervised"` in davis2017-evaluation).

use std::path::Path;

use anyhow::{Result, ensure};
use rayon::prelude::*;

use super::{Dataset, ObjectScore, Report, Sequence, Shape, Statistics, matching::matching};
use maskd_types::mask::LabelMap;

/// The most proposals that a method may make for a sequence.
pub const MAX_PROPOSALS: u8 = 20;

/// Which proposals are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proposals {
    /// All of them, as the official evaluator does.
    All,
    /// Label 1 alone: the most salient one, where `maskd eval` wrote the masks.
    First,
}

/// Judges the PNGs in `results/SEQUENCE/`, named as the annotations are. `judged` is called after each frame.
///
/// # Errors
/// A file that is missing, is not an indexed PNG, has another size than its annotation or a label above
/// [`MAX_PROPOSALS`]; a sequence without annotations; a dataset without objects.
pub fn unsupervised(
    dataset: &Dataset,
    results: &Path,
    proposals: Proposals,
    judged: &(dyn Fn() + Sync),
) -> Result<Report> {
    let judge = |sequence| judge(sequence, results, proposals, judged);
    let objects: Vec<Vec<ObjectScore>> = dataset.sequences.par_iter().map(judge).collect::<Result<_>>()?;
    Report::of(objects.concat())
}

/// One frame: the highest label, and J and F of each proposal as each object, `(proposals, objects)`.
struct Scores {
    most: u8,
    table: Vec<Vec<(f64, f64)>>,
}

fn judge(
    sequence: &Sequence,
    results: &Path,
    proposals: Proposals,
    judged: &(dyn Fn() + Sync),
) -> Result<Vec<ObjectScore>> {
    let frames = sequence.annotations.len();
    ensure!(frames > 0, "sequence {}: it has no annotations", sequence.name);
    let objects = sequence.annotation(0)?.labels.into_iter().fold(0, u8::max);
    let allowed = if proposals == Proposals::First { 1 } else { MAX_PROPOSALS };
    let frames: Vec<Scores> = (0..frames)
        .into_par_iter()
        .map(|index| {
            let truth = sequence.annotation_with_void(index)?;
            let result = sequence.result(results, index, truth.size)?;
            let most = result.labels.iter().fold(0, |most, label| most.max(*label));
            let path = sequence.result_path(results, index);
            ensure!(
                most <= MAX_PROPOSALS,
                "{}: it has label {most}, but {MAX_PROPOSALS} proposals are the most",
                path.display()
            );
            let table = compare(&result, &truth, allowed, objects);
            judged();
            Ok(Scores { most: most.min(allowed), table })
        })
        .collect::<Result<_>>()?;

    // Where there are fewer proposals than objects, empty ones make up for them.
    let count = frames.iter().map(|frame| frame.most).fold(objects, u8::max);
    let over_frames = |proposal: usize, object: usize, of: fn(&(f64, f64)) -> f64| -> Vec<f64> {
        // A label beyond those that were compared is in no frame: it is as good as any that is in none.
        let proposal = proposal.min(usize::from(allowed));
        frames.iter().map(|frame| of(&frame.table[proposal][object])).collect()
    };
    let statistics = |proposal, object| {
        (
            Statistics::of(&over_frames(proposal, object, |score| score.0)),
            Statistics::of(&over_frames(proposal, object, |score| score.1)),
        )
    };
    let table: Vec<Vec<(Statistics, Statistics)>> = (0..usize::from(objects))
        .map(|object| (0..usize::from(count)).map(|proposal| statistics(proposal, object)).collect())
        .collect();
    let gain = |(j, f): &(Statistics, Statistics)| (j.mean + f.mean) / 2.0;
    let gains: Vec<Vec<f64>> = table.iter().map(|row| row.iter().map(gain).collect()).collect();
    let mut pairs: Vec<(usize, usize)> =
        assign(&gains).into_iter().enumerate().map(|(object, proposal)| (proposal, object)).collect();
    pairs.sort_unstable();
    let score = |(number, (proposal, object)): (u8, (usize, usize))| ObjectScore {
        sequence: sequence.name.clone(),
        object: number,
        proposal: proposal as u8 + 1,
        annotated: object as u8 + 1,
        j: table[object][proposal].0,
        f: table[object][proposal].1,
    };
    Ok((1..).zip(pairs).map(score).collect())
}

/// J and F of proposals `1..=proposals` and, last, of an empty one, each as objects `1..=objects`.
fn compare(result: &LabelMap, truth: &LabelMap, proposals: u8, objects: u8) -> Vec<Vec<(f64, f64)>> {
    let empty = Shape::empty(truth.size);
    let wanted = Shape::split(truth, usize::from(objects), Some(truth));
    let row = |found: &Shape| -> Vec<(f64, f64)> {
        let score = |wanted: &Option<Shape>| {
            let wanted = wanted.as_ref().unwrap_or(&empty);
            (found.region(wanted), found.contour(wanted))
        };
        wanted.iter().map(score).collect()
    };
    let nothing = row(&empty);
    let found = Shape::split(result, usize::from(proposals), Some(truth));
    found.iter().map(|found| found.as_ref().map_or_else(|| nothing.clone(), row)).chain([nothing.clone()]).collect()
}

/// For each row of `gains`, its column, so that no two share one and the sum of their gains is greatest. At least as
/// many columns as rows; gains are 0..=1.
fn assign(gains: &[Vec<f64>]) -> Vec<usize> {
    // 2^-40 apart, gains are whole numbers.
    let whole = |row: usize, column: usize| (gains[row][column] * (1_u64 << 40) as f64).round() as i64;
    let columns = gains.first().map_or(0, Vec::len);
    matching(gains.len(), columns, whole).into_iter().map(|(_, column)| column).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The greatest sum by trying everything.
    fn best(gains: &[Vec<f64>], taken: u32) -> f64 {
        let Some((row, rest)) = gains.split_first() else { return 0.0 };
        let free = (0..row.len()).filter(|c| taken >> c & 1 == 0);
        free.map(|c| row[c] + best(rest, taken | 1 << c)).fold(f64::NEG_INFINITY, f64::max)
    }

    proptest! {
        #[test]
        fn the_assignment_is_the_best(
            rows in 1usize..5, more in 0usize..4, values in proptest::collection::vec(0.0f64..=1.0, 64), coarse: bool,
        ) {
            let value = |v: f64| if coarse { (v * 3.0).round() / 3.0 } else { v };
            let gains: Vec<Vec<f64>> =
                (0..rows).map(|r| (0..rows + more).map(|c| value(values[r * 8 + c])).collect()).collect();
            let columns = assign(&gains);
            let mut distinct = columns.clone();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(distinct.len(), rows);
            let sum: f64 = columns.iter().zip(&gains).map(|(c, row)| row[*c]).sum();
            prop_assert!((sum - best(&gains, 0)).abs() < 1e-10, "{sum} {gains:?} {columns:?}");
        }
    }

    #[test]
    fn nothing_to_assign_is_no_assignment() {
        assert!(assign(&[]).is_empty());
    }
}
