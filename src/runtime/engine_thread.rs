//! The one thread that owns the device and every tracker's state. It takes frames out of the mailbox, steps the engine
//! and passes results on; it waits for frames only, never for the network.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::{
    engine_command::EngineCommand,
    model_swap::ModelSwap,
    rate::OncePerSecond,
    starts::{Given, Starts},
    stream_event::StreamEvent,
};
use crate::config::StreamSettings;
use maskd_model::{
    Checkpoint,
    backbone::{Backbone, BackboneConfig},
};
use maskd_observability::{
    heartbeat::{Heartbeat, WorkNotifier},
    metrics::{DropCause, Metrics, Stage},
};
use maskd_scheduling::{
    mailbox::Mailbox, overload::OverloadConfig, rate_controller::RateController, round_robin::WeightedRoundRobin,
};
use maskd_tracking::{
    engine::{Engine, Failure, FrameResult, Observer},
    tracker::TrackerConfig,
};
use maskd_transport::PromptRequest;
use maskd_types::{
    cancellation::CancellationToken,
    frame::{Frame, Resolution, StreamId},
    mask::FirstMask,
    panic,
};

/// How long the thread waits for a frame before it shows that it is alive and looks for prompts.
const IDLE: Duration = Duration::from_millis(100);

/// What the rest needs to know of the loaded network.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    /// Names the weights in every message.
    pub(super) model: String,
    /// How large the network wants frames.
    pub(super) resolution: Resolution,
    /// Where it computes.
    pub(super) device: String,
}

/// What the thread works with once everything is open.
pub(super) struct Work {
    pub(super) mailbox: Mailbox,
    pub(super) max_batch: usize,
    pub(super) overload: OverloadConfig,
    pub(super) commands: mpsc::Receiver<EngineCommand>,
    /// Where a first mask that does not fit is reported.
    pub(super) tell: mpsc::Sender<StreamEvent>,
    pub(super) prompts: mpsc::Receiver<PromptRequest>,
    pub(super) results: mpsc::Sender<FrameResult>,
    /// Told that there is a result.
    pub(super) publisher: WorkNotifier,
    /// Other networks that come while it works.
    pub(super) swap: ModelSwap,
    /// No more frames will come: end when the mailbox is empty.
    pub(super) drain: CancellationToken,
    /// The grace time is over: end now.
    pub(super) abandon: CancellationToken,
}

/// The thread as its starter holds it.
pub(super) struct EngineThread {
    /// Resolves when the weights are loaded and warm, or cannot be.
    pub(super) loaded: oneshot::Receiver<Result<Loaded>>,
    /// Starts the work; dropped instead, the thread ends.
    pub(super) start: oneshot::Sender<Work>,
    /// Resolves when the thread ends: an error is fatal for the daemon.
    pub(super) end: oneshot::Receiver<Result<()>>,
}

/// Starts the thread; it builds the network of `weights` first.
pub(super) fn spawn(
    model: BackboneConfig,
    weights: Checkpoint,
    tracker: TrackerConfig,
    heartbeat: Heartbeat,
    metrics: Metrics,
) -> Result<EngineThread> {
    let ((tell_loaded, loaded), (start, started), (tell_end, end)) =
        (oneshot::channel(), oneshot::channel(), oneshot::channel());
    let body = move || {
        // A panic is a bug. It must end the daemon in order and with an exit code: without its engine it would go on and do
        // nothing.
        let lived =
            catch_unwind(AssertUnwindSafe(|| live(model, weights, tracker, tell_loaded, started, heartbeat, &metrics)));
        let result = lived.unwrap_or_else(|panic| {
            Err(anyhow!("This is a bug: the engine thread panicked: {}", panic::message(&*panic)))
        });
        // The receiver is gone only where the daemon ends anyway.
        let _ = tell_end.send(result);
    };
    std::thread::Builder::new().name("engine".to_owned()).spawn(body).context("starting the engine thread")?;
    Ok(EngineThread { loaded, start, end })
}

