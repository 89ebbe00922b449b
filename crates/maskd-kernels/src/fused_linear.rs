//! The linear layers of a block, fused with all that stands around them: norm before, bias, GELU, LayerScale and residual
//! after. A few rows at a time go through all of it, so that they stay in the cache.

use super::{
    buffer::Scratch,
    heads::Heads,
    pack_a::{Norm, PackedA, UNIT, fill},
    pack_b::PackedB,
    product::{Gelu, IntoHeads, Rows, product},
    simd::{Simd, WithSimd},
    tile::with_tile,
};

/// norm(x) W^T + b.
pub(super) struct NormLinear {
    pub(super) norm: Norm,
    pub(super) weight: PackedB,
}

/// x += W a + b, then x += fc2(gelu(fc1(norm(x)))), with LayerScale in the weights.
pub(super) struct ResidualMlp {
    pub(super) proj: PackedB,
    pub(super) norm: Norm,
    pub(super) fc1: PackedB,
    pub(super) fc2: PackedB,
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
        with_tile!(S, self.op.weight.isa, norm_linear(simd, self))
    }
}

#[inline(always)]
fn norm_linear<S: Simd, const ROWS: usize, const VECS: usize>(simd: S, NormLinearPiece { op, x, to }: NormLinearPiece) {
    let weight = &op.weight;
    let rows = x.len() / weight.inputs;
    let padded = rows.next_multiple_of(UNIT);
    let mut scratch = Scratch::of(PackedA::len(weight, padded));
    let a = PackedA::of(weight, padded, &mut scratch);
    // SAFETY: the operand lies in scratch; the sinks write what belongs to this piece's own rows.
    unsafe {
        fill(simd, &a, x, Some(&op.norm));
        match to {
            Place::Rows(out) => onto_rows::<S, ROWS, VECS>(simd, &a, weight, out, rows, false),
            Place::Heads(out, heads, first_row) => {
                for n in 0..weight.outputs / weight.width {
                    let (first, columns) = (n * weight.width, weight.width);
                    let bias = weight.bias[first..].as_ptr();
                    let mut sink = IntoHeads { out, heads, first_row, rows, first, columns, bias };
                    product::<S, ROWS, VECS>(simd, &a, weight.block(0, n), columns, &mut sink);
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
pub(super) unsafe fn onto_rows<S: Simd, const ROWS: usize, const VECS: usize>(
    simd: S,
    a: &PackedA,
    weight: &PackedB,
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
            product::<S, ROWS, VECS>(simd, a, weight.block(0, n), weight.width, &mut sink);
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
        with_tile!(S, self.op.proj.isa, residual_mlp(simd, self))
    }
}

#[inline(always)]
fn residual_mlp<S: Simd, const ROWS: usize, const VECS: usize>(simd: S, piece: ResidualMlpPiece) {
    let ResidualMlpPiece { op: ResidualMlp { proj, norm, fc1, fc2 }, x, attended } = piece;
    let dim = proj.inputs;
    let rows = attended.len() / dim;
    let padded = rows.next_multiple_of(UNIT);
    let lens = [proj, fc1, fc2].map(|weight| PackedA::len(weight, padded));
    let mut scratch = Scratch::of(lens.iter().sum());
    let (a, scratch) = scratch.split_at_mut(lens[0]);
    let (normed, hidden) = scratch.split_at_mut(lens[1]);
    let a = PackedA::of(proj, padded, a);
    let normed = PackedA::of(fc1, padded, normed);
    let hidden = PackedA::of(fc2, padded, hidden);
    // SAFETY: operands lie in scratch; the sinks write the `rows` rows of x that are this piece's own.
    unsafe {
        fill(simd, &a, attended, None);
        onto_rows::<S, ROWS, VECS>(simd, &a, proj, x, rows, true);
        fill(simd, &normed, std::slice::from_raw_parts(x, rows * dim), Some(norm));
        for n in 0..fc1.outputs / fc1.width {
            let bias = fc1.bias[n * fc1.width..].as_ptr();
            product::<S, ROWS, VECS>(simd, &normed, fc1.block(0, n), fc1.width, &mut Gelu { into: hidden, bias });
            hidden.complete(simd);
            let bias = (n == 0).then(|| fc2.bias.as_ptr());
            let mut sink = Rows { out: x, stride: dim, rows, columns: dim, bias, add: true };
            product::<S, ROWS, VECS>(simd, &hidden, fc2.block(n, 0), dim, &mut sink);
        }
    }
}
