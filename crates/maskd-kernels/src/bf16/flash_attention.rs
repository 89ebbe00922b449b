//! Flash attention of some queries of one head in bfloat16: scores, softmax and sums are float32; what is multiplied is not.

use std::{arch::x86_64::*, ops::Range};

use super::{
    super::buffer::Scratch,
    dot::{Dot, LANES, PANEL, ROWS, Tile, VECTORS, lanes, multiply, round, round_across, zero},
};

/// Queries that go through a block of keys together.
pub(super) const GROUP: usize = 4 * ROWS;
/// Keys of a block, whole panels: the scores of a group stay in the first-level cache.
const KEYS: usize = 4 * PANEL;

/// Queries, keys and values of one image as attention reads them, in pairs. Heads follow each other; one head is its
/// queries (tokens, pairs of channels), scaled; its keys, in panels of (pairs of channels, PANEL); its values, in panels
/// of (pairs of tokens, PANEL channels). Channels beyond the head's are zeros, tokens beyond the image's anything.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    pub(super) tokens: usize,
    pub(super) heads: usize,
    pub(super) head_dim: usize,
    /// What queries are multiplied by: 1 / sqrt d, and log2 e, since scores are powers of two here.
    scale: f32,
}

impl Layout {
    pub(super) fn new(tokens: usize, heads: usize, head_dim: usize) -> Self {
        Self { tokens, heads, head_dim, scale: std::f32::consts::LOG2_E / (head_dim as f32).sqrt() }
    }

    /// Channels of a head, as far as its last panel goes.
    fn wide(&self) -> usize {
        self.head_dim.next_multiple_of(PANEL)
    }

    fn queries_len(&self) -> usize {
        self.tokens.next_multiple_of(GROUP) * self.wide() / 2
    }

    /// Of keys or of values: a tile of tokens that starts with the last one fits.
    fn keys_len(&self) -> usize {
        self.padded_tokens() * self.wide() / 2
    }

    fn padded_tokens(&self) -> usize {
        (self.tokens + ROWS).next_multiple_of(PANEL)
    }

    /// Pairs of one head.
    fn head_len(&self) -> usize {
        self.queries_len() + 2 * self.keys_len()
    }

    /// Pairs of one image.
    pub(super) fn image_len(&self) -> usize {
        self.heads * self.head_len()
    }

    /// Puts a tile of ROWS tokens where it belongs: `panel` is one of the panels of (3, heads, d) outputs, each head's
    /// its own.
    ///
    /// # Safety
    /// `to` is an image's whole layout; `token` is a multiple of ROWS below `tokens`; nobody else writes these tokens.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    #[inline]
    pub(super) unsafe fn put(&self, to: *mut u32, panel: usize, token: usize, tile: Tile) {
        let (wide, panels) = (self.wide(), self.wide() / PANEL);
        let (part, head, panel) = (panel / panels / self.heads, panel / panels % self.heads, panel % panels);
        let head = to.wrapping_add(head * self.head_len());
        // SAFETY: each part's own layout, where tokens up to token + ROWS have room.
        unsafe {
            match part {
                0 => {
                    let scale = _mm512_set1_ps(self.scale);
                    for (i, values) in tile.into_iter().enumerate() {
                        let to = head.add((token + i) * wide / 2 + panel * PANEL / 2);
                        for v in (0..VECTORS).step_by(2) {
                            let two = round(_mm512_mul_ps(values[v], scale), _mm512_mul_ps(values[v + 1], scale));
                            _mm512_storeu_si512(to.add(v / 2 * LANES).cast(), two);
                        }
                    }
                }
                1 => {
                    let keys = head.add(self.queries_len());
                    for (i, values) in tile.into_iter().enumerate() {
                        let (block, key) = ((token + i) / PANEL, (token + i) % PANEL);
                        let to = keys.add((block * wide / 2 + panel * PANEL / 2) * PANEL + key);
                        let mut row = [0u32; PANEL / 2];
                        for v in (0..VECTORS).step_by(2) {
                            let two = round(values[v], values[v + 1]);
                            _mm512_storeu_si512(row.as_mut_ptr().add(v / 2 * LANES).cast(), two);
                        }
                        for (c, pair) in row.into_iter().enumerate() {
                            *to.add(c * PANEL) = pair;
                        }
                    }
                }
                _ => {
                    let values = head.add(self.queries_len() + self.keys_len());
                    let to = values.add((panel * self.padded_tokens() / 2 + token / 2) * PANEL);
                    for (i, two) in tile.as_chunks::<2>().0.iter().enumerate() {
                        for (v, (first, second)) in two[0].iter().zip(&two[1]).enumerate() {
                            let pairs = round_across(*first, *second);
                            _mm512_storeu_si512(to.add(i * PANEL + v * LANES).cast(), pairs);
                        }
                    }
                }
            }
        }
    }
}

