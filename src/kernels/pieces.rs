//! Some rows on their way through the linear layers of a block, with all that stands around them: norm before, bias,
//! GELU, LayerScale and residual after, while the rows are in the cache.

use super::{
    buffer::Scratch,
    heads::Heads,
    operand::{Norm, Operand, UNIT, fill},
    packed::Packed,
    product::{Gelu, IntoHeads, Rows, product},
    simd::{Simd, WithSimd},
    tile::with_rows,
};

/// norm(x) W^T + b.
pub(super) struct NormLinear {
    pub(super) norm: Norm,
    pub(super) weight: Packed,
}

/// x += W a + b, then x += fc2(gelu(fc1(norm(x)))), with LayerScale in the weights.
pub(super) struct ResidualMlp {
    pub(super) proj: Packed,
    pub(super) norm: Norm,
    pub(super) fc1: Packed,
    pub(super) fc2: Packed,
}

/// Some rows through [`NormLinear`].
pub(super) struct NormLinearPiece<'a> {
    pub(super) op: &'a NormLinear,
    pub(super) x: &'a [f32],
    pub(super) to: Place,
}

/// Where the result of [`NormLinear`] goes.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// These rows, one after the other.
    Rows(*mut f32),
    /// Queries, keys and values to their heads; the number of the first row.
    Heads(*mut f32, Heads, usize),
}

impl WithSimd for NormLinearPiece<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        with_rows!(S, norm_linear(simd, self))
    }
}

#[inline(always)]
fn norm_linear<S: Simd, const ROWS: usize>(simd: S, NormLinearPiece { op, x, to }: NormLinearPiece) {
    let weight = &op.weight;
    let rows = x.len() / weight.inputs;
    let padded = rows.next_multiple_of(UNIT);
    let mut scratch = Scratch::of(Operand::len(weight.form, padded, weight.depth));
    let a = Operand { form: weight.form, rows: padded, depth: weight.depth, values: scratch.as_mut_ptr() };
    // SAFETY: the operand lies in scratch; the sinks write what belongs to this piece's own rows.
    unsafe {
        fill(simd, &a, x, Some(&op.norm));
        match to {
            Place::Rows(out) => onto_rows::<S, ROWS>(simd, &a, weight, out, rows, false),
            Place::Heads(out, heads, first_row) => {
                for n in 0..weight.outputs / weight.width {
                    let (first, columns) = (n * weight.width, weight.width);
                    let bias = weight.bias[first..].as_ptr();
                    let mut sink = IntoHeads { out, heads, first_row, rows, first, columns, bias };
                    product::<S, ROWS>(simd, &a, weight.block(0, n), columns, &mut sink);
                }
            }
        }
    }
}

/// A W^T + b to the first `rows` rows from `out` on, one after the other; `add`: on top of what is there.
///
/// # Safety
/// `a` is filled, and as deep as the weight has inputs; the rows are the caller's own.
#[inline(always)]
pub(super) unsafe fn onto_rows<S: Simd, const ROWS: usize>(
    simd: S,
    a: &Operand,
    weight: &Packed,
    out: *mut f32,
    rows: usize,
    add: bool,
) {
    for n in 0..weight.outputs / weight.width {
        let bias = Some(weight.bias[n * weight.width..].as_ptr());
        // SAFETY: the caller's promise; the block's columns are within the row.
        unsafe {
            let out = out.add(n * weight.width);
            let mut sink = Rows { out, stride: weight.outputs, rows, columns: weight.width, bias, add };
            product::<S, ROWS>(simd, a, weight.block(0, n), weight.width, &mut sink);
        }
    }
}

/// Some rows through [`ResidualMlp`], in place.
pub(super) struct ResidualMlpPiece<'a> {
    pub(super) op: &'a ResidualMlp,
    pub(super) x: *mut f32,
    pub(super) attended: &'a [f32],
}

impl WithSimd for ResidualMlpPiece<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        with_rows!(S, residual_mlp(simd, self))
    }
}

#[inline(always)]
fn residual_mlp<S: Simd, const ROWS: usize>(simd: S, piece: ResidualMlpPiece) {
    let ResidualMlpPiece { op: ResidualMlp { proj, norm, fc1, fc2 }, x, attended } = piece;
    let dim = proj.inputs;
    let rows = attended.len() / dim;
    let padded = rows.next_multiple_of(UNIT);
    let lens = [(proj.form, dim), (fc1.form, dim), (fc2.form, fc2.depth)].map(|(f, d)| Operand::len(f, padded, d));
    let mut scratch = Scratch::of(lens.iter().sum());
    let (a, scratch) = scratch.split_at_mut(lens[0]);
    let (normed, hidden) = scratch.split_at_mut(lens[1]);
    let a = Operand { form: proj.form, rows: padded, depth: dim, values: a.as_mut_ptr() };
    let normed = Operand { form: fc1.form, rows: padded, depth: dim, values: normed.as_mut_ptr() };
    let hidden = Operand { form: fc2.form, rows: padded, depth: fc2.depth, values: hidden.as_mut_ptr() };
    // SAFETY: operands lie in scratch; the sinks write the `rows` rows of x that are this piece's own.
    unsafe {
        fill(simd, &a, attended, None);
        onto_rows::<S, ROWS>(simd, &a, proj, x, rows, true);
        fill(simd, &normed, std::slice::from_raw_parts(x, rows * dim), Some(norm));
        for n in 0..fc1.outputs / fc1.width {
            let bias = fc1.bias[n * fc1.width..].as_ptr();
            product::<S, ROWS>(simd, &normed, fc1.block(0, n), fc1.width, &mut Gelu { into: hidden, bias });
            hidden.sum(simd);
            let bias = (n == 0).then(|| fc2.bias.as_ptr());
            let mut sink = Rows { out: x, stride: dim, rows, columns: dim, bias, add: true };
            product::<S, ROWS>(simd, &hidden, fc2.block(n, 0), dim, &mut sink);
        }
    }
}
