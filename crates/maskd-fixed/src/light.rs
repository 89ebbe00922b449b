//! Changes of light and exposure that concern the whole picture.

use crate::planes::Planes;

/// Pixels that are looked at.
const SAMPLES: usize = 8192;
/// Differences above this are things, not light.
const OUTLIER: f32 = 15.0;
/// Steps of luma for which the change is measured.
const BINS: usize = 16;
/// A bin with fewer samples follows its neighbours.
const LEAST: usize = 40;
/// The change must explain this share of the differences, which must be at least [`WORTH`] levels on average.
const EXPLAINED: f32 = 0.3;
const WORTH: f32 = 2.0;
/// Share of the contrast that a change of light leaves.
const LEAST_CONTRAST: f32 = 0.4;

/// Mean luma below which a picture is dark: chosen below that of all four sequences that the cues were fitted on.
const DARK: f32 = 90.0;
/// Dark pictures are multiplied by no more.
const MOST_GAIN: f32 = 3.0;

/// What brings a dark picture to a common brightness: cues of the evidence were fitted by daylight.
pub fn gain(picture: &Planes) -> f32 {
    let mean = picture.y.iter().sum::<f32>() / picture.len().max(1) as f32;
    (DARK / mean.max(1.0)).clamp(1.0, MOST_GAIN)
}

/// Gives `picture` the light of `scene`, by a curve of luma that pixels which are not `held` agree on. A picture that it would
/// not bring clearly nearer to the scene stays as it is.
pub fn equalise(picture: &mut Planes, scene: &Planes, held: &[bool]) {
    let step = (picture.len() / SAMPLES).max(1);
    let pairs: Vec<(f32, f32)> = (0..picture.len())
        .step_by(step)
        .filter(|&p| held.get(p) != Some(&true))
        .map(|p| (picture.y[p], scene.y[p]))
        .collect();
    let cost = |of: &dyn Fn(f32) -> f32| {
        pairs.iter().map(|(y, s)| (of(*y) - s).abs().min(OUTLIER)).sum::<f32>() / pairs.len() as f32
    };
    // The cheap question first: most pictures have the light of the scene.
    let before = cost(&|y| y);
    if before < WORTH {
        return;
    }
    let Some(curve) = Curve::fit(&pairs) else { return };
    if curve.flattens(&pairs) || cost(&|y| curve.at(y)) > (1.0 - EXPLAINED) * before {
        return;
    }
    for ((y, u), v) in picture.y.iter_mut().zip(&mut picture.u).zip(&mut picture.v) {
        let lit = curve.at(*y);
        let gain = (lit + 8.0) / (*y + 8.0);
        *y = lit;
        *u *= gain;
        *v *= gain;
    }
}

/// The scene's luma for a picture's: straight between the middles of bins.
struct Curve([f32; BINS]);

impl Curve {
    fn fit(pairs: &[(f32, f32)]) -> Option<Self> {
        if pairs.len() < 8 * LEAST {
            return None;
        }
        // The median is not moved by things that cover less than half of the picture.
        let mut ratios: Vec<f32> = pairs.iter().map(|(y, s)| (s + 4.0) / (y + 4.0)).collect();
        let middle = ratios.len() / 2;
        let (_, median, _) = ratios.select_nth_unstable_by(middle, f32::total_cmp);
        let gain = *median;
        let mut bins: Vec<Vec<f32>> = vec![Vec::new(); BINS];
        for (y, s) in pairs {
            let bin = ((y / 256.0 * BINS as f32) as usize).min(BINS - 1);
            let ratio = (s + 4.0) / (y + 4.0) / gain;
            // A dark car on a bright road is no change of the light.
            if (0.6..1.6).contains(&ratio) {
                bins[bin].push(ratio);
            }
        }
        let mut ratio = [1.0; BINS];
        for (r, bin) in ratio.iter_mut().zip(&mut bins).filter(|(_, bin)| bin.len() >= LEAST) {
            let middle = bin.len() / 2;
            *r = *bin.select_nth_unstable_by(middle, f32::total_cmp).1;
        }
        let mut curve = [0.0; BINS];
        for (i, c) in curve.iter_mut().enumerate() {
            let known = (0..BINS).filter(|&j| bins[j].len() >= LEAST).min_by_key(|&j| j.abs_diff(i))?;
            let y = (i as f32 + 0.5) * 256.0 / BINS as f32;
            *c = gain * ratio[known] * (y + 4.0) - 4.0;
        }
        (1..BINS).for_each(|i| curve[i] = curve[i].max(curve[i - 1]));
        Some(Self(curve))
    }

    /// Whether it takes contrasts away: that brings any picture nearer to any scene, and is no light.
    fn flattens(&self, pairs: &[(f32, f32)]) -> bool {
        let mut luma: Vec<f32> = pairs.iter().map(|(y, _)| *y).collect();
        let (first, last) = (luma.len() / 10, luma.len() * 9 / 10);
        let mut rank = |at: usize| *luma.select_nth_unstable_by(at, f32::total_cmp).1;
        let (low, high) = (rank(first), rank(last));
        self.at(high) - self.at(low) < LEAST_CONTRAST * (high - low)
    }

