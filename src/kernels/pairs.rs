//! Products in pairs, for processors that add beside their multiply-adds (see [`super::Isa`]).
//!
//! x0 y0 + x1 y1 = (x0 + y1)(x1 + y0) - x0 x1 - y0 y1 (S. Winograd, A New Algorithm for Inner Product, 1968). What is
//! subtracted belongs to a row alone or to a column alone, and is made once for many tiles; one multiplication and two
//! additions remain for two products. With every third product left plain both units are busy all the time: three products
//! in two cycles. It rounds about as the plain sum does where both sides are equally large, so powers of two are moved
//! from one to the other beforehand.

use super::{
    simd::{Simd, load},
    tile::{PAIRED, Tile, multiply_plainly},
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
pub(super) fn less_of_row<S: Simd>(simd: S, row: &[f32]) -> f32 {
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

/// [`super::tile::multiply`] in pairs.
///
/// # Safety
/// As for it.
#[inline(always)]
pub(super) unsafe fn multiply_in_pairs<S: Simd, const ROWS: usize, const VECS: usize>(
    simd: S,
    from: *const Tile<S, ROWS, VECS>,
    to: *mut Tile<S, ROWS, VECS>,
    depth: usize,
    (a, stride): (*const f32, usize),
    b: *const f32,
    less: *const f32,
    ahead: usize,
) {
    let (width, apart) = (VECS * S::F32_LANES, stretch(depth));
    let three = 3 * apart;
    let whole = depth.checked_div(three).unwrap_or(0);
    #[cfg(target_arch = "x86_64")]
    if (S::F32_LANES, ROWS, VECS) == (16, PAIRED.0, PAIRED.1) && whole > 0 && (apart == 16 || apart == 21) {
        // SAFETY: sixteen values to a vector are AVX-512, as the tile of sixteen vectors is; the caller's promise.
        unsafe {
            let (from, to) = (from.cast(), to.cast());
            match apart {
                16 => avx512::far_16((from, to), whole, (a, stride), b, less, ahead),
                _ => avx512::far_21((from, to), whole, (a, stride), b, less, ahead),
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
            let less = unsafe { simd.add_f32s(simd.splat_f32s(*less.add(row)), load::<S>(b.add(v * S::F32_LANES))) };
            *acc = simd.add_f32s(*acc, less);
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

    /// Three products of one row, at address `$at`.
    macro_rules! row {
        ($sum:literal, $t:literal, $u:literal, $at:literal, $far:literal, $further:literal) => {
            concat!(
                "vaddps zmm", $t, ", zmm17, dword ptr [", $at, "]{{1to16}}\n",
                "vaddps zmm", $u, ", zmm16, dword ptr [", $at, " + ", $far, "]{{1to16}}\n",
                "vfmadd231ps zmm", $sum, ", zmm18, dword ptr [", $at, " + ", $further, "]{{1to16}}\n",
                "vfmadd231ps zmm", $sum, ", zmm", $t, ", zmm", $u, "\n",
            )
        };
    }
    /// What rows and columns subtract, and the tile so far.
    macro_rules! begin {
        ($($sum:literal)*) => {
            concat!("vmovups zmm16, [{b}]\n", $(
                "vaddps zmm", $sum, ", zmm16, dword ptr [{less} + 4 * ", $sum, "]{{1to16}}\n",
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
            /// The machine has AVX-512; one stretch at least; A, B and `less` as for `multiply`. What is `ahead` of B is fetched.
            #[inline(always)]
            pub(super) unsafe fn $name(
                (from, to): (*const f32, *mut f32),
                stretches: usize,
                (a, stride): (*const f32, usize),
                b: *const f32,
                less: *const f32,
                ahead: usize,
            ) {
                let s = 4 * stride;
                // SAFETY: it reads what the caller promises, and writes the tile and registers that it names.
                unsafe {
                    asm!(
                        begin!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15),
                        "2:",
                        concat!("mov {less:e}, ", $apart),
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
                        "dec {less:e}",
                        "jnz 3b",
                        concat!("add {p}, ", $further),
                        concat!("add {q}, ", $further),
                        concat!("add {b}, ", $b_further),
                        "dec {n}",
                        "jnz 2b",
                        end!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15),
                        from = in(reg) from,
                        to = in(reg) to,
                        p = inout(reg) a => _,
                        q = inout(reg) a.wrapping_add(8 * stride) => _,
                        s = in(reg) s,
                        s3 = in(reg) 3 * s,
                        s5 = in(reg) 5 * s,
                        s7 = in(reg) 7 * s,
                        b = inout(reg) b => _,
                        less = inout(reg) less => _,
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
