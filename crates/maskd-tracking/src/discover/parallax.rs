//! What moves against the background while the camera moves too: motion from the features, without optical flow.
//!
//! Patches of two frames are matched by their features; one affine map, fitted so that outliers do not count, is what
//! the camera did; where the map predicts the wrong thing, something has a motion of its own.

use rayon::prelude::*;

use super::product;
use maskd_types::features::{Features, Grid};

/// How far a patch is looked for, as a share of the picture's long side.
const REACH: f32 = 1.0 / 6.0;
/// Rounds of the robust fit.
const ROUNDS: usize = 20;
/// Distance in patches at which a match counts half at last: about the grid's own accuracy.
const TIGHT: f32 = 0.5;
/// Weight of a match that does not lead back.
const ONE_WAY: f32 = 1e-3;

/// A match of one patch: where it came from, `(row, column)` with a fraction, and whether the match leads back.
#[derive(Clone, Copy, Debug)]
struct Match {
    at: [f32; 2],
    returns: bool,
}

/// For each patch, `1 - cosine` to the best of the nine patches of `before` where the camera's motion says that it was,
/// 0..2; 0 for what was out of the picture. `None` when the two do not compare.
///
/// Small for the background whatever the camera does, large for what moved on its own.
pub fn residual(now: &Features, before: &Features) -> Option<Vec<f32>> {
    let grid = now.grid;
    if !now.comparable(before) || !now.fits() || !before.fits() {
        return None;
    }
    let camera = camera(grid, &matches(now, before));
    let miss = (0..grid.len()).into_par_iter().map(|p| {
        let [row, col] = moved(grid, &camera, p);
        let (row, col) = (row.round(), col.round());
        if !(0.0..grid.rows as f32).contains(&row) || !(0.0..grid.cols as f32).contains(&col) {
            return 0.0;
        }
        let (row, col) = (row as usize, col as usize);
        let mut best = -1f32;
        for r in row.saturating_sub(1)..=(row + 1).min(grid.rows - 1) {
            for c in col.saturating_sub(1)..=(col + 1).min(grid.cols - 1) {
                let q = r * grid.cols + c;
                best = best.max(product::dot(now.patch(p), before.patch(q)));
            }
        }
        (1.0 - best).max(0.0)
    });
    Some(miss.collect())
}

/// The best match of each patch within reach.
fn matches(now: &Features, before: &Features) -> Vec<Match> {
    let (grid, dim) = (now.grid, now.dim);
    let cols = grid.cols;
    let reach = ((grid.rows.max(cols) as f32 * REACH) as usize).max(1);
    // One row of patches at a time against the rows that it can have come from.
    let rows: Vec<_> = (0..grid.rows)
        .into_par_iter()
        .map(|row| {
            let (top, bottom) = (row.saturating_sub(reach), (row + reach).min(grid.rows - 1));
            let width = (bottom + 1 - top) * cols;
            let alike = product::similarities(
                &now.tokens()[row * cols * dim..][..cols * dim],
                &before.tokens()[top * cols * dim..][..width * dim],
                dim,
            );
            let mut there = vec![(0usize, [0f32; 2]); cols];
            let mut back = vec![(f32::MIN, 0usize); width];
            for (col, alike) in alike.chunks_exact(width).enumerate() {
                let mut best = (f32::MIN, 0);
                for r in 0..=bottom - top {
                    for c in col.saturating_sub(reach)..=(col + reach).min(cols - 1) {
                        let (at, value) = (r * cols + c, alike[r * cols + c]);
                        if value > best.0 {
                            best = (value, at);
                        }
                        if value > back[at].0 {
                            back[at] = (value, row * cols + col);
                        }
                    }
                }
                let (r, c) = (best.1 / cols, best.1 % cols);
                let inner = |ok: bool, step: usize| if ok { peak(alike, best.1, step) } else { 0.0 };
                let dr = inner(r > 0 && r < bottom - top, cols);
                let dc = inner(c > 0 && c + 1 < cols, 1);
                there[col] = (top * cols + best.1, [(top + r) as f32 + dr, c as f32 + dc]);
            }
            (top * cols, there, back)
        })
        .collect();
    let mut back = vec![(f32::MIN, 0usize); grid.len()];
    for (first, _, part) in &rows {
        for (all, part) in back[*first..].iter_mut().zip(part) {
            if part.0 > all.0 {
                *all = *part;
            }
        }
    }
    let there = rows.iter().flat_map(|(_, there, _)| there);
    there
        .enumerate()
        .map(|(p, &(q, at))| {
            let home = back[q].1;
            let returns = (home / cols).abs_diff(p / cols) <= 1 && (home % cols).abs_diff(p % cols) <= 1;
            Match { at, returns }
        })
        .collect()
}

