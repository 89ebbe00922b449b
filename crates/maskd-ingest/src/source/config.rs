//! What a camera's table in the configuration may say.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize, Serializer};

use super::{Key, Kind, named};
use crate::credential;
use maskd_observability::redact::{Secrets, is_secret, redact_value};

/// How fast a file is played.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pace {
    /// As its timestamps say; like a camera, a frame that comes too early for the engine is dropped.
    #[default]
    Timestamps,
    /// As fast as the engine takes it; no frame is dropped.
    Fast,
}

/// One camera: the table `[streams.NAME]`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceConfig {
    /// What is played, and with it the pipeline; may be left out where `pipeline` names a file.
    pub kind: Option<Kind>,
    /// A pipeline description of your own, in gst-launch syntax with `#` comments. It opens whatever its elements open; the
    /// shipped ones open nothing but their source.
    #[serde(serialize_with = "redacted_path")]
    pub pipeline: Option<PathBuf>,
    /// The file's path, or the camera's URL; set on the element `source`.
    #[serde(serialize_with = "redacted")]
    pub location: Option<String>,
    /// The V4L2 device; set on the element `source`.
    #[serde(serialize_with = "redacted_path")]
    pub device: Option<PathBuf>,
    /// RTSP user.
    pub user: Option<String>,
    /// File that holds the RTSP password on its first line; read at each connection. `$CREDENTIALS_DIRECTORY/NAME` is a
    /// credential of systemd's.
    pub password_file: Option<PathBuf>,
    /// RTSP: milliseconds of packets that are held to put them in order.
    pub latency_ms: u32,
    /// File: how fast it is played.
    pub pace: Pace,
    /// File: start over at its end.
    #[serde(rename = "loop")]
    pub repeat: bool,
    /// A stream without a frame for this many seconds is torn down and rebuilt.
    pub stall_timeout_s: f64,
    /// After a failure the next try comes within this many seconds; the first ones sooner.
    pub retry_max_s: f64,
    /// A timestamp that jumps forward by more than this many seconds (or back at all) opens a new epoch.
    pub max_gap_s: f64,
    /// Element name -> property -> value, set through GStreamer's property interface.
    #[serde(serialize_with = "redacted_properties")]
    pub properties: BTreeMap<String, BTreeMap<String, toml::Value>>,
}

impl Default for SourceConfig {
    fn default() -> Self {
        Self {
            kind: None,
            pipeline: None,
            location: None,
            device: None,
            user: None,
            password_file: None,
            latency_ms: 200,
            pace: Pace::Timestamps,
            repeat: false,
            stall_timeout_s: 10.0,
            retry_max_s: 5.0,
            max_gap_s: 10.0,
            properties: BTreeMap::new(),
        }
    }
}

