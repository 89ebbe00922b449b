//! Flash attention (Dao et al. 2022) of some queries of one head: softmax(q k^T / sqrt d) v, never more than a few scores at a time.

use std::ops::Range;

use super::{
    buffer::Scratch,
    heads::{Head, Heads, MOST},
    microkernel::multiply,
    simd::{PAIRED, SHORT, Simd, TALL, WithSimd, exp2, load, store},
    tile::{Sides, Tile, zero},
    winograd::correction_of_row,
};

/// Some queries of one head.
pub(super) struct Piece<'a> {
    /// One head's packed queries, keys and values.
    pub(super) head: &'a Head<'a>,
    /// Starts at a multiple of [`Heads::group`].
    pub(super) queries: Range<usize>,
    /// Where this head's output for the image's first token goes; the next token's is `dim` further.
    pub(super) out: *mut f32,
    pub(super) dim: usize,
    pub(super) layout: Heads,
}

impl WithSimd for Piece<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if S::REGISTER_COUNT < 32 {
            attend::<S, { SHORT.0 }, { SHORT.1 }, 6, 2>(simd, self);
        } else if self.layout.pairs {
            attend::<S, { PAIRED.0 }, { PAIRED.1 }, { PAIRED.0 }, { PAIRED.1 }>(simd, self);
        } else {
            attend::<S, { TALL.0 }, { TALL.1 }, 6, 4>(simd, self);
        }
    }
}

/// softmax(q k^T / sqrt d) v, block of keys by block of keys: what is summed so far is rescaled whenever a block brings
/// a higher score (Milakov and Gimelshein 2018), so that no more scores than those of a group with a block exist at a
/// time. Tiles of scores are ROWS x VECS, those of values VALUE_ROWS x VALUE_VECS.
#[inline(always)]
fn attend<S: Simd, const ROWS: usize, const VECS: usize, const VALUE_ROWS: usize, const VALUE_VECS: usize>(
    simd: S,
    piece: Piece,
) {
    let Piece { head, queries, out, dim, layout } = piece;
    let Heads { tokens, head_dim, group: size, key_panel, value_panel, .. } = layout;
    let (q, correction) = (&head.queries[queries.start * head_dim..], &head.correction[queries.start..]);
    let (block, wide) = (layout.key_block(), layout.padded_head());
    let groups = queries.len().div_ceil(size);
    // What the pairs of each row of weights subtract.
    let mut weights_less = [0.0; MOST];
    let mut scratch = Scratch::of(groups * size * (wide + 2) + size * block);
    let (sums, scratch) = scratch.split_at_mut(groups * size * wide);
    let (highest, scratch) = scratch.split_at_mut(groups * size);
    let (totals, scores) = scratch.split_at_mut(groups * size);
    sums.fill(0.0);
    totals.fill(0.0);
    highest.fill(f32::NEG_INFINITY);

    for first in (0..tokens).step_by(block) {
        let count = block.min(tokens - first);
        for group in 0..groups {
            let rows = group * size..(group + 1) * size;
            for panel in 0..count.div_ceil(key_panel) {
                let right = head.keys[(first / key_panel + panel) * layout.key_panel_len()..].as_ptr();
                for row in (0..size).step_by(ROWS) {
                    let mut tile = zero::<S, ROWS, VECS>(simd);
                    // SAFETY: ROWS queries from there on, one panel of keys, and room for their scores.
                    unsafe {
                        let left = q[(rows.start + row) * head_dim..].as_ptr();
                        let correction = correction[rows.start + row..].as_ptr();
                        let (depth, ahead) = (head_dim, layout.key_panel_len());
                        multiply(simd, &mut tile, Sides { depth, left, stride: depth, correction, right, ahead });
                        let to = scores[row * block + panel * key_panel..].as_mut_ptr();
                        put::<S, ROWS, VECS>(tile, to, block);
                    }
                }
            }
            for ((row, scores), correction) in rows.clone().zip(scores.chunks_mut(block)).zip(&mut weights_less) {
                let scores = &mut scores[..count];
                let high = highest[row].max(highest_of(simd, scores));
                if high > highest[row] {
                    let fade = (highest[row] - high).exp2();
                    highest[row] = high;
                    totals[row] *= fade;
                    sums[row * wide..(row + 1) * wide].iter_mut().for_each(|x| *x *= fade);
                }
                totals[row] += weigh(simd, scores, high);
                if layout.pairs {
                    *correction = correction_of_row(simd, scores);
                }
            }
            let panels = head.values.chunks_exact(layout.value_panel_len()).take(wide / value_panel);
            for (v, panel) in panels.enumerate() {
                let right = panel[first / block * layout.value_block_len()..].as_ptr();
                for row in (0..size).step_by(VALUE_ROWS) {
                    // SAFETY: VALUE_ROWS rows of sums and of `count` scores, and as many values.
                    unsafe {
                        let to = sums[(rows.start + row) * wide + v * value_panel..].as_mut_ptr();
                        let mut tile = get::<S, VALUE_ROWS, VALUE_VECS>(simd, to, wide);
                        let left = scores[row * block..].as_ptr();
                        let (correction, ahead) = (weights_less[row..].as_ptr(), layout.value_panel_len());
                        multiply(
                            simd,
                            &mut tile,
                            Sides { depth: count, left, stride: block, correction, right, ahead },
                        );
                        put::<S, VALUE_ROWS, VALUE_VECS>(tile, to, wide);
                    }
                }
            }
        }
    }
    for (i, token) in queries.enumerate() {
        let inverse = if layout.pairs { head.header[0] / totals[i] } else { 1.0 / totals[i] };
        // SAFETY: this query's row of this head.
        let row = unsafe { std::slice::from_raw_parts_mut(out.add(token * dim), head_dim) };
        row.iter_mut().zip(&sums[i * wide..]).for_each(|(y, x)| *y = x * inverse);
    }
}

