//! What each pixel has shown lately, and for how long: a ghost of the first picture stands still.

use crate::planes::Planes;

/// A pixel has kept its colour while it is within so many levels of its mean of late: luma, and each chroma difference.
const LIKE_LUMA: f32 = 10.0;
const LIKE_CHROMA: f32 = 6.0;
/// Share of a frame in that mean.
const FOLLOW: f32 = 0.2;

/// Colours of late.
#[derive(Debug, Default)]
pub struct Recent {
    mean: Planes,
    /// Seconds for which each pixel has kept its colour.
    pub still: Vec<f32>,
}

impl Recent {
    /// Takes a frame `dt` seconds after the last.
    pub fn step(&mut self, picture: &Planes, dt: f32) {
        if self.still.len() != picture.len() {
            self.mean = picture.clone();
            self.still = vec![0.0; picture.len()];
            return;
        }
        let seen = picture.y.iter().zip(&picture.u).zip(&picture.v);
        let means = self.mean.y.iter_mut().zip(&mut self.mean.u).zip(&mut self.mean.v);
        for ((((y, u), v), ((my, mu), mv)), still) in seen.zip(means).zip(&mut self.still) {
            let (dy, du, dv) = (y - *my, u - *mu, v - *mv);
            // Not a branch, so that several pixels go side by side.
            let same = (dy.abs() < LIKE_LUMA) & (du.abs() < LIKE_CHROMA) & (dv.abs() < LIKE_CHROMA);
            *still = if same { *still + dt } else { 0.0 };
            *my = if same { *my + FOLLOW * dy } else { *y };
            *mu = if same { *mu + FOLLOW * du } else { *u };
            *mv = if same { *mv + FOLLOW * dv } else { *v };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pixel_is_still_while_each_plane_stays_near_its_mean() {
        let planes =
            |y: f32, u: f32, v: f32| Planes { width: 2, height: 1, y: vec![y; 2], u: vec![u; 2], v: vec![v; 2] };
        let mut recent = Recent::default();
        for (picture, still) in [
            (planes(100.0, 0.0, 0.0), 0.0),
            (planes(109.0, 5.0, -5.0), 0.5),
            // 1.8, 1 and -1 are the means' own way by now.
            (planes(111.0, 6.9, -6.9), 1.0),
            (planes(130.0, 6.9, -6.9), 0.0),
            (planes(130.0, 6.9, -6.9), 0.5),
            (planes(130.0, 0.8, -6.9), 0.0),
            (planes(130.0, 0.8, -0.8), 0.0),
        ] {
            recent.step(&picture, 0.5);
            assert_eq!(recent.still, [still; 2], "{picture:?}");
        }
        recent.step(&Planes { width: 1, height: 1, y: vec![1.0], u: vec![1.0], v: vec![1.0] }, 0.5);
        assert_eq!(recent.still, [0.0], "another size starts anew");
    }
}
