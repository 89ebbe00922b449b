//! The innermost product: a tile of rows x vectors that stays in registers.

use super::simd::{Simd, WithSimd, load};

/// Vectors side by side in a tile. With [`TALL`] rows a tile fills 24 of 32 registers, with [`SHORT`] rows 12 of 16.
pub(super) const VECTORS: usize = 3;
/// Rows of a tile where there are 32 registers.
pub(super) const TALL: usize = 8;
/// Rows of a tile where there are 16 registers.
pub(super) const SHORT: usize = 4;

/// Runs `$run::<S, ROWS>($args)` with as many rows as `S` has registers for.
macro_rules! with_rows {
    ($s:ident, $run:ident($($arg:expr),* $(,)?)) => {
        if $s::REGISTER_COUNT >= 32 { $run::<$s, { $crate::kernels::tile::TALL }>($($arg),*) }
        else { $run::<$s, { $crate::kernels::tile::SHORT }>($($arg),*) }
    };
}
pub(super) use with_rows;

/// A tile's values.
pub(super) type Tile<S, const ROWS: usize, const VECS: usize> = [[<S as Simd>::f32s; VECS]; ROWS];

/// A tile of zeros.
#[inline(always)]
pub(super) fn zero<S: Simd, const ROWS: usize, const VECS: usize>(simd: S) -> Tile<S, ROWS, VECS> {
    [[simd.splat_f32s(0.0); VECS]; ROWS]
}

/// tile += A B: A is (ROWS, depth) with `stride` between its rows, B is (depth, VECS vectors) packed.
///
/// # Safety
/// A and B hold that many values.
#[inline(always)]
pub(super) unsafe fn multiply<S: Simd, const ROWS: usize, const VECS: usize>(
    simd: S,
    tile: &mut Tile<S, ROWS, VECS>,
    depth: usize,
    a: *const f32,
    stride: usize,
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

/// [`multiply`] as a function of its own. Where one tile follows another, the compiler would keep several in registers,
/// run out of them, and spill inside the loop; here they wait in memory.
///
/// # Safety
/// As for [`multiply`].
#[inline(never)]
pub(super) unsafe fn multiply_apart<S: Simd, const ROWS: usize, const VECS: usize>(
    simd: S,
    tile: &mut Tile<S, ROWS, VECS>,
    depth: usize,
    a: *const f32,
    stride: usize,
    b: *const f32,
) {
    struct Multiply<'a, S: Simd, const ROWS: usize, const VECS: usize> {
        tile: &'a mut Tile<S, ROWS, VECS>,
        depth: usize,
        a: *const f32,
        stride: usize,
        b: *const f32,
        simd: S,
    }
    impl<S: Simd, const ROWS: usize, const VECS: usize> WithSimd for Multiply<'_, S, ROWS, VECS> {
        type Output = ();
        #[inline(always)]
        fn with_simd<Same: Simd>(self, _: Same) {
            // SAFETY: the promise of multiply_apart's caller.
            unsafe { multiply(self.simd, self.tile, self.depth, self.a, self.stride, self.b) }
        }
    }
    simd.vectorize(Multiply { tile, depth, a, stride, b, simd });
}
