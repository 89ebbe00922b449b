//! Masks as bits, sixty-four pixels a word, with what J and F ask of them found once per mask: the fast counterpart of
//! [`super::region`] and [`super::contour`], which say the same pixel by pixel.

use super::contour::radius;
use maskd_types::{frame::Size, mask::LabelMap};

/// One mask and its contour.
#[derive(Clone, Debug)]
pub struct Shape {
    mask: Bits,
    contour: Bits,
    contour_pixels: u64,
    /// The contour, grown by F's tolerance.
    band: Bits,
}

impl Shape {
    /// The masks of labels `1..=count` of a map; those without a pixel are `None`. Pixels where `void` holds 255
    /// belong to none of them.
    pub fn split(map: &LabelMap, count: usize, void: Option<&LabelMap>) -> Vec<Option<Self>> {
        let mut masks: Vec<Option<Bits>> = vec![None; count];
        let width = (map.size.width as usize).max(1);
        for (y, row) in map.labels.chunks_exact(width).enumerate() {
            for (word, pixels) in row.chunks(64).enumerate() {
                runs(pixels, |label, run| {
                    let Some(mask) = usize::from(label).checked_sub(1).and_then(|i| masks.get_mut(i)) else { return };
                    let mask = mask.get_or_insert_with(|| Bits::empty(map.size));
                    mask.words[y * mask.per_row + word] |= run;
                });
            }
        }
        let void = void.map(|void| Bits::of(void.size, |i| void.labels[i] == 255));
        let finish = |mut mask: Bits| {
            if let Some(void) = &void {
                mask.words.iter_mut().zip(&void.words).for_each(|(bits, void)| *bits &= !void);
            }
            Self::new(mask)
        };
        masks.into_iter().map(|mask| mask.map(finish)).collect()
    }

    /// The mask without a pixel.
    pub fn empty(size: Size) -> Self {
        Self::new(Bits::empty(size))
    }

    fn new(mask: Bits) -> Self {
        let contour = mask.contour();
        let band = contour.grown(radius(mask.size) as usize);
        Self { contour_pixels: contour.count(), contour, band, mask }
    }

    /// J of two masks of one size; see [`super::region`].
    pub fn region(&self, other: &Self) -> f64 {
        let either = self.mask.count_with(&other.mask, |a, b| a | b);
        let both = self.mask.count_with(&other.mask, |a, b| a & b);
        if either == 0 { 1.0 } else { both as f64 / either as f64 }
    }

    /// F of this segmentation and the `truth`, of one size; see [`super::contour()`].
    pub fn contour(&self, truth: &Self) -> f64 {
        let (precision, recall) = match (self.contour_pixels, truth.contour_pixels) {
            (0, 0) => (1.0, 1.0),
            (0, _) => (1.0, 0.0),
            (_, 0) => (0.0, 1.0),
            (found, wanted) => (
                self.contour.count_with(&truth.band, |a, b| a & b) as f64 / found as f64,
                truth.contour.count_with(&self.band, |a, b| a & b) as f64 / wanted as f64,
            ),
        };
        if precision + recall == 0.0 { 0.0 } else { 2.0 * precision * recall / (precision + recall) }
    }
}

/// Calls `run(label, bits)` for each run of equal labels among at most 64.
fn runs(pixels: &[u8], mut run: impl FnMut(u8, u64)) {
    let first = pixels[0];
    // Nearly all words are of one label, and this looks at many pixels at a time.
    if pixels.iter().fold(0, |differs, label| differs | (label ^ first)) == 0 {
        return run(first, ones(pixels.len()));
    }
    let mut start = 0;
    for same in pixels.chunk_by(u8::eq) {
        run(same[0], ones(same.len()) << start);
        start += same.len();
    }
}

/// The lowest `count` bits, 1..=64.
fn ones(count: usize) -> u64 {
    u64::MAX >> (64 - count)
}

/// One bit per pixel, the lowest bit of a word leftmost. Each row has at least one bit to spare, and all that are to
/// spare are 0.
#[derive(Clone, Debug)]
struct Bits {
    size: Size,
    per_row: usize,
    words: Vec<u64>,
}

impl Bits {
    fn empty(size: Size) -> Self {
        let per_row = size.width as usize / 64 + 1;
        Self { size, per_row, words: vec![0; per_row * size.height as usize] }
    }

    fn of(size: Size, mask: impl Fn(usize) -> bool) -> Self {
        let mut bits = Self::empty(size);
        let width = size.width as usize;
        for i in (0..size.area()).filter(|i| mask(*i)) {
            bits.words[i / width * bits.per_row + i % width / 64] |= 1 << (i % width % 64);
        }
        bits
    }

