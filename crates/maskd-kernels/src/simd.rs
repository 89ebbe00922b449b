//! Vectors of float32, as wide as the machine has them, and the elementary functions on them. One source for AVX-512,
//! AVX2 + FMA, NEON and plain scalars: `pulp` gives the instructions, [`Isa`] says which are used.

use std::sync::OnceLock;

pub(super) use pulp::{Simd, WithSimd};

/// Rows x vectors of a plain tile where there are 32 registers: 24 of them.
pub(super) const TALL: (usize, usize) = (8, 3);
/// Rows x vectors of a plain tile where there are 16 registers: 12 of them.
pub(super) const SHORT: (usize, usize) = (4, 3);
/// Rows x vectors of a tile that is multiplied in pairs, and of no other: each left value is used once, straight from memory.
pub(super) const PAIRED: (usize, usize) = (16, 1);

/// An instruction set that kernels are compiled for, and how they multiply with it.
#[derive(Clone, Copy, Debug)]
pub struct Isa {
    set: Set,
    /// Whether products go in pairs: see `winograd.rs`.
    pairs: bool,
}

#[derive(Clone, Copy, Debug)]
enum Set {
    #[cfg(target_arch = "x86_64")]
    Avx512(pulp::x86::V4),
    #[cfg(target_arch = "x86_64")]
    Avx2(pulp::x86::V3),
    #[cfg(target_arch = "aarch64")]
    Neon(pulp::aarch64::Neon),
    Portable(pulp::Scalar),
}

impl Isa {
    /// Those that this machine has, the widest first, with each way to multiply; the last is portable.
    pub fn available() -> Vec<Self> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            sets.extend(pulp::x86::V4::try_new().map(Set::Avx512));
            sets.extend(pulp::x86::V3::try_new().map(Set::Avx2));
        }
        #[cfg(target_arch = "aarch64")]
        sets.extend(pulp::aarch64::Neon::try_new().map(Set::Neon));
        sets.push(Set::Portable(pulp::Scalar::new()));
        let plain = sets.iter().map(|&set| Self { set, pairs: false });
        let paired = sets.iter().map(|&set| Self { set, pairs: true });
        // Where registers are few, tiles of pairs do not fit them.
        paired.filter(|isa| isa.shape().1 >= 32).chain(plain).collect()
    }

    /// The widest that this machine has, and the faster way to multiply.
    pub fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| {
            let all = Self::available();
            let fits = |isa: &&Self| !isa.pairs || adds_beside();
            *all.iter().find(fits).unwrap_or(&all[all.len() - 1])
        })
    }

    /// The same without products in pairs, for left sides that are not about 1.
    pub fn without_pairs(self) -> Self {
        Self { pairs: false, ..self }
    }

    /// Its name, for people to read.
    pub fn name(self) -> &'static str {
        match self.set {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(_) if self.pairs => "AVX-512 in pairs",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(_) => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(_) => "AVX2",
            #[cfg(target_arch = "aarch64")]
            Set::Neon(_) => "NEON",
            Set::Portable(_) => "portable",
        }
    }

    /// Runs `op` compiled for this set.
    #[inline(always)]
    pub(super) fn run<Op: WithSimd>(self, op: Op) -> Op::Output {
        match self.set {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(simd) => Simd::vectorize(simd, op),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(simd) => Simd::vectorize(simd, op),
            #[cfg(target_arch = "aarch64")]
            Set::Neon(simd) => Simd::vectorize(simd, op),
            Set::Portable(simd) => Simd::vectorize(simd, op),
        }
    }

    /// Values in one vector, and the number of registers.
    fn shape(self) -> (usize, usize) {
        struct Shape;
        impl WithSimd for Shape {
            type Output = (usize, usize);
            fn with_simd<S: Simd>(self, _: S) -> (usize, usize) {
                (S::F32_LANES, S::REGISTER_COUNT)
            }
        }
        self.run(Shape)
    }

    /// Values in one vector.
    pub(super) fn lanes(self) -> usize {
        self.shape().0
    }

    /// Whether there are registers for the larger tiles.
    pub(super) fn has_many_registers(self) -> bool {
        self.shape().1 >= 32
    }

    /// Whether products go in pairs.
    #[inline(always)]
    pub(super) fn pairs(self) -> bool {
        self.pairs
    }

    /// Vectors side by side in a tile.
    pub(super) fn vectors(self) -> usize {
        if self.pairs { PAIRED.1 } else { TALL.1 }
    }
}

/// Whether this processor starts a vector addition beside each multiply-add, at no loss of either: AMD's Zen 4, the
/// cores of family 25 with AVX-512. Measured; others would have to be.
fn adds_beside() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::__cpuid;
        let vendor = __cpuid(0);
        let amd = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).concat() == b"AuthenticAMD";
        let version = __cpuid(1).eax;
        let family = (version >> 8 & 0xf) + (version >> 20 & 0xff);
        amd && family == 25 && is_x86_feature_detected!("avx512f")
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// One vector from `from` on.
///
/// # Safety
/// `from` has `S::F32_LANES` values to read.
#[inline(always)]
pub(super) unsafe fn load<S: Simd>(from: *const f32) -> S::f32s {
    // SAFETY: the caller's promise; a vector is plain data.
    unsafe { from.cast::<S::f32s>().read_unaligned() }
}