fn live(
    model: BackboneConfig,
    weights: Checkpoint,
    tracker: TrackerConfig,
    loaded: oneshot::Sender<Result<Loaded>>,
    started: oneshot::Receiver<Work>,
    heartbeat: Heartbeat,
    metrics: &Metrics,
) -> Result<()> {
    let loading = Instant::now();
    let load = move || -> Result<(Engine, Loaded)> {
        let backbone = Backbone::build(&model, &weights)?;
        drop(weights);
        let about = Loaded {
            model: backbone.model_id().to_owned(),
            resolution: backbone.resolution(),
            device: backbone.device(),
        };
        backbone.warm_up().context("warming up the network")?;
        Ok((Engine::new(backbone, tracker), about))
    };
    let engine = match load() {
        Ok((engine, about)) => {
            info!(
                model = about.model,
                device = about.device,
                seconds = loading.elapsed().as_secs_f32(),
                "model loaded"
            );
            if loaded.send(Ok(about)).is_err() {
                return Ok(());
            }
            engine
        }
        Err(error) => {
            let _ = loaded.send(Err(error));
            return Ok(());
        }
    };
    match started.blocking_recv() {
        Ok(work) => work.run(engine, &heartbeat, metrics),
        Err(_) => Ok(()),
    }
}

/// Tells the metrics how long each stage took.
struct StageTimes<'a> {
    metrics: &'a Metrics,
    /// When the last stage of the batch ended.
    since: Mutex<Instant>,
}

impl Observer for StageTimes<'_> {
    fn ended(&self, stage: Stage) {
        let now = Instant::now();
        let since = std::mem::replace(&mut *self.since.lock(), now);
        self.metrics.stage_took(stage, now - since);
    }

    fn track(&self) -> Box<dyn FnMut(Stage) + '_> {
        let mut since = Instant::now();
        Box::new(move |stage| {
            let now = Instant::now();
            self.metrics.stage_took(stage, now - std::mem::replace(&mut since, now));
        })
    }
}

