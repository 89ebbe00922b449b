//! Labels that were carried into a frame, corrected by what the instances look like.

use crate::{
    discover::region,
    refine::{Cells, mean},
};
use maskd_types::{features::Grid, mask::SoftLabels};

// Chosen with the constants of the target model, on the same sequences.

/// Scores and labels are taken as probabilities no nearer than this to 0 and 1.
const BOUND: f32 = 0.05;
/// Log-odds by which a score may differ from a label without changing it: at the rim of a thing the model is less exact
/// than labels are.
const TOLERANCE: f32 = 1.0;
/// An instance gains patches at most this far from those that it holds: what looks like it elsewhere is something else.
const REACH: usize = 2;
/// A change of less is none.
const LEAST: f32 = 1e-3;
/// Added to each label of a cell, so that one that is 0 can grow again.
const FLOOR: f32 = 0.02;

/// Moves the labels `soft` `(N, K)`, and those of their cells, towards `scores` `(N, K)` where these differ much.
pub fn correct(soft: &mut SoftLabels, cells: &mut Cells, scores: &SoftLabels, grid: Grid) {
    let channels = soft.channels;
    if scores.channels != channels || scores.values.len() != soft.values.len() {
        return;
    }
    let reach: Vec<Vec<bool>> = (1..channels)
        .map(|channel| {
            let held: Vec<bool> = soft.values.chunks_exact(channels).map(|row| row[channel] > 0.5).collect();
            region::dilate(grid, &held, REACH)
        })
        .collect();
    for (patch, score) in scores.values.chunks_exact(channels).enumerate() {
        let row = &mut soft.values[patch * channels..][..channels];
        let reaches = |channel: usize| channel == 0 || reach[channel - 1][patch];
        let Some(corrected) = corrected(row, score, reaches) else { continue };
        match cells.of_patch(patch).map(<[f32]>::to_vec) {
            None => row.copy_from_slice(&corrected),
            Some(mut own) => {
                let gain: Vec<f32> =
                    corrected.iter().zip(&*row).map(|(new, old)| (new + LEAST) / (old + LEAST)).collect();
                for cell in own.chunks_exact_mut(channels) {
                    cell.iter_mut().zip(&gain).for_each(|(share, gain)| *share = (*share + FLOOR) * gain);
                    normalise(cell);
                }
                row.copy_from_slice(&mean(&own, channels));
                cells.put(patch, &own);
            }
        }
    }
}

/// A patch's labels with what its scores say; `None` where that changes nothing.
fn corrected(row: &[f32], score: &[f32], reaches: impl Fn(usize) -> bool) -> Option<Vec<f32>> {
    let log_odds = |share: f32| {
        let share = share.clamp(BOUND, 1.0 - BOUND);
        (share / (1.0 - share)).ln()
    };
    let one = |(channel, (&share, &score)): (usize, (&f32, &f32))| {
        let (here, there) = (log_odds(share), log_odds(score));
        let change = (there - here).signum() * ((there - here).abs() - TOLERANCE).max(0.0);
        if change == 0.0 || change > 0.0 && !reaches(channel) { share } else { 1.0 / (1.0 + (-(here + change)).exp()) }
    };
    let mut new: Vec<f32> = row.iter().zip(score).enumerate().map(one).collect();
    normalise(&mut new);
    let changed = new.iter().zip(row).any(|(new, old)| (new - old).abs() >= LEAST);
    (changed && new.iter().all(|share| share.is_finite())).then_some(new)
}

fn normalise(row: &mut [f32]) {
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|share| *share /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid = Grid { rows: 1, cols: 9 };

    /// One instance that holds the first `held` patches but `hole`.
    fn labels(held: usize, hole: usize) -> SoftLabels {
        let row = |patch: usize| if patch < held && patch != hole { [0.0, 1.0] } else { [1.0, 0.0] };
        SoftLabels { channels: 2, values: (0..GRID.len()).flat_map(row).collect() }
    }

    fn corrected_by(score: impl Fn(usize) -> f32, cells: &mut Cells) -> Vec<f32> {
        let mut soft = labels(3, 1);
        let values = (0..GRID.len()).flat_map(|patch| [1.0 - score(patch), score(patch)]).collect();
        correct(&mut soft, cells, &SoftLabels { channels: 2, values }, GRID);
        soft.values.iter().skip(1).step_by(2).copied().collect()
    }

    #[test]
    fn a_hole_is_filled_and_a_likeness_far_away_is_not() {
        let mut cells = Cells::new(GRID.len(), 2, 2);
        cells.put(1, &[1.0, 0.0].repeat(4));
        let now = corrected_by(|patch| if matches!(patch, 0..=2 | 8) { 0.9 } else { 0.05 }, &mut cells);
        assert!(now[1] > 0.5, "the hole stays: {now:?}");
        assert!(cells.of_patch(1).is_some_and(|cells| cells.iter().skip(1).step_by(2).all(|share| *share > 0.5)));
        assert_eq!(now[8], 0.0, "what looks like it elsewhere");
        assert_eq!((now[0], now[2]), (1.0, 1.0));
    }

    #[test]
    fn what_does_not_look_like_it_is_let_go_and_small_differences_change_nothing() {
        let mut cells = Cells::new(GRID.len(), 2, 2);
        let now =
            corrected_by(|patch| if patch == 0 { 0.0 } else { f32::from(u8::from(patch == 2)) * 0.9 }, &mut cells);
        assert!(now[0] < 0.5, "{now:?}");
        let same = corrected_by(|patch| if patch == 0 || patch == 2 { 0.88 } else { 0.12 }, &mut cells);
        assert_eq!(same, [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        // Scores of another set of instances.
        let (mut soft, other) = (labels(3, 1), SoftLabels { channels: 3, values: vec![0.3; 27] });
        correct(&mut soft, &mut cells, &other, GRID);
        assert_eq!(soft, labels(3, 1));
    }
}
