//! The linear layers of a block, fused, for a few rows at a time. What is multiplied is bfloat16; norms, biases, GELU and
//! the residual stream are float32.

use std::arch::x86_64::*;

use super::{
    super::{
        buffer::Scratch,
        pack_a::{Norm, moments},
    },
    dot::{Dot, LANES, PANEL, ROWS, Tile, VECTORS, lanes, multiply, round, zero},
    flash_attention::Layout,
    pack_b::PackedB,
};

/// Rows come in this multiple: whole tiles, and pairs of tokens.
pub(super) const UNIT: usize = 4 * ROWS;

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

/// Where the result of [`NormLinear`] goes.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// These rows, one after the other.
    Rows(*mut f32),
    /// Queries, keys and values to this image's heads; the number of the first token.
    Heads(*mut u32, Layout, usize),
}

/// Some rows through [`NormLinear`].
///
/// # Safety
/// The machine has `dot`'s instructions; what `to` points at has room, and these rows' part of it is the caller's own.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(super) unsafe fn norm_linear(dot: Dot, op: &NormLinear, x: &[f32], to: Place) {
    let weight = &op.weight;
    let rows = x.len() / weight.inputs;
    let mut scratch = Scratch::of(rows.next_multiple_of(ROWS) * weight.pairs);
    let a: *mut u32 = scratch.as_mut_ptr().cast();
    // SAFETY: the operand lies in scratch; the rest is the caller's promise.
    unsafe {
        norm_rows(dot, a, weight.pairs, x, &op.norm);
        product(a, rows, weight, |row, panel, tile| match to {
            Place::Rows(out) => {
                let (first, count) = weight.columns(panel);
                put(out.add(row * weight.outputs + first), weight.outputs, (rows - row, count), tile, false);
            }
            Place::Heads(out, layout, first_token) => layout.put(out, panel, first_token + row, tile),
        });
    }
}

/// Some rows through [`ResidualMlp`], in place; `attended` holds as many rows in bfloat16, whole tiles of them.
///
/// # Safety
/// The machine has `dot`'s instructions; the rows of x are the caller's own.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(super) unsafe fn residual_mlp(dot: Dot, op: &ResidualMlp, x: &mut [f32], attended: *const u32) {
    let ResidualMlp { proj, norm, fc1, fc2 } = op;
    let dim = proj.inputs;
    let rows = x.len() / dim;
    let padded = rows.next_multiple_of(ROWS);
    let mut scratch = Scratch::of(padded * (fc1.pairs + fc2.pairs));
    let normed: *mut u32 = scratch.as_mut_ptr().cast();
    // SAFETY: the operands lie in scratch one after the other; columns are those of x's rows.
    unsafe {
        let hidden = normed.add(padded * fc1.pairs);
        let out = x.as_mut_ptr();
        let add_to_x = |weight: &PackedB, row: usize, panel: usize, tile: Tile| {
            let (first, count) = weight.columns(panel);
            put(out.add(row * dim + first), dim, (rows - row, count), tile, true);
        };
        product(attended, rows, proj, |row, panel, tile| add_to_x(proj, row, panel, tile));
        norm_rows(dot, normed, fc1.pairs, std::slice::from_raw_parts(out, rows * dim), norm);
        product(normed, rows, fc1, |row, panel, tile| {
            // A panel beyond what a row of pairs holds is half empty.
            let vectors = (fc2.pairs - panel * PANEL / 2).min(PANEL / 2) / LANES * 2;
            for (i, values) in tile.into_iter().enumerate() {
                let to = hidden.add((row + i) * fc2.pairs + panel * PANEL / 2);
                for v in (0..vectors).step_by(2) {
                    let two = round(dot.gelu(values[v]), dot.gelu(values[v + 1]));
                    _mm512_storeu_si512(to.add(v / 2 * LANES).cast(), two);
                }
            }
        });
        product(hidden, rows, fc2, |row, panel, tile| add_to_x(fc2, row, panel, tile));
    }
}

/// All of A (rows, pairs), whole tiles of it, times the weights, plus the bias; each tile to `sink(row, panel, tile)`.
///
/// # Safety
/// A has that many rows, and as many pairs as the weights.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
unsafe fn product(a: *const u32, rows: usize, weight: &PackedB, mut sink: impl FnMut(usize, usize, Tile)) {
    for panel in 0..weight.panels() {
        let (right, bias) = (weight.panel(panel), weight.bias(panel).as_ptr());
        for row in (0..rows).step_by(ROWS) {
            // SAFETY: whole tiles of A; a panel and its bias.
            unsafe {
                let left = a.add(row * weight.pairs);
                let mut tile = multiply(zero(), weight.pairs, left, weight.pairs, right);
                for v in 0..VECTORS {
                    let bias = _mm512_loadu_ps(bias.add(v * LANES));
                    for values in &mut tile {
                        values[v] = _mm512_add_ps(values[v], bias);
                    }
                }
                sink(row, panel, tile);
            }
        }
    }
}

/// Writes the first `rows` x `columns` of a tile, or adds them.
///
/// # Safety
/// There is room for them, with `stride` from row to row.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
unsafe fn put(out: *mut f32, stride: usize, (rows, columns): (usize, usize), tile: Tile, add: bool) {
    for (i, values) in tile.into_iter().enumerate().take(rows) {
        for (v, value) in values.into_iter().enumerate() {
            let mask = lanes(columns.saturating_sub(v * LANES));
            let to = out.wrapping_add(i * stride + v * LANES);
            // SAFETY: what the mask leaves out is not touched.
            unsafe {
                let value = if add { _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, to)) } else { value };
                _mm512_mask_storeu_ps(to, mask, value);
            }
        }
    }
}

/// Rows of x through the norm, rounded; `pairs` of them a row, zeros beyond the channels and in what fills the last tile.
///
/// # Safety
/// `to` has room for whole tiles of rows.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
unsafe fn norm_rows(dot: Dot, to: *mut u32, pairs: usize, x: &[f32], norm: &Norm) {
    let dim = norm.weight.len();
    let rows = x.len() / dim;
    for row in 0..rows.next_multiple_of(ROWS) {
        let to = to.wrapping_add(row * pairs);
        let Some(values) = x.get(row * dim..(row + 1) * dim) else {
            // SAFETY: a row of pairs.
            unsafe { std::slice::from_raw_parts_mut(to, pairs).fill(0) };
            continue;
        };
        let (mean, scale) = moments(dot.simd(), values, norm.eps);
        let (mean, scale) = (_mm512_set1_ps(mean), _mm512_set1_ps(scale));
        for pair in (0..pairs).step_by(LANES) {
            let part = |column: usize| {
                let mask = lanes(dim.saturating_sub(column));
                let at = |from: &[f32]| from.as_ptr().wrapping_add(column);
                // SAFETY: what the mask leaves out is not touched; all three have `dim` values.
                unsafe {
                    let y = _mm512_maskz_loadu_ps(mask, at(values));
                    let (weight, bias) = (at(&norm.weight), at(&norm.bias));
                    let y = _mm512_mul_ps(_mm512_sub_ps(y, mean), scale);
                    _mm512_fmadd_ps(y, _mm512_maskz_loadu_ps(mask, weight), _mm512_maskz_loadu_ps(mask, bias))
                }
            };
            let two = round(part(2 * pair), part(2 * pair + LANES));
            // SAFETY: pair + LANES <= pairs.
            unsafe { _mm512_storeu_si512(to.wrapping_add(pair).cast(), two) };
        }
    }
}
