//! Products in pairs (Winograd's inner product), for processors that add beside their multiply-adds (see [`super::Isa`]).
//!
//! x0 y0 + x1 y1 = (x0 + y1)(x1 + y0) - x0 x1 - y0 y1 (S. Winograd, A New Algorithm for Inner Product, 1968). What is
//! subtracted belongs to a row alone or to a column alone, and is made once for many tiles; one multiplication and two
//! additions remain for two products. With every third product left plain both units are busy all the time: three products
//! in two cycles. It rounds about as the plain sum does where both sides are equally large, so powers of two are moved
//! from one to the other beforehand.

use super::{
    simd::{PAIRED, Simd, load},
    tile::{Sides, Tile, multiply_plainly},
};

/// How far the three of a depth that go together are from each other: neighbours' products are then products of vectors.
/// A short depth, as a head's, is one stretch.
const fn stretch(depth: usize) -> usize {
    if depth < 96 { depth / 3 } else { 16 }
}

/// Starts of whole stretches, and those three go together after the last: their distance.
fn stretches(depth: usize) -> (impl Iterator<Item = usize>, usize, usize) {
    let three = 3 * stretch(depth).max(1);
    let whole = depth / three * three;
    ((0..whole).step_by(three), whole, (depth - whole) / 3)
}

/// The places that are multiplied as pairs in a depth.
pub(super) fn pairs(depth: usize) -> impl Iterator<Item = (usize, usize)> {
    let (starts, whole, rest) = stretches(depth);
    let apart = stretch(depth);
    let pairs = starts.flat_map(move |start| (start..start + apart).map(move |k| (k, k + apart)));
    pairs.chain((whole..whole + rest).map(move |k| (k, k + rest)))
}

/// What the pairs of a row of a left side subtract: minus the sum of their products.
#[inline(always)]
pub(super) fn correction_of_row<S: Simd>(simd: S, row: &[f32]) -> f32 {
    let (starts, whole, rest) = stretches(row.len());
    let apart = stretch(row.len());
    let (mut sum, mut few) = (simd.splat_f32s(0.0), 0.0);
    for start in starts {
        let (first, second) = (&row[start..start + apart], &row[start + apart..start + 2 * apart]);
        let ((a, a_rest), (b, b_rest)) = (S::as_simd_f32s(first), S::as_simd_f32s(second));
        for (a, b) in a.iter().zip(b) {
            sum = simd.mul_add_e_f32s(*a, *b, sum);
        }
        few += a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>();
    }
    let (first, second) = (&row[whole..whole + rest], &row[whole + rest..whole + 2 * rest]);
    few += first.iter().zip(second).map(|(a, b)| a * b).sum::<f32>();
    -simd.reduce_sum_f32s(sum) - few
}

/// [`super::microkernel::multiply`] in pairs.
///
/// # Safety
/// As for it.
#[inline(always)]
pub(super) unsafe fn multiply_in_pairs<S: Simd, const ROWS: usize, const VECS: usize>(
    simd: S,
    from: *const Tile<S, ROWS, VECS>,
    to: *mut Tile<S, ROWS, VECS>,
    sides: Sides,
) {
    let Sides { depth, left: a, stride, correction, right: b, .. } = sides;
    let (width, apart) = (VECS * S::F32_LANES, stretch(depth));
    let three = 3 * apart;
    let whole = depth.checked_div(three).unwrap_or(0);
    #[cfg(target_arch = "x86_64")]
    if (S::F32_LANES, ROWS, VECS) == (16, PAIRED.0, PAIRED.1) && whole > 0 && (apart == 16 || apart == 21) {
        // SAFETY: sixteen values to a vector are AVX-512, as the tile of sixteen vectors is; the caller's promise.
        unsafe {
            let (from, to) = (from.cast(), to.cast());
            match apart {
                16 => avx512::far_16((from, to), whole, sides),
                _ => avx512::far_21((from, to), whole, sides),
            }
        }
        let left = depth - whole * three;
        if left > 0 {
            // SAFETY: what comes after the last stretch.
            unsafe {
                let (a, b) = (a.add(whole * three), b.add((1 + whole * three) * width));
                let mut tile = *to;
                after(simd, &mut tile, left, (a, stride), b);
                *to = tile;
            }
        }
        return;
    }
    // SAFETY: the caller's promise.
    let mut acc = unsafe { *from };
    for (row, acc) in acc.iter_mut().enumerate() {
        for (v, acc) in acc.iter_mut().enumerate() {
            // SAFETY: one value for each row, and one vector before B for each of its.
            let correction =
                unsafe { simd.add_f32s(simd.splat_f32s(*correction.add(row)), load::<S>(b.add(v * S::F32_LANES))) };
            *acc = simd.add_f32s(*acc, correction);
        }
    }
    let b = b.wrapping_add(width);
    // SAFETY: k and what stands beside it stay below `depth`.
    unsafe {
        for start in (0..whole * three).step_by(three.max(1)) {
            for k in start..start + apart {
                threes(simd, &mut acc, (a.add(k), stride), b.add(k * width), apart);
            }
        }
        let from = whole * three;
        after(simd, &mut acc, depth - from, (a.add(from), stride), b.add(from * width));
    }
    // SAFETY: the caller's promise.
    unsafe { *to = acc };
}

