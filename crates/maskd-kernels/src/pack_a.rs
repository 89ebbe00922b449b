//! Packing of A, the left side of a product: rows of activations, through a layer norm if need be, laid out as the tiles read them.

use super::{
    pack_b::{Form, PackedB},
    simd::{PAIRED, Simd, load, store},
    winograd::correction_of_row,
};

/// Rows of an operand come in this multiple: two halves of the tallest tile.
pub(super) const UNIT: usize = 2 * PAIRED.0;

/// Weight and bias of a layer norm.
#[derive(Clone)]
pub struct Norm {
    /// (C).
    pub weight: Vec<f32>,
    /// (C).
    pub bias: Vec<f32>,
    /// Added to the variance.
    pub eps: f32,
}

/// `rows` x `depth` values, as `form` wants it. Strassen: the quarters A11, A12, A21, A22 and the
/// sums S1 to S4, each (rows / 2, depth / 2); direct: as it is. For products in pairs all of it is multiplied by
/// `factor`, and what the pairs of each row subtract stands behind it, part by part.
#[derive(Clone, Copy)]
pub(super) struct PackedA {
    pub(super) form: Form,
    pub(super) pairs: bool,
    pub(super) factor: f32,
    pub(super) rows: usize,
    pub(super) depth: usize,
    pub(super) values: *mut f32,
}

impl PackedA {
    /// How many values the left side of a product with `weight` takes.
    pub(super) fn len(weight: &PackedB, rows: usize) -> usize {
        match weight.form {
            Form::Direct => rows * (weight.depth + 1).next_multiple_of(16),
            Form::Strassen => 2 * rows * (weight.depth + 2).next_multiple_of(16),
        }
    }

    /// The left side of a product with `weight`, in `values`.
    pub(super) fn of(weight: &PackedB, rows: usize, values: &mut [f32]) -> Self {
        assert!(values.len() >= Self::len(weight, rows));
        let PackedB { form, isa, factor, depth, .. } = *weight;
        Self { form, pairs: isa.pairs(), factor, rows, depth, values: values.as_mut_ptr() }
    }

    /// Where (row, column) stands, and the number of columns that follow without a gap.
    #[inline(always)]
    pub(super) fn place(&self, row: usize, column: usize) -> (*mut f32, usize) {
        match self.form {
            Form::Direct => (self.values.wrapping_add(row * self.depth + column), self.depth - column),
            Form::Strassen => {
                let (half_rows, half) = (self.rows / 2, self.depth / 2);
                let quarter = 2 * usize::from(row >= half_rows) + usize::from(column >= half);
                let (row, column) = (row % half_rows, column % half);
                (self.values.wrapping_add((quarter * half_rows + row) * half + column), half - column)
            }
        }
    }

    /// Matrix `i` of the eight.
    #[inline(always)]
    pub(super) fn part(&self, i: usize) -> *mut f32 {
        self.values.wrapping_add(i * (self.rows / 2) * (self.depth / 2))
    }

    /// What the pairs of each row of part `i` subtract.
    #[inline(always)]
    pub(super) fn correction(&self, i: usize) -> *mut f32 {
        match self.form {
            Form::Direct => self.values.wrapping_add(self.rows * self.depth),
            Form::Strassen => self.values.wrapping_add(2 * self.rows * self.depth + i * (self.rows / 2)),
        }
    }

    /// Makes all that is made of the values once they are there.
    ///
    /// # Safety
    /// `values` has room for [`Self::len`] values.
    #[inline(always)]
    pub(super) unsafe fn complete<S: Simd>(&self, simd: S) {
        // SAFETY: the caller's promise.
        unsafe { self.sum(simd) }
        if !self.pairs {
            return;
        }
        let (parts, rows, depth) = match self.form {
            Form::Direct => (1, self.rows, self.depth),
            Form::Strassen => (8, self.rows / 2, self.depth / 2),
        };
        for part in 0..parts {
            for row in 0..rows {
                // SAFETY: a row of a part, and its place behind all parts.
                unsafe {
                    let values = std::slice::from_raw_parts(self.values.add((part * rows + row) * depth), depth);
                    *self.correction(part).add(row) = correction_of_row(simd, values);
                }
            }
        }
    }

