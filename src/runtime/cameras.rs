//! The cameras: a thread for each, their state, and who is told of it. Cameras are added and removed while others run.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::{
    accounting,
    engine_command::{CommandSender, EngineCommand},
    entry::{Entry, Stream, Then},
    memory::{self, Leftovers},
    stream_event::{ExitGuard, StreamEvent},
    stream_output::{StreamOutput, StreamOutputs},
};
use crate::{
    admin::{Health, StreamHealth},
    config::{StreamConfig, StreamSettings},
};
use maskd_ingest::{Camera, CameraEvent, Numbers};
use maskd_observability::metrics::{FrameAccount, Metrics};
use maskd_protocol::wire::{Account, Event, State, Status};
use maskd_scheduling::mailbox::Mailbox;
use maskd_transport::PublishError;
use maskd_types::{
    cancellation::CancellationToken,
    frame::{Resolution, StreamId},
};

/// Events that may wait for the runtime. Where there are more, the camera's thread waits; its frames are dropped meanwhile.
const WAITING_EVENTS: usize = 64;

/// What cameras are wired to.
pub(super) struct Wiring {
    pub(super) mailbox: Mailbox,
    pub(super) resolution: Resolution,
    pub(super) commands: CommandSender,
    pub(super) outputs: StreamOutputs,
    pub(super) health: Arc<Health>,
    pub(super) metrics: Metrics,
}

/// Everything about the cameras.
pub(super) struct Cameras {
    streams: BTreeMap<StreamId, Stream>,
    wiring: Wiring,
    tell: mpsc::Sender<StreamEvent>,
    /// All sources are files that end, and so does the daemon then: a file is played once.
    once: bool,
    stopping: bool,
    leftovers: Leftovers,
}

impl Cameras {
    /// No cameras yet; events come out of the receiver.
    pub(super) fn new(wiring: Wiring) -> (Self, mpsc::Receiver<StreamEvent>) {
        let (tell, events) = mpsc::channel(WAITING_EVENTS);
        (
            Self {
                streams: BTreeMap::new(),
                wiring,
                tell,
                once: false,
                stopping: false,
                leftovers: Leftovers::default(),
            },
            events,
        )
    }

    /// Whether files that are added from now on are played once, and their end is the daemon's.
    pub(super) fn once(&mut self, once: bool) {
        self.once = once;
    }

    /// Whether every camera has played to its end, and that is all there was to do.
    pub(super) fn done(&self) -> bool {
        self.once && self.all_gone()
    }

    /// Where others may put events of a stream.
    pub(super) fn teller(&self) -> mpsc::Sender<StreamEvent> {
        self.tell.clone()
    }

