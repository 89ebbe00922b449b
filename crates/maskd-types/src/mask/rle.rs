//! COCO's compressed run-length encoding, the form in which masks travel.
//!
//! The pixels are taken column by column; the lengths of runs of zeros and ones alternate, zeros
//! first; from the fourth on each length is written as its difference to the one two before it, in
//! groups of five bits with a continuation bit, offset by 48 (`rleToString` in pycocotools' maskApi.c).

use super::{BBox, LabelMap, MAX_AREA, MaskError, Rle};
use crate::frame::Size;

/// One label of a map, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedMask {
    /// The mask at the map's size.
    pub mask: Rle,
    /// Its bounding box; all zero where the mask is empty.
    pub bbox: BBox,
    /// Its area in pixels.
    pub area: u64,
}

/// The run lengths of one mask while its columns pass by.
struct Runs {
    counts: Vec<u32>,
    /// Where the last run of ones ended, counted column by column.
    end: usize,
    area: u64,
    /// Left, top, right and bottom edge; right and bottom are exclusive.
    edges: Option<[u32; 4]>,
}

impl Runs {
    fn new() -> Self {
        Self { counts: Vec::new(), end: 0, area: 0, edges: None }
    }

    /// Adds the ones of column `x` from row `top` to before row `bottom`.
    fn add(&mut self, x: u32, top: u32, bottom: u32, height: u32) {
        let column = x as usize * height as usize;
        let (start, end) = (column + top as usize, column + bottom as usize);
        match self.counts.last_mut() {
            // The run reached the bottom of the last column and goes on at the top of this one.
            Some(ones) if self.end == start => *ones += bottom - top,
            _ => self.counts.extend([(start - self.end) as u32, bottom - top]),
        }
        self.end = end;
        self.area += u64::from(bottom - top);
        let [left, highest, _, lowest] = self.edges.unwrap_or([x, top, x, bottom]);
        self.edges = Some([left, highest.min(top), x + 1, lowest.max(bottom)]);
    }

    fn finish(mut self, size: Size) -> EncodedMask {
        if self.end < size.area() {
            self.counts.push((size.area() - self.end) as u32);
        }
        let [left, top, right, bottom] = self.edges.unwrap_or_default();
        EncodedMask {
            mask: Rle { size: [size.height, size.width], counts: to_string(&self.counts) },
            bbox: BBox { x: left, y: top, width: right - left, height: bottom - top },
            area: self.area,
        }
    }
}

/// Calls `run(x, label, top, bottom)` for every vertical run of equal labels, column by column.
fn columns<T: Copy + Default + PartialEq>(size: Size, pixels: &[T], mut run: impl FnMut(u32, T, u32, u32)) {
    // Columns are far apart in memory: a strip of them is turned at a time, so that each cache line is read once.
    const STRIP: usize = 64;
    let (width, height) = (size.width as usize, size.height as usize);
    let mut strip = vec![T::default(); STRIP * height];
    for left in (0..width).step_by(STRIP) {
        let columns = STRIP.min(width - left);
        for (y, row) in pixels.chunks_exact(width).enumerate() {
            for (dx, &pixel) in row[left..left + columns].iter().enumerate() {
                strip[dx * height + y] = pixel;
            }
        }
        for (dx, column) in strip.chunks_exact(height).take(columns).enumerate() {
            let mut top = 0;
            for same in column.chunk_by(T::eq) {
                let bottom = top + same.len() as u32;
                run((left + dx) as u32, same[0], top, bottom);
                top = bottom;
            }
        }
    }
}

impl Rle {
    /// The masks of labels `1..=k` (at most 255) in one pass over the map; an absent label has area 0.
    pub fn encode_labels(map: &LabelMap, k: usize) -> Vec<EncodedMask> {
        let mut runs: Vec<Runs> = (0..k.min(255)).map(|_| Runs::new()).collect();
        if map.size.area() > 0 {
            columns(map.size, &map.labels, |x, label, top, bottom| {
                if let Some(runs) = usize::from(label).checked_sub(1).and_then(|index| runs.get_mut(index)) {
                    runs.add(x, top, bottom, map.size.height);
                }
            });
        }
        runs.into_iter().map(|runs| runs.finish(map.size)).collect()
    }

