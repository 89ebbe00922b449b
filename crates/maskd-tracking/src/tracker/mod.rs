//! One stream's memory and identities: when to discover, when to propagate, when an instance ends.
//!
//! ```text
//! features -> scene back, or cut? -> propagate labels -> who is who? -> in sight? -> prompts -> discover, match -> end the lost -> masks
//! ```

mod aside;
mod channels;
mod config;
mod fixed;
mod inspect;
mod look;
mod memory;
mod prompt;
mod regrid;
mod scene;
mod search;
mod select;
mod step;
mod still;
#[cfg(test)]
mod tests;
mod track;

use std::{collections::VecDeque, sync::Arc};

pub use config::{FixedConfig, TrackerConfig};
pub use fixed::Picture;
pub use inspect::{Followed, Inspection};
pub use prompt::PromptError;

use crate::{discover::motion::Background, refine::Colours};
use aside::Aside;
use fixed::Watch;
use maskd_types::{
    features::{Features, Grid},
    frame::Size,
    instance::{Instance, InstanceId, Origin, Prompt, TrackEvent},
    mask::LabelMap,
    stage::Stage,
};
use memory::Memories;
use step::Step;
use track::Track;

/// Frames that are remembered to see motion.
const HISTORY: usize = 4;
/// Frames after the start of a scene in which it is searched again: by then things have moved.
const REVISITS: [u32; 4] = [2, 4, 8, 16];

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
    tracks: Vec<Track>,
    memories: Memories,
    background: Background,
    /// What a fixed camera sees.
    watch: Watch,
    /// What the ground looked like in the last calm frame: tokens of some of its patches.
    ground: Vec<f32>,
    /// The frame before, to see what is replaced.
    previous: Option<Arc<Features>>,
    /// The scene before a cut or an outage, while it may come back.
    aside: Option<Aside>,
    /// The network was exchanged after a frame on this grid: nothing that is remembered can be compared with what comes.
    exchanged: Option<Grid>,
    /// Patches that had changed in the frame before and their neighbours: noise does not stay.
    previous_changed: Vec<bool>,
    waiting: VecDeque<Prompt>,
    first: Option<LabelMap>,
    source: Option<Size>,
    epoch: Option<u32>,
    next_id: InstanceId,
    due: bool,
    lost_something: bool,
    since_discovery: u32,
    uncovered_frames: u32,
    /// The newest frames of the scene, oldest first, to see what moves in it.
    history: VecDeque<Arc<Features>>,
    /// Frames since the stream or the scene began.
    since_start: u32,
    /// Instances that the last search saw.
    matched: Vec<InstanceId>,
}

impl Tracker {
    /// A stream without instances; `patch` is the network's patch size in pixels of its input.
    pub fn new(config: TrackerConfig, patch: usize) -> Self {
        let due = config.discovery;
        Self {
            watch: Watch::new(config.fixed.camera()),
            config,
            patch: patch.max(1),
            tracks: Vec::new(),
            memories: Memories::default(),
            background: Background::new(),
            ground: Vec::new(),
            previous: None,
            aside: None,
            exchanged: None,
            previous_changed: Vec::new(),
            waiting: VecDeque::new(),
            first: None,
            source: None,
            epoch: None,
            next_id: 1,
            due,
            lost_something: false,
            since_discovery: 0,
            uncovered_frames: 0,
            history: VecDeque::new(),
            since_start: 0,
            matched: Vec::new(),
        }
    }

    /// Whether the next step will cut instances out of its frame: ask before computing features, so that those for
    /// discovery are computed only then.
    pub fn needs_discovery(&self) -> bool {
        self.config.discovery && self.due
    }

    /// Asks for something to be followed from the next step on.
    ///
    /// # Errors
    /// [`PromptError`] says what cannot be done and what to do instead. What depends on the frame's size is checked
    /// against the last frame; before the first one it is checked when it arrives, and dropped with a warning.
    pub fn prompt(&mut self, prompt: Prompt) -> Result<(), PromptError> {
        prompt::check(&prompt, self.source)?;
        if self.waiting.len() >= prompt::QUEUE {
            return Err(PromptError::QueueFull);
        }
        if prompt == Prompt::Reset {
            // What was asked before is forgotten with the rest.
            self.waiting.clear();
            self.first = None;
            self.due = self.config.discovery;
        } else {
            let reset = self.waiting.contains(&Prompt::Reset);
            let asked = self.waiting.iter().filter(|p| **p != Prompt::Reset).count();
            // Discovered instances make room for those that somebody asks for; nobody else's do.
            let given = self.tracks.iter().filter(|t| t.origin != Origin::Discovered).count();
            let max = self.max_instances();
            if asked + if reset { 0 } else { given } >= max {
                return Err(PromptError::TooManyInstances(max));
            }
        }
        self.waiting.push_back(prompt);
        Ok(())
    }

    /// Goes by `config` from the next step on. Instances stay, also where they are more than it allows.
    pub fn configure(&mut self, config: TrackerConfig) {
        self.due |= config.discovery && !self.config.discovery;
        self.watch.configure(config.fixed.camera());
        self.config = config;
    }

