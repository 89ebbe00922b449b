//! The daemon as its operator sees it, over HTTP: is it alive, is it ready, what does it count.
//!
//! `/healthz` answers "should somebody restart it": is a stage stuck, and which. `/readyz` answers "is it of
//! use now": the model is loaded, the publisher is open and a stream delivers. `/metrics` is OpenMetrics text.
//! Nothing here changes anything, and no answer holds a secret.

mod http;

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    str::FromStr,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::json;

pub use http::serve;

use maskd_observability::heartbeat::{Heartbeats, Stuck};
use maskd_types::frame::StreamId;

/// `[admin]`: the HTTP address for health checks and metrics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    /// `ADDRESS:PORT`, or `off`. There is no password on it: keep it on loopback or a trusted network.
    pub listen: Listen,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { listen: Listen::At(SocketAddr::from(([127, 0, 0, 1], 9110))) }
    }
}

/// Where to listen, if at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Listen {
    /// Nowhere.
    Off,
    /// At this address; port 0 lets the system choose one, which the log tells.
    At(SocketAddr),
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            _ => text
                .parse()
                .map(Self::At)
                .map_err(|_| format!("{text:?} is no address: use ADDRESS:PORT such as 127.0.0.1:9110, or off")),
        }
    }
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> Self {
        listen.to_string()
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(address) => address.fmt(f),
        }
    }
}

/// What the runtime knows of the daemon's state; written by its threads, read by the probes.
#[derive(Debug)]
pub struct Health {
    started: Instant,
    heartbeats: Heartbeats,
    publisher_open: AtomicBool,
    stopping: AtomicBool,
    model: Mutex<Option<String>>,
    streams: Mutex<BTreeMap<StreamId, StreamHealth>>,
}

/// One stream as `/readyz` tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamHealth {
    /// Whether frames arrive.
    pub up: bool,
    /// Why not, or what it waits for; short, without secrets.
    pub detail: String,
    /// Counts reconnects and timestamp jumps.
    pub epoch: u32,
}

impl Health {
    /// A daemon that starts now, with `streams` all down, whose stages show signs of life at `heartbeats`.
    pub fn new(streams: impl IntoIterator<Item = StreamId>, heartbeats: Heartbeats) -> Self {
        let waiting = StreamHealth { up: false, detail: "starting".to_owned(), epoch: 0 };
        Self {
            started: Instant::now(),
            heartbeats,
            publisher_open: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            model: Mutex::new(None),
            streams: Mutex::new(streams.into_iter().map(|s| (s, waiting.clone())).collect()),
        }
    }

    /// Where the daemon's stages show signs of life.
    pub fn heartbeats(&self) -> &Heartbeats {
        &self.heartbeats
    }

    /// The stages that have work and make no progress.
    pub fn stuck(&self) -> Vec<Stuck> {
        self.heartbeats.stuck()
    }

    /// The weights are loaded and warm; `id` names them in every message.
    pub fn model_loaded(&self, id: &str) {
        *self.model.lock() = Some(id.to_owned());
    }

    /// The zenoh session is open (true) or closed.
    pub fn publisher_open(&self, open: bool) {
        self.publisher_open.store(open, Ordering::Relaxed);
    }

    /// The daemon drains: it is no longer ready.
    pub fn stopping(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// How `stream` is now.
    pub fn stream(&self, stream: &StreamId, health: StreamHealth) {
        self.streams.lock().insert(stream.clone(), health);
    }

    /// `stream` is no more.
    pub fn forget(&self, stream: &StreamId) {
        self.streams.lock().remove(stream);
    }

    /// All streams as they are now.
    pub fn streams(&self) -> BTreeMap<StreamId, StreamHealth> {
        self.streams.lock().clone()
    }

    /// Seconds since the daemon started.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether it is of use now, and the reasons as JSON.
    fn readiness(&self) -> (bool, serde_json::Value) {
        let model = self.model.lock().clone();
        let (publisher, stopping) =
            (self.publisher_open.load(Ordering::Relaxed), self.stopping.load(Ordering::Relaxed));
        let streams = self.streams();
        let down: Vec<_> = streams.iter().filter(|(_, s)| !s.up).map(|(name, _)| name.as_str().to_owned()).collect();
        let stuck = self.stuck();
        let names: Vec<&str> = stuck.iter().map(|stage| stage.stage.as_str()).collect();
        let delivers = down.len() < streams.len();
        let ready = model.is_some() && publisher && delivers && !stopping && stuck.is_empty();
        let body = json!({
            "ready": ready, "model": model, "publisher_open": publisher, "stopping": stopping,
            "stuck": names, "streams_down": down, "streams": streams,
        });
        (ready, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health() -> (Health, StreamId, StreamId) {
        let (a, b): (StreamId, StreamId) = ("a".parse().unwrap(), "b".parse().unwrap());
        (Health::new([a.clone(), b.clone()], Heartbeats::new(Duration::ZERO)), a, b)
    }

    #[test]
    fn ready_needs_a_model_a_publisher_and_a_stream_that_delivers() {
        let (h, a, _) = health();
        assert!(!h.readiness().0);
        h.model_loaded("tiny");
        h.publisher_open(true);
        assert!(!h.readiness().0, "no stream is up");
        h.stream(&a, StreamHealth { up: true, detail: String::new(), epoch: 0 });
        let (ready, body) = h.readiness();
        assert!(ready);
        assert_eq!(body["streams_down"], json!(["b"]));
        h.stopping();
        assert!(!h.readiness().0);
    }

    #[test]
    fn a_stuck_stage_is_named_and_nothing_is_ready() {
        let (h, a, _) = health();
        h.model_loaded("tiny");
        h.publisher_open(true);
        h.stream(&a, StreamHealth { up: true, detail: String::new(), epoch: 0 });
        let heartbeat = h.heartbeats().stage("engine");
        heartbeat.beat();
        while h.stuck().is_empty() {
            std::hint::spin_loop();
        }
        let (ready, body) = h.readiness();
        assert!(!ready && body["stuck"] == json!(["engine"]), "{body}");
        heartbeat.rest();
        assert!(h.readiness().0);
    }

    #[test]
    fn listen_is_an_address_or_off() {
        assert_eq!("off".parse(), Ok(Listen::Off));
        assert!("9110".parse::<Listen>().unwrap_err().contains("ADDRESS:PORT"));
        assert_eq!(String::from(Listen::from_str("[::1]:80").unwrap()), "[::1]:80");
    }
}
