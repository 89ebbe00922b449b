//! The one thread that owns the device and every tracker's state. It takes frames out of the mailbox, steps the engine
//! and passes results on; it waits for frames only, never for the network.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::{
    exchange::Trial,
    news::News,
    rate::OncePerSecond,
    starts::{Given, Starts},
};
use crate::config::StreamSettings;
use maskd_model::{
    Checkpoint,
    backbone::{Backbone, BackboneConfig},
};
use maskd_observability::{
    metrics::{DropCause, Metrics, Stage},
    pulse::{Caller, Pulse},
};
use maskd_scheduling::{mailbox::Inbox, overload::OverloadConfig, pace::Pace, turns::Turns};
use maskd_tracking::{
    engine::{Engine, Failure, FrameResult, Observer},
    tracker::TrackerConfig,
};
use maskd_transport::PromptRequest;
use maskd_types::{
    frame::{Frame, Resolution, StreamId},
    mask::FirstMask,
    stop::Stop,
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

/// What the thread is told about streams, before their frames come or after the last one came.
pub(super) enum Order {
    /// Serve a stream by its settings, with the first mask that it is configured with. One that is served already keeps its
    /// memory, and starts from another mask only.
    Serve { stream: StreamId, settings: Box<StreamSettings>, first_mask: Option<FirstMask> },
    /// Serve a stream by other settings.
    Configure { stream: StreamId, settings: Box<StreamSettings> },
    /// Forget a stream and what it held.
    Forget(StreamId),
    /// Lend the next batch's frames.
    Lend(crossbeam_channel::Sender<Vec<Frame>>),
    /// Go on with another network.
    Exchange(Box<Backbone>),
}

/// Orders that may wait: more than a configuration has streams. The engine looks for them several times a second.
pub(super) const WAITING_ORDERS: usize = 4096;

/// Where orders are put.
pub(super) type Orders = mpsc::Sender<Order>;

/// What the thread works with once everything is open.
pub(super) struct Work {
    pub(super) inbox: Inbox,
    pub(super) max_batch: usize,
    pub(super) overload: OverloadConfig,
    pub(super) orders: mpsc::Receiver<Order>,
    /// Where a first mask that does not fit is reported.
    pub(super) tell: mpsc::Sender<News>,
    pub(super) prompts: mpsc::Receiver<PromptRequest>,
    pub(super) results: mpsc::Sender<FrameResult>,
    /// Told that there is a result.
    pub(super) publisher: Caller,
    /// Networks that come while it works.
    pub(super) trial: Trial,
    /// No more frames will come: end when the mailbox is empty.
    pub(super) drain: Stop,
    /// The grace time is over: end now.
    pub(super) abandon: Stop,
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
    pulse: Pulse,
    metrics: Metrics,
) -> Result<EngineThread> {
    let ((tell_loaded, loaded), (start, started), (tell_end, end)) =
        (oneshot::channel(), oneshot::channel(), oneshot::channel());
    let body = move || {
        // A panic is a bug, but it must end the daemon in order, with an exit code, not leave it deaf.
        let lived =
            catch_unwind(AssertUnwindSafe(|| live(model, weights, tracker, tell_loaded, started, pulse, &metrics)));
        let result = lived.unwrap_or_else(|panic| {
            let said = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
            let said = said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            Err(anyhow!("This is a bug: the engine thread panicked: {said}"))
        });
        // Nobody listens any more only where the daemon ends anyway.
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
    pulse: Pulse,
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
        Ok(work) => work.run(engine, &pulse, metrics),
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
        let since = std::mem::replace(&mut *self.since.lock().unwrap_or_else(PoisonError::into_inner), now);
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
    fn run(mut self, mut engine: Engine, pulse: &Pulse, metrics: &Metrics) -> Result<()> {
        let (mut turns, mut starts) = (Turns::default(), Starts::default());
        let mut pace = Pace::new(self.overload.clone(), Instant::now());
        let (mut failures, mut busy) = (OncePerSecond::default(), OncePerSecond::default());
        pulse.beat();
        while !self.abandon.is_set() {
            let waiting = self.inbox.wait(&self.drain, IDLE);
            // After the wait: what is said of a stream is here before its first frame, and prompts are for known streams.
            self.obey(&mut engine, &mut turns, &mut pace, &mut starts);
            self.answer_prompts(&mut engine);
            pace.look(Instant::now(), &self.inbox, |size, level| engine.patches_at(size, level), metrics);
            if !waiting {
                pulse.beat();
                if self.drain.is_set() {
                    break;
                }
                continue;
            }
            let mut frames = turns.take(&self.inbox, self.max_batch);
            pace.stamp(&mut frames);
            let patches = frames.iter().map(|frame| engine.patches_of(frame)).sum();
            self.trial.lend(&frames);
            for frame in &frames {
                metrics.stage_took(Stage::Ingest, frame.captured.elapsed());
                if let Some(mask) = starts.take(&frame.stream) {
                    self.begin_from_mask(&mut engine, frame, mask, &mut starts);
                }
            }
            let begun = Instant::now();
            let results = engine.step(frames, &StageTimes { metrics, since: Mutex::new(begun) });
            let now = Instant::now();
            pace.worked(now, patches, now - begun);
            for result in self.trial.judge(&mut engine, results) {
                match result {
                    Ok(result) => {
                        // Only what worked counts as a sign of life: a device that fails on every frame is not alive.
                        pulse.beat();
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
            Ok(()) => return self.publisher.call(),
            Err(mpsc::error::TrySendError::Full(result)) => (result, DropCause::PublisherBusy),
            Err(mpsc::error::TrySendError::Closed(result)) => (result, DropCause::Stopping),
        };
        let stream = &result.frame.stream;
        metrics.frame_dropped(stream, Stage::Publish, cause);
        if let Some(frames) = busy.pass(Instant::now()) {
            warn!(%stream, frames, "the publisher is too slow, discarding frames");
        }
    }

    fn obey(&mut self, engine: &mut Engine, turns: &mut Turns, pace: &mut Pace, starts: &mut Starts) {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Serve { stream, settings, first_mask } => {
                    match first_mask.map(|mask| starts.give(&stream, mask)) {
                        None => starts.forget(&stream),
                        Some(Given::Waits) => {}
                        Some(Given::HadItsFrame) => {
                            info!(%stream, "first_mask is the one that was used before: the stream goes on from what it has");
                        }
                    }
                    configure(engine, turns, pace, stream, *settings);
                }
                Order::Configure { stream, settings } => configure(engine, turns, pace, stream, *settings),
                Order::Forget(stream) => {
                    engine.remove_stream(&stream);
                    starts.forget(&stream);
                    turns.forget(&stream);
                    pace.forget(&stream);
                }
                Order::Lend(lend) => self.trial.ask(lend),
                Order::Exchange(backbone) => self.trial.begin(engine, *backbone),
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
        // Never waits: there is one such word for each mask at most.
        if let Err(unheard) = self.tell.try_send(News::BadFirstMask(stream, why)) {
            error!("a first mask does not fit, and nobody listens: {unheard}");
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
fn configure(engine: &mut Engine, turns: &mut Turns, pace: &mut Pace, stream: StreamId, settings: StreamSettings) {
    let StreamSettings { weight, tracker } = settings;
    engine.configure(&stream, tracker);
    engine.add_stream(&stream);
    pace.weigh(&stream, weight);
    turns.weigh(stream, weight);
}
