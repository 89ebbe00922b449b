//! A picture as three smoothed planes: luma and two chroma differences.

use maskd_types::frame::Size;

/// Luma 0..=255 and chroma differences -128..=127 (BT.601), `(height, width)` row by row, smoothed over 3 x 3 pixels
/// (binomial weights) against the sensor's noise and blocks of compression.
#[derive(Clone, Debug, Default)]
pub struct Planes {
    /// Pixels from left to right.
    pub width: usize,
    /// Pixels from top to bottom.
    pub height: usize,
    /// Luma.
    pub y: Vec<f32>,
    /// Blue difference.
    pub u: Vec<f32>,
    /// Red difference.
    pub v: Vec<f32>,
}

impl Planes {
    /// From RGB `(height, width, 3)`, made smaller by averaging squares of `by` pixels; `None` where `rgb` has another length.
    pub fn of(rgb: &[u8], size: Size, by: usize) -> Option<Self> {
        let by = by.max(1);
        let (width, height) = (size.width as usize / by, size.height as usize / by);
        if rgb.len() != size.area() * 3 || width * height == 0 {
            return None;
        }
        let smaller = (by > 1).then(|| shrink(rgb, size.width as usize, by));
        let rgb = smaller.as_deref().unwrap_or(rgb);
        let n = width * height;
        let (mut y, mut u, mut v) = (Vec::with_capacity(n), Vec::with_capacity(n), Vec::with_capacity(n));
        for p in rgb.chunks_exact(3) {
            let (r, g, b) = (f32::from(p[0]), f32::from(p[1]), f32::from(p[2]));
            let luma = 0.299 * r + 0.587 * g + 0.114 * b;
            y.push(luma);
            u.push(0.564 * (b - luma));
            v.push(0.713 * (r - luma));
        }
        let mut scratch = vec![0.0; n];
        for plane in [&mut y, &mut u, &mut v] {
            smooth(plane, &mut scratch, width);
        }
        Some(Self { width, height, y, u, v })
    }

    /// Multiplies all of it.
    pub fn brighten(&mut self, gain: f32) {
        if gain != 1.0 {
            [&mut self.y, &mut self.u, &mut self.v].into_iter().flatten().for_each(|v| *v *= gain);
        }
    }

    /// RGB `(height, width, 3)` of what it holds.
    pub fn rgb(&self) -> Vec<u8> {
        let colour = |p: usize| {
            let (y, u, v) = (self.y[p], self.u[p], self.v[p]);
            let (r, b) = (y + v / 0.713, y + u / 0.564);
            [r, (y - 0.299 * r - 0.114 * b) / 0.587, b].map(|c| c.round().clamp(0.0, 255.0) as u8)
        };
        (0..self.len()).flat_map(colour).collect()
    }

    /// Number of pixels.
    pub fn len(&self) -> usize {
        self.y.len()
    }

    /// Whether there is no pixel.
    pub fn is_empty(&self) -> bool {
        self.y.is_empty()
    }
}

/// Means of squares of `by` pixels of RGB `(height, width, 3)`; what is left over at the right and below is not looked at.
fn shrink(rgb: &[u8], width: usize, by: usize) -> Vec<u8> {
    let (w, h) = (width / by, rgb.len() / 3 / width / by);
    let mut out = Vec::with_capacity(w * h * 3);
    for y in 0..h {
        for x in 0..w {
            for channel in 0..3 {
                let mut sum = 0usize;
                for row in 0..by {
                    let from = ((y * by + row) * width + x * by) * 3 + channel;
                    sum += (0..by).map(|col| usize::from(rgb[from + 3 * col])).sum::<usize>();
                }
                out.push((sum / (by * by)) as u8);
            }
        }
    }
    out
}

/// Binomial smoothing over 3 x 3 pixels, in place; borders repeat their own pixels.
fn smooth(plane: &mut [f32], scratch: &mut [f32], width: usize) {
    for (row, out) in plane.chunks_exact(width).zip(scratch.chunks_exact_mut(width)) {
        let last = width - 1;
        out[0] = 0.25 * (3.0 * row[0] + row[last.min(1)]);
        out[last] = 0.25 * (3.0 * row[last] + row[last.saturating_sub(1)]);
        for (o, w) in out[1..].iter_mut().zip(row.windows(3)) {
            *o = 0.25 * (w[0] + 2.0 * w[1] + w[2]);
        }
    }
    let height = plane.len() / width;
    for i in 0..height {
        let above = &scratch[i.saturating_sub(1) * width..][..width];
        let here = &scratch[i * width..][..width];
        let below = &scratch[(i + 1).min(height - 1) * width..][..width];
        for (((o, a), h), b) in plane[i * width..][..width].iter_mut().zip(above).zip(here).zip(below) {
            *o = 0.25 * (a + 2.0 * h + b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_colour_comes_back() {
        for colour in [[0, 0, 0], [255, 255, 255], [200, 40, 30], [10, 90, 240]] {
            let rgb: Vec<u8> = (0..12).flat_map(|_| colour).collect();
            let back = Planes::of(&rgb, Size::new(4, 3), 1).unwrap().rgb();
            assert!(back.iter().zip(&rgb).all(|(a, b)| a.abs_diff(*b) <= 1), "{colour:?}: {back:?}");
        }
    }
}
