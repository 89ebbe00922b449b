//! Sets of patches on the grid: connected parts, overlap, neighbourhoods. A set is one `bool` per patch, row by row.

use maskd_types::features::Grid;

/// Which patches touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connect {
    /// Those above, below, left and right.
    Four,
    /// Those and the diagonal ones.
    Eight,
}

/// Calls `visit` with every patch that touches `patch`.
pub fn neighbours(grid: Grid, patch: usize, connect: Connect, mut visit: impl FnMut(usize)) {
    let (row, col) = (patch / grid.cols, patch % grid.cols);
    for r in row.saturating_sub(1)..=(row + 1).min(grid.rows - 1) {
        for c in col.saturating_sub(1)..=(col + 1).min(grid.cols - 1) {
            let diagonal = r != row && c != col;
            if (r, c) != (row, col) && (connect == Connect::Eight || !diagonal) {
                visit(r * grid.cols + c);
            }
        }
    }
}

/// The connected part of `set` that holds `seed`; empty when `seed` is not in `set`.
pub fn component_of(grid: Grid, set: &[bool], seed: usize, connect: Connect) -> Vec<bool> {
    let mut part = vec![false; set.len()];
    if set.get(seed) != Some(&true) {
        return part;
    }
    part[seed] = true;
    let mut open = vec![seed];
    while let Some(patch) = open.pop() {
        neighbours(grid, patch, connect, |next| {
            if set[next] && !part[next] {
                part[next] = true;
                open.push(next);
            }
        });
    }
    part
}

/// All connected parts of `set`, in the order of their first patch.
pub fn components(grid: Grid, set: &[bool], connect: Connect) -> Vec<Vec<bool>> {
    let mut left = set.to_vec();
    let mut parts = Vec::new();
    while let Some(seed) = left.iter().position(|&x| x) {
        let part = component_of(grid, &left, seed, connect);
        subtract(&mut left, &part);
        parts.push(part);
    }
    parts
}

/// The largest connected part of `set` (the first of equals); empty for an empty set.
pub fn largest(grid: Grid, set: &[bool], connect: Connect) -> Vec<bool> {
    let mut best = vec![false; set.len()];
    let mut most = 0;
    for part in components(grid, set, connect) {
        if count(&part) > most {
            most = count(&part);
            best = part;
        }
    }
    best
}

/// Number of patches in the set.
pub fn count(set: &[bool]) -> usize {
    set.iter().filter(|&&x| x).count()
}

/// Number of patches in both sets.
pub fn overlap(a: &[bool], b: &[bool]) -> usize {
    a.iter().zip(b).filter(|&(&a, &b)| a && b).count()
}

/// Intersection over union, 0 for two empty sets.
pub fn iou(a: &[bool], b: &[bool]) -> f32 {
    let both = overlap(a, b);
    let either = count(a) + count(b) - both;
    if either == 0 { 0.0 } else { both as f32 / either as f32 }
}

/// Takes `b` out of `a`.
pub fn subtract(a: &mut [bool], b: &[bool]) {
    for (a, &b) in a.iter_mut().zip(b) {
        *a &= !b;
    }
}

/// Adds `b` to `a`.
pub fn unite(a: &mut [bool], b: &[bool]) {
    for (a, &b) in a.iter_mut().zip(b) {
        *a |= b;
    }
}

/// The set and all patches at most `steps` away from it (a square neighbourhood).
pub fn dilate(grid: Grid, set: &[bool], steps: usize) -> Vec<bool> {
    let mut out = set.to_vec();
    for _ in 0..steps {
        let now = out.clone();
        for patch in (0..now.len()).filter(|&p| now[p]) {
            neighbours(grid, patch, Connect::Eight, |next| out[next] = true);
        }
    }
    out
}

/// Mean `(row, column)` of the set in patches; `None` for an empty one.
pub fn centre(grid: Grid, set: &[bool]) -> Option<(f32, f32)> {
    let (mut rows, mut cols, mut n) = (0usize, 0usize, 0usize);
    for patch in (0..set.len()).filter(|&p| set[p]) {
        rows += patch / grid.cols;
        cols += patch % grid.cols;
        n += 1;
    }
    (n > 0).then(|| (rows as f32 / n as f32, cols as f32 / n as f32))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GRID: Grid = Grid { rows: 5, cols: 7 };

    fn at(patches: &[(usize, usize)]) -> Vec<bool> {
        let mut set = vec![false; GRID.len()];
        for &(r, c) in patches {
            set[r * GRID.cols + c] = true;
        }
        set
    }

    #[test]
    fn diagonal_patches_touch_only_in_eight() {
        let set = at(&[(0, 0), (1, 1), (4, 6)]);
        assert_eq!(components(GRID, &set, Connect::Four).len(), 3);
        assert_eq!(components(GRID, &set, Connect::Eight).len(), 2);
        assert_eq!(largest(GRID, &set, Connect::Eight), at(&[(0, 0), (1, 1)]));
        // The end of one row does not touch the start of the next.
        assert_eq!(components(GRID, &at(&[(0, 6), (1, 0)]), Connect::Eight).len(), 2);
    }

    #[test]
    fn a_dilated_corner_is_two_by_two() {
        assert_eq!(dilate(GRID, &at(&[(0, 0)]), 1), at(&[(0, 0), (0, 1), (1, 0), (1, 1)]));
        assert_eq!(centre(GRID, &at(&[(1, 2), (3, 4)])), Some((2.0, 3.0)));
        assert_eq!(centre(GRID, &at(&[])), None);
    }

    proptest! {
        #[test]
        fn components_are_a_partition(set in prop::collection::vec(any::<bool>(), GRID.len())) {
            for connect in [Connect::Four, Connect::Eight] {
                let mut seen = vec![0; GRID.len()];
                for part in components(GRID, &set, connect) {
                    prop_assert!(count(&part) > 0);
                    for p in 0..part.len() {
                        seen[p] += usize::from(part[p]);
                        if part[p] {
                            neighbours(GRID, p, connect, |q| assert!(part[q] || !set[q]));
                        }
                    }
                }
                for p in 0..set.len() {
                    prop_assert_eq!(seen[p], usize::from(set[p]));
                }
            }
        }
    }
}