/// A camera's table or pipeline description that cannot work, found at start-up.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A key's value, or a combination of keys, makes no sense.
    #[error("{key}: {reason}")]
    Key {
        /// The key in the stream's table.
        key: &'static str,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The pipeline description cannot be used.
    #[error("pipeline {name}: {reason}")]
    Description {
        /// The file, or the shipped pipeline's name.
        name: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A value under `properties` cannot be set.
    #[error("properties.{element}.{property}: {reason}")]
    Property {
        /// Name of the element.
        element: String,
        /// Name of the property.
        property: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// GStreamer itself does not start.
    #[error("GStreamer does not start: {0}")]
    GStreamer(String),
}

impl SourceError {
    /// The same error with none of `secrets` in what it says.
    pub(crate) fn without(self, secrets: &Secrets) -> Self {
        let hide = |reason: String| secrets.hide(&reason);
        match self {
            Self::Key { key, reason } => Self::Key { key, reason: hide(reason) },
            Self::Description { name, reason } => Self::Description { name, reason: hide(reason) },
            Self::Property { element, property, reason } => Self::Property { element, property, reason: hide(reason) },
            Self::GStreamer(reason) => Self::GStreamer(hide(reason)),
        }
    }
}

pub(crate) fn key(key: &'static str, reason: impl Into<String>) -> SourceError {
    SourceError::Key { key, reason: reason.into() }
}

impl SourceConfig {
    /// A source of `kind` with every other key at its default.
    pub fn of(kind: Kind) -> Self {
        Self { kind: Some(kind), ..Self::default() }
    }

    /// A file at `location`, played at `pace`.
    pub fn file(location: impl Into<String>, pace: Pace) -> Self {
        Self { location: Some(location.into()), pace, ..Self::of(Kind::FILE) }
    }

    /// An RTSP camera at `url`.
    pub fn rtsp(url: impl Into<String>) -> Self {
        Self { location: Some(url.into()), ..Self::of(Kind::RTSP) }
    }

    /// Checks the keys against each other. The pipeline description is checked by [`Description::check`](crate::Description::check).
    ///
    /// # Errors
    /// The first of [`SourceConfig::faults`].
    pub fn check(&self) -> Result<(), SourceError> {
        self.faults().into_iter().next().map_or(Ok(()), |(wrong, reason)| Err(key(wrong, reason)))
    }

    /// What is wrong with the keys, alone and against each other: each key, and what to do.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let unknown = self.is_shipped() && self.kind.is_none();
        let has = |key| self.kind.is_some_and(|kind| kind.source().has(key));
        // Of a kind that is not known, nothing can be said; and a pipeline of the user's own may have a `location`.
        let superfluous = |given: bool, key| !unknown && given && !has(key);
        let mut faults = Vec::new();
        if unknown {
            let why = format!("say {}, or name a description in `pipeline`", named(None, "or"));
            faults.push(("kind", why));
        }
        if self.kind.is_some() && superfluous(self.location.is_some(), Key::Location) {
            let why =
                format!("only kind = {} have one; a V4L2 camera has a `device`", named(Some(Key::Location), "and"));
            faults.push(("location", why));
        }
        faults.extend(self.kind.map(|kind| kind.source().faults(self)).unwrap_or_default());
        for (given, key, name) in [
            (self.device.is_some(), Key::Device, "device"),
            (self.user.is_some(), Key::User, "user"),
            (self.password_file.is_some(), Key::PasswordFile, "password_file"),
        ] {
            if superfluous(given, key) {
                faults.push((name, format!("only kind = {} has one", named(Some(key), "or"))));
            }
        }
        if superfluous(self.pace == Pace::Fast, Key::Pace) {
            faults.push(("pace", format!("\"fast\" needs kind = {}", named(Some(Key::Pace), "or"))));
        }
        if superfluous(self.repeat, Key::Loop) {
            faults.push(("loop", format!("true needs kind = {}", named(Some(Key::Loop), "or"))));
        }
        for (key, seconds) in [
            ("stall_timeout_s", self.stall_timeout_s),
            ("retry_max_s", self.retry_max_s),
            ("max_gap_s", self.max_gap_s),
        ] {
            if !(seconds > 0.0 && seconds <= 86_400.0) {
                faults.push((key, format!("{seconds} s: say a number of seconds above 0, at most 86400")));
            }
        }
        faults
    }

    /// How long a stream may be silent.
    pub fn stall_timeout(&self) -> Duration {
        Duration::try_from_secs_f64(self.stall_timeout_s).unwrap_or(Duration::from_secs(10))
    }

    /// The longest wait before a camera is tried again.
    pub fn retry_max(&self) -> Duration {
        Duration::try_from_secs_f64(self.retry_max_s).unwrap_or(Duration::from_secs(5))
    }

    /// How far a timestamp may step forward.
    pub fn max_gap(&self) -> Duration {
        Duration::try_from_secs_f64(self.max_gap_s).unwrap_or(Duration::from_secs(10))
    }

    /// Where the pictures come from, for messages; no secrets.
    pub fn place(&self) -> String {
        let device = || self.device.as_ref().map(|device| device.display().to_string());
        let pipeline = || self.pipeline.as_ref().map(|path| path.display().to_string());
        let location = || self.location.clone();
        let kind = || self.kind.map_or("source", Kind::name).to_owned();
        redact_value(&location().or_else(device).or_else(pipeline).unwrap_or_else(kind)).into_owned()
    }

    /// Adds what must never be said of this camera: passwords and tokens in its table, and its password file's first line.
    pub fn reveal(&self, secrets: &mut Secrets) {
        if let Some(location) = &self.location {
            secrets.learn_from(location);
        }
        // One that cannot be read is an error elsewhere, and holds no secret here.
        if let Some(password) = self.password_file.as_deref().and_then(|path| credential::password(path).ok()) {
            secrets.learn(&password);
        }
        for (name, value) in self.properties.values().flatten() {
            secrets.learn_from_toml(name, value);
        }
    }

    /// Whether the pipeline is that of its kind, and not a description of the user's.
    pub fn is_shipped(&self) -> bool {
        self.pipeline.is_none()
    }

    /// Checks what `location` names, as far as its kind knows how to. Touches the disk, which may hang.
    ///
    /// # Errors
    /// It is not there or cannot be played.
    pub fn check_location(&self) -> io::Result<()> {
        self.kind.map_or(Ok(()), |kind| kind.source().check_location(self))
    }

    /// Whether its end is a failure; that of a file is not.
    pub fn is_live(&self) -> bool {
        self.kind.is_none_or(|kind| kind.source().is_live())
    }

    /// Whether it ends, and does not start over then.
    pub fn plays_once(&self) -> bool {
        !self.is_live() && !self.repeat
    }

    /// The file or device on this machine that is played, where it is one.
    pub fn path(&self) -> Option<&Path> {
        self.kind.and_then(|kind| kind.source().path(self))
    }
}

/// As the printed configuration: a derived `Debug` would show the URL's password.
impl fmt::Debug for SourceConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match toml::to_string(self) {
            Ok(text) => write!(f, "SourceConfig {{ {} }}", text.trim().replace('\n', ", ")),
            Err(_) => f.write_str("SourceConfig"),
        }
    }
}