/// What is left after the last stretch.
///
/// # Safety
/// A and B hold `depth` values more.
#[inline(always)]
unsafe fn after<S: Simd, const ROWS: usize, const VECS: usize>(
    simd: S,
    tile: &mut Tile<S, ROWS, VECS>,
    depth: usize,
    (a, stride): (*const f32, usize),
    b: *const f32,
) {
    let (width, apart) = (VECS * S::F32_LANES, depth / 3);
    // SAFETY: all of it is below `depth`.
    unsafe {
        for k in 0..apart {
            threes(simd, tile, (a.add(k), stride), b.add(k * width), apart);
        }
        multiply_plainly(simd, tile, depth - 3 * apart, (a.add(3 * apart), stride), b.add(3 * apart * width));
    }
}

/// Three products, `apart` from each other: two as a pair, one plainly.
///
/// # Safety
/// All three are within A and B.
#[inline(always)]
unsafe fn threes<S: Simd, const ROWS: usize, const VECS: usize>(
    simd: S,
    acc: &mut Tile<S, ROWS, VECS>,
    (a, stride): (*const f32, usize),
    b: *const f32,
    apart: usize,
) {
    let width = VECS * S::F32_LANES;
    for v in 0..VECS {
        // SAFETY: the caller's promise.
        unsafe {
            let b = b.add(v * S::F32_LANES);
            let (y0, y1) = (load::<S>(b), load::<S>(b.add(apart * width)));
            let y2 = load::<S>(b.add(2 * apart * width));
            for (row, acc) in acc.iter_mut().enumerate() {
                let x = a.add(row * stride);
                let left = simd.add_f32s(simd.splat_f32s(*x), y1);
                let right = simd.add_f32s(simd.splat_f32s(*x.add(apart)), y0);
                acc[v] = simd.mul_add_e_f32s(left, right, acc[v]);
                acc[v] = simd.mul_add_e_f32s(simd.splat_f32s(*x.add(2 * apart)), y2, acc[v]);
            }
        }
    }
}

