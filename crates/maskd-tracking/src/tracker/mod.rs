//! One stream's instances: found, followed, known again, ended.
//!
//! What is known between two frames is one [`state::State`]; what is known of a frame is one
//! [`frame_context::FrameContext`]. A stage is a function from those parts of the state that it needs and the frame to what
//! it changes in them. The order of stages is the table [`stages::ORDER`].

mod appearance;
mod association;
mod channels;
mod config;
mod correction;
mod fixed_camera;
mod frame_context;
mod inspect;
mod instances;
mod last_frame;
mod memory_bank;
mod output;
mod prompt;
mod propagation;
mod regrid;
mod reidentification;
mod requests;
mod scene;
mod scene_change;
mod scene_snapshot;
mod schedule;
mod select;
mod stages;
mod state;
mod static_camera;
mod target_model;
#[cfg(test)]
mod tests;
mod track;
mod visibility;

use std::sync::Arc;

pub use config::{FixedConfig, TrackerConfig};
pub use fixed_camera::Picture;
pub use inspect::{Followed, Inspection};
pub use prompt::{PromptError, check as check_prompt};

use crate::refine::Colours;
use frame_context::{FrameContext, Input};
use maskd_types::{
    features::Features,
    frame::Size,
    instance::{Instance, InstanceId, Prompt, TrackEvent},
    mask::LabelMap,
    stage::Stage,
};
use state::State;

/// What is known about a frame after its step.
#[derive(Clone, Debug)]
pub struct Tracked {
    /// The instance of each pixel of the source frame, by its palette index 1..=255; 0 is background.
    pub labels: LabelMap,
    /// The instances with at least one pixel, oldest first.
    pub instances: Vec<Instance>,
    /// Who appeared and who ended, in this order of happening.
    pub events: Vec<TrackEvent>,
    /// Whether new instances were looked for in this frame.
    pub discovered: bool,
    /// Live discovered instances, the most salient first.
    pub salient: Vec<InstanceId>,
}

/// Follows the instances of one stream.
pub struct Tracker {
    config: TrackerConfig,
    patch: usize,
    state: State,
}

impl Tracker {
    /// A stream without instances; `patch` is the network's patch size in pixels of its input.
    pub fn new(config: TrackerConfig, patch: usize) -> Self {
        Self { state: State::new(&config), config, patch: patch.max(1) }
    }

    /// Whether the next step will cut instances out of its frame: ask before computing features, so that those for
    /// discovery are computed only then.
    pub fn needs_discovery(&self) -> bool {
        self.config.discovery && self.state.schedule.due
    }

    /// Asks for something to be followed from the next step on.
    ///
    /// # Errors
    /// [`PromptError`] says what cannot be done and what to do instead. What depends on the frame's size is checked
    /// against the last frame; before the first one it is checked when it arrives, and dropped with a warning.
    pub fn prompt(&mut self, prompt: Prompt) -> Result<(), PromptError> {
        let reset = prompt == Prompt::Reset;
        let State { requests, instances, last, schedule, .. } = &mut self.state;
        requests.ask(prompt, last.source, instances.given(), self.config.most_instances())?;
        if reset {
            schedule.due = self.config.discovery;
        }
        Ok(())
    }

    /// Goes by `config` from the next step on. Instances stay, also where they are more than it allows.
    pub fn configure(&mut self, config: TrackerConfig) {
        self.state.schedule.due |= config.discovery && !self.config.discovery;
        self.state.camera.configure(config.fixed.camera());
        self.config = config;
    }

    /// Whether masks get finer than patches: it then wants the frames' colours.
    pub fn refines(&self) -> bool {
        self.config.refine.enabled
    }

    /// Whether the tracker wants the pixels of frames, see [`Picture`].
    pub fn wants_picture(&self) -> bool {
        self.config.wants_picture()
    }

    /// Starts from a label map at the next step, in place of all instances: each label 1..=255 becomes an instance,
    /// on a fresh stream with that id. A map of another size than the source frame is resized to it (nearest pixel).
    pub fn first_mask(&mut self, labels: LabelMap) {
        self.state.requests.start_from(labels);
    }

    /// The features that come from now on are another network's: instances go on from where they are in the last frame,
    /// with their identities; what is out of sight cannot be known again, and ends. `config` and `patch` as in
    /// [`Self::new`].
    pub fn exchange_network(&mut self, config: TrackerConfig, patch: usize) {
        (self.config, self.patch) = (config, patch.max(1));
        self.state.exchange_network();
    }

    /// Takes the next frame's features; `source` is the frame's size, `epoch` its epoch. Never fails: features that
    /// do not fit their own grid give an empty result and are otherwise ignored.
    pub fn step(&mut self, features: Arc<Features>, source: Size, epoch: u32) -> Tracked {
        self.step_in_colour(features, None, source, epoch)
    }

    /// As [`Self::step`], for a frame whose pixels are known: masks are then finer than patches, see
    /// [`crate::refine`].
    pub fn step_in_colour(
        &mut self,
        features: Arc<Features>,
        colours: Option<Colours>,
        source: Size,
        epoch: u32,
    ) -> Tracked {
        self.step_in_stages(features, colours, None, source, epoch, &mut |_| {})
    }

    /// As [`Self::step_in_colour`], with the frame's picture, by which a fixed camera is recognised; `on_stage` is called as
    /// each part of [`Stage::Track`] ends.
    pub fn step_in_stages(
        &mut self,
        features: Arc<Features>,
        colours: Option<Colours>,
        picture: Option<Picture>,
        source: Size,
        epoch: u32,
        on_stage: &mut dyn FnMut(Stage),
    ) -> Tracked {
        let fits = features.fits();
        let input = Input { features, colours, picture, source, epoch };
        let mut frame = FrameContext::new(input, &self.config, self.patch);
        if fits {
            stages::run(&mut self.state, &mut frame, on_stage);
        } else {
            let (grid, dim) = (frame.grid(), frame.features.dim);
            tracing::error!(?grid, dim, "features do not fit their grid. This is a bug.");
        }
        frame.into_tracked()
    }
}
