//! What can be set about a tracker.

use maskd_fixed::camera::{Ablation, Config};
use serde::{Deserialize, Serialize};

use crate::{
    discover::{DiscoverConfig, motion::MotionConfig},
    propagate::PropagateConfig,
    refine::RefineConfig,
};

/// What counts as an instance before a fixed camera: what has moved, to the pixel, instead of what looks like an object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FixedConfig {
    /// Whether a fixed camera is treated as one. It is recognised by itself, also where it is shaken.
    pub enabled: bool,
    /// Pixels of the smallest thing that is looked for. They are pixels of the picture as it is looked at, which has at most
    /// 400 lines (columns, where it stands upright).
    pub smallest: usize,
    /// Seconds for which something that came and stopped stays an instance; then it is part of the scene.
    pub still_seconds: f32,
    /// What is left out of the method, to see what it is worth. No key of the configuration.
    #[serde(skip)]
    pub without: Vec<Ablation>,
}

impl Default for FixedConfig {
    fn default() -> Self {
        Self { enabled: true, smallest: 40, still_seconds: 120.0, without: Vec::new() }
    }
}

impl FixedConfig {
    /// As the crate for fixed cameras has it.
    pub(super) fn camera(&self) -> Config {
        let mut config = Config::default();
        config.objects.min_area = self.smallest;
        config.objects.still_s = self.still_seconds;
        self.without.iter().for_each(|part| config.leave_out(*part));
        config
    }
}

/// How one stream's instances are found, followed and given up. "Frames" are frames of the stream that were processed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrackerConfig {
    /// How labels go from frame to frame.
    pub propagate: PropagateConfig,
    /// How masks get finer than patches.
    pub refine: RefineConfig,
    /// How instances are cut out of one frame.
    pub discover: DiscoverConfig,
    /// What counts as an instance before a fixed camera.
    pub fixed: FixedConfig,
    /// How moving things are noticed before a fixed camera by features alone.
    pub motion: MotionConfig,
    /// Whether anything is discovered at all; without it only first masks and prompts are followed.
    pub discovery: bool,
    /// Whether instances can be out of sight, end, and whether scene cuts are noticed.
    pub gating: bool,
    /// Stretch each instance's soft label to 0..1 over the frame before they compete (published protocol). Finer for
    /// thin objects, worse for most.
    pub min_max: bool,
    /// Most instances alive at a time, 1..=255, those out of sight included. A first mask may bring more.
    pub max_instances: usize,
    /// Look for new instances at least every so many frames; 0 only for a cause. A new scene is searched again in its
    /// frames 2, 4, 8 and 16 in any case, when things have moved.
    pub rediscover_every: u32,
    /// Frames between two searches for the same lasting cause (something was lost).
    pub rediscover_gap: u32,
    /// Frames that something new must move for before it becomes an instance.
    pub persist_frames: u32,
    /// An instance ends after this many frames out of sight; 0 never.
    pub lost_after_frames: u32,
    /// An instance is in sight where its soft label reaches this, 0..1.
    pub min_peak: f32,
    /// An instance is in sight when it wins at least this many patches.
    pub min_patches: usize,
    /// A patch was replaced when its cosine to the previous frame's is below this.
    pub scene_cut_similarity: f32,
    /// The scene was cut when a larger share of patches than this was replaced.
    pub scene_cut_fraction: f32,
    /// A proposal is an instance in sight when they overlap by this much (IoU in patches).
    pub match_iou: f32,
    /// A proposal near the place of an instance out of sight is that instance when the cosine of their mean features
    /// is above this.
    pub match_similarity: f32,
    /// Share of the newest look that goes into an instance's mean feature, each frame.
    pub prototype_rate: f32,
}

impl Default for TrackerConfig {
    fn default() -> Self {
        Self {
            propagate: PropagateConfig::default(),
            refine: RefineConfig::default(),
            discover: DiscoverConfig::default(),
            fixed: FixedConfig::default(),
            motion: MotionConfig::default(),
            discovery: true,
            gating: true,
            min_max: false,
            max_instances: 16,
            rediscover_every: 50,
            rediscover_gap: 10,
            persist_frames: 3,
            lost_after_frames: 30,
            min_peak: 0.5,
            min_patches: 1,
            scene_cut_similarity: 0.5,
            scene_cut_fraction: 0.4,
            match_iou: 0.3,
            match_similarity: 0.75,
            prototype_rate: 0.05,
        }
    }
}