    fn at(&self, y: f32) -> f32 {
        let at = y / 256.0 * BINS as f32 - 0.5;
        // Rounded down, and 0 below that.
        let low = (at as usize).min(BINS - 2);
        let t = at - low as f32;
        self.0[low] + t * (self.0[low + 1] - self.0[low])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 120;

    /// A scene of luma 20..200 with some colour.
    fn scene() -> Planes {
        let n = WIDTH * 90;
        let wave = |p: usize, a: f32| ((p % WIDTH) as f32 * a).sin() * ((p / WIDTH) as f32 * 0.11).cos();
        let plane = |base: f32, by: f32, a: f32| (0..n).map(|p| base + by * wave(p, a)).collect();
        Planes {
            width: WIDTH,
            height: 90,
            y: plane(110.0, 90.0, 0.17),
            u: plane(4.0, 6.0, 0.05),
            v: plane(-3.0, 5.0, 0.07),
        }
    }

    /// The scene under a curve of luma; colours follow.
    fn lit(scene: &Planes, curve: impl Fn(f32) -> f32) -> Planes {
        let mut picture = scene.clone();
        for p in 0..scene.len() {
            let gain = curve(scene.y[p]) / scene.y[p];
            picture.y[p] *= gain;
            picture.u[p] *= gain;
            picture.v[p] *= gain;
        }
        picture
    }

    fn mean_difference(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f32>() / a.len() as f32
    }

    #[test]
    fn a_dark_picture_is_brightened_within_limits_and_a_light_one_is_not() {
        for (by, gain) in [(1.0, 1.0), (0.5, 90.0 / 55.0), (0.1, 3.0), (0.0, 3.0)] {
            let mut picture = scene();
            picture.brighten(by);
            assert!((super::gain(&picture) - gain).abs() < 0.1, "{by}: {}", super::gain(&picture));
        }
    }

    #[test]
    fn a_gain_and_a_gamma_are_undone() {
        let scene = scene();
        let curves: [&dyn Fn(f32) -> f32; 4] =
            [&|y| 1.2 * y, &|y| 0.7 * y, &|y| 255.0 * (y / 255.0).powf(0.8), &|y| 255.0 * (y / 255.0).powf(1.25)];
        for (i, curve) in curves.iter().enumerate() {
            let mut picture = lit(&scene, curve);
            let before = mean_difference(&picture.y, &scene.y);
            equalise(&mut picture, &scene, &[]);
            let after = mean_difference(&picture.y, &scene.y);
            assert!(after < 1.5 && after < 0.2 * before, "curve {i}: {before} became {after}");
            assert!(mean_difference(&picture.u, &scene.u) < 0.5, "curve {i}");
        }
    }

    #[test]
    fn the_light_is_that_of_what_is_not_held() {
        let scene = scene();
        let mut picture = lit(&scene, |y| 1.2 * y);
        // A dark thing covers half of the picture.
        let held: Vec<bool> = (0..scene.len()).map(|p| p % WIDTH < WIDTH / 2).collect();
        (0..scene.len()).filter(|p| held[*p]).for_each(|p| picture.y[p] = 15.0);
        equalise(&mut picture, &scene, &held);
        let free = |plane: &[f32]| -> Vec<f32> { (0..plane.len()).filter(|p| !held[*p]).map(|p| plane[p]).collect() };
        assert!(mean_difference(&free(&picture.y), &free(&scene.y)) < 1.5);
    }

    #[test]
    fn a_dark_thing_on_a_bright_road_is_no_change_of_light() {
        let mut scene = scene();
        scene.y.iter_mut().enumerate().for_each(|(p, y)| *y = if p / WIDTH > 40 { 170.0 } else { 0.5 * *y });
        for y in [30.0, 70.0, 110.0] {
            let mut picture = scene.clone();
            (0..scene.len())
                .filter(|p| (30..80).contains(&(p % WIDTH)) && (50..80).contains(&(p / WIDTH)))
                .for_each(|p| picture.y[p] = y);
            let before = picture.clone();
            equalise(&mut picture, &scene, &[]);
            assert!(mean_difference(&picture.y, &before.y) < 0.5, "a thing of luma {y}");
        }
    }

    #[test]
    fn another_scene_is_no_change_of_light() {
        // An even scene, and a picture of strong contrasts: what brings them nearer is a curve that takes the contrasts away.
        let (mut even, picture) = (scene(), scene());
        even.y.iter_mut().enumerate().for_each(|(p, y)| *y = 110.0 + 8.0 * (p as f32 * 0.7).sin());
        let mut equalised = picture.clone();
        equalise(&mut equalised, &even, &[]);
        assert!(mean_difference(&equalised.y, &picture.y) < 0.5);
    }

    #[test]
    fn too_little_to_see_changes_nothing() {
        let scene = scene();
        let mut picture = lit(&scene, |y| 1.3 * y);
        let before = picture.y.clone();
        equalise(&mut picture, &scene, &vec![true; scene.len()]);
        assert_eq!(picture.y, before);
    }
}
