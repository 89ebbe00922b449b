//! How much speaks for a pixel being part of a thing: one logistic model of what its colours and features say.

use crate::{boxes, logarithm::ln, planes::Planes};

/// Cues of colours, and of features; see [`Evidence::cues`].
const COLOUR_CUES: usize = 13;
const FEATURE_CUES: usize = 4;
/// All cues of a pixel.
pub const CUES: usize = COLOUR_CUES + FEATURE_CUES;

/// Weights of the cues with features, in the order of [`Evidence::cues`], and the constant.
///
/// Fitted by `benches/fixed/fit_evidence.py` (commands there) on first halves of four sequences of the SBI set (CAVIAR1, HallAndMonitor,
/// HighwayI, HumanBody2) and, at half their weight, of the same with noise as at night: the mean of logistic regressions with
/// features and without. The mean did better on a sequence that was left out than either.
const WITH_FEATURES: ([f32; CUES], f32) = (
    [
        0.457, 0.949, 7.313, 0.202, -0.112, 0.402, -2.070, 2.523, -4.405, 0.540, 12.206, 0.269, 1.835, 1.505, 0.279,
        1.251, -1.042,
    ],
    -6.818,
);
/// As [`WITH_FEATURES`], for pixels alone: the logistic regression without features.
#[expect(clippy::approx_constant, reason = "a fitted weight happens to be near 1 / pi")]
const PIXELS_ALONE: ([f32; COLOUR_CUES], f32) =
    ([0.783, 1.785, 6.674, -0.318, -0.121, 0.182, -1.991, 1.778, -3.746, -0.530, 12.959, 0.272, 1.706], -8.308);

/// Evidence is kept within this, a logarithm of odds.
pub const MOST: f32 = 4.0;

/// Buffers.
#[derive(Debug, Default)]
pub struct Evidence {
    log_ratio: Vec<f32>,
    chroma: Vec<f32>,
    texture: Vec<f32>,
    core: Vec<f32>,
    core_max: Vec<f32>,
    core_mean: Vec<f32>,
    texture_mean: Vec<f32>,
    chroma_mean: Vec<f32>,
    distance_mean: Vec<f32>,
    a: Vec<f32>,
    b: Vec<f32>,
    scratch: Vec<f32>,
}

impl Evidence {
    /// Logarithms of the odds that pixels are of things, `(height, width)`; `distance` in deviations, `features` one minus
    /// the cosine to the scene at each pixel.
    pub fn find(
        &mut self,
        picture: &Planes,
        scene: &Planes,
        distance: &[f32],
        features: Option<&[f32]>,
        out: &mut Vec<f32>,
    ) {
        self.measure(picture, scene, distance);
        out.clear();
        out.extend((0..picture.len()).map(|p| {
            let feature = features.map(|f| f[p]);
            if self.is_scene(distance[p], p, feature) {
                return -MOST;
            }
            let odds = match feature {
                Some(feature) => dot(&WITH_FEATURES, &self.cues(distance[p], p, feature)),
                None => dot(&PIXELS_ALONE, &self.colour_cues(distance[p], p)),
            };
            // No light makes a place so much brighter.
            let least = if self.distance_mean[p] > 20.0 && self.log_ratio[p] > 0.45 { 1.0 } else { -MOST };
            odds.clamp(least, MOST)
        }));
    }

    /// What cues are made of, for all pixels.
    fn measure(&mut self, picture: &Planes, scene: &Planes, distance: &[f32]) {
        let width = picture.width;
        let Self {
            log_ratio,
            chroma,
            texture,
            core,
            core_max,
            core_mean,
            texture_mean,
            chroma_mean,
            distance_mean,
            a,
            b,
            scratch,
        } = self;
        log_ratio.clear();
        log_ratio.extend(picture.y.iter().zip(&scene.y).map(|(y, s)| ln((y + 4.0) / (s + 4.0))));
        core.clear();
        core.extend(log_ratio.iter().map(|r| r * r));
        boxes::mean(log_ratio, width, 2, a, scratch);
        boxes::mean(core, width, 2, b, scratch);
        texture.clear();
        texture.extend(a.iter().zip(&*b).map(|(a, b)| (b - a * a).max(0.0).sqrt()));
        chroma.clear();
        let seen = picture.y.iter().zip(&picture.u).zip(&picture.v);
        let empty = scene.y.iter().zip(&scene.u).zip(&scene.v);
        chroma.extend(seen.zip(empty).map(|(((y, u), v), ((sy, su), sv))| {
            let light = (y + 4.0) / (sy + 4.0);
            let (du, dv) = (u - light * su, v - light * sv);
            (du * du + dv * dv).sqrt()
        }));
        core.clear();
        core.extend((0..picture.len()).map(|p| {
            let shaded = in_shade(log_ratio[p]) && distance[p] >= 2.0;
            if shaded { (-texture[p] / 0.06 - chroma[p] / 4.0).exp() } else { 0.0 }
        }));
        boxes::largest(core, width, 3, core_max, a);
        boxes::mean(core, width, 4, core_mean, scratch);
        boxes::mean(texture, width, 5, texture_mean, scratch);
        boxes::mean(chroma, width, 3, chroma_mean, scratch);
        boxes::mean(distance, width, 3, distance_mean, scratch);
    }

    /// Whether pixel `p` of those that [`Self::find`] saw last is the scene without any weighing.
    pub fn is_scene(&self, distance: f32, p: usize, feature: Option<f32>) -> bool {
        distance < 2.0 && self.distance_mean[p] < 1.5 && feature.is_none_or(|d| d < 0.3)
    }

    /// All cues of pixel `p` of those that [`Self::find`] saw last: those of colours, then those of features.
    pub fn cues(&self, distance: f32, p: usize, feature: f32) -> [f32; CUES] {
        let colours = self.colour_cues(distance, p);
        let shade = colours[COLOUR_CUES - 1];
        let d = feature.clamp(0.0, 0.6);
        let mut cues = [0.0; CUES];
        cues[..COLOUR_CUES].copy_from_slice(&colours);
        cues[COLOUR_CUES..].copy_from_slice(&[d, d * shade, colours[0] * d, (d - 0.3).max(0.0)]);
        cues
    }

    fn colour_cues(&self, distance: f32, p: usize) -> [f32; COLOUR_CUES] {
        let shade = f32::from(u8::from(in_shade(self.log_ratio[p])));
        [
            (1.0 + distance).ln(),
            (1.0 + self.distance_mean[p]).ln(),
            (-self.log_ratio[p] - 0.9).clamp(0.0, 2.0),
            self.log_ratio[p].clamp(0.0, 2.0),
            self.chroma[p].min(20.0),
            (self.texture[p] + 0.02).ln(),
            shade * (-self.chroma[p] / 4.0).exp(),
            self.core[p],
            self.core_max[p] * shade,
            self.core_mean[p],
            self.texture_mean[p],
            self.chroma_mean[p].min(20.0),
            shade,
        ]
    }
}

/// A model's logarithm of odds.
fn dot<const N: usize>((weights, constant): &([f32; N], f32), cues: &[f32; N]) -> f32 {
    weights.iter().zip(cues).map(|(w, c)| w * c).sum::<f32>() + constant
}

/// Whether the light has fallen as in a cast shadow.
fn in_shade(log_ratio: f32) -> bool {
    (-1.1..-0.03).contains(&log_ratio)
}
