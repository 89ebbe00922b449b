//! Supervises one stream: plays its pipeline, and whatever ends it, tears it down and builds a new one.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use crossbeam_channel::select;
use parking_lot::Mutex;

use super::{
    backoff::Backoff,
    blocking::{BlockingCalls, GaveUp},
    converter::SampleConverter,
    description::Description,
    fault::{CameraFault, Cause},
    pipeline::{Running, Signal},
    source::{SourceConfig, SourceError},
    timeline::Timeline,
};
use maskd_observability::{heartbeat::Heartbeat, metrics::Metrics, redact::Secrets};
use maskd_scheduling::mailbox::FrameSender;
use maskd_types::{
    cancellation::CancellationToken,
    frame::{Resolution, Size, StreamId},
    panic,
};

/// Frames must have flowed for this long before the next failure is treated as the first.
const STEADY: Duration = Duration::from_secs(10);

/// Calls of one camera into GStreamer that may hang at a time, each with its thread and its pipeline: more would fill the
/// memory, and where three fresh ones in a row hang it is not chance.
const MOST_HANGING: usize = 3;

/// How often a camera whose calls all hang looks whether one has returned.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What happens to a camera, for logs and status.
#[derive(Clone, Debug, PartialEq)]
pub enum CameraEvent {
    /// The first frame of a new pipeline arrived.
    Up {
        /// The frame's epoch.
        epoch: u32,
        /// The pictures' size as the camera sends them.
        source: Size,
        /// The element that decodes them, where something does.
        decoder: Option<String>,
    },
    /// The timestamps jumped: a new epoch, the same pipeline.
    Jumped {
        /// The new epoch.
        epoch: u32,
    },
    /// The pipeline is torn down; it will be built again.
    Down {
        /// Why.
        fault: CameraFault,
        /// Failures in a row, from 1.
        attempt: u32,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// A file has been played to its end; nothing follows. Its last frames may still wait in the mailbox.
    Ended,
}

/// One stream, ready to run.
pub struct Camera {
    config: SourceConfig,
    description: Description,
    resolution: Resolution,
    converter: Arc<SampleConverter>,
    calls: BlockingCalls,
    heartbeat: Option<Heartbeat>,
}

/// The frame numbers and epochs of a stream, for the camera that follows.
#[derive(Clone)]
pub struct Numbers(Arc<Mutex<Timeline>>);

/// How a pipeline's life ended.
enum End {
    Stopped,
    Finished,
    Failed(CameraFault),
}

impl Camera {
    /// Checks the source and its pipeline description. Frames are scaled for `resolution` and go to `sender`.
    ///
    /// # Errors
    /// As [`Camera::check`].
    pub fn new(
        stream: StreamId,
        config: SourceConfig,
        resolution: Resolution,
        sender: FrameSender,
        metrics: Metrics,
    ) -> Result<Self, SourceError> {
        let description = Self::check(&config)?;
        Ok(Self::checked(stream, config, description, resolution, sender, metrics))
    }

    /// As [`Camera::new`], for a source and `description` that were checked before: no file is looked at.
    pub fn checked(
        stream: StreamId,
        config: SourceConfig,
        description: Description,
        resolution: Resolution,
        sender: FrameSender,
        metrics: Metrics,
    ) -> Self {
        let max_gap_ns = u64::try_from(config.max_gap().as_nanos()).unwrap_or(u64::MAX);
        let timeline = Arc::new(Mutex::new(Timeline::new(max_gap_ns)));
        let calls = BlockingCalls::new(stream.clone(), metrics.clone());
        let converter =
            SampleConverter { stream, sender, pace: config.pace, live: config.is_live(), metrics, timeline };
        Self { config, description, resolution, converter: Arc::new(converter), calls, heartbeat: None }
    }

    /// Checks all that can be checked of a source without playing it; returns its pipeline.
    ///
    /// # Errors
    /// The key that cannot be, or what GStreamer lacks or refuses.
    pub fn check(config: &SourceConfig) -> Result<Description, SourceError> {
        config.check()?;
        let description = Description::of(config)?;
        description.check(config)?;
        Ok(description)
    }

    /// Shows signs of life at `heartbeat`. A camera that is down or silent is alive; one that waits for calls into GStreamer
    /// to return, and may not make more, is not.
    pub fn watched(self, heartbeat: Heartbeat) -> Self {
        Self { heartbeat: Some(heartbeat), ..self }
    }

    /// This camera's numbers.
    pub fn numbers(&self) -> Numbers {
        Numbers(self.converter.timeline.clone())
    }

    /// Follows a camera that has ended: frames are numbered on from its last, in a new epoch. For one that does not run
    /// yet.
    pub fn after(mut self, Numbers(timeline): Numbers) -> Self {
        let gap = self.config.max_gap();
        timeline.lock().resume(u64::try_from(gap.as_nanos()).unwrap_or(u64::MAX));
        if let Some(converter) = Arc::get_mut(&mut self.converter) {
            converter.timeline = timeline;
        }
        self
    }