    /// Encodes `mask`, `(height, width)` row by row. Pixels that it lacks are zero.
    pub fn from_mask(size: Size, mask: &[bool]) -> Self {
        let mut runs = Runs::new();
        if size.area() > 0 {
            columns(size, mask, |x, one, top, bottom| {
                if one {
                    runs.add(x, top, bottom, size.height);
                }
            });
        }
        runs.finish(size).mask
    }

    /// The pixels, `(height, width)` row by row. Takes whatever anybody sends: no memory is used
    /// before the lengths are known to cover the picture.
    ///
    /// # Errors
    /// A size other than `expected`, one above [`MAX_AREA`], characters outside COCO's, and lengths
    /// that are negative or do not add up to the picture.
    pub fn decode(&self, expected: Option<Size>) -> Result<Vec<bool>, MaskError> {
        let size = Size::new(self.size[1], self.size[0]);
        if let Some(expected) = expected.filter(|expected| *expected != size) {
            return Err(MaskError::WrongSize { found: size, expected });
        }
        // In u64: `area` of two hostile sides must not wrap on any platform.
        let area = u64::from(size.width) * u64::from(size.height);
        if area == 0 || area > MAX_AREA as u64 {
            return Err(MaskError::BadSize(size));
        }
        let counts = from_str(&self.counts, area as i64)?;
        let (width, height) = (size.width as usize, size.height as usize);
        let mut mask = vec![false; size.area()];
        let mut at = 0;
        for (index, count) in counts.into_iter().enumerate() {
            if index % 2 == 1 {
                (at..at + count).for_each(|pixel| mask[pixel % height * width + pixel / height] = true);
            }
            at += count;
        }
        Ok(mask)
    }
}

fn to_string(counts: &[u32]) -> String {
    let mut out = String::with_capacity(counts.len() * 2);
    for (index, &count) in counts.iter().enumerate() {
        let mut rest = i64::from(count);
        if index > 2 {
            rest -= i64::from(counts[index - 2]);
        }
        loop {
            let group = (rest & 0x1f) as u8;
            rest >>= 5;
            let more = if group & 0x10 != 0 { rest != -1 } else { rest != 0 };
            out.push(char::from(48 + group + if more { 0x20 } else { 0 }));
            if !more {
                break;
            }
        }
    }
    out
}

