//! A natural logarithm that a compiler can compute for several numbers side by side; that of the standard library is a call
//! for each.

use std::f32::consts::{LN_2, SQRT_2};

/// The natural logarithm of a positive normal number, to about 1e-7 of a unit or of its value.
///
/// `x = m 2^e` with `m` between the roots of 1/2 and 2, and `ln m = 2 artanh s` with `s = (m - 1) / (m + 1)`, by its series.
pub fn ln(x: f32) -> f32 {
    const MANTISSA: u32 = 0x007f_ffff;
    const ONE: u32 = 0x3f80_0000;
    let root = SQRT_2.to_bits() & MANTISSA;
    let bits = x.to_bits();
    // A mantissa above the root of 2 belongs to the next power.
    let above = u32::from(bits & MANTISSA > root);
    let power = (bits >> 23) as i32 - 127 + above as i32;
    let m = f32::from_bits((bits & MANTISSA) | (ONE - (above << 23)));
    let s = (m - 1.0) / (m + 1.0);
    let q = s * s;
    let series = 2.0 * s * (1.0 + q * (1.0 / 3.0 + q * (1.0 / 5.0 + q * (1.0 / 7.0 + q * (1.0 / 9.0)))));
    power as f32 * LN_2 + series
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_logarithm_is_that_of_the_standard_library(x in 1e-6f32..1e6) {
            let ideal = f64::from(x).ln();
            prop_assert!((f64::from(ln(x)) - ideal).abs() < 3e-7 * ideal.abs().max(1.0), "ln {x} = {ideal}, not {}", ln(x));
        }
    }

    #[test]
    fn powers_of_two_and_what_is_beside_them_are_exact() {
        assert_eq!(ln(1.0), 0.0);
        for x in [0.5f32, 1.0, 2.0, SQRT_2, 260.0 / 4.0] {
            for x in [f32::from_bits(x.to_bits() - 1), x, f32::from_bits(x.to_bits() + 1)] {
                assert!((ln(x) - x.ln()).abs() < 3e-7 * x.ln().abs().max(1.0), "{x}");
            }
        }
    }
}
