//! The cameras: a thread for each, what is known of them, and who is told.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::outbox::Desks;
use crate::{
    admin::{Health, StreamHealth},
    frame::StreamId,
    ingest::{Camera, CameraEvent, Kind, SourceConfig, Stop},
    metrics::Metrics,
    publish::{
        PublishError,
        wire::{Account, Event, State, Status},
    },
};

/// News that may wait for the runtime; a camera thread waits above that, which harms nobody.
const WAITING_NEWS: usize = 64;

/// What camera threads say.
pub(super) enum News {
    /// Something happened to a stream.
    Event(StreamId, CameraEvent),
    /// The stream's first mask cannot be used, and why.
    BadFirstMask(StreamId, String),
    /// The stream's thread has ended.
    Gone(StreamId),
}

/// Everything about the cameras.
pub(super) struct Fleet {
    streams: BTreeMap<StreamId, Stream>,
    desks: Desks,
    health: Arc<Health>,
    metrics: Metrics,
    tell: mpsc::Sender<News>,
}

struct Stream {
    stop: Stop,
    /// A file that is played once: a fault ends it, since trying again would play it from its start.
    finite: bool,
    state: State,
    reason: Option<String>,
    decoder: Option<String>,
    epoch: u32,
    gone: bool,
    fault: Option<String>,
}

impl Fleet {
    /// No cameras yet; news come out of the receiver.
    pub(super) fn new(desks: Desks, health: Arc<Health>, metrics: Metrics) -> (Self, mpsc::Receiver<News>) {
        let (tell, news) = mpsc::channel(WAITING_NEWS);
        (Self { streams: BTreeMap::new(), desks, health, metrics, tell }, news)
    }

    /// Where others may put news.
    pub(super) fn teller(&self) -> mpsc::Sender<News> {
        self.tell.clone()
    }

    /// Starts `camera`'s thread.
    pub(super) fn start(&mut self, stream: &StreamId, source: &SourceConfig, camera: Camera, once: bool) -> Result<()> {
        let stop = Stop::new();
        let (name, tell, listen) = (stream.clone(), self.tell.clone(), stop.clone());
        let body = move || {
            // The runtime hears the thread's end even if it panics: the guard is dropped either way.
            let _gone = Guard(name.clone(), tell.clone());
            camera.run(&listen, &mut |event| {
                // A runtime that no longer listens is about to end.
                let _ = tell.blocking_send(News::Event(name.clone(), event));
            });
        };
        std::thread::Builder::new().name(format!("cam-{stream}")).spawn(body).context("starting a camera's thread")?;
        let about = Stream {
            stop,
            finite: once && source.kind == Some(Kind::File) && !source.repeat,
            state: State::Down,
            reason: Some("starting".to_owned()),
            decoder: None,
            epoch: 0,
            gone: false,
            fault: None,
        };
        self.streams.insert(stream.clone(), about);
        Ok(())
    }

    /// Takes note, tells subscribers and the log.
    pub(super) fn hear(&mut self, news: News) {
        let (name, event) = match news {
            News::Gone(name) => {
                let Some(stream) = self.streams.get_mut(&name) else { return };
                stream.gone = true;
                if stream.state != State::Down {
                    if !stream.stop.is_set() {
                        error!(stream = %name, "This is a bug: the camera's thread ended unasked");
                    }
                    stream.state = State::Down;
                    stream.reason = Some("stopped".to_owned());
                    self.changed(&name, None);
                }
                return;
            }
            News::BadFirstMask(name, why) => return self.bad_first_mask(&name, why),
            News::Event(name, event) => (name, event),
        };
        let Some(stream) = self.streams.get_mut(&name) else { return };
        let told = match event {
            CameraEvent::Up { epoch, source, decoder } => {
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
                    stream.stop.set();
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

    /// A file that was to start from a mask is of no use without it; a camera goes on, and discovers.
    fn bad_first_mask(&mut self, name: &StreamId, why: String) {
        error!(stream = %name, "first_mask is not used: {why}");
        if let Some(stream) = self.streams.get_mut(name)
            && stream.finite
        {
            stream.stop.set();
            stream.fault = Some(format!("first_mask: {why}"));
        }
    }

    /// Every stream's status, to subscribers.
    pub(super) fn report(&self) {
        self.streams.keys().for_each(|name| self.publish_status(name));
    }

    /// Brings the gauges up to date.
    pub(super) fn measure(&self) {
        self.desks.iter().for_each(|(name, desk)| self.metrics.stream_fps(name, desk.fps()));
    }

    /// How many streams deliver, of how many.
    pub(super) fn up(&self) -> (usize, usize) {
        (self.streams.values().filter(|s| s.state == State::Up).count(), self.streams.len())
    }

    /// Whether every camera's thread has ended.
    pub(super) fn all_gone(&self) -> bool {
        self.streams.values().all(|stream| stream.gone)
    }

    /// Asks every camera to end.
    pub(super) fn stop(&self) {
        self.streams.values().for_each(|stream| stream.stop.set());
    }

    /// The first file that could not be played to its end, and why.
    pub(super) fn fault(&self) -> Option<(&StreamId, &str)> {
        self.streams.iter().find_map(|(name, stream)| Some((name, stream.fault.as_deref()?)))
    }

    fn changed(&self, name: &StreamId, told: Option<Event>) {
        let Some(stream) = self.streams.get(name) else { return };
        let detail = stream.reason.clone().unwrap_or_default();
        self.health.stream(name, StreamHealth { up: stream.state == State::Up, detail, epoch: stream.epoch });
        if let (Some(event), Some(desk)) = (told, self.desks.get(name)) {
            unsent(name, desk.publisher.publish_event(stream.epoch, event));
        }
        self.publish_status(name);
    }

    fn publish_status(&self, name: &StreamId) {
        let (Some(stream), Some(desk)) = (self.streams.get(name), self.desks.get(name)) else { return };
        let status = Status {
            state: stream.state,
            reason: stream.reason.clone(),
            fps: desk.fps(),
            account: Account::from(&self.metrics.book(name)),
            decoder: stream.decoder.clone(),
            epoch: stream.epoch,
            uptime_s: self.health.uptime().as_secs_f64(),
        };
        unsent(name, desk.publisher.publish_status(status));
    }
}

fn unsent(stream: &StreamId, result: Result<(), PublishError>) {
    if let Err(error) = result {
        warn!(%stream, "an event or status was not published: {error}");
    }
}

/// Says that a camera's thread has ended, when dropped.
struct Guard(StreamId, mpsc::Sender<News>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.1.blocking_send(News::Gone(self.0.clone()));
    }
}
