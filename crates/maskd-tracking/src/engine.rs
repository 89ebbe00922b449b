//! The pure heart: frames in, instances out. It owns the network and every stream's tracker, and knows
//! no channels, no clocks and no files, so that the daemon, the offline commands and the evaluation run the same.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use anyhow::{Result, ensure};
use rayon::prelude::*;

use crate::{
    discover::{TAU_DINO_KEYS, TAU_DINOV2_TOKENS},
    refine::Colours,
    tracker::{Picture, PromptError, Tracked, Tracker, TrackerConfig},
};
use maskd_model::{Discovery, backbone::Backbone};
use maskd_types::{
    features::Features,
    frame::{Frame, Size, StreamId},
    instance::{Instance, InstanceId, Prompt, TrackEvent},
    mask::LabelMap,
    stage::Stage,
};

/// What the engine says about one frame.
#[derive(Clone, Debug)]
pub struct FrameResult {
    /// The frame itself, its pixels included.
    pub frame: Frame,
    /// One palette index per pixel of the source frame, 0 is background.
    pub labels: LabelMap,
    /// The instances visible in it.
    pub instances: Vec<Instance>,
    /// What happened to instances in it.
    pub events: Vec<TrackEvent>,
    /// Whether instances were searched for in it.
    pub discovered: bool,
    /// Live discovered instances, the most salient first.
    pub salient: Vec<InstanceId>,
    /// Id of the weights that saw it.
    pub model: Arc<str>,
}

/// Why a prompt was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no such stream.
    #[error("no stream is called {0}")]
    UnknownStream(StreamId),
    /// The stream's tracker cannot use it.
    #[error(transparent)]
    Prompt(#[from] PromptError),
}

/// A frame that the engine could not use.
#[derive(Debug)]
pub struct Failure {
    /// The frame.
    pub frame: Frame,
    /// Why, shared by all frames of a batch that failed together.
    pub cause: Arc<anyhow::Error>,
}

/// Told as stages end, so that a caller who has a clock can time them: the engine has none.
pub trait Observer: Sync {
    /// A stage of a whole batch has ended: [`Stage::Preprocess`], [`Stage::Backbone`] or [`Stage::Track`].
    fn ended(&self, stage: Stage);

    /// The tracking of one frame begins; what is returned is called as each part of [`Stage::Track`] ends for it. Frames of
    /// a batch are tracked side by side.
    fn track(&self) -> Box<dyn FnMut(Stage) + '_>;
}

/// For callers who time nothing.
impl Observer for () {
    fn ended(&self, _: Stage) {}

    fn track(&self) -> Box<dyn FnMut(Stage) + '_> {
        Box::new(|_| ())
    }
}

/// The network and the trackers of all streams.
pub struct Engine {
    backbone: Backbone,
    model: Arc<str>,
    /// Of streams that have none of their own, as given: what it leaves open, each network decides.
    config: TrackerConfig,
    /// Of streams that have one of their own, as given.
    own: HashMap<StreamId, TrackerConfig>,
    trackers: HashMap<StreamId, Tracker>,
}

impl Engine {
    /// An engine without streams; each stream's tracker starts from `config`.
    ///
    /// Where `config` leaves discovery's threshold open, the network decides: DINO is cut by its keys,
    /// DINOv2 by its tokens.
    pub fn new(backbone: Backbone, config: TrackerConfig) -> Self {
        let model = backbone.model_id().into();
        Self { backbone, model, config, own: HashMap::new(), trackers: HashMap::new() }
    }

    /// Goes on with another network, and returns the one before. Streams keep their instances, with their identities, as
    /// [`Tracker::exchange_network`].
    pub fn exchange(&mut self, backbone: Backbone) -> Backbone {
        self.model = backbone.model_id().into();
        let patch = backbone.architecture().patch;
        for (stream, tracker) in &mut self.trackers {
            let config = self.own.get(stream).unwrap_or(&self.config);
            tracker.exchange_network(suited(config, &backbone), patch);
        }
        std::mem::replace(&mut self.backbone, backbone)
    }

    /// The network, without what the engine knows of streams.
    pub fn into_backbone(self) -> Backbone {
        self.backbone
    }