/// softmax(q k^T / sqrt d) v of one head's `queries`, block of keys by block of keys: what is summed so far is rescaled
/// whenever a block brings a higher score (Milakov and Gimelshein 2018). Rounded to `out`, where this head's channels of
/// the image's first token go; the next token's are `stride` further.
///
/// # Safety
/// The machine has `dot`'s instructions; `image` is a filled layout; `queries` starts at a multiple of GROUP; these
/// channels of these tokens are the caller's own.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(super) unsafe fn attend(
    dot: Dot,
    layout: Layout,
    (image, head): (*const u32, usize),
    queries: Range<usize>,
    (out, stride): (*mut u16, usize),
) {
    let (tokens, wide) = (layout.tokens, layout.wide());
    let (pairs, groups) = (wide / 2, queries.len().div_ceil(GROUP));
    let q = image.wrapping_add(head * layout.head_len());
    let keys = q.wrapping_add(layout.queries_len());
    let values = keys.wrapping_add(layout.keys_len());
    let q = q.wrapping_add(queries.start * pairs);

    let mut scratch = Scratch::of(groups * GROUP * (wide + 2) + GROUP * (KEYS + KEYS / 2 + LANES));
    let (sums, scratch) = scratch.split_at_mut(groups * GROUP * wide);
    let (highest, scratch) = scratch.split_at_mut(groups * GROUP);
    let (totals, scratch) = scratch.split_at_mut(groups * GROUP);
    let (highs, scratch) = scratch.split_at_mut(GROUP * LANES);
    let (scores, weights) = scratch.split_at_mut(GROUP * KEYS);
    let weights: *mut u32 = weights.as_mut_ptr().cast();
    sums.fill(0.0);
    totals.fill(0.0);
    highest.fill(f32::NEG_INFINITY);

    for first in (0..tokens).step_by(KEYS) {
        let count = KEYS.min(tokens - first);
        for group in 0..groups {
            highs.fill(f32::NEG_INFINITY);
            for panel in 0..count.div_ceil(PANEL) {
                let right = keys.wrapping_add((first + panel * PANEL) * pairs);
                for row in (0..GROUP).step_by(ROWS) {
                    // SAFETY: ROWS queries from there on, one panel of keys, and room for their scores.
                    unsafe {
                        let tile = multiply(zero(), pairs, q.add((group * GROUP + row) * pairs), pairs, right);
                        let scores = scores[row * KEYS + panel * PANEL..].as_mut_ptr();
                        score(tile, count - panel * PANEL, scores, highs[row * LANES..].as_mut_ptr());
                    }
                }
            }
            for i in 0..GROUP {
                let row = group * GROUP + i;
                // SAFETY: as many scores as there are keys, in whole pairs of vectors, and room for their weights.
                unsafe {
                    let high = highest[row].max(_mm512_reduce_max_ps(_mm512_loadu_ps(highs[i * LANES..].as_ptr())));
                    if high > highest[row] {
                        let fade = (highest[row] - high).exp2();
                        highest[row] = high;
                        totals[row] *= fade;
                        sums[row * wide..(row + 1) * wide].iter_mut().for_each(|x| *x *= fade);
                    }
                    totals[row] += weigh(dot, scores[i * KEYS..].as_ptr(), count, high, weights.add(i * KEYS / 2));
                }
            }
            for v in 0..wide / PANEL {
                let right = values.wrapping_add((v * layout.padded_tokens() + first) / 2 * PANEL);
                for row in (0..GROUP).step_by(ROWS) {
                    // SAFETY: ROWS rows of sums and of weights, and as many values.
                    unsafe {
                        let to = sums[(group * GROUP + row) * wide + v * PANEL..].as_mut_ptr();
                        let mut tile = zero();
                        for (i, values) in tile.iter_mut().enumerate() {
                            for (v, value) in values.iter_mut().enumerate() {
                                *value = _mm512_loadu_ps(to.add(i * wide + v * LANES));
                            }
                        }
                        let tile = multiply(tile, count.div_ceil(2), weights.add(row * KEYS / 2), KEYS / 2, right);
                        for (i, values) in tile.into_iter().enumerate() {
                            for (v, value) in values.into_iter().enumerate() {
                                _mm512_storeu_ps(to.add(i * wide + v * LANES), value);
                            }
                        }
                    }
                }
            }
        }
    }
    for (i, token) in queries.enumerate() {
        let inverse = _mm512_set1_ps(1.0 / totals[i]);
        for c in (0..layout.head_dim).step_by(2 * LANES) {
            let mask = lanes_of_32(layout.head_dim - c);
            // SAFETY: this query's row of this head; what the mask leaves out is not touched.
            unsafe {
                let part = |c: usize| _mm512_mul_ps(_mm512_loadu_ps(sums[i * wide + c..].as_ptr()), inverse);
                let two = round(part(c), part(c + LANES));
                _mm512_mask_storeu_epi16(out.add(token * stride + c).cast(), mask, two);
            }
        }
    }
}

