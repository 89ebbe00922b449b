//! The semi-supervised task: objects are given in the first frame, and every other frame but the
//! last is judged (`DAVISEvaluation` with `task="semi-supervised"` in davis2017-evaluation).

use std::path::Path;

use anyhow::{Context, Result, ensure};
use rayon::prelude::*;

use super::{Dataset, ObjectScore, Report, Sequence, Shape, Statistics};
use maskd_types::mask::LabelMap;

/// Judges the PNGs in `results/SEQUENCE/`, named as the annotations are. `judged` is called after each frame.
///
/// # Errors
/// A file that is missing, is not an indexed PNG, has another size than its annotation, or names an object
/// that the first annotation lacks; a sequence of fewer than three annotations; a dataset without objects.
pub fn semi_supervised(dataset: &Dataset, results: &Path, judged: &(dyn Fn() + Sync)) -> Result<Report> {
    let objects: Vec<Vec<ObjectScore>> =
        dataset.sequences.par_iter().map(|sequence| judge(sequence, results, judged)).collect::<Result<_>>()?;
    Report::of(objects.concat())
}

/// J and F of each of `count` objects (labels `1..=count`) in one frame; an object that is missing
/// from `prediction` is scored as empty.
///
/// # Errors
/// Maps of different sizes, and a prediction with a label above `count`.
pub fn objects(prediction: &LabelMap, truth: &LabelMap, count: u8) -> Result<Vec<(f64, f64)>> {
    let size = truth.size;
    ensure!(prediction.size == size, "the prediction is {} pixels, the annotation {size}", prediction.size);
    let most = prediction.labels.iter().fold(0, |most, label| most.max(*label));
    ensure!(most <= count, "the prediction has label {most}, but the first annotation has {count} objects");
    let count = usize::from(count);
    let pairs = Shape::split(prediction, count, None).into_iter().zip(Shape::split(truth, count, None));
    let empty = Shape::empty(size);
    let score = |(found, wanted): (Option<Shape>, Option<Shape>)| {
        let (found, wanted) = (found.as_ref().unwrap_or(&empty), wanted.as_ref().unwrap_or(&empty));
        (found.region(wanted), found.contour(wanted))
    };
    Ok(pairs.map(score).collect())
}

fn judge(sequence: &Sequence, results: &Path, judged: &(dyn Fn() + Sync)) -> Result<Vec<ObjectScore>> {
    let frames = sequence.annotations.len();
    ensure!(frames >= 3, "sequence {}: {frames} annotations, at least 3 are needed", sequence.name);
    let count = sequence.annotation(0)?.labels.into_iter().fold(0, u8::max);
    // (frames, objects)
    let scores: Vec<Vec<(f64, f64)>> = (1..frames - 1)
        .into_par_iter()
        .map(|index| {
            let truth = sequence.annotation(index)?;
            // Void is no label of a prediction: 255 is an error like any other unknown object.
            let result = sequence.result(results, index, truth.size)?;
            let scores = objects(&result, &truth, count);
            judged();
            scores.with_context(|| sequence.result_path(results, index).display().to_string())
        })
        .collect::<Result<_>>()?;
    let over_frames = |object: u8, of: fn(&(f64, f64)) -> f64| {
        Statistics::of(&scores.iter().map(|frame| of(&frame[usize::from(object) - 1])).collect::<Vec<_>>())
    };
    let score = |object: u8| ObjectScore {
        sequence: sequence.name.clone(),
        object,
        proposal: object,
        annotated: object,
        j: over_frames(object, |score| score.0),
        f: over_frames(object, |score| score.1),
    };
    Ok((1..=count).map(score).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use maskd_types::frame::Size;

    #[test]
    fn a_missing_object_is_empty_and_an_unknown_one_is_refused() {
        let truth = LabelMap { size: Size::new(3, 1), labels: vec![0, 1, 2] };
        let one = LabelMap { size: Size::new(3, 1), labels: vec![0, 1, 1] };
        let scores = objects(&one, &truth, 2).unwrap();
        assert_eq!((scores[0].0, scores[1].0), (0.5, 0.0));
        assert_eq!(objects(&truth, &truth, 2).unwrap(), [(1.0, 1.0); 2]);
        assert!(objects(&truth, &truth, 1).unwrap_err().to_string().contains("label 2"));
        let other = LabelMap::new(Size::new(1, 3));
        assert!(objects(&other, &truth, 2).unwrap_err().to_string().contains("1x3"));
    }
}