    /// Whether masks get finer than patches: it then wants the frames' colours.
    pub fn refines(&self) -> bool {
        self.config.refine.enabled
    }

    /// Starts from a label map at the next step, in place of all instances: each label 1..=255 becomes an instance,
    /// on a fresh stream with that id. A map of another size than the source frame is resized to it (nearest pixel).
    pub fn first_mask(&mut self, labels: LabelMap) {
        self.first = Some(labels);
    }

    /// The features that come from now on are another network's: instances go on from where they are in the last frame,
    /// with their identities; what is out of sight cannot be known again, and ends. `config` and `patch` as in
    /// [`Self::new`].
    pub fn exchange_network(&mut self, config: TrackerConfig, patch: usize) {
        (self.config, self.patch) = (config, patch.max(1));
        self.watch.forget_features();
        self.aside = None;
        self.exchanged = self.previous.take().map(|previous| previous.grid).or(self.exchanged);
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

    /// As [`Self::step_in_colour`], with the frame's picture, by which a fixed camera is recognised; `on_stage` is called as each part of [`Stage::Track`] ends.
    pub fn step_in_stages(
        &mut self,
        features: Arc<Features>,
        colours: Option<Colours>,
        picture: Option<Picture>,
        source: Size,
        epoch: u32,
        on_stage: &mut dyn FnMut(Stage),
    ) -> Tracked {
        let n = features.grid.len();
        if n == 0 || features.dim == 0 || features.tokens.len() != n * features.dim {
            tracing::error!(grid = ?features.grid, dim = features.dim, "features do not fit their grid. This is a bug.");
            return Tracked {
                labels: LabelMap::new(source),
                instances: vec![],
                events: vec![],
                discovered: false,
                salient: vec![],
            };
        }
        self.follow_grid(&features, source);
        let reconnected = self.epoch.replace(epoch).is_some_and(|last| last != epoch);
        self.source = Some(source);
        if reconnected {
            self.doubt();
            self.lose_touch();
        }
        let search = self.due && self.config.discovery;
        self.due = false;
        let mut step = Step::new(features.clone(), colours.filter(|_| self.config.refine.enabled), source);
        self.tracks.iter_mut().for_each(|track| track.age += 1);

        let returned = self.take_back(&mut step);
        self.carry_over_exchange(&mut step);
        self.carry_over_cut(&mut step);
        let moving = self.watch(&step, picture.as_ref());
        self.carry(&mut step);
        on_stage(Stage::Propagate);
        self.restore_found(&mut step);
        self.reclaim(&mut step);
        self.observe(&mut step);
        self.apply_first_mask(&mut step);
        self.apply_prompts(&mut step);
        match &moving {
            Some(moving) if !self.config.discover.include_static => self.follow_things(&mut step, moving),
            Some(moving) => {
                self.follow_things(&mut step, moving);
                self.discover(&mut step, search);
            }
            None => self.discover(&mut step, search),
        }
        on_stage(Stage::Discover);
        self.end_lost(&mut step);
        self.portray(&step);
        self.remember(&mut step);
        self.decide(&step, reconnected || returned);
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(features.clone());
        self.previous = Some(features);
        on_stage(Stage::Remember);
        let map = self.render(&step);
        on_stage(Stage::Mask);
        let tracked = Tracked { salient: self.by_salience(), ..self.encode(step, map) };
        on_stage(Stage::Encode);
        tracked
    }

    /// Discovered instances, those first that searches found most salient, most often.
    fn by_salience(&self) -> Vec<InstanceId> {
        let mut found: Vec<&Track> = self.tracks.iter().filter(|t| t.origin == Origin::Discovered).collect();
        found.sort_by(|a, b| b.salience.total_cmp(&a.salience).then(a.id.cmp(&b.id)));
        found.iter().map(|t| t.id).collect()
    }

    /// Pictures were missed. Everybody may have moved, and what moves is told from one frame to the next only.
    fn lose_touch(&mut self) {
        self.tracks.iter_mut().for_each(|track| track.adrift = true);
        self.history.clear();
        self.previous_changed.clear();
        self.memories.forget_course();
    }

    fn forget_history(&mut self) {
        self.history.clear();
        self.since_start = 0;
    }

    fn max_instances(&self) -> usize {
        self.config.max_instances.clamp(1, 255)
    }

    /// Whether the next frame is searched, from what this one showed; `missed` says that pictures were missed before it.
    fn decide(&mut self, step: &Step, missed: bool) {
        if !self.config.discovery || (self.watch.fixed() && !self.config.discover.include_static) {
            return;
        }
        let since = self.since_discovery;
        let again = self.config.rediscover_every > 0 && since.saturating_add(1) >= self.config.rediscover_every;
        let lost = self.lost_something && since >= self.config.rediscover_gap;
        self.since_start = self.since_start.saturating_add(1);
        // Where people said what matters, only what moves later, or a later search, adds to it.
        let asked = self.tracks.iter().any(|track| track.origin != Origin::Discovered);
        let revisit = REVISITS.contains(&self.since_start) && !asked;
        self.due |= step.cut || missed || again || lost || revisit;
        if self.due {
            self.lost_something = false;
        }
    }
}
