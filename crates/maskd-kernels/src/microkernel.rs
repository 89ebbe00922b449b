//! The innermost product: a tile += rows of A times a panel of B.
//!
//! Two ways: plainly, one multiply-add for each product ([`multiply_plainly`]), or in pairs ([`multiply_in_pairs`]).

use super::{
    simd::{Simd, WithSimd},
    tile::{Sides, Tile, multiply_plainly, rows_before},
    winograd::multiply_in_pairs,
};

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