/// Where between its neighbours a maximum lies, by a parabola, -0.5..0.5.
fn peak(values: &[f32], at: usize, step: usize) -> f32 {
    let (low, middle, high) = (values[at - step], values[at], values[at + step]);
    let bend = high - 2.0 * middle + low;
    if bend < -1e-6 { (0.5 * (low - high) / bend).clamp(-0.5, 0.5) } else { 0.0 }
}

/// The affine displacement `[row | column] = theta^T (row, column, 1)` that most matches agree on: least squares with
/// Geman and McClure's weights, whose scale tightens from the median error.
fn camera(grid: Grid, matches: &[Match]) -> [[f32; 3]; 2] {
    let displacement = |p: usize| {
        let (row, col) = (p / grid.cols, p % grid.cols);
        [matches[p].at[0] - row as f32, matches[p].at[1] - col as f32]
    };
    let n = matches.len();
    let middle = |axis: usize| {
        let mut all: Vec<f32> = (0..n).map(|p| displacement(p)[axis]).collect();
        if all.is_empty() { 0.0 } else { *all.select_nth_unstable_by(n / 2, f32::total_cmp).1 }
    };
    let mut theta = [[0.0, 0.0, middle(0)], [0.0, 0.0, middle(1)]];
    let error = |theta: &[[f32; 3]; 2], p: usize| {
        let ([r, c], at) = (displacement(p), place(grid, p));
        (r - apply(&theta[0], at)).hypot(c - apply(&theta[1], at))
    };
    let mut errors: Vec<f32> = (0..n).map(|p| error(&theta, p)).collect();
    let mut scale =
        if n == 0 { 1.0 } else { (1.5 * *errors.clone().select_nth_unstable_by(n / 2, f32::total_cmp).1).max(1.0) };
    for _ in 0..ROUNDS {
        let mut normal = [[0f64; 3]; 3];
        let mut right = [[0f64; 3]; 2];
        for (p, error) in errors.iter().enumerate() {
            let trust = scale * scale / (scale * scale + error * error);
            let weight = f64::from(trust * trust * if matches[p].returns { 1.0 } else { ONE_WAY });
            let (at, d) = (place(grid, p), displacement(p));
            for i in 0..3 {
                for j in 0..3 {
                    normal[i][j] += weight * f64::from(at[i] * at[j]);
                }
                right[0][i] += weight * f64::from(at[i] * d[0]);
                right[1][i] += weight * f64::from(at[i] * d[1]);
            }
        }
        let (Some(rows), Some(cols)) = (solve(normal, right[0]), solve(normal, right[1])) else { break };
        theta = [rows, cols];
        errors = (0..n).map(|p| error(&theta, p)).collect();
        scale = (0.9 * scale).max(TIGHT);
    }
    theta
}

/// A patch's place for the fit, in picture lengths so that the equations are well conditioned.
fn place(grid: Grid, p: usize) -> [f32; 3] {
    let long = grid.rows.max(grid.cols) as f32;
    [(p / grid.cols) as f32 / long - 0.25, (p % grid.cols) as f32 / long - 0.25, 1.0]
}