    /// Id of the network's weights.
    pub fn model(&self) -> &Arc<str> {
        &self.model
    }

    /// Takes up a stream; a stream that is already there keeps its memory.
    pub fn add_stream(&mut self, stream: &StreamId) -> &mut Tracker {
        let config = self.own.get(stream).unwrap_or(&self.config);
        let (backbone, patch) = (&self.backbone, self.backbone.architecture().patch);
        self.trackers.entry(stream.clone()).or_insert_with(|| Tracker::new(suited(config, backbone), patch))
    }

    /// What follows a stream's instances; none where there is no such stream.
    pub fn tracker(&self, stream: &StreamId) -> Option<&Tracker> {
        self.trackers.get(stream)
    }

    /// Has `stream` tracked by `config` from its next frame on, whatever the other streams have. Its instances stay.
    pub fn configure(&mut self, stream: &StreamId, config: TrackerConfig) {
        if let Some(tracker) = self.trackers.get_mut(stream) {
            tracker.configure(suited(&config, &self.backbone));
        }
        self.own.insert(stream.clone(), config);
    }

    /// Forgets a stream and all that it held.
    pub fn remove_stream(&mut self, stream: &StreamId) {
        self.trackers.remove(stream);
        self.own.remove(stream);
    }

    /// Has `stream` start from a mask: palette indices become instance ids.
    pub fn first_mask(&mut self, stream: &StreamId, mask: LabelMap) {
        self.add_stream(stream).first_mask(mask);
    }

    /// Asks `stream` to follow something from its next frame on.
    ///
    /// # Errors
    /// An unknown stream, or a prompt that its tracker cannot use.
    pub fn prompt(&mut self, stream: &StreamId, prompt: Prompt) -> Result<(), Refusal> {
        let tracker = self.trackers.get_mut(stream).ok_or_else(|| Refusal::UnknownStream(stream.clone()))?;
        Ok(tracker.prompt(prompt)?)
    }

    /// Patches that the network sees of `frame`, by its quality.
    pub fn patches_of(&self, frame: &Frame) -> usize {
        self.patches_in(self.backbone.input_size_of(frame))
    }

    /// Patches that the network would see of frames of `size` at a level.
    pub fn patches_at(&self, size: Size, level: f64) -> usize {
        self.patches_in(self.backbone.resolution().at(level).fit(size))
    }

    fn patches_in(&self, input: Size) -> usize {
        let patch = self.backbone.architecture().patch.max(1) as u32;
        Size::new(input.width / patch, input.height / patch).area()
    }

    /// One step: frames of any streams (in order, where a stream has several) to their results, in the same order.
    ///
    /// Frames of one input size go through the network as one batch. Then each stream's tracker takes its frame, on the
    /// threads of rayon's pool: a tracker belongs to one frame at a time, so results are the same bits as one after the
    /// other.
    pub fn step(&mut self, frames: Vec<Frame>, observer: &dyn Observer) -> Vec<Result<FrameResult, Failure>> {
        let mut results: Vec<Option<Result<FrameResult, Failure>>> = Vec::with_capacity(frames.len());
        results.resize_with(frames.len(), || None);
        // Frames of one stream follow each other, so only one of each stream goes into a round.
        let mut waiting: Vec<(usize, Frame)> = frames.into_iter().enumerate().collect();
        while !waiting.is_empty() {
            let mut round: BTreeMap<(u32, u32, bool), Vec<(usize, Frame)>> = BTreeMap::new();
            let mut streams = Vec::new();
            let mut later = Vec::new();
            for (i, frame) in waiting {
                if streams.contains(&frame.stream) {
                    later.push((i, frame));
                    continue;
                }
                streams.push(frame.stream.clone());
                let size = self.backbone.input_size_of(&frame);
                let discovery = self.add_stream(&frame.stream).needs_discovery();
                round.entry((size.width, size.height, discovery)).or_default().push((i, frame));
            }
            for ((width, height, discovery), batch) in round {
                self.run_batch(batch, Size::new(width, height), discovery, observer, &mut results);
            }
            waiting = later;
        }
        results.into_iter().flatten().collect()
    }

