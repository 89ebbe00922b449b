//! A set of pixels.

use crate::components::Rect;

/// A set of pixels inside a rectangle.
#[derive(Clone, Debug, Default)]
pub struct Blob {
    /// Around it.
    pub rect: Rect,
    /// Its pixels in the rectangle, row by row.
    pub bits: Vec<bool>,
    /// Number of pixels.
    pub area: usize,
}

impl Blob {
    /// From pixel indices of a picture `width` wide.
    pub fn of(pixels: &[usize], width: usize) -> Self {
        let mut rect = Rect::default();
        for &p in pixels {
            rect.join(&Rect::pixel(p % width, p / width));
        }
        let (w, h) = rect.size();
        let mut bits = vec![false; w * h];
        for &p in pixels {
            bits[(p / width - rect.y.start) * w + p % width - rect.x.start] = true;
        }
        Self { rect, bits, area: pixels.len() }
    }

    /// Calls `f` with each pixel, moved by `(dx, dy)`, that lies inside `(height, width)`.
    pub fn each(&self, (dx, dy): (i32, i32), width: usize, height: usize, mut f: impl FnMut(usize)) {
        let w = self.rect.x.len();
        for (i, _) in self.bits.iter().enumerate().filter(|(_, b)| **b) {
            let x = (self.rect.x.start + i % w) as i32 + dx;
            let y = (self.rect.y.start + i / w) as i32 + dy;
            if x >= 0 && y >= 0 && (x as usize) < width && (y as usize) < height {
                f(y as usize * width + x as usize);
            }
        }
    }

    /// Mean place `(x, y)`.
    pub fn centre(&self) -> (f32, f32) {
        let w = self.rect.x.len().max(1);
        let (mut sx, mut sy, mut n) = (0f32, 0f32, 0f32);
        for (i, _) in self.bits.iter().enumerate().filter(|(_, b)| **b) {
            sx += (i % w) as f32;
            sy += (i / w) as f32;
            n += 1.0;
        }
        let n = n.max(1.0);
        (self.rect.x.start as f32 + sx / n, self.rect.y.start as f32 + sy / n)
    }
}
