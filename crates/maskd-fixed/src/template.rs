//! What a thing looked like when it was last alone, to find it where things touch or cover each other.

use crate::{objects::Blob, planes::Planes};

/// Differences of colour (sum over luma and both chroma differences) below this are the same.
const SAME: f32 = 30.0;
/// Differences of colour count no more than this.
const MOST: f32 = 60.0;

/// A cut-out.
#[derive(Clone, Debug, Default)]
pub struct Template {
    /// Where it was.
    pub blob: Blob,
    colours: Vec<[f32; 3]>,
}

impl Template {
    /// Cuts `blob` out of `picture`.
    pub fn cut(blob: &Blob, picture: &Planes) -> Self {
        let mut colours = Vec::with_capacity(blob.bits.len());
        for y in blob.rect.y.clone() {
            for x in blob.rect.x.clone() {
                let p = y * picture.width + x;
                colours.push([picture.y[p], picture.u[p], picture.v[p]]);
            }
        }
        Self { blob: blob.clone(), colours }
    }

    /// The shift at which it fits best, around `guess` and `reach` pixels on each side, and the share of its pixels that are
    /// seen there. Pixels that are `taken` by something before it count as hidden.
    pub fn find(&self, picture: &Planes, taken: &[bool], guess: (i32, i32), reach: i32) -> ((i32, i32), f32) {
        let step = if self.blob.area > 600 { 2 } else { 1 };
        let mut best = (f32::MAX, guess, 0.0);
        for dy in guess.1 - reach..=guess.1 + reach {
            for dx in guess.0 - reach..=guess.0 + reach {
                let (mut cost, mut seen, mut n) = (0f32, 0f32, 0f32);
                let w = self.blob.rect.x.len();
                for row in (0..self.blob.rect.y.len()).step_by(step) {
                    let y = self.blob.rect.y.start as i32 + row as i32 + dy;
                    for col in (0..w).step_by(step) {
                        let i = row * w + col;
                        if !self.blob.bits[i] {
                            continue;
                        }
                        n += 1.0;
                        let x = self.blob.rect.x.start as i32 + col as i32 + dx;
                        if x < 0 || y < 0 || x >= picture.width as i32 || y >= picture.height as i32 {
                            cost += 0.5 * MOST;
                            continue;
                        }
                        let p = y as usize * picture.width + x as usize;
                        if taken[p] {
                            cost += 0.5 * MOST;
                            continue;
                        }
                        let d = difference(self.colours[i], picture, p);
                        cost += d.min(MOST);
                        seen += f32::from(u8::from(d < SAME));
                    }
                }
                let away = ((dx - guess.0).pow(2) + (dy - guess.1).pow(2)) as f32;
                let total = cost / f32::max(n, 1.0) + 0.3 * away.sqrt();
                if total < best.0 {
                    best = (total, (dx, dy), seen / f32::max(n, 1.0));
                }
            }
        }
        (best.1, best.2)
    }

    /// How much pixel `p` differs from it when it is moved by `shift`; `None` outside of it.
    pub fn at(&self, picture: &Planes, p: usize, (dx, dy): (i32, i32)) -> Option<f32> {
        let x = (p % picture.width) as i32 - dx - self.blob.rect.x.start as i32;
        let y = (p / picture.width) as i32 - dy - self.blob.rect.y.start as i32;
        let (w, h) = self.blob.rect.size();
        if x < 0 || y < 0 || x >= w as i32 || y >= h as i32 {
            return None;
        }
        let i = y as usize * w + x as usize;
        self.blob.bits[i].then(|| difference(self.colours[i], picture, p))
    }
}

fn difference(c: [f32; 3], picture: &Planes, p: usize) -> f32 {
    (c[0] - picture.y[p]).abs() + (c[1] - picture.u[p]).abs() + (c[2] - picture.v[p]).abs()
}