#[inline(always)]
fn lanes_of_32(count: usize) -> __mmask32 {
    if count >= 2 * LANES { !0 } else { (1 << count) - 1 }
}

/// Writes a tile of scores and keeps each row's highest, lane by lane; those from `count` on are as low as can be.
///
/// # Safety
/// Room for ROWS rows, KEYS apart, and for ROWS vectors of highest ones.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
unsafe fn score(mut tile: Tile, count: usize, scores: *mut f32, highs: *mut f32) {
    if count < PANEL {
        let low = _mm512_set1_ps(f32::NEG_INFINITY);
        for values in &mut tile {
            for (v, value) in values.iter_mut().enumerate() {
                *value = _mm512_mask_blend_ps(lanes(count.saturating_sub(v * LANES)), low, *value);
            }
        }
    }
    for (i, values) in tile.into_iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe {
            let mut high = _mm512_loadu_ps(highs.add(i * LANES));
            for (v, value) in values.into_iter().enumerate() {
                _mm512_storeu_ps(scores.add(i * KEYS + v * LANES), value);
                high = _mm512_max_ps(high, value);
            }
            _mm512_storeu_ps(highs.add(i * LANES), high);
        }
    }
}

/// Writes 2^(score - high) of `count` scores, rounded, and gives their sum before it.
///
/// # Safety
/// `count` scores and room for as many weights, both in whole pairs of vectors.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
unsafe fn weigh(dot: Dot, scores: *const f32, count: usize, high: f32, weights: *mut u32) -> f32 {
    let high = _mm512_set1_ps(high);
    let mut sums = [_mm512_setzero_ps(); 2];
    for c in (0..count).step_by(2 * LANES) {
        // SAFETY: the caller's promise.
        unsafe {
            let low = dot.exp2(_mm512_sub_ps(_mm512_loadu_ps(scores.add(c)), high));
            let next = dot.exp2(_mm512_sub_ps(_mm512_loadu_ps(scores.add(c + LANES)), high));
            sums = [_mm512_add_ps(sums[0], low), _mm512_add_ps(sums[1], next)];
            _mm512_storeu_si512(weights.add(c / 2).cast(), round(low, next));
        }
    }
    _mm512_reduce_add_ps(_mm512_add_ps(sums[0], sums[1]))
}
