//! F: how well two contours match, within a tolerance of a few pixels.

use maskd_types::frame::Size;

/// How far contours may lie apart, as a share of the picture's diagonal.
const TOLERANCE: f64 = 0.008;

/// The F measure of the contours of a segmentation and the truth, `(height, width)` row by row. A
/// contour pixel matches when one of the other contour lies within the tolerance of it. Pixels where
/// `void` is true belong to neither (Martin et al. 2004; `f_measure` in davis2017-evaluation).
pub fn contour(segmentation: &[bool], truth: &[bool], size: Size, void: Option<&[bool]>) -> f64 {
    let found = Contour::of(segmentation, size, void);
    let wanted = Contour::of(truth, size, void);
    let radius = radius(size);
    let (precision, recall) = match (found.pixels.len(), wanted.pixels.len()) {
        (0, 0) => (1.0, 1.0),
        (0, _) => (1.0, 0.0),
        (_, 0) => (0.0, 1.0),
        (found_pixels, wanted_pixels) => (
            found.near(&wanted, radius) as f64 / found_pixels as f64,
            wanted.near(&found, radius) as f64 / wanted_pixels as f64,
        ),
    };
    if precision + recall == 0.0 { 0.0 } else { 2.0 * precision * recall / (precision + recall) }
}

/// How far contours may lie apart, in pixels.
pub(super) fn radius(size: Size) -> i64 {
    (TOLERANCE * f64::from(size.width).hypot(f64::from(size.height))).ceil() as i64
}

/// The contour pixels of one mask.
struct Contour {
    width: i64,
    height: i64,
    /// `(x, y)` of each.
    pixels: Vec<(i64, i64)>,
    /// `(height, width + 1)`: how many of them lie in the row to the left of each place. The number
    /// in a stretch of a row is then one difference, and no mask is ever dilated.
    before: Vec<u32>,
}

impl Contour {
    /// A pixel is on the contour where it differs from its neighbour to the right, below, or both;
    /// the last row looks only right, the last column only down, the last pixel nowhere (`seg2bmap`).
    fn of(mask: &[bool], size: Size, void: Option<&[bool]>) -> Self {
        let (width, height) = (size.width as usize, size.height as usize);
        let at = |x: usize, y: usize| {
            let index = y.min(height - 1) * width + x.min(width - 1);
            mask[index] && !void.is_some_and(|void| void[index])
        };
        let mut pixels = Vec::new();
        let mut before = Vec::with_capacity((width + 1) * height);
        for y in 0..height {
            before.push(0);
            let mut count = 0;
            for x in 0..width {
                // Reads beyond the edge give the edge: differences across it vanish, as they should.
                let here = at(x, y);
                if here != at(x + 1, y) || here != at(x, y + 1) || here != at(x + 1, y + 1) {
                    pixels.push((x as i64, y as i64));
                    count += 1;
                }
                before.push(count);
            }
        }
        Self { width: width as i64, height: height as i64, pixels, before }
    }

    /// How many pixels of this contour lie within the disk `x^2 + y^2 <= radius^2` of one of `other`.
    fn near(&self, other: &Self, radius: i64) -> usize {
        let half: Vec<i64> = (-radius..=radius).map(|dy| (radius * radius - dy * dy).isqrt()).collect();
        let hit = |&&(x, y): &&(i64, i64)| {
            (-radius..=radius).zip(&half).any(|(dy, &half)| {
                let row = y + dy;
                (0..other.height).contains(&row) && {
                    let place = |x: i64| other.before[(row * (other.width + 1) + x.clamp(0, other.width)) as usize];
                    place(x + half + 1) > place(x - half)
                }
            })
        };
        self.pixels.iter().filter(hit).count()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition in words: boundary maps, dilation by the disk, counting.
    fn by_dilation(s: &[bool], g: &[bool], size: Size) -> f64 {
        let (w, h) = (size.width as i64, size.height as i64);
        let boundary = |m: &[bool]| -> Vec<bool> {
            let m = |x: i64, y: i64| m[(y * w + x) as usize];
            let map = |x: i64, y: i64| match (x + 1 < w, y + 1 < h) {
                (true, true) => m(x, y) ^ m(x + 1, y) | m(x, y) ^ m(x, y + 1) | m(x, y) ^ m(x + 1, y + 1),
                (true, false) => m(x, y) ^ m(x + 1, y),
                (false, true) => m(x, y) ^ m(x, y + 1),
                (false, false) => false,
            };
            (0..h).flat_map(|y| (0..w).map(move |x| (x, y))).map(|(x, y)| map(x, y)).collect()
        };
        let r = (0.008 * ((w * w + h * h) as f64).sqrt()).ceil() as i64;
        let dilate = |m: &[bool]| -> Vec<bool> {
            let mut out = vec![false; m.len()];
            for (x, y) in (0..h).flat_map(|y| (0..w).map(move |x| (x, y))).filter(|(x, y)| m[(y * w + x) as usize]) {
                for (dx, dy) in (-r..=r).flat_map(|dy| (-r..=r).map(move |dx| (dx, dy))) {
                    let (x, y) = (x + dx, y + dy);
                    if dx * dx + dy * dy <= r * r && (0..w).contains(&x) && (0..h).contains(&y) {
                        out[(y * w + x) as usize] = true;
                    }
                }
            }
            out
        };
        let (s, g) = (boundary(s), boundary(g));
        let count = |a: &[bool], b: &[bool]| a.iter().zip(b).filter(|(a, b)| **a && **b).count() as f64;
        let (all_s, all_g) = (count(&s, &s), count(&g, &g));
        let p = if all_s == 0.0 { 1.0 } else { count(&s, &dilate(&g)) / all_s };
        let r = if all_g == 0.0 { 1.0 } else { count(&g, &dilate(&s)) / all_g };
        if p + r == 0.0 { 0.0 } else { 2.0 * p * r / (p + r) }
    }

    proptest! {
        #[test]
        fn counting_along_rows_is_dilation(
            (width, height) in (1u32..150, 1u32..40), blocks in proptest::collection::vec(0u8..8, 24),
        ) {
            let size = Size::new(width, height);
            let mask = |bit: u8| -> Vec<bool> {
                (0..size.area()).map(|i| {
                    let (x, y) = (i % width as usize / 25, i / width as usize / 11);
                    blocks[(y * 6 + x) % 24] >> bit & 1 == 1
                }).collect()
            };
            let (s, g) = (mask(0), mask(1));
            prop_assert_eq!(contour(&s, &g, size, None), by_dilation(&s, &g, size));
            prop_assert_eq!(contour(&s, &s, size, None), 1.0);
            let void = mask(2);
            let cut = |m: &[bool]| m.iter().zip(&void).map(|(m, v)| *m && !v).collect::<Vec<_>>();
            prop_assert_eq!(contour(&s, &g, size, Some(&void)), contour(&cut(&s), &cut(&g), size, None));
        }
    }

    #[test]
    fn empty_contours_are_counted_as_the_evaluator_does() {
        let size = Size::new(8, 8);
        let some: Vec<bool> = (0..64).map(|i| i == 27).collect();
        assert_eq!(contour(&[false; 64], &[false; 64], size, None), 1.0);
        assert_eq!(contour(&some, &[false; 64], size, None), 0.0);
        assert_eq!(contour(&[false; 64], &some, size, None), 0.0);
        assert_eq!(contour(&[], &[], Size::new(0, 0), None), 1.0);
    }
}
