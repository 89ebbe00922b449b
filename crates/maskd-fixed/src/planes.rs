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
        let mut planes = Self::default();
        Reader::default().read(rgb, size, by, &mut planes).then_some(planes)
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

    /// Gives all planes the size of `other`; what they hold is of no use then.
    pub fn resize_as(&mut self, other: &Self) {
        self.resize(other.width, other.height);
    }

    fn resize(&mut self, width: usize, height: usize) {
        (self.width, self.height) = (width, height);
        [&mut self.y, &mut self.u, &mut self.v].into_iter().for_each(|plane| plane.resize(width * height, 0.0));
    }
}

/// Makes planes of pictures; what it needs in between is kept from one to the next.
#[derive(Debug, Default)]
pub struct Reader {
    /// Sums of the rows that become one.
    sums: Vec<u32>,
    /// The row as red, green and blue.
    colours: [Vec<f32>; 3],
    scratch: Vec<f32>,
}

impl Reader {
    /// As [`Planes::of`], into planes that are there; false where `rgb` has another length, and they are not to be used.
    pub fn read(&mut self, rgb: &[u8], size: Size, by: usize, into: &mut Planes) -> bool {
        let by = by.max(1);
        let (width, height) = (size.width as usize / by, size.height as usize / by);
        if rgb.len() != size.area() * 3 || width * height == 0 {
            return false;
        }
        into.resize(width, height);
        self.colours.iter_mut().for_each(|row| row.resize(width, 0.0));
        let rows =
            into.y.chunks_exact_mut(width).zip(into.u.chunks_exact_mut(width)).zip(into.v.chunks_exact_mut(width));
        for (source, ((y, u), v)) in rgb.chunks_exact(by * size.width as usize * 3).zip(rows) {
            match by {
                1 => self.split(source),
                _ => self.shrink(source, size.width as usize * 3, by),
            }
            let [r, g, b] = &self.colours;
            for ((((y, u), v), (r, g)), b) in y.iter_mut().zip(u).zip(v).zip(r.iter().zip(g)).zip(b) {
                *y = 0.299 * r + 0.587 * g + 0.114 * b;
                *u = 0.564 * (b - *y);
                *v = 0.713 * (r - *y);
            }
        }
        self.scratch.resize(width * height, 0.0);
        for plane in [&mut into.y, &mut into.u, &mut into.v] {
            smooth(plane, &mut self.scratch, width);
        }
        true
    }

    /// A row's colours.
    fn split(&mut self, row: &[u8]) {
        let [r, g, b] = &mut self.colours;
        for (((r, g), b), pixel) in r.iter_mut().zip(g).zip(b).zip(row.chunks_exact(3)) {
            (*r, *g, *b) = (f32::from(pixel[0]), f32::from(pixel[1]), f32::from(pixel[2]));
        }
    }

    /// Means of squares of `by` pixels, rounded down; what is left over at the right is not looked at.
    fn shrink(&mut self, rows: &[u8], length: usize, by: usize) {
        self.sums.clear();
        self.sums.resize(length, 0);
        for row in rows.chunks_exact(length) {
            self.sums.iter_mut().zip(row).for_each(|(sum, c)| *sum += u32::from(*c));
        }
        // A division by multiplying: exact for squares of up to 64 x 64 pixels.
        let share = (1u64 << 32).div_ceil((by * by) as u64);
        let [r, g, b] = &mut self.colours;
        for (((r, g), b), square) in r.iter_mut().zip(g).zip(b).zip(self.sums.chunks_exact(3 * by)) {
            let mean = |channel: usize| {
                let sum: u32 = square[channel..].iter().step_by(3).sum();
                ((u64::from(sum) * share) >> 32) as f32
            };
            (*r, *g, *b) = (mean(0), mean(1), mean(2));
        }
    }
}

