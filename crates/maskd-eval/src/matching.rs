//! The one-to-one matching of greatest total weight.

use pathfinding::{kuhn_munkres::kuhn_munkres, matrix::Matrix};

/// Pairs each of `rows` with one of `columns`, or each column with a row where there are fewer columns, so that the sum of
/// `weight(row, column)` is greatest; in the order of the fewer. Weights are whole numbers, since the solver compares sums
/// exactly.
pub fn matching(rows: usize, columns: usize, weight: impl Fn(usize, usize) -> i64) -> Vec<(usize, usize)> {
    if rows == 0 || columns == 0 {
        return Vec::new();
    }
    if rows <= columns {
        let (_, found) = kuhn_munkres(&Matrix::from_fn(rows, columns, |(r, c)| weight(r, c)));
        found.into_iter().enumerate().collect()
    } else {
        let (_, found) = kuhn_munkres(&Matrix::from_fn(columns, rows, |(c, r)| weight(r, c)));
        found.into_iter().enumerate().map(|(c, r)| (r, c)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_side_may_be_either() {
        let weights = [[1, 5, 0], [4, 4, 2]];
        assert_eq!(matching(2, 3, |r, c| weights[r][c]), [(0, 1), (1, 0)]);
        assert_eq!(matching(3, 2, |r, c| weights[c][r]), [(1, 0), (0, 1)]);
        assert_eq!((matching(0, 3, |_, _| 1), matching(3, 0, |_, _| 1)), (vec![], vec![]));
    }
}
