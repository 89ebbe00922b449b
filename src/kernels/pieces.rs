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
        for n in 0..weight.outputs / weight.width {
            let (first, columns) = (n * weight.width, weight.width);
            let bias = weight.bias[first..].as_ptr();
            let block = weight.block(0, n);
            match to {
                Place::Rows(out) => {
                    let out = out.add(first);
                    let mut sink = Rows { out, stride: weight.outputs, rows, columns, bias: Some(bias), add: false };
                    product::<S, ROWS>(simd, &a, block, columns, &mut sink);
                }
                Place::Heads(out, heads, first_row) => {
                    let mut sink = IntoHeads { out, heads, first_row, rows, first, columns, bias };
                    product::<S, ROWS>(simd, &a, block, columns, &mut sink);
                }
            }
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
    let onto_x = |weight: &Packed, bias: bool| Rows {
        out: x,
        stride: dim,
        rows,
        columns: dim,
        bias: bias.then(|| weight.bias.as_ptr()),
        add: true,
    };
    // SAFETY: operands lie in scratch; the sinks write the `rows` rows of x that are this piece's own.
    unsafe {
        fill(simd, &a, attended, None);
        for n in 0..dim / proj.width {
            let mut sink = onto_x(proj, true);
            sink.out = x.add(n * proj.width);
            sink.columns = proj.width;
            sink.bias = Some(proj.bias[n * proj.width..].as_ptr());
            product::<S, ROWS>(simd, &a, proj.block(0, n), proj.width, &mut sink);
        }
        fill(simd, &normed, std::slice::from_raw_parts(x, rows * dim), Some(norm));
        for n in 0..fc1.outputs / fc1.width {
            let bias = fc1.bias[n * fc1.width..].as_ptr();
            product::<S, ROWS>(simd, &normed, fc1.block(0, n), fc1.width, &mut Gelu { into: hidden, bias });
            hidden.sum(simd);
            product::<S, ROWS>(simd, &hidden, fc2.block(n, 0), dim, &mut onto_x(fc2, n == 0));
        }
    }
}