/// The run lengths, which add up to `area`.
fn from_str(text: &str, area: i64) -> Result<Vec<usize>, MaskError> {
    let mut counts: Vec<usize> = Vec::new();
    let mut total = 0;
    let mut bytes = text.bytes();
    while let Some(first) = bytes.next() {
        let (mut count, mut shift, mut byte) = (0_i64, 0, first);
        loop {
            if !(48..112).contains(&byte) {
                return Err(MaskError::BadCounts("a character is outside '0' to 'o'"));
            }
            // Seven groups hold every 32-bit length.
            if shift > 30 {
                return Err(MaskError::BadCounts("a length is too large"));
            }
            let group = i64::from(byte - 48);
            count |= (group & 0x1f) << shift;
            shift += 5;
            if group & 0x20 == 0 {
                if group & 0x10 != 0 {
                    count |= -1 << shift;
                }
                break;
            }
            byte = bytes.next().ok_or(MaskError::BadCounts("it ends within a length"))?;
        }
        if counts.len() > 2 {
            count += counts[counts.len() - 2] as i64;
        }
        if count < 0 {
            return Err(MaskError::BadCounts("a length is negative"));
        }
        total += count;
        if total > area {
            return Err(MaskError::BadCounts("the lengths exceed the picture"));
        }
        counts.push(count as usize);
    }
    if total != area {
        return Err(MaskError::BadCounts("the lengths do not fill the picture"));
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A map of odd size with blocky labels 0 to 3.
    fn maps() -> impl Strategy<Value = LabelMap> {
        (1u32..90, 1u32..40, 1usize..30).prop_flat_map(|(width, height, run)| {
            let size = Size::new(width, height);
            proptest::collection::vec(0u8..4, size.area().div_ceil(run)).prop_map(move |labels| LabelMap {
                size,
                labels: labels.iter().flat_map(|&l| std::iter::repeat_n(l, run)).take(size.area()).collect(),
            })
        })
    }

    #[test]
    fn strings_are_those_of_pycocotools() {
        // pycocotools.mask.encode(np.asfortranarray(m)) for y, x = np.mgrid[0:120, 0:90].
        let size = Size::new(90, 120);
        let encode = |of: &dyn Fn(i32, i32) -> bool| {
            Rle::from_mask(size, &(0..size.area() as i32).map(|i| of(i % 90, i / 90)).collect::<Vec<_>>()).counts
        };
        let disc = "mZ1?V36J6L2M4M2M4M2N2N2N2O0O2N2O0O2N2O000O2O000O2O0000000000000000000000000001N10001N10001N2N\
                    101N2N101N2N2N2N3L3N3L3N4J6J^Y2";
        assert_eq!(encode(&|x, y| (x - 40).pow(2) + (y - 60).pow(2) < 900), disc);
        assert_eq!(encode(&|_, _| true), "0`a:");
        assert_eq!(encode(&|x, y| x == 0 && y == 0), "01_a:");
        assert_eq!(encode(&|x, y| x == 89 && y > 10), "S^:]3");
        assert_eq!(encode(&|_, _| false), "`a:");
    }

    proptest! {
        #[test]
        fn labels_come_back_with_box_and_area(map in maps()) {
            let encoded = Rle::encode_labels(&map, 4);
            prop_assert_eq!(encoded.len(), 4);
            for (index, one) in encoded.iter().enumerate() {
                let truth: Vec<bool> = map.labels.iter().map(|&l| usize::from(l) == index + 1).collect();
                prop_assert_eq!(&one.mask.decode(Some(map.size)).unwrap(), &truth);
                prop_assert_eq!(&one.mask, &Rle::from_mask(map.size, &truth));
                prop_assert_eq!(one.area, truth.iter().filter(|b| **b).count() as u64);
                let width = map.size.width as usize;
                let ones = || truth.iter().enumerate().filter(|(_, b)| **b).map(|(i, _)| (i % width, i / width));
                let span = |of: &dyn Fn((usize, usize)) -> usize| {
                    let (min, max) = (ones().map(of).min(), ones().map(of).max());
                    min.zip(max).map_or((0, 0), |(min, max)| (min as u32, (max + 1 - min) as u32))
                };
                let ((x, w), (y, h)) = (span(&|p| p.0), span(&|p| p.1));
                prop_assert_eq!(one.bbox, BBox { x, y, width: w, height: h });
            }
        }

        #[test]
        fn strangers_strings_never_panic(counts in "[0-9:-~]{0,40}", size in proptest::array::uniform2(any::<u32>())) {
            let _ = Rle { size, counts: counts.clone() }.decode(None);
            if let Ok(mask) = (Rle { size: [7, 9], counts }).decode(None) {
                prop_assert_eq!(mask.len(), 63);
            }
        }

        #[test]
        fn a_changed_character_is_an_error_or_another_mask(map in maps(), at: usize, byte in 0u8..128) {
            let mut rle = Rle::from_mask(map.size, &map.labels.iter().map(|l| *l > 1).collect::<Vec<_>>());
            let at = at % rle.counts.len();
            rle.counts.replace_range(at..=at, std::str::from_utf8(&[byte]).unwrap());
            if let Ok(mask) = rle.decode(Some(map.size)) {
                prop_assert_eq!(mask.len(), map.size.area());
            }
        }
    }

    #[test]
    fn each_kind_of_bad_mask_is_named() {
        let decode = |size, counts: &str, expected| {
            (Rle { size, counts: counts.into() }).decode(expected).unwrap_err().to_string()
        };
        assert!(decode([2, 2], "4", Some(Size::new(3, 2))).contains("it is 2x2 pixels, the picture is 3x2"));
        assert!(decode([u32::MAX, u32::MAX], "4", None).contains("pixels in all"));
        assert!(decode([0, 4], "", None).contains("pixels in all"));
        assert!(decode([2, 2], "3", None).contains("do not fill"));
        assert!(decode([2, 2], "5", None).contains("exceed"));
        assert!(decode([2, 2], "~", None).contains("outside"));
        assert!(decode([2, 2], "P", None).contains("ends within"));
        assert!(decode([2, 2], "ooooooooo", None).contains("too large"));
        assert!(decode([2, 2], "O", None).contains("negative"));
    }
}
