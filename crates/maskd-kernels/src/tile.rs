//! The innermost product: a tile of rows x vectors that stays in registers.
//!
//! Two ways: plainly, one multiply-add for each product, or in pairs (`pairs.rs`).

use super::{
    pairs::multiply_in_pairs,
    simd::{Simd, WithSimd, load},
};

/// Rows x vectors of a plain tile where there are 32 registers: 24 of them.
pub(super) const TALL: (usize, usize) = (8, 3);
/// Rows x vectors of a plain tile where there are 16 registers: 12 of them.
pub(super) const SHORT: (usize, usize) = (4, 3);
/// Rows x vectors of a tile that is multiplied in pairs, and of no other: each left value is used once, straight from memory.
pub(super) const PAIRED: (usize, usize) = (16, 1);
/// Runs `$run::<S, ROWS, VECS>($args)` with the tile that suits `S` and `$isa`.
macro_rules! with_tile {
    ($s:ident, $isa:expr, $run:ident($($arg:expr),* $(,)?)) => {{
        use $crate::tile::{PAIRED, SHORT, TALL};
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
    pub(super) less: *const f32,
    /// In pairs, what the columns subtract stands before B, and this points there.
    pub(super) right: *const f32,
    /// How far from it that is which is wanted next.
    pub(super) ahead: usize,
}

/// tile += A B.
///
/// # Safety
/// A and B hold that many values, and in pairs those that go with them.
#[inline(always)]
pub(super) unsafe fn multiply<S: Simd, const ROWS: usize, const VECS: usize>(
    simd: S,
    tile: &mut Tile<S, ROWS, VECS>,
    sides: Sides,
) {
    let tile = &raw mut *tile;
    // SAFETY: the caller's promise.
    unsafe { multiply_onto(simd, tile, tile, sides) }
}

/// [`multiply`] from one tile to another, which may be the same.
///
/// # Safety
/// As for [`multiply`]; both tiles are there.
#[inline(always)]
unsafe fn multiply_onto<S: Simd, const ROWS: usize, const VECS: usize>(
    simd: S,
    from: *const Tile<S, ROWS, VECS>,
    to: *mut Tile<S, ROWS, VECS>,
    sides: Sides,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if rows_before(VECS) == 1 {
            multiply_in_pairs(simd, from, to, sides);
        } else {
            let mut tile = *from;
            multiply_plainly(simd, &mut tile, sides.depth, (sides.left, sides.stride), sides.right);
            *to = tile;
        }
    }
}

/// # Safety
/// As for [`multiply`].
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

/// `to` = `from` + A B, [`multiply`] as a function of its own. Where one tile follows another, the compiler would keep
/// several in registers, run out of them, and spill inside the loop; here they wait in memory.
///
/// # Safety
/// As for [`multiply`].
#[inline(never)]
pub(super) unsafe fn multiply_apart<S: Simd, const ROWS: usize, const VECS: usize>(
    simd: S,
    from: &Tile<S, ROWS, VECS>,
    to: &mut Tile<S, ROWS, VECS>,
    sides: Sides,
) {
    struct Multiply<'a, S: Simd, const ROWS: usize, const VECS: usize> {
        from: &'a Tile<S, ROWS, VECS>,
        to: &'a mut Tile<S, ROWS, VECS>,
        sides: Sides,
        simd: S,
    }
    impl<S: Simd, const ROWS: usize, const VECS: usize> WithSimd for Multiply<'_, S, ROWS, VECS> {
        type Output = ();
        #[inline(always)]
        fn with_simd<Same: Simd>(self, _: Same) {
            // SAFETY: the promise of multiply_apart's caller.
            unsafe { multiply_onto(self.simd, self.from, self.to, self.sides) }
        }
    }
    simd.vectorize(Multiply { from, to, sides, simd });
}
