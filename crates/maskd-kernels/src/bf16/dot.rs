//! The innermost product, by AVX512_BF16: each instruction multiplies pairs of bfloat16 and adds them up in float32.

use std::arch::x86_64::*;

use super::super::simd::{Simd, exp2, gelu};

/// Rows of a tile. With [`VECTORS`] vectors it fills 24 of 32 registers.
pub(super) const ROWS: usize = 6;
/// Vectors side by side in a tile.
pub(super) const VECTORS: usize = 4;
/// Values in a vector.
pub(super) const LANES: usize = 16;
/// Columns of a tile.
pub(super) const PANEL: usize = VECTORS * LANES;

/// Sums in float32.
pub(super) type Tile = [[__m512; VECTORS]; ROWS];

/// That this machine has the instructions.
#[derive(Clone, Copy)]
pub(super) struct Dot(pulp::x86::V4);

impl Dot {
    /// `None` where the machine has them not.
    pub(super) fn detect() -> Option<Self> {
        pulp::x86::V4::try_new().filter(|_| std::is_x86_feature_detected!("avx512bf16")).map(Self)
    }

    /// The same vectors for what both precisions share.
    #[inline(always)]
    pub(super) fn simd(self) -> pulp::x86::V4 {
        self.0
    }

    /// x * Phi(x).
    #[inline(always)]
    pub(super) fn gelu(self, x: __m512) -> __m512 {
        // SAFETY: both are sixteen floats.
        unsafe { std::mem::transmute(gelu(self.0, std::mem::transmute::<__m512, V>(x))) }
    }

    /// 2^x, x <= 127.
    #[inline(always)]
    pub(super) fn exp2(self, x: __m512) -> __m512 {
        // SAFETY: both are sixteen floats.
        unsafe { std::mem::transmute(exp2(self.0, std::mem::transmute::<__m512, V>(x))) }
    }
}

type V = <pulp::x86::V4 as Simd>::f32s;

/// A tile of zeros.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
pub(super) fn zero() -> Tile {
    [[_mm512_setzero_ps(); VECTORS]; ROWS]
}

/// tile += A B over `pairs` pairs of the depth: A is (ROWS, pairs) with `stride` between its rows, B (pairs, PANEL).
///
/// # Safety
/// A and B hold that many pairs.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
pub(super) unsafe fn multiply(tile: Tile, pairs: usize, a: *const u32, stride: usize, b: *const u32) -> Tile {
    let mut acc = tile;
    let mut b = b;
    for k in 0..pairs {
        // SAFETY: k < pairs, the row is one of A's, and B has PANEL pairs for each k.
        unsafe {
            let mut right = [_mm512_setzero_si512(); VECTORS];
            for (v, r) in right.iter_mut().enumerate() {
                *r = _mm512_loadu_si512(b.add(v * LANES).cast());
            }
            b = b.add(PANEL);
            for (row, acc) in acc.iter_mut().enumerate() {
                let left = _mm512_set1_epi32((*a.add(row * stride + k)).cast_signed());
                for (acc, r) in acc.iter_mut().zip(right) {
                    *acc = _mm512_dpbf16_ps(*acc, bits(left), bits(r));
                }
            }
        }
    }
    acc
}

#[target_feature(enable = "avx512f")]
#[inline]
fn bits(x: __m512i) -> __m512bh {
    // SAFETY: sixteen pairs are sixteen pairs.
    unsafe { std::mem::transmute(x) }
}

/// Two vectors rounded to the nearest bfloat16, side by side: sixteen pairs of neighbours.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
pub(super) fn round(low: __m512, high: __m512) -> __m512i {
    // SAFETY: thirty-two times sixteen bits.
    unsafe { std::mem::transmute(_mm512_cvtne2ps_pbh(high, low)) }
}

/// Two vectors rounded to the nearest bfloat16, value by value: sixteen pairs of one from each.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
#[inline]
pub(super) fn round_across(first: __m512, second: __m512) -> __m512i {
    // SAFETY: sixteen times sixteen bits.
    let [first, second] = [first, second].map(|x| unsafe { std::mem::transmute::<_, __m256i>(_mm512_cvtneps_pbh(x)) });
    _mm512_or_si512(_mm512_cvtepu16_epi32(first), _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(second)))
}

/// The first `count` lanes, at most sixteen.
#[inline(always)]
pub(super) fn lanes(count: usize) -> __mmask16 {
    if count >= LANES { !0 } else { (1 << count) - 1 }
}
