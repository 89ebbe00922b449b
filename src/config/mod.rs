//! The configuration file: strict, defaulted, printable. Each stage owns its section; this file only nests them.
//!
//! `configs/maskd.toml` documents every key, and `tests/it/config.rs` keeps it complete. A key that nobody reads is
//! an error with its file and line, never ignored: a typing mistake in a setting must not look like a setting.

mod draft;
mod findings;
mod preflight;
mod redact;
mod stream;

use std::{collections::BTreeMap, fmt, path::Path, time::Duration};

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

pub use draft::Draft;
pub use maskd_cli::{ConfigError, ConfigFault, Document, Faults};
pub use preflight::{Ready, Start};
pub use stream::{StreamConfig, StreamSettings};

use crate::admin::AdminConfig;
use maskd_model::backbone::BackboneConfig;
use maskd_scheduling::overload::OverloadConfig;
use maskd_tracking::tracker::TrackerConfig;
use maskd_transport::PublishConfig;
use maskd_types::frame::StreamId;

/// Everything the daemon can be told.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `[model]`: the network and where it runs.
    pub model: BackboneConfig,
    /// `[tracker]`: discovery, propagation, and when an instance ends.
    pub tracker: TrackerConfig,
    /// `[publish]`: zenoh.
    pub publish: PublishConfig,
    /// `[admin]`: health and metrics over HTTP.
    pub admin: AdminConfig,
    /// `[log]`: what is logged and how.
    pub log: LogConfig,
    /// `[runtime]`: batches and stopping.
    pub runtime: RuntimeConfig,
    /// `[overload]`: what is given up when cameras outrun the engine.
    pub overload: OverloadConfig,
    /// `[streams.NAME]`: the cameras.
    pub streams: BTreeMap<StreamId, StreamConfig>,
}

/// As it is printed: a derived `Debug` would show an address that stands where it does not belong.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Text for people, JSON lines for collectors.
    pub format: LogFormat,
    /// A level (`error`, `warn`, `info`, `debug`, `trace`) or a filter such as `info,maskd_ingest=debug`.
    pub level: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        // zenoh tells its inner life at info; its warnings are worth reading, but one of its routing says at every start
        // that gossip is off, which is our own setting.
        Self { format: LogFormat::Text, level: "info,zenoh=warn,zenoh::net::routing=error".to_owned() }
    }
}

impl LogConfig {
    fn faults(&self) -> Vec<(&'static str, String)> {
        let refused = EnvFilter::builder().parse(&self.level).err();
        let level = &self.level;
        let wrong = |e| ("level", format!("{level:?}: {e}; use a level such as info, or info,maskd_ingest=debug"));
        refused.map(wrong).into_iter().collect()
    }
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One readable line for each event.
    Text,
    /// One JSON object for each event.
    Json,
}

/// `[runtime]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuntimeConfig {
    /// Most frames, of different streams, that go through the network at once.
    pub max_batch: usize,
    /// Seconds that frames in flight get to be published after a stop signal; a second signal ends at once.
    pub grace_seconds: f64,
    /// Exit with code 0 when every source is a file that does not loop and all have ended.
    pub exit_when_done: bool,
    /// Seconds between two status messages of a stream; a change is told at once.
    pub status_seconds: f64,
    /// Seconds without a sign of life from a stage that has work, after which `/healthz` names it and the watchdog is no
    /// longer fed. Must be longer than the slowest batch.
    pub stall_seconds: f64,
    /// Read the configuration file again when it changes, as on SIGHUP.
    pub reload_on_change: bool,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            max_batch: 4,
            grace_seconds: 10.0,
            exit_when_done: true,
            status_seconds: 10.0,
            stall_seconds: 60.0,
            reload_on_change: true,
        }
    }
}

impl RuntimeConfig {
    /// `grace_seconds` as a duration.
    pub fn grace(&self) -> Duration {
        Duration::from_secs_f64(self.grace_seconds)
    }

    fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if !(1..=64).contains(&self.max_batch) {
            faults.push(("max_batch", format!("{} is not in 1 to 64", self.max_batch)));
        }
        let seconds = [
            ("grace_seconds", self.grace_seconds, 0.0),
            ("status_seconds", self.status_seconds, 0.1),
            ("stall_seconds", self.stall_seconds, 1.0),
        ];
        for (key, value, least) in seconds {
            if !(least..=3600.0).contains(&value) {
                faults.push((key, format!("{value} is not in {least} to 3600 seconds")));
            }
        }
        faults
    }
}

impl Config {
    /// Reads and validates a file; what it names is not looked at (see [`Draft::ready`]).
    ///
    /// # Errors
    /// The file cannot be read; or every key that is unknown, of the wrong type or out of range, and that no stream is
    /// configured. Each names the file, the line where one is to blame, and the key.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Draft::read(path)?.judged()
    }

    /// Reads `text`, which errors call `name`; values are not yet judged.
    ///
    /// # Errors
    /// As [`Config::load`], for what cannot be read.
    pub fn parse(text: &str, name: &str) -> Result<Self, ConfigError> {
        Draft::parse(text.to_owned(), name.to_owned()).unjudged()
    }

    /// What is wrong with the values, as a single key's type cannot tell: each key, dotted, and what to do. No file is
    /// looked at.
    pub fn faults(&self) -> Vec<(String, String)> {
        let none = "no stream is configured; add a table [streams.NAME]";
        let mut faults = Vec::new();
        if self.streams.is_empty() {
            faults.push(("streams".to_owned(), none.to_owned()));
        }
        let mut add = |table: &str, found: Vec<(&'static str, String)>| {
            faults.extend(found.into_iter().map(|(key, message)| (format!("{table}.{key}"), message)));
        };
        add("runtime", self.runtime.faults());
        add("model", self.model.faults());
        add("overload", self.overload.faults());
        add("tracker", self.tracker.faults());
        add("publish", self.publish.faults());
        add("log", self.log.faults());
        for (name, stream) in &self.streams {
            add(&format!("streams.{name}"), stream.faults());
        }
        for (name, stream) in &self.streams {
            let own = stream.tracker_faults(&self.tracker).into_iter();
            faults.extend(own.map(|(key, message)| (format!("streams.{name}.{key}"), message)));
        }
        faults
    }

    /// The resolved configuration as TOML, defaults included, with passwords replaced by `***`.
    pub fn redacted(&self) -> String {
        redact::document(self)
    }
}
