//! The messages, as subscribers see them. Everything here is public format: fields are only added, and a change of
//! meaning is a new [`VERSION`] under new keys.
//!
//! | key `maskd/v1/<site>/<stream>/...` | payload | numbered by |
//! | --- | --- | --- |
//! | `masks` | [`MasksMessage`]; a query answers with the newest | `sequence` (the frame's) and `number` (the message's) |
//! | `events` | [`EventMessage`] | `sequence` |
//! | `status` | [`StatusMessage`]; a query answers with the newest | `sequence` |
//! | `preview` | a JPEG, only while somebody subscribes | - |
//! | `prompt` | send a [`Prompt`] here, by query (answers `{"accepted":true}` or an error text) or by put | - |
//! | `alive` | liveliness token of the stream; `maskd/v1/<site>/alive` is the daemon's | - |
//!
//! A query on `maskd/v1/<site>/config` answers with the daemon's configuration (TOML, without secrets); one on
//! `maskd/v1/<site>/control/reload`, where `publish.control` allows it, has the daemon read its file again and answers with
//! [`Reloaded`], or with an error text where it was refused.
//!
//! Payloads are JSON (`application/json`) or, where the daemon's configuration says so, CBOR (`application/cbor`) of the
//! same structure. Times ending in `_unix_ns` are nanoseconds since the Unix epoch: 64-bit integers that do not fit a
//! JavaScript number. Readers ignore fields they do not know, and must refuse a `version` they do not know.
//!
//! A mask is COCO's compressed run-length encoding at the size of the source frame: `pycocotools.mask.decode(mask)` reads
//! it as it is. Its area and bounding box are stated beside it and agree with it, for coarsened masks too.
//!
//! Two gaps can be seen by a subscriber, and they mean different things: a jump of `number` is a message lost on the way,
//! a jump of `sequence` alone is frames that the daemon dropped because it was slower than the camera.
//!
//! Where cameras outrun the engine, `quality` says on each masks message and in each status what was given up: first
//! frames (`rate`), then resolution (`level`).

mod status;

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use status::{Account, Drops, State, Status, StatusMessage, drops};

use crate::keys::Site;
use maskd_types::{
    frame::{Frame, Quality, Size, StreamId},
    instance::{Instance, Prompt, TrackEvent},
};

/// The version of all messages.
pub const VERSION: u32 = 1;

/// The most bytes of a prompt.
pub const MAX_PROMPT_BYTES: usize = 256 * 1024;

/// The most bytes that a reader takes for a message: above what any configuration lets a daemon send.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// How messages are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// JSON, on one line.
    #[default]
    Json,
    /// CBOR (RFC 8949) of the same structure.
    Cbor,
}

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// More bytes than are ever read.
    #[error("{bytes} bytes are more than the {limit} allowed")]
    TooLarge {
        /// Bytes given.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not the format, or not the fields.
    #[error("not a {what}: {cause}")]
    Malformed {
        /// What was expected.
        what: &'static str,
        /// What the parser said, on one line.
        cause: String,
    },
    /// A message from a later maskd.
    #[error("message version {0} is not {VERSION}: update this maskd")]
    Version(u32),
    /// A message that cannot be written.
    #[error("message cannot be written: {0}")]
    Unwritable(String),
}

/// The instances of one frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MasksMessage {
    /// [`VERSION`].
    pub version: u32,
    /// The daemon's site.
    pub site: Site,
    /// The camera.
    pub stream: StreamId,
    /// The frame's number: counts captured frames from 0, the dropped ones too.
    pub sequence: u64,
    /// Counts this stream's masks messages from 0: a gap is a lost message.
    pub number: u64,
    /// Grows with each reconnect or jump of the timestamps.
    pub epoch: u32,
    /// Presentation timestamp as the stream carries it.
    pub pts_ns: Option<u64>,
    /// When the frame left the decoder.
    pub captured_unix_ns: u64,
    /// When this message was written.
    pub published_unix_ns: u64,
    /// Id of the network's weights.
    pub model: String,
    /// Size of the source frame and of every mask.
    pub frame: Size,
    /// Whether new instances were searched for in this frame.
    pub discovered: bool,
    /// How much was seen: `level`, the network's resolution as a share of the configured one, and `rate`, the frames a
    /// second that the stream is held to. `{"level":1.0}` unless cameras outrun the engine.
    #[serde(default)]
    pub quality: Quality,
    /// The instances seen; an instance that is out of sight but not ended is left out.
    pub instances: Vec<Instance>,
    /// Set where masks were simplified to fit the size limit: edges are on a grid of this many pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coarsened: Option<u32>,
    /// Instances (the smallest) left out because the message would not fit otherwise.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub omitted: u32,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl MasksMessage {
    /// The message of one frame's result, numbered `number`.
    pub fn new(
        site: &Site,
        model: &str,
        number: u64,
        frame: &Frame,
        discovered: bool,
        instances: Vec<Instance>,
    ) -> Self {
        Self {
            version: VERSION,
            site: site.clone(),
            stream: frame.stream.clone(),
            sequence: frame.sequence,
            number,
            epoch: frame.epoch,
            pts_ns: frame.pts_ns,
            captured_unix_ns: frame.captured_unix_ns,
            published_unix_ns: unix_ns(),
            model: model.to_owned(),
            frame: frame.source,
            discovered,
            quality: frame.quality,
            instances,
            coarsened: None,
            omitted: 0,
        }
    }
}

/// Which frame an event belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameRef {
    /// The frame's number.
    pub sequence: u64,
    /// Presentation timestamp as the stream carries it.
    pub pts_ns: Option<u64>,
    /// When the frame left the decoder.
    pub captured_unix_ns: u64,
}