    fn count(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    fn count_with(&self, other: &Self, with: impl Fn(u64, u64) -> u64) -> u64 {
        self.words.iter().zip(&other.words).map(|(a, b)| u64::from(with(*a, *b).count_ones())).sum()
    }

    /// The contour as [`super::contour()`] defines it.
    fn contour(&self) -> Self {
        let mut contour = Self::empty(self.size);
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        if width == 0 {
            return contour;
        }
        let last = width - 1;
        // Each row and the same moved left by a pixel; what comes in from beyond the edge is the edge.
        let moved = |row: &[u64], word: usize| {
            let next = row.get(word + 1).copied().unwrap_or(0);
            let edge = if word == last / 64 { row[word] & (1 << (last % 64)) } else { 0 };
            (row[word] >> 1 | next << 63) | edge
        };
        for y in 0..height {
            let row = |y: usize| &self.words[y * self.per_row..][..self.per_row];
            let (here, below) = (row(y), row((y + 1).min(height - 1)));
            for word in 0..self.per_row {
                let s = here[word];
                contour.words[y * self.per_row + word] =
                    (s ^ moved(here, word)) | (s ^ below[word]) | (s ^ moved(below, word));
            }
        }
        contour
    }

    /// Every pixel within the disk `x^2 + y^2 <= radius^2` of one of these; spare bits are left undefined.
    fn grown(&self, radius: usize) -> Self {
        let mut grown = Self::empty(self.size);
        let height = self.size.height as usize;
        let mut wide = Vec::with_capacity(self.per_row);
        for (y, row) in self.words.chunks_exact(self.per_row).enumerate() {
            let Some(first) = row.iter().position(|word| *word != 0) else { continue };
            let last = row.iter().rposition(|word| *word != 0).unwrap_or(first);
            let (first, end) = (first.saturating_sub(radius / 64 + 1), (last + radius / 64 + 2).min(self.per_row));
            // The farther a row of the disk is from its middle the shorter it is: from the farthest inwards the row
            // only ever widens.
            wide.clear();
            wide.extend_from_slice(&row[first..end]);
            let mut reach = 0;
            for away in (0..=radius).rev() {
                let half = (radius * radius - away * away).isqrt();
                while reach < half {
                    widen(&mut wide);
                    reach += 1;
                }
                let above = y.checked_sub(away);
                let below = Some(y + away).filter(|below| *below < height && away > 0);
                for target in above.into_iter().chain(below) {
                    let target = &mut grown.words[target * self.per_row..][first..end];
                    target.iter_mut().zip(&wide).for_each(|(to, from)| *to |= from);
                }
            }
        }
        grown
    }
}

/// Adds to each bit its two neighbours.
fn widen(words: &mut [u64]) {
    let mut before = 0;
    for i in 0..words.len() {
        let word = words[i];
        let after = words.get(i + 1).copied().unwrap_or(0);
        words[i] = word | word << 1 | before >> 63 | word >> 1 | after << 63;
        before = word;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{contour, region};

    proptest! {
        #[test]
        fn bits_say_what_pixels_say(
            (width, height) in (1u32..400, 1u32..50),
            blocks in proptest::collection::vec(0u8..4, 2 * 60),
            (step, rise) in (1usize..80, 1usize..20),
            voids in proptest::collection::vec(any::<bool>(), 60),
        ) {
            let size = Size::new(width, height);
            let draw = |block: &dyn Fn(usize) -> u8| {
                let at = |i: usize| (i / width as usize / rise * 10 + i % width as usize / step) % 60;
                LabelMap { size, labels: (0..size.area()).map(|i| block(at(i))).collect() }
            };
            let (s, g) = (draw(&|i| blocks[i]), draw(&|i| blocks[60 + i]));
            let void = draw(&|i| if voids[i] { 255 } else { 0 });
            let plain_void: Vec<bool> = void.labels.iter().map(|v| *v == 255).collect();
            let mask = |map: &LabelMap, label| map.labels.iter().map(|l| *l == label).collect::<Vec<_>>();
            for (void, plain_void) in [(None, None), (Some(&void), Some(plain_void.as_slice()))] {
                let (fast_s, fast_g) = (Shape::split(&s, 4, void), Shape::split(&g, 4, void));
                prop_assert!(fast_s[3].is_none());
                let none = Shape::empty(size);
                for (a, b) in [(1, 1), (1, 2), (3, 2), (4, 1), (4, 4)] {
                    let fast = |shapes: &[Option<Shape>], label: u8| {
                        shapes[usize::from(label) - 1].clone().unwrap_or_else(|| none.clone())
                    };
                    let (fast_a, fast_b) = (fast(&fast_s, a), fast(&fast_g, b));
                    let (plain_a, plain_b) = (mask(&s, a), mask(&g, b));
                    prop_assert_eq!(fast_a.region(&fast_b), region(&plain_a, &plain_b, plain_void));
                    prop_assert_eq!(fast_a.contour(&fast_b), contour(&plain_a, &plain_b, size, plain_void));
                }
            }
        }
    }

    #[test]
    fn a_tolerance_wider_than_a_word_reaches_over_whole_words() {
        let mut bits = Bits::empty(Size::new(400, 3));
        bits.words[3] = 1;
        let grown = bits.grown(150);
        let count: u64 = (0..400).filter(|x| grown.words[x / 64] >> (x % 64) & 1 == 1).count() as u64;
        assert_eq!(count, 301);
    }

    #[test]
    fn a_map_without_pixels_has_no_masks() {
        let map = LabelMap::new(Size::new(0, 0));
        assert!(Shape::split(&map, 2, None).iter().all(Option::is_none));
        let none = Shape::empty(map.size);
        assert_eq!((none.region(&none), none.contour(&none)), (1.0, 1.0));
    }
}
