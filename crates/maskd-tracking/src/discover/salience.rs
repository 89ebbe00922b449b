//! How much a group of patches looks like an object: it differs from what surrounds it, keeps off the picture's edge,
//! comes out whichever way the picture is cut, and moves against the background.

use super::region;
use maskd_types::features::Grid;

/// How far its surroundings reach, in patches.
const RING: usize = 2;

/// How far the mean look of `set` is closer to its own patches than to those around it, 0..1: the difference of mean
/// cosines. `values` are L2-normalised `(N, dim)`.
pub fn contrast(grid: Grid, values: &[f32], set: &[bool]) -> f32 {
    let dim = values.len() / grid.len().max(1);
    let mut around = region::dilate(grid, set, RING);
    region::subtract(&mut around, set);
    let (Some(inside), Some(outside)) = (mean(values, dim, set), mean(values, dim, &around)) else { return 0.0 };
    let length = super::product::dot(&inside, &inside).sqrt();
    if length == 0.0 {
        return 0.0;
    }
    (length - super::product::dot(&inside, &outside) / length).clamp(0.0, 1.0)
}

/// The share of the outline of `set` that is the picture's edge, 0..1.
pub fn edge_contact(grid: Grid, set: &[bool]) -> f32 {
    let (mut outline, mut edge) = (0, 0);
    for p in (0..set.len()).filter(|&p| set[p]) {
        let (row, col) = (p / grid.cols, p % grid.cols);
        let at_edge = row == 0 || col == 0 || row + 1 == grid.rows || col + 1 == grid.cols;
        let mut whole = !at_edge;
        region::neighbours(grid, p, region::Connect::Four, |q| whole &= set[q]);
        outline += usize::from(!whole);
        edge += usize::from(at_edge);
    }
    edge as f32 / outline.max(1) as f32
}

/// The mean of `residual` in `set`, in units of its mean over the picture; 1 where nothing is known.
pub fn own_motion(residual: &[f32], set: &[bool]) -> f32 {
    let whole = residual.iter().sum::<f32>() / residual.len().max(1) as f32;
    let area = region::count(set);
    if residual.len() != set.len() || whole <= 1e-6 || area == 0 {
        return 1.0;
    }
    let sum: f32 = residual.iter().zip(set).filter(|(_, held)| **held).map(|(r, _)| r).sum();
    sum / area as f32 / whole
}

/// For each of the sets, the sum over all sets of the squared overlap (IoU): how often it comes out, itself included.
pub fn recurrence(sets: &[Vec<bool>]) -> Vec<f32> {
    let packed: Vec<Vec<u64>> = sets.iter().map(|set| pack(set)).collect();
    let size: Vec<u32> = packed.iter().map(|set| set.iter().map(|w| w.count_ones()).sum()).collect();
    let squared = |i: usize, j: usize| {
        let both: u32 = packed[i].iter().zip(&packed[j]).map(|(a, b)| (a & b).count_ones()).sum();
        (both as f32 / (size[i] + size[j] - both).max(1) as f32).powi(2)
    };
    (0..sets.len()).map(|i| (0..sets.len()).map(|j| squared(i, j)).sum()).collect()
}

fn pack(set: &[bool]) -> Vec<u64> {
    set.chunks(64).map(|chunk| chunk.iter().enumerate().fold(0, |w, (i, &x)| w | u64::from(x) << i)).collect()
}

fn mean(values: &[f32], dim: usize, set: &[bool]) -> Option<Vec<f32>> {
    let mut sum = vec![0f32; dim];
    for (x, _) in values.chunks_exact(dim.max(1)).zip(set).filter(|(_, held)| **held) {
        sum.iter_mut().zip(x).for_each(|(s, x)| *s += x);
    }
    let n = region::count(set);
    sum.iter_mut().for_each(|s| *s /= n as f32);
    (n > 0 && dim > 0).then_some(sum)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GRID: Grid = Grid { rows: 6, cols: 7 };

    fn block(rows: std::ops::Range<usize>, cols: std::ops::Range<usize>) -> Vec<bool> {
        (0..GRID.len()).map(|p| rows.contains(&(p / GRID.cols)) && cols.contains(&(p % GRID.cols))).collect()
    }

    #[test]
    fn an_object_contrasts_keeps_off_the_edge_and_moves() {
        let (inner, corner) = (block(2..4, 2..5), block(0..3, 0..3));
        let look = |p: usize| if inner[p] { [1.0, 0.0] } else { [0.0, 1.0] };
        let values: Vec<f32> = (0..GRID.len()).flat_map(look).collect();
        assert!((contrast(GRID, &values, &inner) - 1.0).abs() < 1e-6);
        assert!(contrast(GRID, &values, &corner) < 0.3);
        assert_eq!(contrast(GRID, &values, &vec![true; GRID.len()]), 0.0);
        assert_eq!(edge_contact(GRID, &inner), 0.0);
        // Five of the eight patches of the outline lie on the edge.
        assert!((edge_contact(GRID, &corner) - 5.0 / 8.0).abs() < 1e-6);
        let residual: Vec<f32> = inner.iter().map(|&x| f32::from(u8::from(x))).collect();
        assert!((own_motion(&residual, &inner) - 7.0).abs() < 1e-4);
        assert_eq!((own_motion(&[], &inner), own_motion(&vec![0.0; GRID.len()], &inner)), (1.0, 1.0));
    }

    proptest! {
        #[test]
        fn recurrence_is_the_sum_of_squared_ious(
            sets in prop::collection::vec(prop::collection::vec(any::<bool>(), 70), 0..6),
        ) {
            let found = recurrence(&sets);
            for (i, a) in sets.iter().enumerate() {
                let plain: f32 = sets.iter().map(|b| region::iou(a, b).powi(2)).sum();
                prop_assert!((found[i] - plain).abs() < 1e-4);
            }
        }
    }
}