    /// Takes up a stream that is not there yet; `output` is where its results go.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub(super) fn add(&mut self, stream: &StreamId, entry: Entry, output: StreamOutput) -> Result<()> {
        self.wiring.outputs.insert(stream.clone(), output);
        let _known_at_zero = self.wiring.metrics.account(stream);
        self.start(stream, entry, None)
    }

    /// Has a stream run with other settings; numbers, identities and subscribers stay. The others notice nothing.
    pub(super) fn change(&mut self, stream: &StreamId, entry: Entry) {
        self.end(stream, Then::Restart(Box::new(entry)));
    }

    /// Gives a stream up: frames on their way are still published, then nothing of it is left.
    pub(super) fn remove(&mut self, stream: &StreamId) {
        self.end(stream, Then::Leave);
    }

    /// Pipelines that start from now on scale for `resolution`.
    pub(super) fn rescale(&mut self, resolution: Resolution) {
        self.wiring.resolution = resolution;
    }

    /// Serves a stream by other settings.
    pub(super) fn configure(&self, stream: &StreamId, settings: StreamSettings) {
        self.command(EngineCommand::Configure { stream: stream.clone(), settings: Box::new(settings) });
    }

    /// Whether there is such a stream, on its way out too.
    pub(super) fn has(&self, stream: &StreamId) -> bool {
        self.streams.contains_key(stream)
    }

    fn command(&self, command: EngineCommand) {
        // An engine that no longer listens is about to end the daemon.
        if let Err(mpsc::error::TrySendError::Full(_)) = self.wiring.commands.try_send(command) {
            error!("This is a bug: the engine has not looked at its commands, and one is lost");
        }
    }

    fn end(&mut self, name: &StreamId, then: Then) {
        let Some(stream) = self.streams.get_mut(name) else { return };
        stream.then = then;
        stream.stop.cancel();
        if stream.gone {
            self.settle(name);
        }
    }

    /// What was to follow the end of a camera's thread.
    fn settle(&mut self, name: &StreamId) {
        if self.stopping {
            return;
        }
        let Some(stream) = self.streams.get_mut(name) else { return };
        match std::mem::replace(&mut stream.then, Then::Stay) {
            Then::Stay => {}
            Then::Leave => {
                stream.then = Then::Leave;
                (stream.state, stream.reason) = (State::Down, Some("removed".to_owned()));
                self.wiring.mailbox.remove_stream(name);
                self.command(EngineCommand::Forget(name.clone()));
                self.changed(name, Some(Event::StreamEnded));
                self.let_go();
            }
            Then::Restart(entry) => {
                let numbers = stream.numbers.clone();
                if let Err(error) = self.start(name, *entry, Some(numbers)) {
                    error!(stream = %name, "cannot be started again: {error:#}");
                }
            }
        }
    }

    /// Forgets the streams that were removed, once the last of their frames is out; gives back what pipelines left.
    pub(super) fn let_go(&mut self) {
        let Wiring { metrics, outputs, health, .. } = &self.wiring;
        self.streams.retain(|name, stream| {
            let stays = !stream.gone || !matches!(stream.then, Then::Leave) || metrics.account(name).in_flight > 0;
            if !stays {
                accounting::tell(name, &accounting::close(metrics, name, false));
                outputs.remove(name);
                health.forget(name);
                metrics.forget(name);
            }
            stays
        });
        if self.leftovers.due(Instant::now()) {
            tokio::task::spawn_blocking(memory::give_back);
        }
    }

    /// Starts a camera's thread.
    fn start(&mut self, stream: &StreamId, entry: Entry, numbers: Option<Numbers>) -> Result<()> {
        let Entry { config: StreamConfig { source, .. }, settings, description, first_mask } = entry;
        let Wiring { mailbox, resolution, metrics, .. } = &self.wiring;
        let finite = self.once && source.plays_once();
        let sender = mailbox.add_stream(stream);
        let camera = Camera::checked(stream.clone(), source, description, *resolution, sender, metrics.clone());
        let camera = match numbers {
            Some(numbers) => camera.after(numbers),
            None => camera,
        };
        let camera = camera.watched(self.wiring.health.heartbeats().stage(format!("camera {stream}")));
        // Before its first frame.
        self.command(EngineCommand::Serve { stream: stream.clone(), settings: Box::new(settings), first_mask });
        let (stop, numbers) = (CancellationToken::new(), camera.numbers());
        let (name, tell, listen) = (stream.clone(), self.tell.clone(), stop.clone());
        let body = move || {
            let _gone = ExitGuard(name.clone(), tell.clone());
            camera.run(&listen, &mut |event| {
                // A runtime that no longer listens is about to end.
                let _ = tell.blocking_send(StreamEvent::Camera(name.clone(), event));
            });
        };
        std::thread::Builder::new().name(format!("cam-{stream}")).spawn(body).context("starting a camera's thread")?;
        self.streams.insert(stream.clone(), Stream::starting(stop, numbers, finite));
        self.changed(stream, None);
        Ok(())
    }

    /// Takes note, tells subscribers and the log.
    pub(super) fn handle(&mut self, event: StreamEvent) {
        let (name, event) = match event {
            StreamEvent::Gone(name) => {
                self.leftovers.add();
                let Some(stream) = self.streams.get_mut(&name) else { return };
                stream.gone = true;
                if !matches!(stream.then, Then::Stay) {
                    return self.settle(&name);
                }
                if stream.state != State::Down {
                    if !stream.stop.is_cancelled() {
                        error!(stream = %name, "This is a bug: the camera's thread ended unasked");
                    }
                    stream.state = State::Down;
                    stream.reason = Some("stopped".to_owned());
                    self.changed(&name, None);
                }
                return;
            }
            StreamEvent::BadFirstMask(name, why) => return self.bad_first_mask(&name, why),
            StreamEvent::Camera(name, event) => (name, event),
        };
        let Some(stream) = self.streams.get_mut(&name) else { return };
        let told = match event {
            CameraEvent::Up { epoch, source, decoder } => {
                // The one before it, if there was one, is gone by now.
                self.leftovers.add();
                info!(stream = %name, epoch, size = %source, decoder = decoder.as_deref().unwrap_or("none"), "stream up");
                (stream.state, stream.reason, stream.decoder, stream.epoch) = (State::Up, None, decoder, epoch);
                Some(Event::StreamUp)
            }
            CameraEvent::Jumped { epoch } => {
                info!(stream = %name, epoch, "the timestamps jumped: a new epoch");
                stream.epoch = epoch;
                None
            }
            CameraEvent::Down { fault, attempt, retry_in } => {
                let cause = fault.to_string();
                if stream.finite {
                    // Playing the file again would publish its beginning twice.
                    stream.stop.cancel();
                    stream.fault = Some(cause.clone());
                    warn!(stream = %name, cause = fault.cause.as_str(), "file given up: {cause}");
                    stream.state = State::Down;
                } else {
                    let retry_in = retry_in.as_secs_f64();
                    warn!(stream = %name, cause = fault.cause.as_str(), attempt, retry_in, "stream down: {cause}");
                    stream.state = State::Reconnecting;
                }
                stream.reason = Some(cause.clone());
                Some(Event::StreamDown { cause })
            }
            CameraEvent::Ended => {
                info!(stream = %name, "stream ended");
                (stream.state, stream.reason) = (State::Down, Some("ended".to_owned()));
                Some(Event::StreamEnded)
            }
        };
        self.changed(&name, told);
    }

    /// A file that was to start from a mask is of no use without it; a camera goes on, and discovers. Either way it is
    /// told, and stays in the stream's status.
    fn bad_first_mask(&mut self, name: &StreamId, why: String) {
        error!(stream = %name, "first_mask is not used: {why}");
        let Some(stream) = self.streams.get_mut(name) else { return };
        stream.maskless = Some(format!("first_mask is not used: {why}"));
        if stream.finite {
            stream.stop.cancel();
            stream.fault = Some(format!("first_mask: {why}"));
        }
        self.changed(name, Some(Event::FirstMaskRefused { cause: why }));
    }

    /// Every stream's status, to subscribers.
    pub(super) fn report(&self) {
        self.streams.keys().for_each(|name| self.publish_status(name));
    }

    /// Brings the gauges up to date.
    pub(super) fn measure(&self) {
        for name in self.streams.keys() {
            let fps = self.wiring.outputs.get(name).map_or(0.0, |output| output.fps());
            self.wiring.metrics.stream_fps(name, fps);
        }
    }

    /// How all streams do, on one line.
    pub(super) fn summary(&self) -> String {
        let up = self.streams.values().filter(|stream| stream.state == State::Up).count();
        let fps: f64 = self.streams.keys().filter_map(|name| Some(self.wiring.outputs.get(name)?.fps())).sum();
        format!("{up} of {} streams up, {fps:.1} frames/s", self.streams.len())
    }

    /// Whether every camera's thread has ended.
    pub(super) fn all_gone(&self) -> bool {
        self.streams.values().all(|stream| stream.gone)
    }

    /// Asks every camera to end.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        self.streams.values().for_each(|stream| stream.stop.cancel());
    }

    /// Once nothing moves any more: what still waits in the mailbox is dropped for stopping, and every account is closed.
    pub(super) fn close(&self, lost: bool) -> BTreeMap<StreamId, FrameAccount> {
        let Wiring { mailbox, metrics, .. } = &self.wiring;
        let close = |name: &StreamId| {
            mailbox.remove_stream(name);
            let account = accounting::close(metrics, name, lost);
            accounting::tell(name, &account);
            (name.clone(), account)
        };
        self.streams.keys().map(close).collect()
    }

    /// The first file that could not be played to its end, and why.
    pub(super) fn fault(&self) -> Option<(&StreamId, &str)> {
        self.streams.iter().find_map(|(name, stream)| Some((name, stream.fault.as_deref()?)))
    }

    fn changed(&self, name: &StreamId, told: Option<Event>) {
        let Some(stream) = self.streams.get(name) else { return };
        let detail = stream.why().unwrap_or_default();
        self.wiring.health.stream(name, StreamHealth { up: stream.state == State::Up, detail, epoch: stream.epoch });
        if let (Some(event), Some(output)) = (told, self.wiring.outputs.get(name)) {
            unsent(name, output.publisher.publish_event(stream.epoch, event));
        }
        self.publish_status(name);
    }

    fn publish_status(&self, name: &StreamId) {
        let (Some(stream), Some(output)) = (self.streams.get(name), self.wiring.outputs.get(name)) else { return };
        let status = Status {
            state: stream.state,
            reason: stream.why(),
            fps: output.fps(),
            quality: output.quality(),
            account: Account::from(&self.wiring.metrics.account(name)),
            decoder: stream.decoder.clone(),
            epoch: stream.epoch,
            uptime_s: self.wiring.health.uptime().as_secs_f64(),
        };
        unsent(name, output.publisher.publish_status(status));
    }
}

fn unsent(stream: &StreamId, result: Result<(), PublishError>) {
    if let Err(error) = result {
        warn!(%stream, "an event or status was not published: {error}");
    }
}