/// # Safety
/// ROWS rows of VECS vectors, `stride` apart.
#[inline(always)]
unsafe fn put<S: Simd, const ROWS: usize, const VECS: usize>(tile: Tile<S, ROWS, VECS>, to: *mut f32, stride: usize) {
    for (row, values) in tile.into_iter().enumerate() {
        for (v, value) in values.into_iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { store::<S>(to.add(row * stride + v * S::F32_LANES), value) }
        }
    }
}

/// # Safety
/// ROWS rows of VECS vectors, `stride` apart.
#[inline(always)]
unsafe fn get<S: Simd, const ROWS: usize, const VECS: usize>(
    simd: S,
    from: *const f32,
    stride: usize,
) -> Tile<S, ROWS, VECS> {
    let mut tile = zero::<S, ROWS, VECS>(simd);
    for (row, values) in tile.iter_mut().enumerate() {
        for (v, value) in values.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *value = unsafe { load::<S>(from.add(row * stride + v * S::F32_LANES)) };
        }
    }
    tile
}

/// The highest of some scores.
#[inline(always)]
fn highest_of<S: Simd>(simd: S, scores: &[f32]) -> f32 {
    let (vectors, rest) = S::as_simd_f32s(scores);
    let (fours, few) = vectors.as_chunks::<4>();
    // Four running values, so that none waits for the one before.
    let mut high = [simd.splat_f32s(f32::NEG_INFINITY); 4];
    for four in fours {
        for (h, x) in high.iter_mut().zip(four) {
            *h = simd.max_f32s(*h, *x);
        }
    }
    let mut all = high[0];
    for h in &high[1..] {
        all = simd.max_f32s(all, *h);
    }
    for x in few {
        all = simd.max_f32s(all, *x);
    }
    rest.iter().fold(simd.reduce_max_f32s(all), |a, b| a.max(*b))
}

/// Turns scores into 2^(score - high), and gives their sum.
#[inline(always)]
fn weigh<S: Simd>(simd: S, scores: &mut [f32], high: f32) -> f32 {
    let highs = simd.splat_f32s(high);
    let (vectors, rest) = S::as_mut_simd_f32s(scores);
    let (fours, few) = vectors.as_chunks_mut::<4>();
    let mut sums = [simd.splat_f32s(0.0); 4];
    for four in fours {
        for (sum, x) in sums.iter_mut().zip(four) {
            *x = exp2(simd, simd.sub_f32s(*x, highs));
            *sum = simd.add_f32s(*sum, *x);
        }
    }
    for x in few {
        *x = exp2(simd, simd.sub_f32s(*x, highs));
        sums[0] = simd.add_f32s(sums[0], *x);
    }
    let sum = simd.add_f32s(simd.add_f32s(sums[0], sums[1]), simd.add_f32s(sums[2], sums[3]));
    let last = exp2(simd, simd.sub_f32s(simd.partial_load_f32s(rest), highs));
    simd.partial_store_f32s(rest, last);
    simd.reduce_sum_f32s(sum) + rest.iter().sum::<f32>()
}
