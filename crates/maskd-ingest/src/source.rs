//! Kinds of sources: what maskd plays, each in a file of its own below this one, behind the trait [`Source`].

mod config;
mod file;
mod rtsp;
mod test;
mod v4l2;

use std::{fmt, io, path::Path};

use gstreamer as gst;
use parking_lot::RwLock;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

pub(crate) use config::key;
pub use config::{Pace, SourceConfig, SourceError};

use super::properties;

/// The kinds that maskd knows by itself, in the order in which messages name them.
static BUILT_IN: [Kind; 4] = [Kind::FILE, Kind::RTSP, Kind::V4L2, Kind::TEST];

/// Those that were added by [`Kind::register`].
static ADDED: RwLock<Vec<Kind>> = RwLock::new(Vec::new());

/// What is wrong with a kind that has a location, where none is given.
const NO_LOCATION: &str = "missing: the file's path or the camera's URL";

/// A kind of source, such as RTSP cameras: which keys of a stream's table it has, and its pipeline.
///
/// It has no state; everything about one camera stands in its [`SourceConfig`]. Methods are called from several threads, and
/// at each connection anew.
pub trait Source: Send + Sync {
    /// As `kind = "..."` spells it: lower-case letters and digits.
    fn name(&self) -> &'static str;

    /// The pipeline, as [`Description`](super::Description) explains it.
    fn description(&self) -> &str;

    /// Whether it has the key `key`. One that is given to a kind without it is a fault.
    fn has(&self, key: Key) -> bool;

    /// Whether it is live, without an end: frames that the engine has no time for are dropped, and the end of
    /// the stream is a failure. Otherwise it is a recording, which ends.
    fn is_live(&self) -> bool {
        true
    }

    /// What is wrong with the keys of `config` that it has: each key, and what to do. No file is looked at.
    fn faults(&self, _config: &SourceConfig) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Checks what `location` names, before it is played. May touch the disk, not the network, and is called again at each
    /// connection.
    ///
    /// # Errors
    /// It can not be played.
    fn check_location(&self, _config: &SourceConfig) -> io::Result<()> {
        Ok(())
    }

    /// Sets what `config` says, other than `location` and `properties`, on the pipeline's element `source`. The pipeline may
    /// be built without ever being started. Returns what could not be set.
    fn set_up(&self, _config: &SourceConfig, _source: &gst::Element) -> Vec<SourceError> {
        Vec::new()
    }

    /// The stream that `maskd run ARGUMENT` means, where `argument` is a source of this kind.
    fn for_argument(&self, _argument: &str) -> Option<SourceConfig> {
        None
    }

    /// The file or device on this machine that is played, where it is one: a stream without a name is called after it.
    fn path<'a>(&self, _config: &'a SourceConfig) -> Option<&'a Path> {
        None
    }
}

/// Keys of a stream's table that only some kinds of sources have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// `location`, set on the element `source` as its property of the same name.
    Location,
    /// `device`.
    Device,
    /// `user`.
    User,
    /// `password_file`.
    PasswordFile,
    /// `pace = "fast"`.
    Pace,
    /// `loop = true`.
    Loop,
}

/// A kind of source: a handle to its [`Source`]. Kinds are told apart by their names.
#[derive(Clone, Copy)]
pub struct Kind(&'static dyn Source);

impl Kind {
    /// A video file (`location`).
    pub const FILE: Self = Self(&file::File);
    /// An RTSP camera (`location = "rtsp://..."`).
    pub const RTSP: Self = Self(&rtsp::Rtsp);
    /// A camera on this machine (`device`).
    pub const V4L2: Self = Self(&v4l2::V4l2);
    /// A drawn test picture.
    pub const TEST: Self = Self(&test::Test);

    /// A kind of your own. Configuration files do not know it unless it is registered.
    pub const fn of(source: &'static dyn Source) -> Self {
        Self(source)
    }

    /// Adds `source` to the kinds that configuration files may name. For the start of a program, before a configuration is
    /// read.
    ///
    /// # Errors
    /// There is a kind of that name.
    pub fn register(source: &'static dyn Source) -> Result<Self, SourceError> {
        let kind = Self(source);
        let mut added = ADDED.write();
        if BUILT_IN.iter().chain(added.iter()).any(|other| *other == kind) {
            return Err(key(
                "kind",
                format!("there is a kind of source {:?} already: choose another name", kind.name()),
            ));
        }
        added.push(kind);
        Ok(kind)
    }

    /// As the configuration spells it.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// What the kind is.
    pub(super) fn source(self) -> &'static dyn Source {
        self.0
    }

    /// The stream that `maskd run ARGUMENT` means: an address, a device, a word; else a file.
    pub fn from_argument(argument: &str) -> SourceConfig {
        let known = known().into_iter().find_map(|kind| kind.0.for_argument(argument));
        known.unwrap_or_else(|| SourceConfig::file(argument, Pace::default()))
    }
}

fn known() -> Vec<Kind> {
    let added = ADDED.read();
    BUILT_IN.iter().chain(added.iter()).copied().collect()
}

/// The kinds' names for a message, as in `"file", "rtsp" or "test"`: all of them, or those that have `key`.
pub(super) fn named(key: Option<Key>, joined_by: &str) -> String {
    let fitting = known().into_iter().filter(|kind| key.is_none_or(|key| kind.0.has(key)));
    let names: Vec<_> = fitting.map(|kind| format!("{:?}", kind.name())).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} {joined_by} {last}", others.join(", ")),
        None => String::new(),
    }
}

/// Sets `source`'s property `property` to what the stream's key `of` says.
///
/// # Errors
/// `source` has no such property or does not take the value; the error names the key.
pub fn set(source: &gst::Element, property: &str, value: &str, of: &'static str) -> Result<(), SourceError> {
    properties::set(source, property, &toml::Value::String(value.to_owned())).map_err(|reason| key(of, reason))
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Kind {}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(ByName)
    }
}

struct ByName;

impl Visitor<'_> for ByName {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a kind of source: {}", named(None, "or"))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Kind, E> {
        let known = known();
        // As serde says it of an enumeration, whose names cannot be added to.
        let unknown = || {
            let names: Vec<_> = known.iter().map(|kind| format!("`{}`", kind.name())).collect();
            E::custom(format!("unknown variant `{name}`, expected one of {}", names.join(", ")))
        };
        known.iter().find(|kind| kind.name() == name).copied().ok_or_else(unknown)
    }
}
