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
            x: self.x.start.saturating_sub(by)..self.x.end.saturating_add(by).min(width),
            y: self.y.start.saturating_sub(by)..self.y.end.saturating_add(by).min(height),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Set where the drawing has a `#`.
    fn mask(rows: &[&str]) -> Vec<bool> {
        rows.iter().flat_map(|row| row.bytes().map(|b| b == b'#')).collect()
    }

    #[test]
    fn corners_connect_and_rows_do_not_wrap() {
        let drawn = mask(&["##....", "..#..#", "#....."]);
        let mut labels = vec![9; 2];
        let found = label(&drawn, 6, &mut labels);
        let areas: Vec<usize> = found.iter().map(|c| c.area).collect();
        assert_eq!(areas, [3, 1, 1]);
        assert_eq!(found[0].rect, Rect { x: 0..3, y: 0..2 });
        assert_eq!(found[0].centre, (1.0, 1.0 / 3.0));
        assert_eq!(labels, [1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 2, 3, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_component_of_pixels_is_the_labelled_one() {
        let drawn = mask(&["......", ".###..", "...##.", "......"]);
        let found = label(&drawn, 6, &mut Vec::new());
        let pixels: Vec<usize> = (0..drawn.len()).filter(|p| drawn[*p]).collect();
        let plain = Component::of(&pixels, 6);
        assert_eq!((found[0].area, &found[0].rect, found[0].centre), (plain.area, &plain.rect, plain.centre));
    }

    #[test]
    fn small_holes_are_filled_and_bays_are_not() {
        let mut drawn = mask(&["######.", "#.##.#.", "####.#.", "######.", "#..####", "#.#####"]);
        fill_holes(&mut drawn, 7, 2);
        // A bay at the border stays open, even where it is small.
        assert_eq!(drawn, mask(&["######.", "######.", "######.", "######.", "#..####", "#.#####"]));
        let mut drawn = mask(&["#####", "#..##", "#.###", "#####"]);
        let before = drawn.clone();
        fill_holes(&mut drawn, 5, 2);
        assert_eq!(drawn, before, "a hole of three pixels");
        fill_holes(&mut drawn, 5, 3);
        assert!(drawn.iter().all(|m| *m));
    }

    #[test]
    fn what_touches_only_by_a_corner_closes_a_hole() {
        let mut drawn = mask(&[".#.", "#.#", ".#."]);
        fill_holes(&mut drawn, 3, 5);
        assert_eq!(drawn, mask(&[".#.", "###", ".#."]));
    }

    #[test]
    fn rectangles_join_grow_and_have_gaps() {
        let (mut a, b) = (Rect { x: 2..4, y: 2..4 }, Rect { x: 7..9, y: 3..5 });
        assert_eq!((a.gap(&b), b.gap(&a), a.meets(&b)), (3, 3, false));
        assert_eq!(b.grown(3, 10, 6), Rect { x: 4..10, y: 0..6 });
        a.join(&b);
        assert_eq!(a, Rect { x: 2..9, y: 2..5 });
        assert!(a.meets(&b));
        let mut none = Rect::default();
        none.join(&b);
        none.join(&Rect::default());
        assert_eq!(none, b);
    }
}