/// The same by hand, with the next right side on its way to the second-level cache: three strands at a time hide from the
/// processor what comes next. Compilers keep too few of the addresses in registers, and then some of the sums.
#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::asm;

    use super::Sides;

    /// Three products of one row, at address `$at`.
    macro_rules! row {
        ($sum:literal, $t:literal, $u:literal, $at:literal, $far:literal, $further:literal) => {
            concat!(
                "vaddps zmm",
                $t,
                ", zmm17, dword ptr [",
                $at,
                "]{{1to16}}\n",
                "vaddps zmm",
                $u,
                ", zmm16, dword ptr [",
                $at,
                " + ",
                $far,
                "]{{1to16}}\n",
                "vfmadd231ps zmm",
                $sum,
                ", zmm18, dword ptr [",
                $at,
                " + ",
                $further,
                "]{{1to16}}\n",
                "vfmadd231ps zmm",
                $sum,
                ", zmm",
                $t,
                ", zmm",
                $u,
                "\n",
            )
        };
    }
    /// What rows and columns subtract, and the tile so far.
    macro_rules! begin {
        ($($sum:literal)*) => {
            concat!("vmovups zmm16, [{b}]\n", $(
                "vaddps zmm", $sum, ", zmm16, dword ptr [{correction} + 4 * ", $sum, "]{{1to16}}\n",
                "vaddps zmm", $sum, ", zmm", $sum, ", [{from} + 64 * ", $sum, "]\n",
            )*)
        };
    }
    macro_rules! end {
        ($($sum:literal)*) => { concat!($("vmovups [{to} + 64 * ", $sum, "], zmm", $sum, "\n",)*) };
    }
    /// Whole stretches of one length; distances in bytes.
    macro_rules! kernel {
        ($name:ident, $apart:literal, $far:literal, $further:literal, $b_far:literal, $b_further:literal) => {
            /// 3 x `stretches` x the distance products, for a tile of 16 rows and one vector.
            ///
            /// # Safety
            /// The machine has AVX-512; one stretch at least; A, B and `correction` as for `multiply`. What is `ahead` of B is fetched.
            #[inline(always)]
            pub(super) unsafe fn $name(
                (from, to): (*const f32, *mut f32),
                stretches: usize,
                Sides { left, stride, correction, right, ahead, .. }: Sides,
            ) {
                let s = 4 * stride;
                // SAFETY: it reads what the caller promises, and writes the tile and registers that it names.
                unsafe {
                    asm!(
                        begin!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15),
                        "2:",
                        concat!("mov {correction:e}, ", $apart),
                        "3:",
                        "prefetcht1 [{b} + {ahead}]",
                        concat!("prefetcht1 [{b} + {ahead} + ", $b_far, "]"),
                        concat!("prefetcht1 [{b} + {ahead} + ", $b_further, "]"),
                        "vmovups zmm16, [{b} + 64]",
                        concat!("vmovups zmm17, [{b} + 64 + ", $b_far, "]"),
                        concat!("vmovups zmm18, [{b} + 64 + ", $b_further, "]"),
                        row!(0, 20, 21, "{p}", $far, $further),
                        row!(1, 22, 23, "{p} + {s}", $far, $further),
                        row!(2, 24, 25, "{p} + 2 * {s}", $far, $further),
                        row!(3, 26, 27, "{p} + {s3}", $far, $further),
                        row!(4, 28, 29, "{p} + 4 * {s}", $far, $further),
                        row!(5, 30, 31, "{p} + {s5}", $far, $further),
                        row!(6, 20, 21, "{p} + 2 * {s3}", $far, $further),
                        row!(7, 22, 23, "{p} + {s7}", $far, $further),
                        row!(8, 24, 25, "{q}", $far, $further),
                        row!(9, 26, 27, "{q} + {s}", $far, $further),
                        row!(10, 28, 29, "{q} + 2 * {s}", $far, $further),
                        row!(11, 30, 31, "{q} + {s3}", $far, $further),
                        row!(12, 20, 21, "{q} + 4 * {s}", $far, $further),
                        row!(13, 22, 23, "{q} + {s5}", $far, $further),
                        row!(14, 24, 25, "{q} + 2 * {s3}", $far, $further),
                        row!(15, 26, 27, "{q} + {s7}", $far, $further),
                        "add {p}, 4",
                        "add {q}, 4",
                        "add {b}, 64",
                        "dec {correction:e}",
                        "jnz 3b",
                        concat!("add {p}, ", $further),
                        concat!("add {q}, ", $further),
                        concat!("add {b}, ", $b_further),
                        "dec {n}",
                        "jnz 2b",
                        end!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15),
                        from = in(reg) from,
                        to = in(reg) to,
                        p = inout(reg) left => _,
                        q = inout(reg) left.wrapping_add(8 * stride) => _,
                        s = in(reg) s,
                        s3 = in(reg) 3 * s,
                        s5 = in(reg) 5 * s,
                        s7 = in(reg) 7 * s,
                        b = inout(reg) right => _,
                        correction = inout(reg) correction => _,
                        ahead = in(reg) 4 * ahead,
                        n = inout(reg) stretches => _,
                        out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _, out("zmm4") _, out("zmm5") _,
                        out("zmm6") _, out("zmm7") _, out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _,
                        out("zmm12") _, out("zmm13") _, out("zmm14") _, out("zmm15") _, out("zmm16") _, out("zmm17") _,
                        out("zmm18") _, out("zmm20") _, out("zmm21") _, out("zmm22") _, out("zmm23") _, out("zmm24") _,
                        out("zmm25") _, out("zmm26") _, out("zmm27") _, out("zmm28") _, out("zmm29") _, out("zmm30") _,
                        out("zmm31") _,
                        options(nostack),
                    );
                }
            }
        };
    }
    kernel!(far_16, 16, 64, 128, 1024, 2048);
    kernel!(far_21, 21, 84, 168, 1344, 2688);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Isa, microkernel::multiply, simd::WithSimd, tile::zero};

    /// One tile in pairs: A, (16, stride), times B, (depth, lanes).
    struct Product<'a> {
        a: &'a [f32],
        b: &'a [f32],
        depth: usize,
        stride: usize,
    }

    impl WithSimd for Product<'_> {
        type Output = Vec<f32>;

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
            let Self { a, b, depth, stride } = self;
            let lanes = S::F32_LANES;
            let column = |n: usize| -pairs(depth).map(|(i, j)| b[i * lanes + n] * b[j * lanes + n]).sum::<f32>();
            let right: Vec<f32> = (0..lanes).map(column).chain(b[..depth * lanes].iter().copied()).collect();
            let correction: Vec<f32> =
                (0..16).map(|row| correction_of_row(simd, &a[row * stride..][..depth])).collect();
            let mut tile = zero::<S, { PAIRED.0 }, { PAIRED.1 }>(simd);
            let (left, correction, right) = (a.as_ptr(), correction.as_ptr(), right.as_ptr());
            // SAFETY: sixteen rows, one vector.
            unsafe { multiply(simd, &mut tile, Sides { depth, left, stride, correction, right, ahead: 0 }) };
            tile.iter().flatten().flat_map(|v| (0..lanes).map(|i| lane::<S>(v, i))).collect()
        }
    }

    fn lane<S: Simd>(v: &S::f32s, i: usize) -> f32 {
        // SAFETY: a vector is plain values.
        unsafe { *std::ptr::from_ref(v).cast::<f32>().add(i) }
    }

    fn noise(n: usize, seed: usize) -> Vec<f32> {
        (0..n).map(|i| (((i + 977 * seed) as f32 * 12.9898).sin() * 43_758.547).fract()).collect()
    }

    proptest! {
        #[test]
        fn pairs_give_the_product_of_any_depth(depth in 0usize..600, more in 0usize..40, power in -60i32..60) {
            for isa in Isa::available().into_iter().filter(|isa| isa.pairs()) {
                let (stride, lanes, scale) = (depth + more, isa.lanes(), 2f32.powi(power));
                let a: Vec<f32> = noise(16 * stride, 1).iter().map(|x| x * scale).collect();
                let b: Vec<f32> = noise(depth * lanes, 2).iter().map(|x| x * scale).collect();
                let product = isa.run(Product { a: &a, b: &b, depth, stride });
                for (i, x) in product.iter().enumerate() {
                    let (row, n) = (i / lanes, i % lanes);
                    let of = |k: usize| f64::from(a[row * stride + k]) * f64::from(b[k * lanes + n]);
                    let (truth, size) = (0..depth).map(of).fold((0.0, 0.0), |(t, s), x| (t + x, s + x.abs()));
                    let room = 4e-6 * (size + f64::from(scale).powi(2));
                    prop_assert!((f64::from(*x) - truth).abs() <= room, "{}: {x} at {row}, {n}, not {truth}", isa.name());
                }
            }
        }
    }

    #[test]
    fn no_place_is_in_two_pairs() {
        for depth in 0..700 {
            let mut places: Vec<usize> = pairs(depth).flat_map(|(a, b)| [a, b]).collect();
            places.sort_unstable();
            assert!(places.windows(2).all(|two| two[0] < two[1]) && places.last().is_none_or(|last| *last < depth));
            // Two of three are, but for the few of a depth that three does not divide.
            assert!(places.len() + 2 >= 2 * depth / 3, "{depth}: {}", places.len());
        }
    }
}