    fn run_batch(
        &mut self,
        batch: Vec<(usize, Frame)>,
        size: Size,
        discovery: bool,
        observer: &dyn Observer,
        results: &mut [Option<Result<FrameResult, Failure>>],
    ) {
        match self.features(&batch, size, discovery, observer) {
            Ok(features) => self.track(batch.into_iter().zip(features), observer, results),
            Err(cause) => {
                let cause = Arc::new(cause);
                for (i, frame) in batch {
                    results[i] = Some(Err(Failure { frame, cause: cause.clone() }));
                }
            }
        }
    }

    /// Gives each frame to its stream's tracker; a frame without features fails alone, and its tracker does not see it.
    fn track(
        &mut self,
        batch: impl Iterator<Item = ((usize, Frame), Result<Features>)>,
        observer: &dyn Observer,
        results: &mut [Option<Result<FrameResult, Failure>>],
    ) {
        let patch = self.backbone.architecture().patch;
        let mut work = Vec::new();
        for ((i, frame), features) in batch {
            match features {
                Ok(features) => {
                    self.add_stream(&frame.stream);
                    let Some(tracker) = self.trackers.remove(&frame.stream) else { continue };
                    work.push((i, frame, features, tracker));
                }
                Err(cause) => results[i] = Some(Err(Failure { frame, cause: Arc::new(cause) })),
            }
        }
        if work.is_empty() {
            return;
        }
        let track = |(i, frame, features, mut tracker): (usize, Frame, Features, Tracker)| {
            let mut ended = observer.track();
            let colours =
                tracker.refines().then(|| Colours::of(&frame.rgb, frame.size, features.grid, patch)).flatten();
            let (source, epoch) = (frame.source, frame.epoch);
            let features = Arc::new(features);
            let picture = tracker.wants_picture().then(|| Picture {
                rgb: frame.rgb.clone(),
                size: frame.size,
                seconds: seconds_of(&frame),
            });
            let tracked = tracker.step_in_stages(features, colours, picture, source, epoch, &mut *ended);
            (i, frame, tracker, tracked)
        };
        for (i, frame, tracker, tracked) in work.into_par_iter().map(track).collect::<Vec<_>>() {
            self.trackers.insert(frame.stream.clone(), tracker);
            let Tracked { labels, instances, events, discovered, salient } = tracked;
            let model = self.model.clone();
            results[i] = Some(Ok(FrameResult { frame, labels, instances, events, discovered, salient, model }));
        }
        observer.ended(Stage::Track);
    }

    fn features(
        &self,
        batch: &[(usize, Frame)],
        size: Size,
        discovery: bool,
        observer: &dyn Observer,
    ) -> Result<Vec<Result<Features>>> {
        let frames: Vec<&Frame> = batch.iter().map(|(_, frame)| frame).collect();
        let input = self.backbone.prepare(&frames, size)?;
        observer.ended(Stage::Preprocess);
        // A device that computes in the background is waited for here.
        let features = self.backbone.run(&input, discovery)?.into_iter().map(usable).collect();
        observer.ended(Stage::Backbone);
        Ok(features)
    }
}

/// Features that a tracker can take: on the host, and numbers. Others would get into its memory, stay there, and spread.
fn usable(features: Features) -> Result<Features> {
    features.load()?;
    ensure!(features.is_finite(), "the network's features are not finite numbers");
    Ok(features)
}

/// When a frame was seen, in seconds of its stream; without a timestamp frames count as 25 a second.
fn seconds_of(frame: &Frame) -> f64 {
    frame.pts_ns.map_or(frame.sequence as f64 / 25.0, |ns| ns as f64 * 1e-9)
}

/// `config` with what it leaves open as suits the network.
fn suited(config: &TrackerConfig, backbone: &Backbone) -> TrackerConfig {
    let mut config = config.clone();
    config.discover.tau.get_or_insert(match backbone.architecture().family.design().discovery {
        Discovery::Keys => TAU_DINO_KEYS,
        Discovery::Tokens => TAU_DINOV2_TOKENS,
    });
    config
}