/// Binomial smoothing over 3 x 3 pixels, in place; borders repeat their own pixels.
fn smooth(plane: &mut [f32], scratch: &mut [f32], width: usize) {
    let last = width - 1;
    for (row, out) in plane.chunks_exact(width).zip(scratch.chunks_exact_mut(width)) {
        out[0] = 0.25 * (3.0 * row[0] + row[last.min(1)]);
        out[last] = 0.25 * (3.0 * row[last] + row[last.saturating_sub(1)]);
        if width > 2 {
            let inner = row[..last - 1].iter().zip(&row[1..last]).zip(&row[2..]);
            out[1..last].iter_mut().zip(inner).for_each(|(o, ((a, b), c))| *o = 0.25 * (a + 2.0 * b + c));
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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_even_colour_comes_back() {
        for colour in [[0, 0, 0], [255, 255, 255], [200, 40, 30], [10, 90, 240]] {
            let rgb: Vec<u8> = (0..12).flat_map(|_| colour).collect();
            let back = Planes::of(&rgb, Size::new(4, 3), 1).unwrap().rgb();
            assert!(back.iter().zip(&rgb).all(|(a, b)| a.abs_diff(*b) <= 1), "{colour:?}: {back:?}");
        }
    }

    /// The definition: the mean of each square rounded down, BT.601, and the binomial weights of nine neighbours.
    fn plain(rgb: &[u8], size: Size, by: usize) -> Planes {
        let (width, height, stride) = (size.width as usize / by, size.height as usize / by, size.width as usize);
        let colour = |p: usize, channel: usize| {
            let (x, y) = (p % width * by, p / width * by);
            let square = (0..by * by).map(|i| usize::from(rgb[((y + i / by) * stride + x + i % by) * 3 + channel]));
            (square.sum::<usize>() / (by * by)) as f32
        };
        let raw: Vec<[f32; 3]> = (0..width * height)
            .map(|p| {
                let (r, g, b) = (colour(p, 0), colour(p, 1), colour(p, 2));
                let luma = 0.299 * r + 0.587 * g + 0.114 * b;
                [luma, 0.564 * (b - luma), 0.713 * (r - luma)]
            })
            .collect();
        let smoothed = |plane: usize| {
            let near = |at: usize, d: usize, n: usize| (at + d).saturating_sub(1).min(n - 1);
            let at = |p: usize| {
                let taps = (0..9).map(|i| {
                    let q = near(p / width, i / 3, height) * width + near(p % width, i % 3, width);
                    [1.0, 2.0, 1.0][i / 3] * [1.0, 2.0, 1.0][i % 3] * raw[q][plane]
                });
                taps.sum::<f32>() / 16.0
            };
            (0..width * height).map(at).collect()
        };
        Planes { width, height, y: smoothed(0), u: smoothed(1), v: smoothed(2) }
    }

    proptest! {
        #[test]
        fn planes_are_those_of_the_definition(
            width in 1u32..40, height in 1u32..30, by in 1usize..5, bytes in prop::collection::vec(any::<u8>(), 40 * 30 * 3),
        ) {
            let size = Size::new(width, height);
            let rgb = &bytes[..size.area() * 3];
            let found = Planes::of(rgb, size, by);
            prop_assert_eq!(found.is_some(), width as usize >= by && height as usize >= by);
            let Some(found) = found else { return Ok(()) };
            let plain = plain(rgb, size, by);
            prop_assert_eq!((found.width, found.height), (plain.width, plain.height));
            for (a, b) in [(&found.y, &plain.y), (&found.u, &plain.u), (&found.v, &plain.v)] {
                prop_assert_eq!(a.len(), b.len());
                prop_assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3));
            }
        }
    }

    #[test]
    fn means_are_rounded_down_for_squares_of_any_size() {
        for by in [2u32, 3, 5, 7, 16, 25, 64] {
            let size = Size::new(by, by);
            for value in [1, 85, 254, 255] {
                let mut rgb = vec![value; size.area() * 3];
                assert_eq!(
                    Planes::of(&rgb, size, by as usize).map(|p| p.y),
                    Some(vec![plain(&rgb, size, by as usize).y[0]])
                );
                // One level less in one pixel of the square rounds the mean down by one.
                (rgb[0], rgb[1], rgb[2]) = (value - 1, value - 1, value - 1);
                let luma = Planes::of(&rgb, size, by as usize).map_or(0.0, |p| p.y[0]);
                assert!((luma - f32::from(value - 1)).abs() < 1e-3, "{by} x {by} of {value}: {luma}");
            }
        }
    }
}
