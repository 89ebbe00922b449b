//! Operand scaling, for one head whose products go in pairs: both sides brought to about the same size by powers of two, which scores and
//! sums do not notice, and what the pairs subtract, made once.

use super::{
    heads::{Head, Heads},
    pack_b::{nearest_power, operand_scale},
    simd::{Simd, WithSimd, load, store},
    winograd::{correction_of_row, pairs},
};

/// How large values are made, in the mean. Weights are at most 1 and mostly far less; with this size neither all weight on
/// one value nor equal weight on all loses more than a few 1e-6 of a value's size.
const VALUES: f32 = 1.0 / 32.0;

/// Tokens whose size stands for that of all.
const SAMPLE: usize = 64;

/// One head that is filled.
pub(super) struct ScaleOperands<'a> {
    pub(super) head: &'a mut [f32],
    pub(super) layout: Heads,
}

impl WithSimd for ScaleOperands<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { head, layout } = self;
        let Head { header, queries, correction, keys, values } = layout.split(head);
        let (tokens, d) = (layout.tokens, layout.head_dim);
        let (key_panel, value_panel) = (layout.key_panel, layout.value_panel);
        let query = |token: usize, c: usize| queries[token * d + c];
        let key = |token: usize, c: usize| {
            keys[token / key_panel * layout.key_panel_len() + (1 + c) * key_panel + token % key_panel]
        };
        let value = |token: usize, c: usize| {
            let row = token + 1 + token / layout.key_block();
            values[c / value_panel * layout.value_panel_len() + row * value_panel + c % value_panel]
        };
        let factor = operand_scale(size(tokens, d, query), size(tokens, d, key));
        let value_factor = nearest_power(VALUES / size(tokens, d, value));
        header[0] = 1.0 / value_factor;

        for (query, correction) in queries.chunks_exact_mut(d).zip(correction).take(tokens) {
            multiply_all(simd, query, factor);
            *correction = correction_of_row(simd, query);
        }
        for panel in keys.chunks_exact_mut(layout.key_panel_len()) {
            complete_columns(simd, panel, d, 1.0 / factor);
        }
        for panel in values.chunks_exact_mut(layout.value_panel_len()) {
            for block in panel.chunks_mut(layout.value_block_len()) {
                let count = block.len() / value_panel - 1;
                complete_columns(simd, block, count, value_factor);
            }
        }
    }
}

/// The root of the mean square of some tokens.
#[inline(always)]
fn size(tokens: usize, d: usize, at: impl Fn(usize, usize) -> f32) -> f32 {
    let (mut squares, mut count) = (0.0, 0);
    for token in (0..tokens).step_by(tokens.div_ceil(SAMPLE)) {
        squares += (0..d).map(|c| at(token, c).powi(2)).sum::<f32>();
        count += d;
    }
    (squares / count as f32).sqrt()
}

#[inline(always)]
fn multiply_all<S: Simd>(simd: S, values: &mut [f32], factor: f32) {
    let (vectors, rest) = S::as_mut_simd_f32s(values);
    for x in vectors {
        *x = simd.mul_f32s(*x, simd.splat_f32s(factor));
    }
    rest.iter_mut().for_each(|x| *x *= factor);
}

/// Multiplies a right side of `depth` rows, one vector each, and writes what its pairs subtract into the vector before.
#[inline(always)]
fn complete_columns<S: Simd>(simd: S, panel: &mut [f32], depth: usize, factor: f32) {
    let lanes = S::F32_LANES;
    assert!(panel.len() >= (1 + depth) * lanes);
    let (correction, rows) = panel.split_at_mut(lanes);
    multiply_all(simd, &mut rows[..depth * lanes], factor);
    let mut sum = simd.splat_f32s(0.0);
    for (a, b) in pairs(depth) {
        // SAFETY: both are rows of the panel.
        sum = unsafe {
            let (a, b) = (load::<S>(rows.as_ptr().add(a * lanes)), load::<S>(rows.as_ptr().add(b * lanes)));
            simd.mul_add_e_f32s(a, b, sum)
        };
    }
    // SAFETY: one vector.
    unsafe { store::<S>(correction.as_mut_ptr(), simd.neg_f32s(sum)) }
}