/// Writes one vector to `to` on.
///
/// # Safety
/// `to` has room for `S::F32_LANES` values.
#[inline(always)]
pub(super) unsafe fn store<S: Simd>(to: *mut f32, values: S::f32s) {
    // SAFETY: the caller's promise.
    unsafe { to.cast::<S::f32s>().write_unaligned(values) }
}

/// 1.5 * 2^23: adding it rounds to the nearest integer, which then stands in the lowest bits.
const ROUND: f32 = 12_582_912.0;

/// p(x) by Horner's rule, the highest power first.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(simd: S, x: S::f32s, coefficients: [f32; N]) -> S::f32s {
    let mut p = simd.splat_f32s(coefficients[0]);
    for c in &coefficients[1..] {
        p = simd.mul_add_e_f32s(p, x, simd.splat_f32s(*c));
    }
    p
}

/// 2^x for x <= 127, relative error below 3e-7; what is under -126 counts as -126.
///
/// x = n + f, |f| <= 1/2; a degree-5 minimax polynomial for 2^f, and n added to the exponent bits.
#[inline(always)]
pub(super) fn exp2<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let x = simd.max_f32s(x, simd.splat_f32s(-126.0));
    let shifted = simd.add_f32s(x, simd.splat_f32s(ROUND));
    let f = simd.sub_f32s(x, simd.sub_f32s(shifted, simd.splat_f32s(ROUND)));
    let p =
        polynomial(simd, f, [1.327_647_1e-3, 9.675_542e-3, 5.550_713e-2, 2.402_212e-1, 6.931_469_4e-1, 1.000_000_1]);
    let exponent = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    simd.transmute_f32s_u32s(simd.add_u32s(simd.transmute_u32s_f32s(p), exponent))
}

/// e^x for x <= 88, relative error below 4e-7; 0 below -87.3.
#[inline(always)]
fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // The part of x that the product with log2(e) rounds away is put back: without it the error grows with |x|.
    let clamped = simd.min_f32s(simd.max_f32s(x, simd.splat_f32s(-87.3)), simd.splat_f32s(88.0));
    let n = simd.mul_add_e_f32s(clamped, simd.splat_f32s(std::f32::consts::LOG2_E), simd.splat_f32s(ROUND));
    let whole = simd.sub_f32s(n, simd.splat_f32s(ROUND));
    let r = simd.mul_add_e_f32s(whole, simd.splat_f32s(-0.693_359_4), clamped);
    let r = simd.mul_add_e_f32s(whole, simd.splat_f32s(2.121_944_4e-4), r);
    let fraction = exp2(simd, simd.mul_f32s(r, simd.splat_f32s(std::f32::consts::LOG2_E)));
    let exponent = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(n), simd.splat_u32s(23));
    let y = simd.transmute_f32s_u32s(simd.add_u32s(simd.transmute_u32s_f32s(fraction), exponent));
    simd.select_f32s(simd.less_than_f32s(x, simd.splat_f32s(-87.3)), simd.splat_f32s(0.0), y)
}

/// The error function, absolute error below 6e-7.
///
/// Odd, and 1 beyond 3.8 to that accuracy: x p(x^2), p of degree 13 and minimax in the error of erf. No exponential and
/// no division, so that it costs little in the epilogue of a product.
#[inline(always)]
pub(super) fn erf<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    const END: f32 = 3.8;
    let x = simd.min_f32s(simd.max_f32s(x, simd.splat_f32s(-END)), simd.splat_f32s(END));
    // x^2 moved from [0, END^2] to [-1, 1], where the coefficients stay small.
    let u = simd.mul_f32s(x, x);
    let u = simd.mul_add_e_f32s(u, simd.splat_f32s(2.0 / (END * END)), simd.splat_f32s(-1.0));
    let p = polynomial(
        simd,
        u,
        [
            -2.304_561_2e-3,
            5.751_641_5e-3,
            -4.475_702e-3,
            5.562_534_6e-3,
            -1.698_246e-2,
            2.950_157_6e-2,
            -3.967_812_7e-2,
            5.413_778e-2,
            -7.232_121_4e-2,
            9.097_508e-2,
            -1.112_072_1e-1,
            1.377_313e-1,
            -1.856_405_3e-1,
            3.721_076_8e-1,
        ],
    );
    simd.mul_f32s(x, p)
}

/// x * Phi(x) = x (1 + erf(x / sqrt 2)) / 2, the exact GELU; error below 4e-7 |x|.
#[inline(always)]
pub(super) fn gelu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let phi = erf(simd, simd.mul_f32s(x, simd.splat_f32s(std::f32::consts::FRAC_1_SQRT_2)));
    let half = simd.mul_f32s(x, simd.splat_f32s(0.5));
    simd.mul_add_e_f32s(half, phi, half)
}