    /// Plays the stream until `stop` is set, or until a file that does not loop has ended. Failures are
    /// reported to `events` and tried again for ever. Blocks; `events` is called from this thread and should be quick.
    pub fn run(&self, stop: &CancellationToken, events: &mut dyn FnMut(CameraEvent)) {
        let mut backoff = Backoff::up_to(self.config.retry_max());
        let mut secrets = Secrets::default();
        let (metrics, stream) = (&self.converter.metrics, &self.converter.stream);
        metrics.stream_up(stream, false);
        while !stop.is_cancelled() {
            self.beat();
            // Each time: a password file may hold another than before.
            self.config.reveal(&mut secrets);
            self.description.reveal(&mut secrets);
            // A panic is a bug, but one stream's: it ends this pipeline as any fault does, and is told and tried again.
            let lived = catch_unwind(AssertUnwindSafe(|| self.live_once(stop, events)));
            let (end, running) = lived.unwrap_or_else(|panic| (End::Failed(bug(panic::message(&*panic))), None));
            self.beat();
            let flowed = running.as_ref().and_then(Running::flowed_for);
            // Only when nothing of the old pipeline can arrive any more does a new epoch begin.
            let tear_down = || {
                drop(running);
                self.converter.new_epoch();
            };
            let fault = match end {
                End::Stopped => break,
                End::Finished if self.config.repeat && flowed.is_some() => {
                    tear_down();
                    metrics.reconnected(stream, Cause::Replay.as_str());
                    continue;
                }
                End::Finished if !self.config.is_live() && flowed.is_some() => {
                    tear_down();
                    metrics.stream_up(stream, false);
                    return events(CameraEvent::Ended);
                }
                End::Finished => CameraFault::new(Cause::EndOfStream, "the stream ended"),
                End::Failed(fault) => fault,
            };
            metrics.stream_up(stream, false);
            metrics.reconnected(stream, fault.cause.as_str());
            if flowed.is_some_and(|time| time >= STEADY) {
                backoff.reset();
            }
            let retry_in = backoff.next_wait();
            let fault = fault.told(&self.config.place(), &secrets);
            // Told first: a driver may take its time to let go.
            events(CameraEvent::Down { fault, attempt: backoff.attempt(), retry_in });
            tear_down();
            self.wait_for_calls(stop);
            self.rest();
            stop.wait(retry_in);
        }
        metrics.stream_up(stream, false);
    }

    fn beat(&self) {
        self.heartbeat.iter().for_each(Heartbeat::beat);
    }

    fn rest(&self) {
        self.heartbeat.iter().for_each(Heartbeat::rest);
    }

    /// Waits while as many calls hang as may. That is no life: nothing is done here, and nothing can be.
    fn wait_for_calls(&self, stop: &CancellationToken) {
        let full = || self.calls.hanging() >= MOST_HANGING;
        if full() {
            tracing::error!(stream = %self.converter.stream, "{MOST_HANGING} calls into GStreamer hang: no more are made");
            while full() && !stop.wait(LOOK_AGAIN) {}
        }
    }

    /// Builds and plays one pipeline; says how it ended and leaves it to be torn down.
    fn live_once(&self, stop: &CancellationToken, events: &mut dyn FnMut(CameraEvent)) -> (End, Option<Running>) {
        let stall_timeout = self.config.stall_timeout();
        let running = match self.start(stop, stall_timeout) {
            Ok(running) => running,
            Err(end) => return (end, None),
        };
        self.rest();
        let end = loop {
            select! {
                recv(stop.cancelled()) -> _ => break End::Stopped,
                recv(running.signals) -> signal => match signal {
                    Ok(Signal::Flowing { source, epoch }) => {
                        self.converter.metrics.stream_up(&self.converter.stream, true);
                        events(CameraEvent::Up { epoch, source, decoder: running.decoder() });
                    }
                    Ok(Signal::Jumped { epoch }) => events(CameraEvent::Jumped { epoch }),
                    Ok(Signal::Ended) => break End::Finished,
                    Ok(Signal::Fault(fault)) => break End::Failed(fault),
                    Err(_) => break End::Failed(CameraFault::new(Cause::Error, "This is a bug: the pipeline went away")),
                },
                default(running.patience(stall_timeout)) => if running.patience(stall_timeout).is_zero() {
                    let seconds = stall_timeout.as_secs_f64();
                    break End::Failed(CameraFault::new(Cause::Stall, format!("no frame for {seconds} s")));
                },
            }
        };
        (end, Some(running))
    }

    /// Builds and starts a pipeline; one that does not start in time is left behind.
    fn start(&self, stop: &CancellationToken, within: Duration) -> Result<Running, End> {
        let (description, config, converter) = (self.description.clone(), self.config.clone(), self.converter.clone());
        let (resolution, over, calls) = (self.resolution, CancellationToken::new(), self.calls.clone());
        let left_behind = over.clone();
        let start = move || {
            let missing = |error: std::io::Error| CameraFault::new(Cause::Unreachable, error.to_string());
            // What a pipeline of the user's own reads is its own affair.
            if config.is_shipped() {
                config.check_location().map_err(missing)?;
            }
            // It could be built at start-up: what fails now is a file that has gone since, such as the password's.
            let gone = |error: SourceError| CameraFault::new(Cause::Error, error.to_string());
            let built = description.build(&config).map_err(gone)?;
            Ok(Running::start(built, converter, resolution, over, calls))
        };
        let gave_up = match self.calls.run(within, Some(stop), start) {
            Ok(Ok(running)) => return Ok(running),
            Ok(Err(fault)) => return Err(End::Failed(fault)),
            Err(gave_up) => gave_up,
        };
        // Should it start after all, nothing of it is taken in.
        left_behind.cancel();
        let seconds = within.as_secs_f64();
        Err(match gave_up {
            GaveUp::Stopped => End::Stopped,
            GaveUp::Late => {
                let hangs = format!("the pipeline hangs while starting, {seconds} s now: it is left behind");
                End::Failed(CameraFault::new(Cause::Hang, hangs))
            }
            GaveUp::Panicked(said) => End::Failed(bug(&said)),
            GaveUp::NoThread => End::Failed(CameraFault::new(Cause::Error, "GStreamer gets no thread")),
        })
    }
}

fn bug(said: &str) -> CameraFault {
    CameraFault::new(Cause::Error, format!("This is a bug: the camera's thread panicked: {said}"))
}
