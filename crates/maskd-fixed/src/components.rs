//! Connected pixels.

use std::ops::Range;

/// A rectangle of pixels.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Rect {
    /// Columns.
    pub x: Range<usize>,
    /// Rows.
    pub y: Range<usize>,
}

impl Rect {
    /// One pixel.
    pub fn pixel(x: usize, y: usize) -> Self {
        Self { x: x..x + 1, y: y..y + 1 }
    }

    /// The smallest rectangle around both.
    pub fn join(&mut self, other: &Self) {
        if self.x.is_empty() {
            *self = other.clone();
        } else if !other.x.is_empty() {
            self.x = self.x.start.min(other.x.start)..self.x.end.max(other.x.end);
            self.y = self.y.start.min(other.y.start)..self.y.end.max(other.y.end);
        }
    }

    /// Grown by `by` pixels on each side, inside `(height, width)`.
    pub fn grown(&self, by: usize, width: usize, height: usize) -> Self {
        Self {
            x: self.x.start.saturating_sub(by)..(self.x.end + by).min(width),
            y: self.y.start.saturating_sub(by)..(self.y.end + by).min(height),
        }
    }

    /// Width and height.
    pub fn size(&self) -> (usize, usize) {
        (self.x.len(), self.y.len())
    }

    /// Pixels between them, 0 where they touch.
    pub fn gap(&self, other: &Self) -> usize {
        let between =
            |a: &Range<usize>, b: &Range<usize>| b.start.saturating_sub(a.end).max(a.start.saturating_sub(b.end));
        between(&self.x, &other.x).max(between(&self.y, &other.y))
    }

    /// Whether they share a pixel.
    pub fn meets(&self, other: &Self) -> bool {
        self.x.start < other.x.end
            && other.x.start < self.x.end
            && self.y.start < other.y.end
            && other.y.start < self.y.end
    }
}

/// One connected set.
#[derive(Clone, Debug)]
pub struct Component {
    /// Number of pixels.
    pub area: usize,
    /// Around it.
    pub rect: Rect,
    /// Mean place, `(x, y)`.
    pub centre: (f32, f32),
}

impl Component {
    /// Of indices of pixels in a picture `width` wide.
    pub fn of(pixels: &[usize], width: usize) -> Self {
        let mut rect = Rect::default();
        let (mut sx, mut sy) = (0f64, 0f64);
        for &p in pixels {
            rect.join(&Rect::pixel(p % width, p / width));
            sx += (p % width) as f64;
            sy += (p / width) as f64;
        }
        let n = pixels.len().max(1) as f64;
        Self { area: pixels.len(), rect, centre: ((sx / n) as f32, (sy / n) as f32) }
    }
}

/// The 8-connected components of `mask` `(height, width)`; in `labels` each pixel's component counted from 1, 0 for none.
pub fn label(mask: &[bool], width: usize, labels: &mut Vec<u32>) -> Vec<Component> {
    labels.clear();
    labels.resize(mask.len(), 0);
    let mut found = Vec::new();
    let mut stack = Vec::new();
    let height = mask.len() / width.max(1);
    for start in 0..mask.len() {
        if !mask[start] || labels[start] != 0 {
            continue;
        }
        let label = found.len() as u32 + 1;
        labels[start] = label;
        stack.push(start);
        let (mut area, mut sx, mut sy) = (0usize, 0f64, 0f64);
        let mut rect = Rect::default();
        while let Some(p) = stack.pop() {
            let (x, y) = (p % width, p / width);
            area += 1;
            sx += x as f64;
            sy += y as f64;
            rect.join(&Rect::pixel(x, y));
            for ny in y.saturating_sub(1)..(y + 2).min(height) {
                for nx in x.saturating_sub(1)..(x + 2).min(width) {
                    let q = ny * width + nx;
                    if mask[q] && labels[q] == 0 {
                        labels[q] = label;
                        stack.push(q);
                    }
                }
            }
        }
        let centre = ((sx / area as f64) as f32, (sy / area as f64) as f32);
        found.push(Component { area, rect, centre });
    }
    found
}

/// Fills the holes of `mask` that have at most `most` pixels (4-connected, not at the border).
pub fn fill_holes(mask: &mut [bool], width: usize, most: usize) {
    let height = mask.len() / width.max(1);
    let mut seen: Vec<bool> = mask.to_vec();
    let (mut stack, mut hole) = (Vec::new(), Vec::new());
    for start in 0..mask.len() {
        if seen[start] {
            continue;
        }
        seen[start] = true;
        stack.push(start);
        hole.clear();
        let mut open = false;
        while let Some(p) = stack.pop() {
            if hole.len() <= most {
                hole.push(p);
            }
            let (x, y) = (p % width, p / width);
            open |= x == 0 || y == 0 || x + 1 == width || y + 1 == height;
            for q in [
                (x > 0).then(|| p - 1),
                (x + 1 < width).then(|| p + 1),
                (y > 0).then(|| p - width),
                (y + 1 < height).then(|| p + width),
            ]
            .into_iter()
            .flatten()
            {
                if !seen[q] {
                    seen[q] = true;
                    stack.push(q);
                }
            }
        }
        if !open && hole.len() <= most {
            hole.iter().for_each(|&p| mask[p] = true);
        }
    }
}
