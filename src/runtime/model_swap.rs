//! A model swap: other weights while the daemon runs. A thread beside the engine loads them, warms the network up and runs it
//! on current frames of the cameras. Then the engine takes it over between two batches. It keeps the network before until the
//! new one has processed some hundred frames without a failure.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use crossbeam_channel::{Sender, bounded};
use tokio::sync::mpsc;
use tracing::info;

use super::engine_command::{CommandSender, EngineCommand};
use maskd_model::{
    Checkpoint,
    backbone::{Backbone, BackboneConfig},
};
use maskd_tracking::{
    engine::{Engine, Failure, FrameResult},
    tracker::TrackerConfig,
};
use maskd_types::frame::{Frame, Resolution};

/// How long real frames are waited for; with no camera up, a grey picture must do.
const FRAMES_WITHIN: Duration = Duration::from_secs(5);

/// How often the new network sees each of these frames: trackers do other things from the second on.
const ROUNDS: usize = 3;

/// Frames after which a new network is kept for good: the first failure before that brings the old one back.
const PROBATION: usize = 256;

/// Outcomes that may wait: a swap has three at most.
pub(super) const WAITING_OUTCOMES: usize = 8;

/// What became of another network.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The engine uses it from now on.
    Taken {
        /// Names its weights.
        model: String,
        /// How large it wants frames.
        resolution: Resolution,
    },
    /// It processed as many frames as a probation has without a failure.
    Kept,
    /// It failed before it was taken.
    Refused(anyhow::Error),
    /// It failed on a camera's frame: the engine is back with the one before.
    RolledBack {
        /// Names the weights of the one before.
        model: String,
        /// How large that one wants frames.
        resolution: Resolution,
        /// Why.
        why: String,
    },
}

/// Starts the thread that builds a network of `weights`, tries it, and hands it over.
///
/// # Errors
/// The system refuses a thread.
pub(super) fn start(
    model: BackboneConfig,
    weights: Checkpoint,
    tracker: TrackerConfig,
    commands: CommandSender,
    tell: mpsc::Sender<Outcome>,
) -> Result<()> {
    let body = move || {
        let tried = catch_unwind(AssertUnwindSafe(|| load(&model, weights, tracker, &commands)))
            .unwrap_or_else(|_| Err(anyhow!("This is a bug: loading panicked")));
        // A runtime that no longer listens is about to end.
        match tried {
            Ok(backbone) => drop(commands.blocking_send(EngineCommand::SwapModel(Box::new(backbone)))),
            Err(error) => drop(tell.blocking_send(Outcome::Refused(error))),
        }
    };
    std::thread::Builder::new().name("weights".to_owned()).spawn(body).context("starting a thread to load weights")?;
    Ok(())
}

fn load(
    model: &BackboneConfig,
    weights: Checkpoint,
    tracker: TrackerConfig,
    commands: &CommandSender,
) -> Result<Backbone> {
    let start = Instant::now();
    let backbone = Backbone::build(model, &weights)?;
    drop(weights);
    backbone.warm_up().context("warming up the network")?;
    let (to, samples) = bounded(1);
    let _ = commands.blocking_send(EngineCommand::SampleFrames(to));
    let frames = samples.recv_timeout(FRAMES_WITHIN).unwrap_or_default();
    let seen = frames.len();
    let mut engine = Engine::new(backbone, tracker);
    for _ in 0..ROUNDS {
        let results = engine.step(frames.clone(), &());
        if let Some(Failure { frame, cause }) = results.into_iter().find_map(Result::err) {
            return Err(anyhow!("tried on a frame of {}: {cause:#}", frame.stream));
        }
    }
    let seconds = start.elapsed().as_secs_f32();
    info!(model = &**engine.model(), frames = seen, seconds, "another network is loaded and tried");
    Ok(engine.into_backbone())
}

/// The engine thread's part of a swap: sends copies of frames, takes a network over, and takes the one before back.
pub(super) struct ModelSwap {
    wanted: Option<Sender<Vec<Frame>>>,
    /// The network before, and how many frames the new one still has to see.
    before: Option<(Backbone, usize)>,
    tell: mpsc::Sender<Outcome>,
}

impl ModelSwap {
    pub(super) fn new(tell: mpsc::Sender<Outcome>) -> Self {
        Self { wanted: None, before: None, tell }
    }

    /// The next batch's frames are wanted.
    pub(super) fn ask(&mut self, to: Sender<Vec<Frame>>) {
        self.wanted = Some(to);
    }

    /// A batch is about to be seen.
    pub(super) fn sample(&mut self, frames: &[Frame]) {
        if let Some(to) = self.wanted.take() {
            // The loading thread may have stopped waiting.
            let _ = to.try_send(frames.to_vec());
        }
    }

    /// The engine goes on with `backbone`, on probation.
    pub(super) fn begin(&mut self, engine: &mut Engine, backbone: Backbone) {
        let resolution = backbone.resolution();
        let before = engine.exchange(backbone);
        self.before = Some((before, PROBATION));
        self.say(Outcome::Taken { model: engine.model().to_string(), resolution });
    }

    /// What a batch says about a network on probation: at the first failure the one before is back, and sees those frames.
    pub(super) fn judge(
        &mut self,
        engine: &mut Engine,
        results: Vec<Result<FrameResult, Failure>>,
    ) -> Vec<Result<FrameResult, Failure>> {
        let Some((before, left)) = self.before.take() else { return results };
        let failure = results.iter().find_map(|result| result.as_ref().err());
        let Some(why) = failure.map(|failure| format!("{:#}", failure.cause)) else {
            match left.saturating_sub(results.len()) {
                0 => self.say(Outcome::Kept),
                left => self.before = Some((before, left)),
            }
            return results;
        };
        let resolution = before.resolution();
        drop(engine.exchange(before));
        self.say(Outcome::RolledBack { model: engine.model().to_string(), resolution, why });
        let again = |result: Result<_, Failure>| match result {
            Ok(result) => vec![Ok(result)],
            Err(failure) => engine.step(vec![failure.frame], &()),
        };
        results.into_iter().flat_map(again).collect()
    }

    fn say(&self, outcome: Outcome) {
        if let Err(undelivered) = self.tell.try_send(outcome) {
            tracing::error!("This is a bug: the outcome of a model swap could not be delivered: {undelivered}");
        }
    }
}
