//! A tile of rows x vectors that stays in registers, and its plain product.

use super::simd::{PAIRED, Simd, load};

/// Runs `$run::<S, ROWS, VECS>($args)` with the tile that suits `S` and `$isa`.
macro_rules! with_tile {
    ($s:ident, $isa:expr, $run:ident($($arg:expr),* $(,)?)) => {{
        use $crate::simd::{PAIRED, SHORT, TALL};
        if $s::REGISTER_COUNT < 32 { $run::<$s, { SHORT.0 }, { SHORT.1 }>($($arg),*) }
        else if $isa.pairs() { $run::<$s, { PAIRED.0 }, { PAIRED.1 }>($($arg),*) }
        else { $run::<$s, { TALL.0 }, { TALL.1 }>($($arg),*) }
    }};
}
pub(super) use with_tile;

/// A tile's values.
pub(super) type Tile<S, const ROWS: usize, const VECS: usize> = [[<S as Simd>::f32s; VECS]; ROWS];

/// A tile of zeros.
#[inline(always)]
pub(super) fn zero<S: Simd, const ROWS: usize, const VECS: usize>(simd: S) -> Tile<S, ROWS, VECS> {
    [[simd.splat_f32s(0.0); VECS]; ROWS]
}

/// Vectors that stand before the first row of a right side so many vectors wide: what its pairs subtract.
pub(super) const fn rows_before(vecs: usize) -> usize {
    if vecs == PAIRED.1 { 1 } else { 0 }
}

/// Both sides of a tile's product: A is (ROWS, depth) with `stride` between its rows, B is (depth, VECS vectors) packed.
#[derive(Clone, Copy)]
pub(super) struct Sides {
    pub(super) depth: usize,
    pub(super) left: *const f32,
    pub(super) stride: usize,
    /// In pairs: what each row subtracts.
    pub(super) correction: *const f32,
    /// In pairs, what the columns subtract stands before B, and this points there.
    pub(super) right: *const f32,
    /// How far from it that is which is wanted next.
    pub(super) ahead: usize,
}

/// tile += A B: one multiply-add for each product.
///
/// # Safety
/// A, with `stride` between its rows, and B hold `depth` values of each row and vector.
#[inline(always)]
pub(super) unsafe fn multiply_plainly<S: Simd, const ROWS: usize, const VECS: usize>(
    simd: S,
    tile: &mut Tile<S, ROWS, VECS>,
    depth: usize,
    (a, stride): (*const f32, usize),
    b: *const f32,
) {
    let mut acc = *tile;
    let mut b = b;
    for k in 0..depth {
        // SAFETY: k < depth, the row is one of A's, and B has VECS vectors for each k.
        unsafe {
            let mut right = [simd.splat_f32s(0.0); VECS];
            for (v, r) in right.iter_mut().enumerate() {
                *r = load::<S>(b.add(v * S::F32_LANES));
            }
            b = b.add(VECS * S::F32_LANES);
            for (row, acc) in acc.iter_mut().enumerate() {
                let left = simd.splat_f32s(*a.add(row * stride + k));
                for (acc, r) in acc.iter_mut().zip(right) {
                    *acc = simd.mul_add_e_f32s(left, r, *acc);
                }
            }
        }
    }
    *tile = acc;
}
