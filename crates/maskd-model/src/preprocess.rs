//! Frames to the network's input: resize, scale to 0..1, normalise.

use candle_core::{Device, Result, Tensor, bail};

use maskd_types::frame::{Frame, Size};

/// ImageNet mean of R, G and B in 0..1.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// Standard deviation as the published propagation script has it (0.228 for red, where training had 0.229).
const STD: [f32; 3] = [0.228, 0.224, 0.225];

/// Frames, each resized to `size`, as one normalised batch `(B, 3, H, W)` on the CPU.
///
/// # Errors
/// A frame whose buffer does not hold its own size.
pub fn batch(frames: &[&Frame], size: Size) -> Result<Tensor> {
    let plane = size.area();
    let mut values = vec![0f32; frames.len() * 3 * plane];
    for (frame, out) in frames.iter().zip(values.chunks_mut(3 * plane)) {
        if frame.rgb.len() != 3 * frame.size.area() || frame.size.area() == 0 {
            bail!("{frame:?} holds {} bytes instead of {}", frame.rgb.len(), 3 * frame.size.area());
        }
        if frame.size == size {
            normalise(&frame.rgb, out);
        } else {
            normalise(&resize_bilinear(&frame.rgb, frame.size, size), out);
        }
    }
    Tensor::from_vec(values, (frames.len(), 3, size.height as usize, size.width as usize), &Device::Cpu)
}

/// Interleaved 8-bit RGB `(H, W, 3)` to normalised planes `(3, H, W)`.
fn normalise(rgb: &[u8], out: &mut [f32]) {
    let plane = out.len() / 3;
    for (channel, out) in out.chunks_mut(plane).enumerate() {
        let (scale, shift) = (1.0 / (255.0 * STD[channel]), MEAN[channel] / STD[channel]);
        for (out, pixel) in out.iter_mut().zip(rgb.as_chunks::<3>().0) {
            *out = f32::from(pixel[channel]).mul_add(scale, -shift);
        }
    }
}

/// Bilinear resize of interleaved 8-bit RGB as OpenCV's `INTER_LINEAR` does it: half-pixel centres,
/// borders clamped, no antialiasing, rounded to 8 bits. This is the protocol's resize.
pub fn resize_bilinear(rgb: &[u8], from: Size, to: Size) -> Vec<u8> {
    let (columns, rows) = (taps(from.width, to.width), taps(from.height, to.height));
    let stride = from.width as usize * 3;
    let mut out = Vec::with_capacity(to.area() * 3);
    for &(top, bottom, down) in &rows {
        let (above, below) = (&rgb[top * stride..][..stride], &rgb[bottom * stride..][..stride]);
        for &(left, right, across) in &columns {
            for c in 0..3 {
                let mix = |row: &[u8]| {
                    let (a, b) = (f32::from(row[left * 3 + c]), f32::from(row[right * 3 + c]));
                    (b - a).mul_add(across, a)
                };
                let (a, b) = (mix(above), mix(below));
                out.push((b - a).mul_add(down, a).round() as u8);
            }
        }
    }
    out
}

/// For each output position: the two source positions and the weight of the second.
fn taps(from: u32, to: u32) -> Vec<(usize, usize, f32)> {
    let last = f64::from(from.saturating_sub(1));
    (0..to)
        .map(|i| {
            let source = ((f64::from(i) + 0.5) * f64::from(from) / f64::from(to) - 0.5).clamp(0.0, last);
            let first = source.floor();
            (first as usize, (first + 1.0).min(last) as usize, (source - first) as f32)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resize_to_the_same_size_changes_nothing() {
        let size = Size::new(5, 4);
        let rgb: Vec<u8> = (0..60).map(|i| (i * 7 % 256) as u8).collect();
        assert_eq!(resize_bilinear(&rgb, size, size), rgb);
    }

    #[test]
    fn halving_averages_pairs_and_doubling_keeps_the_corners() {
        let grey = |values: &[u8]| values.iter().flat_map(|&v| [v; 3]).collect::<Vec<u8>>();
        let halved = resize_bilinear(&grey(&[0, 10, 100, 200]), Size::new(4, 1), Size::new(2, 1));
        assert_eq!(halved, grey(&[5, 150]));
        let doubled = resize_bilinear(&grey(&[0, 100]), Size::new(2, 1), Size::new(4, 1));
        assert_eq!(doubled, grey(&[0, 25, 75, 100]));
    }

    #[test]
    fn white_and_black_become_the_published_numbers() {
        let mut out = [0f32; 6];
        normalise(&[255, 255, 255, 0, 0, 0], &mut out);
        for c in 0..3 {
            assert!((out[2 * c] - (1.0 - MEAN[c]) / STD[c]).abs() < 1e-5);
            assert!((out[2 * c + 1] + MEAN[c] / STD[c]).abs() < 1e-5);
        }
    }
}