impl Work {
    fn run(mut self, mut engine: Engine, heartbeat: &Heartbeat, metrics: &Metrics) -> Result<()> {
        let (mut round_robin, mut starts) = (WeightedRoundRobin::default(), Starts::default());
        let mut rates = RateController::new(self.overload.clone(), Instant::now());
        let (mut failures, mut busy) = (OncePerSecond::default(), OncePerSecond::default());
        heartbeat.beat();
        while !self.abandon.is_cancelled() {
            let waiting = self.mailbox.wait(&self.drain, IDLE);
            // After the wait: what is said of a stream is here before its first frame, and prompts are for known streams.
            self.handle_commands(&mut engine, &mut round_robin, &mut rates, &mut starts);
            self.answer_prompts(&mut engine);
            rates.look(Instant::now(), &self.mailbox, |size, level| engine.patches_at(size, level), metrics);
            if !waiting {
                heartbeat.beat();
                if self.drain.is_cancelled() {
                    break;
                }
                continue;
            }
            let mut frames = round_robin.take(&self.mailbox, self.max_batch);
            rates.stamp(&mut frames);
            let patches = frames.iter().map(|frame| engine.patches_of(frame)).sum();
            self.swap.sample(&frames);
            for frame in &frames {
                metrics.stage_took(Stage::Ingest, frame.captured.elapsed());
                if let Some(mask) = starts.take(&frame.stream) {
                    self.begin_from_mask(&mut engine, frame, mask, &mut starts);
                }
            }
            let begun = Instant::now();
            let results = engine.step(frames, &StageTimes { metrics, since: Mutex::new(begun) });
            let now = Instant::now();
            rates.worked(now, patches, now - begun);
            for result in self.swap.judge(&mut engine, results) {
                match result {
                    Ok(result) => {
                        // Only what worked counts as a sign of life: a device that fails on every frame is not alive.
                        heartbeat.beat();
                        if result.discovered {
                            metrics.discovered(&result.frame.stream);
                        }
                        self.pass_on(result, metrics, &mut busy);
                    }
                    Err(Failure { frame, cause }) => {
                        metrics.frame_dropped(&frame.stream, Stage::Track, DropCause::EngineFailed);
                        if let Some(frames) = failures.pass(Instant::now()) {
                            error!(stream = %frame.stream, frames, "the engine failed on a frame: {cause:#}");
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// To the publisher, if it has room: the engine never waits for the network.
    fn pass_on(&self, result: FrameResult, metrics: &Metrics, busy: &mut OncePerSecond) {
        let (result, cause) = match self.results.try_send(result) {
            Ok(()) => return self.publisher.notify(),
            Err(mpsc::error::TrySendError::Full(result)) => (result, DropCause::PublisherBusy),
            Err(mpsc::error::TrySendError::Closed(result)) => (result, DropCause::Stopping),
        };
        let stream = &result.frame.stream;
        metrics.frame_dropped(stream, Stage::Publish, cause);
        if let Some(frames) = busy.pass(Instant::now()) {
            warn!(%stream, frames, "the publisher is too slow, discarding frames");
        }
    }

    fn handle_commands(
        &mut self,
        engine: &mut Engine,
        round_robin: &mut WeightedRoundRobin,
        rates: &mut RateController,
        starts: &mut Starts,
    ) {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                EngineCommand::Serve { stream, settings, first_mask } => {
                    match first_mask.map(|mask| starts.give(&stream, mask)) {
                        None => starts.forget(&stream),
                        Some(Given::Waits) => {}
                        Some(Given::HadItsFrame) => {
                            info!(%stream, "first_mask is the one that was used before: the stream goes on from what it has");
                        }
                    }
                    configure(engine, round_robin, rates, stream, *settings);
                }
                EngineCommand::Configure { stream, settings } => {
                    configure(engine, round_robin, rates, stream, *settings)
                }
                EngineCommand::Forget(stream) => {
                    engine.remove_stream(&stream);
                    starts.forget(&stream);
                    round_robin.forget(&stream);
                    rates.forget(&stream);
                }
                EngineCommand::SampleFrames(to) => self.swap.ask(to),
                EngineCommand::SwapModel(backbone) => self.swap.begin(engine, *backbone),
            }
        }
    }

    /// The first frame of a stream tells whether its mask fits.
    fn begin_from_mask(&self, engine: &mut Engine, frame: &Frame, mask: FirstMask, starts: &mut Starts) {
        let stream = frame.stream.clone();
        let why = match mask.fit(frame.source) {
            Ok(labels) => return engine.first_mask(&stream, labels),
            Err(why) => why.to_string(),
        };
        // Given once more, with another source, it may fit.
        starts.forget(&stream);
        // There is room: at most one such event for each mask.
        if let Err(undelivered) = self.tell.try_send(StreamEvent::BadFirstMask(stream, why)) {
            error!("a first mask does not fit, and the runtime could not be told: {undelivered}");
        }
    }

    fn answer_prompts(&mut self, engine: &mut Engine) {
        while let Ok(PromptRequest { stream, prompt, answer }) = self.prompts.try_recv() {
            match engine.prompt(&stream, prompt) {
                Ok(()) => {
                    info!(%stream, "prompt accepted");
                    answer.accept();
                }
                Err(error) => answer.refuse(error.to_string()),
            }
        }
    }
}

/// Serves `stream` by `settings` from now on.
fn configure(
    engine: &mut Engine,
    round_robin: &mut WeightedRoundRobin,
    rates: &mut RateController,
    stream: StreamId,
    settings: StreamSettings,
) {
    let StreamSettings { weight, tracker } = settings;
    engine.configure(&stream, tracker);
    engine.add_stream(&stream);
    rates.weigh(&stream, weight);
    round_robin.weigh(stream, weight);
}