impl From<&Frame> for FrameRef {
    fn from(frame: &Frame) -> Self {
        Self { sequence: frame.sequence, pts_ns: frame.pts_ns, captured_unix_ns: frame.captured_unix_ns }
    }
}

/// Something that happened to a stream or to one of its instances.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventMessage {
    /// [`VERSION`].
    pub version: u32,
    /// The daemon's site.
    pub site: Site,
    /// The camera.
    pub stream: StreamId,
    /// Counts this stream's events from 0.
    pub sequence: u64,
    /// The stream's epoch at the time.
    pub epoch: u32,
    /// When this message was written.
    pub published_unix_ns: u64,
    /// The frame it was seen in, for events of instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<FrameRef>,
    /// What happened: the field `event` names it, its other fields stand beside.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Frames arrive.
    StreamUp,
    /// Frames stopped; the stream is being rebuilt.
    StreamDown {
        /// Why, on one line.
        cause: String,
    },
    /// The source is at its end and will not be opened again.
    StreamEnded,
    /// The stream does not start from its first mask; until another is configured, its status says so as well.
    FirstMaskRefused {
        /// Why, on one line.
        cause: String,
    },
    /// An instance `appeared` or `ended`.
    #[serde(untagged)]
    Instance(TrackEvent),
}

/// What a prompt's query is answered with when it is taken. (A refusal is an error reply: one line of text.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptReply {
    /// Always true.
    pub accepted: bool,
}

/// What a configuration that was read again has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Streams taken up.
    pub added: Vec<StreamId>,
    /// Streams given up.
    pub removed: Vec<StreamId>,
    /// Streams that run with another source or first mask.
    pub changed: Vec<StreamId>,
    /// Streams that are served by another weight, or tracked by other settings of their own.
    pub weighed: Vec<StreamId>,
    /// Whether other weights are being loaded; `status` and the log tell what becomes of them.
    pub weights: bool,
    /// Sections that have changed, but not before a restart.
    pub waiting: Vec<String>,
}

/// Now, in nanoseconds since the Unix epoch (0 where the clock stands before it).
pub fn unix_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX))
}

/// A message as bytes.
pub fn encode<T: Serialize>(message: &T, format: Format) -> Result<Vec<u8>, WireError> {
    match format {
        Format::Json => serde_json::to_vec(message).map_err(|e| WireError::Unwritable(one_line(&e))),
        Format::Cbor => {
            let mut bytes = Vec::new();
            ciborium::into_writer(message, &mut bytes).map_err(|e| WireError::Unwritable(one_line(&e)))?;
            Ok(bytes)
        }
    }
}

/// Reads an answer, which is JSON and has no version of its own.
pub fn decode_plain<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    serde_json::from_slice(bytes).map_err(|e| WireError::Malformed { what: "answer", cause: one_line(&e) })
}

/// Reads a versioned message of any of the kinds above; `what` names the kind in the error.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], format: Format, what: &'static str) -> Result<T, WireError> {
    #[derive(Deserialize)]
    struct Probe {
        version: u32,
    }
    // The version first: a later version may have other fields, and "missing field" would say nothing.
    let Probe { version } = parse(bytes, format, MAX_MESSAGE_BYTES, what)?;
    if version != VERSION {
        return Err(WireError::Version(version));
    }
    parse(bytes, format, MAX_MESSAGE_BYTES, what)
}

/// Reads a prompt; nothing beside the fields of its kind is let through.
pub fn decode_prompt(bytes: &[u8], format: Format) -> Result<Prompt, WireError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct OnlyKind {
        #[serde(rename = "kind")]
        _kind: String,
    }
    let prompt = parse(bytes, format, MAX_PROMPT_BYTES, "prompt")?;
    if prompt == Prompt::Reset {
        // serde ignores the fields beside the tag of a variant without fields.
        let OnlyKind { .. } = parse(bytes, format, MAX_PROMPT_BYTES, "prompt")?;
    }
    Ok(prompt)
}

/// A message as one line of JSON, whatever its format, with the fields that this version does not know.
pub fn to_json_line(bytes: &[u8], format: Format) -> Result<String, WireError> {
    let value: serde_json::Value = parse(bytes, format, MAX_MESSAGE_BYTES, "message")?;
    Ok(value.to_string())
}

fn parse<T: DeserializeOwned>(bytes: &[u8], format: Format, limit: usize, what: &'static str) -> Result<T, WireError> {
    let malformed = |cause: String| WireError::Malformed { what, cause };
    if bytes.len() > limit {
        return Err(WireError::TooLarge { bytes: bytes.len(), limit });
    }
    match format {
        Format::Json => serde_json::from_slice(bytes).map_err(|e| malformed(one_line(&e))),
        Format::Cbor => {
            let mut rest = bytes;
            // The limit on nesting keeps hostile bytes from using up the stack.
            let message =
                ciborium::de::from_reader_with_recursion_limit(&mut rest, 32).map_err(|e| malformed(one_line(&e)))?;
            if rest.is_empty() { Ok(message) } else { Err(malformed(format!("{} bytes follow it", rest.len()))) }
        }
    }
}

/// An error's text on one line of bounded length: parsers quote what they were given.
pub fn one_line(error: &dyn std::fmt::Display) -> String {
    error.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

/// Several errors' texts, each on its line: as many as anybody reads.
pub fn lines(errors: &str) -> String {
    errors.lines().take(64).map(|line| one_line(&line)).collect::<Vec<_>>().join("\n")
}
