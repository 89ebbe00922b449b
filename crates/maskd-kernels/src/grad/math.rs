//! Vectorised elementary functions: branch-free bodies that the compiler turns into SIMD, compiled
//! for the widest instruction set that the machine has at run time.

/// e^x for x <= 88, relative error below 3e-7; 0 below -87.
///
/// x = n ln 2 + r, |r| <= ln 2 / 2; a degree-6 polynomial for e^r (Taylor-like, minimax coefficients
/// of the Cephes library), 2^n through the exponent bits.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to the nearest integer
    let clamped = x.clamp(-87.3, 88.0);
    let n = (clamped.mul_add(std::f32::consts::LOG2_E, ROUND)) - ROUND;
    let r = n.mul_add(-0.693_359_4, clamped);
    let r = n.mul_add(2.121_944_4e-4, r);
    let p = 1.987_569_1e-4_f32;
    let p = p.mul_add(r, 1.398_199_9e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 1.666_666_5e-1);
    let p = p.mul_add(r, 0.5);
    let y = p.mul_add(r * r, r) + 1.0;
    let power = f32::from_bits(((n as i32 + 127) << 23) as u32);
    if x < -87.3 { 0.0 } else { y * power }
}

/// The error function, absolute error below 5e-7 (Abramowitz and Stegun 7.1.26).
#[inline(always)]
pub(super) fn erf(x: f32) -> f32 {
    let a = x.abs();
    let t = 1.0 / 0.327_591_1_f32.mul_add(a, 1.0);
    let p = 1.061_405_4_f32;
    let p = p.mul_add(t, -1.453_152_1);
    let p = p.mul_add(t, 1.421_413_8);
    let p = p.mul_add(t, -0.284_496_72);
    let p = p.mul_add(t, 0.254_829_6);
    let y = 1.0 - p * t * exp(-a * a);
    y.copysign(x)
}

/// Defines `$name`, which runs `$body` compiled for AVX-512, AVX2 + FMA or the baseline, as the machine allows.
macro_rules! dispatch {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),*) $(-> $ret:ty)? = $body:ident) => {
        $(#[$doc])*
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
                fn avx512($($arg: $ty),*) $(-> $ret)? { $body($($arg),*) }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $ty),*) $(-> $ret)? { $body($($arg),*) }
                if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") && is_x86_feature_detected!("fma") {
                    // SAFETY: the features were just detected.
                    return unsafe { avx512($($arg),*) };
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    // SAFETY: the features were just detected.
                    return unsafe { avx2($($arg),*) };
                }
            }
            $body($($arg),*)
        }
    };
}
pub(super) use dispatch;

dispatch! {
    /// Softmax of one row of scores times `scale`, in place; returns nothing that is not finite for finite scores.
    pub(super) fn softmax_row(row: &mut [f32], scale: f32) = softmax_row_body
}

#[inline(always)]
fn softmax_row_body(row: &mut [f32], scale: f32) {
    // Sixteen running values, so that neither loop waits for the previous element.
    const LANES: usize = 16;
    let mut highest = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (h, &x) in highest.iter_mut().zip(chunk) {
            *h = if x > *h { x } else { *h };
        }
    }
    let highest = highest.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| a.max(b)) * scale;
    let mut sums = [0f32; LANES];
    let (chunks, rest) = row.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for (s, x) in sums.iter_mut().zip(chunk) {
            *x = exp(x.mul_add(scale, -highest));
            *s += *x;
        }
    }
    let mut sum: f32 = sums.iter().sum();
    for x in rest {
        *x = exp(x.mul_add(scale, -highest));
        sum += *x;
    }
    let inverse = 1.0 / sum;
    for x in row {
        *x *= inverse;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_keeps_its_stated_error() {
        let mut worst = 0f64;
        for i in -870_000..880_000 {
            let x = i as f32 * 1e-4;
            let truth = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - truth).abs() / truth);
        }
        assert!(worst < 3e-7, "{worst:e}");
        assert_eq!(exp(-1e30), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn erf_keeps_its_stated_error() {
        // Known values (Abramowitz and Stegun, table 7.1).
        for (x, y) in [(0.0, 0.0), (0.5, 0.520_499_9), (1.0, 0.842_700_8), (2.0, 0.995_322_3), (4.0, 1.0)] {
            assert!((erf(x) - y).abs() < 5e-7, "{x}");
            assert!((erf(-x) + y).abs() < 5e-7, "-{x}");
        }
    }

    #[test]
    fn softmax_of_extreme_rows_is_a_distribution() {
        for scale in [0.125, 1.0] {
            for mut row in [vec![1e4f32, -1e4, 3.0], vec![0.0; 37], vec![-1e30; 5], vec![7.0]] {
                softmax_row(&mut row, scale);
                let sum: f32 = row.iter().sum();
                assert!((sum - 1.0).abs() < 1e-5 && row.iter().all(|x| (0.0..=1.0).contains(x)), "{row:?}");
            }
        }
    }
}