fn apply(theta: &[f32; 3], at: [f32; 3]) -> f32 {
    theta[0] * at[0] + theta[1] * at[1] + theta[2] * at[2]
}

/// Where the camera's motion says that a patch was.
fn moved(grid: Grid, camera: &[[f32; 3]; 2], p: usize) -> [f32; 2] {
    let at = place(grid, p);
    [(p / grid.cols) as f32 + apply(&camera[0], at), (p % grid.cols) as f32 + apply(&camera[1], at)]
}

/// Solves a symmetric 3x3 system by Cramer's rule; `None` for a singular one.
fn solve(a: [[f64; 3]; 3], b: [f64; 3]) -> Option<[f32; 3]> {
    let determinant = |m: [[f64; 3]; 3]| {
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
            + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    };
    let whole = determinant(a);
    let mut x = [0f32; 3];
    for (k, x) in x.iter_mut().enumerate() {
        let mut m = a;
        for i in 0..3 {
            m[i][k] = b[i];
        }
        *x = (determinant(m) / whole) as f32;
    }
    (whole.abs() > 1e-9 && x.iter().all(|x| x.is_finite())).then_some(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::{
        region,
        synthetic::{Thing, field},
    };

    const GRID: Grid = Grid { rows: 16, cols: 24 };

    #[test]
    fn what_moves_against_a_moving_camera_stands_out() {
        // The background moves two patches to the left, the thing one to the right.
        let thing = |t: i32| Thing::new(5, (6, 8 + t), (4, 4));
        let before = field(GRID, 0, 0, &[thing(0)], 0);
        let now = field(GRID, 0, 2, &[thing(1)], 1);
        let miss = residual(&now, &before).unwrap();
        let (held, hidden) = (thing(1).patches(GRID), thing(0).patches(GRID));
        for p in 0..GRID.len() {
            // What came into the picture on the right was not there before, nor was what the thing hid.
            let there = p % GRID.cols < GRID.cols - 2 && !hidden[p + 2];
            if !held[p] && there {
                assert!(miss[p] < 0.05, "{p}: {}", miss[p]);
            }
        }
        let mean = (0..held.len()).filter(|&p| held[p]).map(|p| miss[p]).sum::<f32>() / region::count(&held) as f32;
        assert!(mean > 0.1, "{mean}");
        let still = residual(&before, &before).unwrap();
        assert!(still.iter().all(|&m| m < 1e-5));
    }

    #[test]
    fn frames_that_do_not_compare_say_nothing() {
        let a = field(GRID, 0, 0, &[], 0);
        assert!(residual(&a, &field(Grid { rows: 8, cols: 8 }, 0, 0, &[], 0)).is_none());
        for (rows, cols) in [(1, 1), (1, 3), (2, 2)] {
            let tiny = field(Grid { rows, cols }, 0, 0, &[], 0);
            assert_eq!(residual(&tiny, &tiny).unwrap().len(), rows * cols);
        }
    }

    #[test]
    fn the_camera_is_the_affine_map_that_most_agree_on() {
        let matches: Vec<Match> = (0..GRID.len())
            .map(|p| {
                let (row, col) = ((p / GRID.cols) as f32, (p % GRID.cols) as f32);
                // A third of the picture goes its own way.
                let own = if p % 3 == 0 { 5.0 } else { 0.0 };
                Match { at: [row * 1.1 - 2.0 + own, col * 0.9 + 0.1 * row + 1.0], returns: true }
            })
            .collect();
        let camera = camera(GRID, &matches);
        for p in (0..GRID.len()).filter(|p| p % 3 != 0) {
            let [row, col] = moved(GRID, &camera, p);
            assert!((row - matches[p].at[0]).abs() < 0.2 && (col - matches[p].at[1]).abs() < 0.2, "{p}");
        }
    }
}
