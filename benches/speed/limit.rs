//! What the machine can do at most: fused multiply-adds in registers, on all threads at once.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// How long the limit is measured.
const LONG: Duration = Duration::from_millis(100);
/// Independent sums: more than a multiply-add takes cycles, times the units that do them.
const SUMS: usize = 12;
/// Rounds of [`SUMS`] between two looks at the clock.
const ROUNDS: usize = 100_000;

/// Billions of floating-point operations a second, all threads together.
pub fn gflops() -> f64 {
    let each = rayon::broadcast(|_| {
        let (mut flop, began) = (0.0, Instant::now());
        while began.elapsed() < LONG {
            flop += spin();
        }
        flop / began.elapsed().as_secs_f64()
    });
    each.iter().sum::<f64>() / 1e9
}

/// Some multiply-adds in the widest registers; how many operations they were.
fn spin() -> f64 {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the feature was just detected.
            unsafe { x86::avx512() };
            return (ROUNDS * SUMS * 16 * 2) as f64;
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the features were just detected.
            unsafe { x86::avx2() };
            return (ROUNDS * SUMS * 8 * 2) as f64;
        }
    }
    let (mut sums, x) = ([[0f32; 4]; SUMS], black_box(0.999f32));
    for _ in 0..ROUNDS {
        sums.iter_mut().flatten().for_each(|sum| *sum = sum.mul_add(x, x));
    }
    black_box(sums);
    (ROUNDS * SUMS * 4 * 2) as f64
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::{arch::x86_64::*, hint::black_box};

    use super::{ROUNDS, SUMS};

    #[target_feature(enable = "avx512f")]
    pub fn avx512() {
        let x = _mm512_set1_ps(black_box(0.999));
        let mut sums = [x; SUMS];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, x, x);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn avx2() {
        let x = _mm256_set1_ps(black_box(0.999));
        let mut sums = [x; SUMS];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, x, x);
            }
        }
        black_box(sums);
    }
}
