//! Products of strided matrices, bounds checked, on one thread or all.

use gemm::{Parallelism, gemm};

/// A matrix over borrowed values: element (i, j) is `data[i * row + j * col]`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row: usize,
    col: usize,
}

impl<'a> Matrix<'a> {
    /// Rows one after the other.
    pub(super) fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self::strided(data, rows, cols, cols)
    }

    /// Rows that start `row` values apart.
    pub(super) fn strided(data: &'a [f32], rows: usize, cols: usize, row: usize) -> Self {
        assert!(rows == 0 || cols == 0 || data.len() >= (rows - 1) * row + cols, "matrix: too few values");
        Self { data, rows, cols, row, col: 1 }
    }

    /// The same values, transposed.
    pub(super) fn t(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row: self.col, col: self.row, ..self }
    }
}

/// How many threads a product may use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Threads {
    One,
    All,
}

/// dst = a b, or dst += a b; the rows of dst start `stride` values apart.
pub(super) fn multiply(dst: &mut [f32], stride: usize, a: Matrix, b: Matrix, accumulate: bool, threads: Threads) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    assert_eq!(k, b.rows, "product: inner sizes differ");
    if m == 0 || n == 0 {
        return;
    }
    assert!(stride >= n && dst.len() >= (m - 1) * stride + n, "product: destination too short");
    // SAFETY: dst is borrowed mutably and holds every element that its stride reaches (just checked).
    unsafe { raw(dst.as_mut_ptr(), stride, a, b, accumulate, threads) }
}

/// a b on all threads, rows one after the other.
pub(super) fn product(a: Matrix, b: Matrix) -> Vec<f32> {
    let (m, n) = (a.rows, b.cols);
    let mut out = if a.cols == 0 { vec![0.0; m * n] } else { super::scratch::buffer(m * n) };
    multiply(&mut out, n, a, b, false, Threads::All);
    out
}

/// # Safety
/// `dst` must be valid for writes of `a.rows` rows of `b.cols`, `stride` apart, and for reads too if `accumulate`.
unsafe fn raw(dst: *mut f32, stride: usize, a: Matrix, b: Matrix, accumulate: bool, threads: Threads) {
    let parallelism = match threads {
        Threads::One => Parallelism::None,
        Threads::All => Parallelism::Rayon(0),
    };
    // SAFETY: `Matrix` checked that its values span its strides when it was made; dst is the caller's promise.
    unsafe {
        gemm(
            a.rows,
            b.cols,
            a.cols,
            dst,
            1,
            stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.col as isize,
            a.row as isize,
            b.data.as_ptr(),
            b.col as isize,
            b.row as isize,
            if accumulate { 1.0 } else { 0.0 },
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}
