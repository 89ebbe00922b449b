//! Connected pixels.

use std::ops::Range;

use crate::runs::{self, Run};

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
#[derive(Clone, Debug, Default)]
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
    let (runs, count) = runs::sets(mask, width, true, true);
    let mut found = vec![(Component::default(), (0f64, 0f64)); count];
    for Run { y, x, set } in runs {
        labels[y * width + x.start..y * width + x.end].fill(set as u32 + 1);
        let (component, sum) = &mut found[set];
        let n = x.len() as f64;
        sum.0 += n * (x.start + x.end - 1) as f64 / 2.0;
        sum.1 += n * y as f64;
        component.area += x.len();
        component.rect.join(&Rect { x, y: y..y + 1 });
    }
    let with_centre = |(component, (x, y)): (Component, (f64, f64))| {
        let n = component.area as f64;
        Component { centre: ((x / n) as f32, (y / n) as f32), ..component }
    };
    found.into_iter().map(with_centre).collect()
}

/// Fills the holes of `mask` that have at most `most` pixels (4-connected, not at the border).
pub fn fill_holes(mask: &mut [bool], width: usize, most: usize) {
    let height = mask.len() / width.max(1);
    let (runs, count) = runs::sets(mask, width, false, false);
    let mut areas = vec![0usize; count];
    for Run { y, x, set } in &runs {
        let open = *y == 0 || y + 1 == height || x.start == 0 || x.end == width;
        areas[*set] = areas[*set].saturating_add(if open { usize::MAX } else { x.len() });
    }
    for Run { y, x, .. } in runs.into_iter().filter(|run| areas[run.set] <= most) {
        mask[y * width + x.start..y * width + x.end].fill(true);
    }
}

#[cfg(test)]
mod plain;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Set where the drawing has a `#`.
    fn mask(rows: &[&str]) -> Vec<bool> {
        rows.iter().flat_map(|row| row.bytes().map(|b| b == b'#')).collect()
    }

    proptest! {
        #[test]
        fn components_and_holes_are_those_of_a_flood(
            (width, height, most, share) in (1usize..30, 1usize..20, 0usize..12, 0.1f32..0.9),
            values in prop::collection::vec(0f32..1.0, 600),
        ) {
            let drawn: Vec<bool> = values[..width * height].iter().map(|v| *v < share).collect();
            let (mut labels, mut flooded) = (vec![9; 2], Vec::new());
            let (found, plain) = (label(&drawn, width, &mut labels), plain::label(&drawn, width, &mut flooded));
            prop_assert_eq!(labels, flooded);
            let parts = |c: &Component| (c.area, c.rect.clone(), c.centre);
            prop_assert_eq!(found.iter().map(parts).collect::<Vec<_>>(), plain.iter().map(parts).collect::<Vec<_>>());
            let (mut filled, mut flooded) = (drawn.clone(), drawn);
            fill_holes(&mut filled, width, most);
            plain::fill_holes(&mut flooded, width, most);
            prop_assert_eq!(filled, flooded);
        }
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