impl TrackerConfig {
    /// Most instances alive at a time.
    pub(super) fn most_instances(&self) -> usize {
        self.max_instances.clamp(1, 255)
    }

    /// Whether frames are looked at pixel by pixel, as a fixed camera's.
    pub(super) fn wants_picture(&self) -> bool {
        self.discovery && self.fixed.enabled
    }

    /// What is wrong with the values: each key, dotted below `tracker`, and what to do.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let (propagate, refine, discover, motion) = (&self.propagate, &self.refine, &self.discover, &self.motion);
        let counts = [
            ("max_instances", self.max_instances, 1..=255),
            ("propagate.radius", propagate.radius, 0..=1000),
            ("propagate.top_k", propagate.top_k, 1..=1000),
            // Each is a frame's features in memory, and asked in every step.
            ("propagate.context", propagate.context, 0..=64),
            ("refine.guided_radius", refine.guided_radius, 0..=64),
            ("discover.max_instances", discover.max_instances, 0..=255),
            ("fixed.smallest", self.fixed.smallest, 1..=1_000_000),
        ];
        let mut faults = Vec::new();
        for (key, value, range) in counts.into_iter().filter(|(_, value, range)| !range.contains(value)) {
            faults.push((key, format!("{value} is not in {} to {}", range.start(), range.end())));
        }
        let numbers = [
            ("min_peak", self.min_peak, 0.0..=1.0),
            ("scene_cut_similarity", self.scene_cut_similarity, -1.0..=1.0),
            ("scene_cut_fraction", self.scene_cut_fraction, 0.0..=1.0),
            ("match_iou", self.match_iou, 0.0..=1.0),
            ("match_similarity", self.match_similarity, -1.0..=1.0),
            ("prototype_rate", self.prototype_rate, 0.0..=1.0),
            ("propagate.temperature", propagate.temperature, 0.001..=100.0),
            ("refine.colour_sigma", refine.colour_sigma, 0.001..=10.0),
            ("refine.place_sigma", refine.place_sigma, 0.1..=1000.0),
            ("refine.band", refine.band, 0.0..=0.5),
            ("refine.guided_epsilon", refine.guided_epsilon, 1e-6..=1.0),
            ("discover.tau", discover.tau.unwrap_or_default(), -1.0..=1.0),
            ("discover.min_area_fraction", discover.min_area_fraction, 0.0..=1.0),
            ("discover.max_area_fraction", discover.max_area_fraction, 0.0..=1.0),
            ("discover.max_border_fraction", discover.max_border_fraction, 0.0..=1.0),
            ("discover.min_score", discover.min_score, 0.0..=1.0),
            ("fixed.still_seconds", self.fixed.still_seconds, 1.0..=1e9),
            ("motion.distance", motion.distance, 0.0..=2.0),
            ("motion.split_distance", motion.split_distance, 0.0..=2.0),
            ("motion.adapt", motion.adapt, 0.0..=1.0),
            ("motion.still_distance", motion.still_distance, 0.0..=2.0),
            ("motion.max_changed_fraction", motion.max_changed_fraction, 0.0..=1.0),
        ];
        // Not a number is in no range.
        for (key, value, range) in numbers.into_iter().filter(|(_, value, range)| !range.contains(value)) {
            faults.push((key, format!("{value} is not in {} to {}", range.start(), range.end())));
        }
        faults
    }

    /// The published semi-supervised protocol for a first mask: nothing is discovered, hidden or ended.
    pub fn protocol() -> Self {
        Self {
            propagate: PropagateConfig::protocol(),
            refine: RefineConfig { enabled: false, ..RefineConfig::default() },
            discovery: false,
            gating: false,
            min_max: true,
            lost_after_frames: 0,
            ..Self::default()
        }
    }
}
