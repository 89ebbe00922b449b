//! Products of feature rows, where discovery spends its arithmetic.

/// `a . b` for rows `a` `(M, dim)` and `b` `(N, dim)`: `(M, N)`. Single-threaded: callers run several at once.
///
/// Rows that are not whole are ignored; no channels give nothing.
pub fn similarities(a: &[f32], b: &[f32], dim: usize) -> Vec<f32> {
    if dim == 0 {
        return Vec::new();
    }
    let (m, n) = (a.len() / dim, b.len() / dim);
    let mut out = vec![0f32; m * n];
    // SAFETY: the three matrices are `(m, n)` in `out`, `(m, dim)` in `a` and the transpose of `(n, dim)` in `b`, all
    // within their slices by the divisions above; strides are in elements, row-major.
    unsafe {
        gemm::gemm(
            m,
            n,
            dim,
            out.as_mut_ptr(),
            1,
            n as isize,
            false,
            a.as_ptr(),
            1,
            dim as isize,
            b.as_ptr(),
            dim as isize,
            1,
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