/// e^x of each value in place, relative error below 4e-7 for x <= 88; 0 below -87.3.
pub fn exp_all(values: &mut [f32]) {
    struct All<'a>(&'a mut [f32]);
    impl WithSimd for All<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let (vectors, rest) = S::as_mut_simd_f32s(self.0);
            for v in vectors {
                *v = exp(simd, *v);
            }
            let last = exp(simd, simd.partial_load_f32s(rest));
            simd.partial_store_f32s(rest, last);
        }
    }
    Isa::best().run(All(values));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `f` of each value, on every instruction set of this machine.
    fn on_all(xs: &[f32], f: Function) -> Vec<Vec<f32>> {
        struct Each<'a>(&'a mut [f32], Function);
        impl WithSimd for Each<'_> {
            type Output = ();
            #[inline(always)]
            fn with_simd<S: Simd>(self, simd: S) {
                for x in self.0.iter_mut() {
                    let v = simd.splat_f32s(*x);
                    let y = match self.1 {
                        Function::Exp => exp(simd, v),
                        Function::Exp2 => exp2(simd, v),
                        Function::Erf => erf(simd, v),
                        Function::Gelu => gelu(simd, v),
                    };
                    *x = simd.reduce_max_f32s(y);
                }
            }
        }
        let run = |isa: Isa| {
            let mut ys = xs.to_vec();
            isa.run(Each(&mut ys, f));
            ys
        };
        Isa::available().into_iter().map(run).collect()
    }

    #[derive(Clone, Copy)]
    enum Function {
        Exp,
        Exp2,
        Erf,
        Gelu,
    }

    #[test]
    fn exponentials_keep_their_stated_errors() {
        let xs: Vec<f32> = (-87_300..88_000).map(|i| i as f32 * 1e-3).collect();
        for ys in on_all(&xs, Function::Exp) {
            let error = |(x, y): (&f32, f32)| (f64::from(y) / f64::from(*x).exp() - 1.0).abs();
            let worst = xs.iter().zip(ys).map(error).fold(0.0, f64::max);
            assert!(worst < 4e-7, "exp: {worst:e}");
        }
        let xs: Vec<f32> = (-125_999..126_000).map(|i| i as f32 * 1e-3).collect();
        for ys in on_all(&xs, Function::Exp2) {
            let error = |(x, y): (&f32, f32)| (f64::from(y) / f64::from(*x).exp2() - 1.0).abs();
            let worst = xs.iter().zip(ys).map(error).fold(0.0, f64::max);
            assert!(worst < 3e-7, "exp2: {worst:e}");
        }
        for ys in on_all(&[-1e30, f32::NEG_INFINITY, 0.0], Function::Exp) {
            assert_eq!((ys[0], ys[1]), (0.0, 0.0));
            assert!((ys[2] - 1.0).abs() < 4e-7);
        }
    }

    #[test]
    fn erf_and_gelu_keep_their_stated_errors() {
        // erf by its series where it converges fast, by its continued fraction beyond.
        let truth = |x: f64| {
            let a = x.abs();
            let value = if a < 3.0 {
                let (mut term, mut sum) = (a, a);
                for n in 1..80 {
                    term *= -a * a / f64::from(n);
                    sum += term / f64::from(2 * n + 1);
                }
                sum * 2.0 / std::f64::consts::PI.sqrt()
            } else {
                let tail = (1..60).rev().fold(0.0, |t, k| f64::from(k) / 2.0 / (a + t));
                1.0 - (-a * a).exp() / ((a + tail) * std::f64::consts::PI.sqrt())
            };
            value.copysign(x)
        };
        for (x, known) in [(0.5, 0.520_499_877_813), (1.0, 0.842_700_792_95), (2.0, 0.995_322_265_019)] {
            assert!((truth(x) - known).abs() < 1e-11, "the test's own erf");
        }
        let xs: Vec<f32> = (-80_000..80_000).map(|i| i as f32 * 1e-4).collect();
        for ys in on_all(&xs, Function::Erf) {
            let worst = xs.iter().zip(ys).map(|(x, y)| (f64::from(y) - truth(f64::from(*x))).abs()).fold(0.0, f64::max);
            assert!(worst < 6e-7, "erf: {worst:e}");
        }
        for ys in on_all(&xs, Function::Gelu) {
            for (x, y) in xs.iter().zip(ys) {
                let x = f64::from(*x);
                let gelu = x / 2.0 * (1.0 + truth(x / std::f64::consts::SQRT_2));
                assert!((f64::from(y) - gelu).abs() <= 4e-7 * x.abs() + 1e-9, "gelu({x}) = {y}, not {gelu}");
            }
        }
    }

    #[test]
    fn a_slice_of_any_length_is_raised() {
        for n in 0..70 {
            let mut xs: Vec<f32> = (0..n).map(|i| i as f32 / 10.0 - 3.0).collect();
            let truth: Vec<f32> = xs.iter().map(|x| x.exp()).collect();
            exp_all(&mut xs);
            assert!(xs.iter().zip(&truth).all(|(a, b)| (a / b - 1.0).abs() < 5e-7));
        }
    }
}
