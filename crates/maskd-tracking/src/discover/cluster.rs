//! Groups of patches in the spectral embedding: k-means on its rows (Ng, Jordan and Weiss 2002), without chance.

use maskd_types::features::Grid;

use super::region::{self, Connect};

/// Rounds of k-means; it hardly moves after ten.
const ROUNDS: usize = 15;

/// The connected groups of at least `least` patches, for each number of clusters in `ways`; `vectors` are those of
/// [`super::eigen::leading_vectors`], patches outside `active` are in no group. Groups of different `ways` overlap.
pub fn groups(grid: Grid, vectors: &[Vec<f64>], active: &[bool], ways: &[usize], least: usize) -> Vec<Vec<bool>> {
    let mut found = Vec::new();
    for &k in ways.iter().filter(|&&k| k <= vectors.len()) {
        let rows = embedding(&vectors[..k], active);
        let labels = k_means(&rows, active, k);
        for cluster in 0..k {
            let set: Vec<bool> = labels.iter().zip(active).map(|(&l, &a)| a && l == cluster).collect();
            found.extend(
                region::components(grid, &set, Connect::Four).into_iter().filter(|p| region::count(p) >= least),
            );
        }
    }
    found
}

/// One unit row per patch.
fn embedding(vectors: &[Vec<f64>], active: &[bool]) -> Vec<Vec<f64>> {
    (0..active.len())
        .map(|p| {
            let mut row: Vec<f64> = vectors.iter().map(|v| v.get(p).copied().unwrap_or(0.0)).collect();
            let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
            if length > 0.0 {
                row.iter_mut().for_each(|x| *x /= length);
            }
            row
        })
        .collect()
}

/// The cluster of each row. Starts from rows far from each other: the first is the farthest from the mean.
fn k_means(rows: &[Vec<f64>], active: &[bool], k: usize) -> Vec<usize> {
    let members: Vec<usize> = (0..rows.len()).filter(|&p| active[p]).collect();
    let mut labels = vec![0; rows.len()];
    let Some(mean) = mean_of(rows, &members, k) else { return labels };
    let mut nearest: Vec<f64> = rows.iter().map(|row| distance(row, &mean)).collect();
    let mut centres: Vec<Vec<f64>> = Vec::new();
    while centres.len() < k {
        let Some(&far) = members.iter().max_by(|&&a, &&b| nearest[a].total_cmp(&nearest[b])) else { break };
        let centre = rows[far].clone();
        for (p, row) in rows.iter().enumerate() {
            let d = distance(row, &centre);
            nearest[p] = if centres.is_empty() { d } else { d.min(nearest[p]) };
        }
        centres.push(centre);
    }
    for _ in 0..ROUNDS {
        let mut moved = false;
        for &p in &members {
            let closest =
                |&a: &usize, &b: &usize| distance(&rows[p], &centres[a]).total_cmp(&distance(&rows[p], &centres[b]));
            let label = (0..centres.len()).min_by(closest).unwrap_or(0);
            moved |= label != labels[p];
            labels[p] = label;
        }
        if !moved {
            break;
        }
        for (c, centre) in centres.iter_mut().enumerate() {
            let held: Vec<usize> = members.iter().copied().filter(|&p| labels[p] == c).collect();
            if let Some(mean) = mean_of(rows, &held, k) {
                *centre = mean;
            }
        }
    }
    labels
}

fn mean_of(rows: &[Vec<f64>], members: &[usize], dim: usize) -> Option<Vec<f64>> {
    let mut sum = vec![0.0; dim];
    for &p in members {
        sum.iter_mut().zip(&rows[p]).for_each(|(s, x)| *s += x);
    }
    sum.iter_mut().for_each(|s| *s /= members.len() as f64);
    (!members.is_empty()).then_some(sum)
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_become_groups_and_pieces_that_do_not_touch_come_apart() {
        let grid = Grid { rows: 2, cols: 6 };
        // Two directions; the first lies at both ends.
        let first = |p: usize| matches!(p % 6, 0 | 5);
        let axis = |k: usize| (0..12).map(|p| if (k == 0) == first(p) { 0.5 + p as f64 } else { 0.01 }).collect();
        let vectors: Vec<Vec<f64>> = vec![axis(0), axis(1)];
        let mut active = vec![true; 12];
        active[11] = false;
        let found = groups(grid, &vectors, &active, &[2, 3], 1);
        let sizes = |found: &[Vec<bool>]| found.iter().map(|g| region::count(g)).collect::<Vec<_>>();
        let mut got = sizes(&found);
        got.sort_unstable();
        assert_eq!(got, [1, 2, 8], "three ways want three vectors");
        assert_eq!(sizes(&groups(grid, &vectors, &active, &[2], 2)).iter().sum::<usize>(), 10);
        assert!(groups(grid, &vectors, &[false; 12], &[2], 1).is_empty());
    }
}