    /// Makes S1 to S4 of the quarters.
    ///
    /// # Safety
    /// As for [`Self::complete`].
    #[inline(always)]
    unsafe fn sum<S: Simd>(&self, simd: S) {
        if self.form == Form::Direct {
            return;
        }
        let len = (self.rows / 2) * (self.depth / 2);
        let lanes = S::F32_LANES;
        let whole = len / lanes * lanes;
        for i in (0..whole).step_by(lanes) {
            // SAFETY: i + lanes <= len, and each of the eight parts has len values.
            unsafe {
                let (a11, a12) = (load::<S>(self.part(0).add(i)), load::<S>(self.part(1).add(i)));
                let (a21, a22) = (load::<S>(self.part(2).add(i)), load::<S>(self.part(3).add(i)));
                let s1 = simd.add_f32s(a21, a22);
                let s2 = simd.sub_f32s(s1, a11);
                store::<S>(self.part(4).add(i), s1);
                store::<S>(self.part(5).add(i), s2);
                store::<S>(self.part(6).add(i), simd.sub_f32s(a11, a21));
                store::<S>(self.part(7).add(i), simd.sub_f32s(a12, s2));
            }
        }
        for i in whole..len {
            // SAFETY: i < len.
            unsafe {
                let [a11, a12, a21, a22] = [0, 1, 2, 3].map(|part| *self.part(part).add(i));
                let (s1, s2) = (a21 + a22, a21 + a22 - a11);
                for (part, s) in [(4, s1), (5, s2), (6, a11 - a21), (7, a12 - s2)] {
                    *self.part(part).add(i) = s;
                }
            }
        }
    }
}

/// Fills an operand with rows of x, through the norm if there is one, and completes it.
///
/// # Safety
/// The operand has room, and `depth` channels as x has.
#[inline(always)]
pub(super) unsafe fn fill<S: Simd>(simd: S, a: &PackedA, x: &[f32], norm: Option<&Norm>) {
    let (dim, lanes) = (a.depth, S::F32_LANES);
    let factor = simd.splat_f32s(a.factor);
    for row in 0..a.rows {
        let values = x.get(row * dim..(row + 1) * dim);
        // y = x * scale - mean * scale.
        let (mean, scale) = match (values, norm) {
            (Some(values), Some(norm)) => moments(simd, values, norm.eps),
            _ => (0.0, 1.0),
        };
        let mut column = 0;
        while column < dim {
            let (to, run) = a.place(row, column);
            for i in (0..run).step_by(lanes) {
                let n = lanes.min(run - i);
                let c = column + i;
                let mut y = simd.splat_f32s(0.0);
                if let Some(values) = values {
                    y = simd.partial_load_f32s(&values[c..c + n]);
                    if let Some(norm) = norm {
                        let (weight, bias) = (&norm.weight[c..c + n], &norm.bias[c..c + n]);
                        y = simd.mul_f32s(simd.sub_f32s(y, simd.splat_f32s(mean)), simd.splat_f32s(scale));
                        y = simd.mul_add_e_f32s(y, simd.partial_load_f32s(weight), simd.partial_load_f32s(bias));
                    }
                    y = simd.mul_f32s(y, factor);
                }
                // SAFETY: `place` gives `run` values from `to` on.
                unsafe {
                    if n == lanes {
                        store::<S>(to.add(i), y);
                    } else {
                        simd.partial_store_f32s(std::slice::from_raw_parts_mut(to.add(i), n), y);
                    }
                }
            }
            column += run;
        }
    }
    // SAFETY: the operand is the caller's promise.
    unsafe { a.complete(simd) }
}

/// Mean, and 1 / sqrt(variance + eps), in two passes.
#[inline(always)]
pub(super) fn moments<S: Simd>(simd: S, values: &[f32], eps: f32) -> (f32, f32) {
    let (vectors, rest) = S::as_simd_f32s(values);
    let n = values.len() as f32;
    let mut sum = simd.splat_f32s(0.0);
    for v in vectors {
        sum = simd.add_f32s(sum, *v);
    }
    let mean = (simd.reduce_sum_f32s(sum) + rest.iter().sum::<f32>()) / n;
    let mut squares = simd.splat_f32s(0.0);
    for v in vectors {
        let d = simd.sub_f32s(*v, simd.splat_f32s(mean));
        squares = simd.mul_add_e_f32s(d, d, squares);
    }
    let squares = simd.reduce_sum_f32s(squares) + rest.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>();
    (mean, 1.0 / (squares / n + eps).sqrt())
}
