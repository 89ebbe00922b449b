//! Which part of a picture a crop shows: torchvision's `RandomResizedCrop.get_params`.

use rand::{Rng, RngExt};

/// Range of a crop's width to its height.
const ASPECT: [f64; 2] = [3.0 / 4.0, 4.0 / 3.0];

/// How often a rectangle is drawn that may not fit before the centre is taken.
const TRIES: usize = 10;

/// A rectangle in pixels, inside its picture and not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rect {
    /// First column.
    pub left: u32,
    /// First row.
    pub top: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Rect {
    /// The whole of a picture.
    pub fn whole(width: u32, height: u32) -> Self {
        Self { left: 0, top: 0, width, height }
    }

    /// A random rectangle: area uniform in `scale` times the picture's, aspect log-uniform in 3/4 to 4/3, place uniform.
    /// After ten that do not fit, the largest centred one of a permitted aspect.
    pub fn random(rng: &mut impl Rng, width: u32, height: u32, scale: [f64; 2]) -> Self {
        let area = f64::from(width) * f64::from(height);
        for _ in 0..TRIES {
            let target = area * rng.random_range(scale[0]..=scale[1]);
            let aspect = rng.random_range(ASPECT[0].ln()..=ASPECT[1].ln()).exp();
            // A float that does not fit saturates, and is then too large.
            let w = (target * aspect).sqrt().round_ties_even() as u32;
            let h = (target / aspect).sqrt().round_ties_even() as u32;
            if (1..=width).contains(&w) && (1..=height).contains(&h) {
                let (left, top) = (rng.random_range(0..=width - w), rng.random_range(0..=height - h));
                return Self { left, top, width: w, height: h };
            }
        }
        Self::centred(width, height)
    }

    fn centred(width: u32, height: u32) -> Self {
        let aspect = f64::from(width) / f64::from(height);
        let (mut w, mut h) = (width, height);
        if aspect < ASPECT[0] {
            h = (f64::from(width) / ASPECT[0]).round_ties_even() as u32;
        } else if aspect > ASPECT[1] {
            w = (f64::from(height) * ASPECT[1]).round_ties_even() as u32;
        }
        let (w, h) = (w.clamp(1, width), h.clamp(1, height));
        Self { left: (width - w) / 2, top: (height - h) / 2, width: w, height: h }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    proptest! {
        #[test]
        fn a_rectangle_lies_inside_and_is_not_empty(
            seed in any::<u64>(), width in 1u32..3000, height in 1u32..3000, low in 0.01f64..1.0, more in 0.0f64..1.0,
        ) {
            let scale = [low, (low + more).min(1.0)];
            let rect = Rect::random(&mut ChaCha8Rng::seed_from_u64(seed), width, height, scale);
            prop_assert!(rect.width > 0 && rect.left + rect.width <= width, "{rect:?}");
            prop_assert!(rect.height > 0 && rect.top + rect.height <= height, "{rect:?}");
        }

        #[test]
        fn area_and_aspect_keep_to_their_ranges(seed in any::<u64>(), low in 0.05f64..0.7) {
            // Half of the picture's area at most: every aspect fits, so that the first try is taken.
            let rect = Rect::random(&mut ChaCha8Rng::seed_from_u64(seed), 2000, 2000, [low / 2.0, low]);
            let (w, h) = (f64::from(rect.width), f64::from(rect.height));
            prop_assert!((low / 2.0 - 0.003..low + 0.003).contains(&(w * h / 4e6)), "{rect:?}");
            prop_assert!((0.745..1.342).contains(&(w / h)), "{rect:?}");
        }
    }

    #[test]
    fn a_strip_gives_its_centre() {
        // Nothing of 3/4 to 4/3 and the whole area fits into 1000 x 10.
        let rect = Rect::random(&mut ChaCha8Rng::seed_from_u64(1), 1000, 10, [1.0, 1.0]);
        assert_eq!(rect, Rect { left: 493, top: 0, width: 13, height: 10 });
        let rect = Rect::random(&mut ChaCha8Rng::seed_from_u64(1), 10, 1000, [1.0, 1.0]);
        assert_eq!(rect, Rect { left: 0, top: 493, width: 10, height: 13 });
        assert_eq!(Rect::centred(120, 100), Rect::whole(120, 100));
    }

    #[test]
    fn places_areas_and_aspects_are_spread_evenly() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let rects: Vec<_> = (0..4000).map(|_| Rect::random(&mut rng, 1000, 1000, [0.05, 0.4])).collect();
        let share = |holds: &dyn Fn(&Rect) -> bool| rects.iter().filter(|r| holds(r)).count() as f64 / 4000.0;
        // Three standard deviations of a fair coin are 0.024.
        let even = |share: f64| (0.475..0.525).contains(&share);
        assert!(even(share(&|r| 2 * r.left < 1000 - r.width)), "left half");
        assert!(even(share(&|r| 2 * r.top < 1000 - r.height)), "upper half");
        assert!(even(share(&|r| r.width > r.height)), "lying");
        assert!(even(share(&|r| f64::from(r.width) * f64::from(r.height) < 0.225e6)), "small");
    }
}
