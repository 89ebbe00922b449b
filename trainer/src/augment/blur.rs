//! Gaussian blur as Pillow has it: three box blurs along each axis, the box with fractional ends.
//!
//! `radius` is the standard deviation in pixels. The extended box filter is that of Gwosdek, Grewenig, Bruhn and
//! Weickert, "Theoretical foundations of Gaussian convolution by extended box filtering" (2011); Pillow rounds to
//! 8 bits after every pass, and so does this. Pixels beyond the border repeat the border.

use super::Picture;

const PASSES: usize = 3;

/// One extended box in fixed point, 24 bits behind the point: `2 * reach + 1` whole taps, then one part tap at each end.
#[derive(Clone, Copy)]
struct ExtendedBox {
    reach: usize,
    whole: u32,
    part: u32,
}

impl ExtendedBox {
    /// The box whose three passes have the standard deviation `radius`.
    fn of(radius: f32) -> Self {
        let variance = radius * radius / PASSES as f32;
        let length = (12.0 * f64::from(variance) + 1.0).sqrt() as f32;
        let reach = ((length - 1.0) / 2.0).floor();
        let ends = (2.0 * reach + 1.0) * (reach * (reach + 1.0) - 3.0 * variance);
        let ends = ends / (6.0 * (variance - (reach + 1.0) * (reach + 1.0)));
        let whole = ((1u32 << 24) as f32 / ((reach + ends) * 2.0 + 1.0)) as u32;
        let reach = reach as usize;
        let part = ((1 << 24) - (2 * reach as u32 + 1) * whole) / 2;
        Self { reach, whole, part }
    }
}

/// Blurs in place; a radius of 0 changes nothing.
pub fn gaussian(picture: &mut Picture, radius: f32) {
    if radius <= 0.0 {
        return;
    }
    let taps = ExtendedBox::of(radius);
    let stride = picture.width() as usize * 3;
    along_rows(picture.rgb_mut(), stride, taps);
    along_columns(picture.rgb_mut(), stride, taps);
}

fn along_rows(rgb: &mut [u8], stride: usize, taps: ExtendedBox) {
    let margin = (taps.reach + 1) * 3;
    let mut padded = vec![0u8; stride + 2 * margin];
    let mut sums = vec![0u16; stride];
    for row in rgb.chunks_exact_mut(stride) {
        for _ in 0..PASSES {
            padded[margin..margin + stride].copy_from_slice(row);
            for at in 0..margin {
                padded[at] = row[at % 3];
                padded[margin + stride + at] = row[stride - 3 + at % 3];
            }
            let shifted = |tap: usize| &padded[tap * 3..][..stride];
            combine(row, shifted, taps, &mut sums);
        }
    }
}

fn along_columns(rgb: &mut [u8], stride: usize, taps: ExtendedBox) {
    let mut before = rgb.to_vec();
    let mut sums = vec![0u16; stride];
    let last = rgb.len() / stride - 1;
    for pass in 0..PASSES {
        if pass > 0 {
            before.copy_from_slice(rgb);
        }
        for (y, row) in rgb.chunks_exact_mut(stride).enumerate() {
            let shifted = |tap: usize| &before[(y + tap).saturating_sub(taps.reach + 1).min(last) * stride..][..stride];
            combine(row, shifted, taps, &mut sums);
        }
    }
}

/// Writes the weighted sum of the taps `0..2 * reach + 3`, of which the first and the last are part taps.
fn combine<'a>(out: &mut [u8], tap: impl Fn(usize) -> &'a [u8], taps: ExtendedBox, sums: &mut [u16]) {
    let ends = 2 * taps.reach + 2;
    for (sum, &value) in sums.iter_mut().zip(tap(1)) {
        *sum = u16::from(value);
    }
    for inner in 2..ends {
        for (sum, &value) in sums.iter_mut().zip(tap(inner)) {
            *sum += u16::from(value);
        }
    }
    for (((out, &sum), &a), &b) in out.iter_mut().zip(&*sums).zip(tap(0)).zip(tap(ends)) {
        let part = u32::from(a) + u32::from(b);
        *out = ((u32::from(sum) * taps.whole + part * taps.part + (1 << 23)) >> 24) as u8;
    }
}
