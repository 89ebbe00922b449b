//! Label maps in memory: making and resizing them.

use rayon::prelude::*;

use super::LabelMap;
use crate::frame::Size;

impl LabelMap {
    /// A map of `size` that is all background.
    pub fn new(size: Size) -> Self {
        Self { size, labels: vec![0; size.area()] }
    }

    /// The map at another size; each pixel takes the label under its centre, as PIL's `NEAREST` does.
    /// A map without pixels becomes background.
    pub fn resize_nearest(&self, size: Size) -> Self {
        if size == self.size {
            return self.clone();
        }
        let mut out = Self::new(size);
        if self.size.area() == 0 || size.area() == 0 {
            return out;
        }
        let width = self.size.width as usize;
        let xs = nearest_indices(self.size.width, size.width);
        let ys = nearest_indices(self.size.height, size.height);
        out.labels.par_chunks_exact_mut(size.width as usize).zip(&ys).for_each(|(row, &y)| {
            let source = &self.labels[y * width..][..width];
            for (label, &x) in row.iter_mut().zip(&xs) {
                *label = source[x];
            }
        });
        out
    }
}

/// For each of `to` pixels, which of `from` pixels PIL's `NEAREST` reads. PIL adds up the step
/// instead of multiplying, which decides the pixels whose centre falls between two: so do we
/// (`ImagingScaleAffine` in Pillow's Geometry.c).
pub(super) fn nearest_indices(from: u32, to: u32) -> Vec<usize> {
    let step = f64::from(from) / f64::from(to);
    let mut centre = step * 0.5;
    let last = (from as usize).saturating_sub(1);
    (0..to)
        .map(|_| {
            let index = (centre as usize).min(last);
            centre += step;
            index
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FNV-1a, to compare whole index tables with Pillow's in one number.
    fn digest(indices: &[usize]) -> u32 {
        indices.iter().fold(0x811c_9dc5, |hash, &i| (hash ^ i as u32).wrapping_mul(0x0100_0193))
    }

    #[test]
    fn indices_are_pillows() {
        // From Pillow: np.array(Image.fromarray(np.arange(from)[None].astype('int32'), 'I').resize((to, 1), 0)).
        let pillow = [
            (840, 854, 0x37b8_81c9),
            (476, 480, 0x5af5_dd5d),
            (854, 60, 0x6bfa_0cc3),
            (280, 480, 0x66a6_0075),
            (60, 854, 0xf2c8_6315),
            (1000, 7, 0xd53c_cc88),
            (1920, 105, 0x659e_8ace),
        ];
        for (from, to, expected) in pillow {
            assert_eq!(digest(&nearest_indices(from, to)), expected, "{from} -> {to}");
        }
    }

    #[test]
    fn resizing_picks_pixels_and_never_fails() {
        let map = LabelMap { size: Size::new(2, 2), labels: vec![1, 2, 3, 4] };
        assert_eq!(map.resize_nearest(Size::new(4, 2)).labels, [1, 1, 2, 2, 3, 3, 4, 4]);
        assert_eq!(map.resize_nearest(Size::new(1, 1)).labels, [4]);
        assert!(map.resize_nearest(Size::new(0, 3)).labels.is_empty());
        assert_eq!(LabelMap::new(Size::new(0, 0)).resize_nearest(Size::new(2, 1)).labels, [0, 0]);
    }
}
