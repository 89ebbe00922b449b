//! What the last step saw and decided, to be looked at and not to be changed.

use super::Camera;
use crate::{
    events::Event,
    evidence::CUES,
    foreground::Foreground,
    objects::{Object, ObjectsConfig},
    planes::Planes,
    verdict::Measures,
};

/// All that a camera knows after a step. Planes are `(height, width)` of `background`, and lie as the scene does: the picture
/// is shifted against them. Before the first step they are empty.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Whether the camera is known to be fixed, and by what it was judged.
    pub measures: Measures,
    /// Pixels of the picture in a row and in a column for each pixel here.
    pub scale: usize,
    /// The likeliest colour of the empty scene, brightened where it is dark.
    pub background: &'a Planes,
    /// How far the picture is from the scene, in deviations of each pixel's own noise.
    pub distance: &'a [f32],
    /// One minus the cosine of features to those of the scene; empty where there were none.
    pub feature: &'a [f32],
    /// Logarithms of the odds that pixels are of things, smoothed; foreground above 0.
    pub evidence: &'a [f32],
    /// Foreground.
    pub mask: &'a [bool],
    /// Candidates and things that are there, or are out of sight for a short time.
    pub things: &'a [Object],
    /// What happened in the step.
    pub events: &'a [Event],
    /// When something is a thing.
    pub rules: &'a ObjectsConfig,
    /// What weighed the evidence, see [`Self::cues`].
    pub foreground: &'a Foreground,
}

impl View<'_> {
    /// What the evidence at a pixel was weighed by (see [`crate::evidence`]), `None` where it was the scene without weighing.
    /// Cues of features are 0 where there were none.
    pub fn cues(&self, p: usize) -> Option<[f32; CUES]> {
        self.foreground.cues(p, self.feature.get(p).copied())
    }
}

impl Camera {
    /// What the last step saw and decided.
    pub fn inspect(&self) -> View<'_> {
        let foreground = &self.foreground;
        View {
            measures: Measures { fixed: self.fixed(), same: self.same, shift: self.shift },
            scale: self.scale.max(1),
            background: &foreground.scene,
            distance: &foreground.distance,
            feature: &self.feature,
            evidence: &foreground.evidence,
            mask: &foreground.mask,
            things: &self.objects.list,
            events: self.objects.events.list(),
            rules: &self.config.objects,
            foreground,
        }
    }
}
