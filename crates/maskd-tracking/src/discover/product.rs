//! Products of feature rows.

/// `a . b` for rows `a` `(M, dim)` and `b` `(N, dim)`: `(M, N)`. Single-threaded: callers run several at once.
///
/// Rows that are not whole are ignored; no channels give nothing.
pub fn similarities(a: &[f32], b: &[f32], dim: usize) -> Vec<f32> {
    if dim == 0 {
        return Vec::new();
    }
    multiply((a.len() / dim, b.len() / dim, dim), (a, dim, 1), (b, 1, dim))
}

/// `a^T b` `(dim, dim)`: the sum over rows `a` and `b` `(N, dim)` of their outer products. Single-threaded.
///
/// Rows that are not whole, or that only one of the two has, are ignored; no channels give nothing.
pub fn outer_products(a: &[f32], b: &[f32], dim: usize) -> Vec<f32> {
    if dim == 0 {
        return Vec::new();
    }
    multiply((dim, dim, a.len().min(b.len()) / dim), (a, 1, dim), (b, dim, 1))
}

/// The product `(m, n)`, row by row, of `(m, k)` and `(k, n)`. Each is given with how many numbers lie from one row to the
/// next, and from one column to the next.
fn multiply(
    (m, n, k): (usize, usize, usize),
    (a, a_row, a_column): (&[f32], usize, usize),
    (b, b_row, b_column): (&[f32], usize, usize),
) -> Vec<f32> {
    let mut out = vec![0f32; m * n];
    if m == 0 || n == 0 || k == 0 {
        return out;
    }
    let last = |rows: usize, row: usize, columns: usize, column: usize| (rows - 1) * row + (columns - 1) * column;
    assert!(last(m, a_row, k, a_column) < a.len() && last(k, b_row, n, b_column) < b.len(), "This is a bug.");
    // SAFETY: the last number of each matrix lies within its slice, as asserted, and `out` has `m * n`; strides are in
    // elements.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            false,
            a.as_ptr(),
            a_column as isize,
            a_row as isize,
            b.as_ptr(),
            b_column as isize,
            b_row as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
    out
}

/// The inner product of two rows: eight sums side by side, which the compiler can vectorise.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 8];
    let (head, tail) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = head.remainder().iter().zip(tail.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in head.zip(tail) {
        for k in 0..8 {
            sums[k] += a[k] * b[k];
        }
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_fast_product_is_the_plain_one(
            (m, n, dim) in (0usize..9, 0usize..9, 1usize..40),
            values in prop::collection::vec(-1.0f32..1.0, 700),
        ) {
            let (a, b) = (&values[..m * dim], &values[350..350 + n * dim]);
            let out = similarities(a, b, dim);
            prop_assert_eq!(out.len(), m * n);
            for i in 0..m {
                for j in 0..n {
                    let (x, y) = (&a[i * dim..][..dim], &b[j * dim..][..dim]);
                    let plain: f32 = x.iter().zip(y).map(|(x, y)| x * y).sum();
                    prop_assert!((out[i * n + j] - plain).abs() < 1e-4);
                    prop_assert!((dot(x, y) - plain).abs() < 1e-4);
                }
            }
        }
    }
}
