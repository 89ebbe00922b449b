//! What each pixel has shown lately, and for how long: a ghost of the first picture stands still.

use crate::planes::Planes;

/// A pixel has kept its colour while it is within so many levels of its mean of late: luma, and each chroma difference.
const LIKE_LUMA: f32 = 10.0;
const LIKE_CHROMA: f32 = 6.0;
/// Or within so many deviations of the picture's noise, where that is more. Chosen on first halves of the four sequences with
/// noise as at night (any of 3.5 to 6 does).
const LIKE_NOISE: f32 = 4.0;
/// Noise of a chroma difference for one of luma.
const CHROMA_NOISE: f32 = 0.7;
/// Share of a frame in that mean.
const FOLLOW: f32 = 0.2;
/// Seconds over which the measure of noise rises: a lorry that fills the picture is no noise. It falls at once.
const NOISE_S: f32 = 2.0;
/// Pixels by which noise is measured.
const SAMPLES: usize = 2048;

/// Colours of late.
#[derive(Debug, Default)]
pub struct Recent {
    mean: Planes,
    /// Seconds for which each pixel has kept its colour.
    pub still: Vec<f32>,
    /// Deviation of a pixel's luma that is noise.
    noise: f32,
}

impl Recent {
    /// Takes a frame `dt` seconds after the last.
    pub fn step(&mut self, picture: &Planes, dt: f32) {
        if self.still.len() != picture.len() {
            self.mean = picture.clone();
            self.still = vec![0.0; picture.len()];
            self.noise = 0.0;
            return;
        }
        let more = self.measure_noise(picture) - self.noise;
        self.noise += if more > 0.0 { (dt / NOISE_S).min(1.0) * more } else { more };
        let like_luma = LIKE_LUMA.max(LIKE_NOISE * self.noise);
        let like_chroma = LIKE_CHROMA.max(LIKE_NOISE * CHROMA_NOISE * self.noise);
        let seen = picture.y.iter().zip(&picture.u).zip(&picture.v);
        let means = self.mean.y.iter_mut().zip(&mut self.mean.u).zip(&mut self.mean.v);
        for ((((y, u), v), ((my, mu), mv)), still) in seen.zip(means).zip(&mut self.still) {
            let (dy, du, dv) = (y - *my, u - *mu, v - *mv);
            // Not a branch, so that several pixels go side by side.
            let same = (dy.abs() < like_luma) & (du.abs() < like_chroma) & (dv.abs() < like_chroma);
            *still = if same { *still + dt } else { 0.0 };
            *my = if same { *my + FOLLOW * dy } else { *y };
            *mu = if same { *mu + FOLLOW * du } else { *u };
            *mv = if same { *mv + FOLLOW * dv } else { *v };
        }
    }

    /// The deviation of luma from its mean of late that noise alone makes, by the median over the picture: things move in less
    /// than half of it.
    fn measure_noise(&self, picture: &Planes) -> f32 {
        let step = picture.len() / SAMPLES + 1;
        let mut away: Vec<f32> =
            picture.y.iter().zip(&self.mean.y).step_by(step).map(|(y, mean)| (y - mean).abs()).collect();
        if away.is_empty() {
            return 0.0;
        }
        let middle = away.len() / 2;
        let (_, median, _) = away.select_nth_unstable_by(middle, f32::total_cmp);
        // The mean of late has noise of its own: its variance is FOLLOW / (2 - FOLLOW) of a frame's.
        1.4826 * *median / (1.0 + FOLLOW / (2.0 - FOLLOW)).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_does_not_move_a_pixel_but_a_thing_does() {
        let (width, height) = (64, 48);
        let mut state = 7u32;
        let mut noisy = |sigma: f32, thing: f32| {
            let y = (0..width * height).map(|p| {
                // The sum of twelve even numbers is near a normal one.
                let sum: f32 = (0..12)
                    .map(|_| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        (state >> 8) as f32 / (1 << 24) as f32
                    })
                    .sum();
                100.0 + sigma * (sum - 6.0) + if p < width { thing } else { 0.0 }
            });
            let y: Vec<f32> = y.collect();
            Planes { width, height, u: vec![0.0; y.len()], v: vec![0.0; y.len()], y }
        };
        let mut recent = Recent::default();
        (0..50).for_each(|_| recent.step(&noisy(12.0, 0.0), 0.1));
        assert!((recent.noise - 12.0).abs() < 1.5, "{}", recent.noise);
        let still = |recent: &Recent, from: usize| recent.still[from..].iter().filter(|s| **s > 1.0).count();
        assert!(still(&recent, 0) > width * height * 95 / 100, "{}", still(&recent, 0));
        recent.step(&noisy(12.0, 120.0), 0.1);
        assert!(recent.still[..width].iter().all(|s| *s == 0.0), "a thing has come");
        assert!(still(&recent, width) > width * (height - 1) * 95 / 100);
    }

    #[test]
    fn a_pixel_is_still_while_each_plane_stays_near_its_mean() {
        // The last pixels of ten never change: there is no noise.
        let plane = |first: f32| (0..10).map(|p| if p < 2 { first } else { 50.0 }).collect();
        let planes = |y: f32, u: f32, v: f32| Planes { width: 10, height: 1, y: plane(y), u: plane(u), v: plane(v) };
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
            assert_eq!(recent.still[..2], [still; 2], "{picture:?}");
        }
        recent.step(&Planes { width: 1, height: 1, y: vec![1.0], u: vec![1.0], v: vec![1.0] }, 0.5);
        assert_eq!(recent.still, [0.0], "another size starts anew");
    }
}