fn redacted<S: Serializer>(value: &Option<String>, out: S) -> Result<S::Ok, S::Error> {
    value.as_ref().map(|value| redact_value(value)).serialize(out)
}

/// An address may stand where a path should.
fn redacted_path<S: Serializer>(path: &Option<PathBuf>, out: S) -> Result<S::Ok, S::Error> {
    path.as_ref().map(|path| redact_value(&path.to_string_lossy()).into_owned()).serialize(out)
}

fn redacted_properties<S: Serializer>(
    properties: &BTreeMap<String, BTreeMap<String, toml::Value>>,
    out: S,
) -> Result<S::Ok, S::Error> {
    let shown = |name: &String, value: &toml::Value| match value {
        _ if is_secret(name) => toml::Value::String("***".to_owned()),
        toml::Value::String(text) => toml::Value::String(redact_value(text).into_owned()),
        other => other.clone(),
    };
    let table = |values: &BTreeMap<String, toml::Value>| -> BTreeMap<String, toml::Value> {
        values.iter().map(|(name, value)| (name.clone(), shown(name, value))).collect()
    };
    properties.iter().map(|(element, values)| (element, table(values))).collect::<BTreeMap<_, _>>().serialize(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<SourceConfig, String> {
        let config: SourceConfig = toml::from_str(text).map_err(|e| e.to_string())?;
        config.check().map_err(|e| e.to_string())?;
        Ok(config)
    }

    #[test]
    fn wrong_tables_name_the_key() {
        for (text, named) in [
            ("", "kind"),
            ("kind = \"file\"", "location"),
            ("kind = \"rtsp\"\nlocation = \"http://x\"", "rtsp://"),
            ("kind = \"test\"\nlocation = \"x\"", "location"),
            ("kind = \"test\"\ndevice = \"/dev/video0\"", "device"),
            ("kind = \"test\"\npace = \"fast\"", "pace"),
            ("kind = \"test\"\nuser = \"u\"", "user"),
            ("kind = \"test\"\nstall_timeout_s = 0", "stall_timeout_s"),
            ("kind = \"test\"\nmax_gap_s = nan", "max_gap_s"),
            ("kind = \"test\"\nlatency = 3", "latency"),
            ("kind = \"webcam\"", "webcam"),
        ] {
            let error = config(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }

    #[test]
    fn the_printed_table_reads_back_but_shows_no_secret() {
        let text = "kind = \"rtsp\"\nlocation = \"rtsp://u:hunter2@cam/1?token=hunter2\"\nlatency_ms = 50\n\
                    [properties.source]\nuser-pw = \"hunter2\"\nproxy = \"http://a:hunter2@p\"\nudp-buffer-size = 5\n";
        let config = config(text).unwrap();
        assert_eq!((config.latency_ms, config.max_gap()), (50, Duration::from_secs(10)));
        for shown in [toml::to_string(&config).unwrap(), format!("{config:?}"), config.place()] {
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(shown.contains("@cam/1"), "{shown}");
        }
        assert_eq!(SourceConfig::of(Kind::TEST).place(), "test");
        let printed: SourceConfig = toml::from_str(&toml::to_string(&config).unwrap()).unwrap();
        assert_eq!(printed.properties["source"]["udp-buffer-size"], toml::Value::Integer(5));
    }
}
