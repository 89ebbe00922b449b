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

/// Gives `picture` the light of `scene`, by a curve of luma that pixels which are not `held` agree on. A picture that it would
/// not bring clearly nearer to the scene stays as it is.
pub fn equalise(picture: &mut Planes, scene: &Planes, held: &[bool]) {
    let step = (picture.len() / SAMPLES).max(1);
    let pairs: Vec<(f32, f32)> = (0..picture.len())
        .step_by(step)
        .filter(|&p| held.get(p) != Some(&true))
        .map(|p| (picture.y[p], scene.y[p]))
        .collect();
    let Some(curve) = Curve::fit(&pairs) else { return };
    let cost = |of: &dyn Fn(f32) -> f32| {
        pairs.iter().map(|(y, s)| (of(*y) - s).abs().min(OUTLIER)).sum::<f32>() / pairs.len() as f32
    };
    let before = cost(&|y| y);
    if before < WORTH || cost(&|y| curve.at(y)) > (1.0 - EXPLAINED) * before {
        return;
    }
    for p in 0..picture.len() {
        let gain = (curve.at(picture.y[p]) + 8.0) / (picture.y[p] + 8.0);
        picture.y[p] = curve.at(picture.y[p]);
        picture.u[p] *= gain;
        picture.v[p] *= gain;
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

    fn at(&self, y: f32) -> f32 {
        let at = y / 256.0 * BINS as f32 - 0.5;
        let low = (at.floor().max(0.0) as usize).min(BINS - 2);
        let t = at - low as f32;
        self.0[low] + t * (self.0[low + 1] - self.0[low])
    }
}
