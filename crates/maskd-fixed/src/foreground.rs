//! What differs from the empty scene: evidence of each pixel, without shadows, smoothed along edges.

use crate::{
    background::{Modes, ModesConfig},
    boxes::Guided,
    components,
    evidence::{CUES, Evidence, MOST},
    gaps,
    planes::Planes,
};

/// Pixels of the largest hole in a thing that is filled.
const LARGEST_HOLE: usize = 200;

/// How foreground is told from the scene.
#[derive(Clone, Debug)]
pub struct ForegroundConfig {
    /// How the scene is learnt.
    pub modes: ModesConfig,
    /// Radius of the guided filter in pixels.
    pub radius: usize,
    /// Its epsilon, a variance of luma.
    pub epsilon: f32,
    /// The filtered evidence above which a pixel is foreground.
    pub threshold: f32,
    /// Whether all cues are weighed. Otherwise a pixel is foreground by its colour's distance alone, as cast shadows are.
    pub weigh_cues: bool,
    /// Whether gaps across a thing are filled.
    pub fill_gaps: bool,
}

impl Default for ForegroundConfig {
    fn default() -> Self {
        Self {
            modes: ModesConfig::default(),
            radius: 3,
            epsilon: 100.0,
            threshold: 0.0,
            weigh_cues: true,
            fill_gaps: true,
        }
    }
}

/// Buffers of one stream.
#[derive(Debug, Default)]
pub struct Foreground {
    /// The scene.
    pub modes: Modes,
    /// The likeliest colour of the scene.
    pub scene: Planes,
    /// Deviations from the scene.
    pub distance: Vec<f32>,
    /// Evidence, above the threshold foreground.
    pub evidence: Vec<f32>,
    /// Foreground.
    pub mask: Vec<bool>,
    guided: Guided,
    cues: Evidence,
}

impl Foreground {
    /// Compares `picture` with the scene: [`distance`](Self::distance) and [`scene`](Self::scene).
    pub fn compare(&mut self, picture: &Planes, config: &ForegroundConfig) {
        self.modes.compare(picture, &config.modes, &mut self.distance, &mut self.scene);
    }

    /// Weighs what was compared: [`evidence`](Self::evidence). `features` is, where it is known, one minus the cosine of the
    /// features at each pixel to those of the scene.
    pub fn weigh(&mut self, picture: &Planes, features: Option<&[f32]>, config: &ForegroundConfig) {
        if config.weigh_cues {
            self.cues.find(picture, &self.scene, &self.distance, features, &mut self.evidence);
        } else {
            self.evidence.clear();
            self.evidence.extend(self.distance.iter().map(|d| (d - config.modes.reach).clamp(-MOST, MOST)));
        }
    }

    /// The cues of a pixel that was weighed last, `None` where it was the scene without weighing.
    pub fn cues(&self, p: usize, feature: Option<f32>) -> Option<[f32; CUES]> {
        let distance = *self.distance.get(p)?;
        let weighed = !self.cues.is_scene(distance, p, feature);
        weighed.then(|| self.cues.cues(distance, p, feature.unwrap_or_default()))
    }

    /// Decides by the evidence, smoothed along the picture's edges: [`mask`](Self::mask).
    pub fn decide(&mut self, picture: &Planes, config: &ForegroundConfig) {
        self.guided.filter(&mut self.evidence, &picture.y, picture.width, config.radius, config.epsilon);
        self.mask.clear();
        self.mask.extend(self.evidence.iter().map(|e| *e > config.threshold));
        if config.fill_gaps {
            gaps::fill(&mut self.mask, &self.evidence, picture.width);
        }
        components::fill_holes(&mut self.mask, picture.width, LARGEST_HOLE);
    }

    /// Forgets the scene: there is nothing in the foreground of `picture`.
    pub fn restart(&mut self, picture: &Planes) {
        self.modes = Modes::default();
        self.scene = Planes::default();
        self.mask.clear();
        self.mask.resize(picture.len(), false);
        self.distance.clear();
        self.distance.resize(picture.len(), 0.0);
    }
}
