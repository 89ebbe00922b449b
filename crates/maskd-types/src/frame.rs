//! What travels through the system: one decoded picture and where it came from.

use std::{fmt, str::FromStr, sync::Arc, time::Instant};

use serde::{Deserialize, Serialize};

/// The name of one camera: 1 to 64 characters of `a-z`, `0-9`, `-` and `_`.
///
/// It is part of a zenoh key expression and of metric labels, so nothing else is let in.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamId(Arc<str>);

/// A stream name that cannot be a [`StreamId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("stream name {0:?}: use 1 to 64 characters of a-z, 0-9, '-' and '_'")]
pub struct BadStreamId(String);

impl FromStr for StreamId {
    type Err = BadStreamId;

    fn from_str(name: &str) -> Result<Self, BadStreamId> {
        let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'_';
        if (1..=64).contains(&name.len()) && name.bytes().all(allowed) {
            Ok(Self(name.into()))
        } else {
            Err(BadStreamId(name.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for StreamId {
    type Error = BadStreamId;

    fn try_from(name: String) -> Result<Self, BadStreamId> {
        name.parse()
    }
}

impl From<StreamId> for String {
    fn from(id: StreamId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl StreamId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Size {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

impl Size {
    /// A size of `width` by `height` pixels.
    pub const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }

    /// Number of pixels.
    pub const fn area(self) -> usize {
        self.width as usize * self.height as usize
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// How large the network sees a frame: the short side is given, the long side keeps the aspect
/// ratio, and both are floored to a multiple of the patch size (the protocol of DINO's DAVIS script,
/// whose multiple is 64 for patches of 8 and 16).
///
/// A short side within a patch of the frame's own means the frame's own size: both of its sides are
/// floored then, since shrinking by a per cent only blurs. (DAVIS, 854x480, at 476 or 480 and patch 14: 854x476.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// Pixels of the shorter side.
    pub short_side: u32,
    /// Both sides become multiples of this (the patch size, or a multiple of it).
    pub multiple: u32,
}

impl Resolution {
    /// The network's input size for frames of `source` size; each side is at least one `multiple`.
    pub fn fit(self, source: Size) -> Size {
        let floor =
            |v: u64| ((v / u64::from(self.multiple)) * u64::from(self.multiple)).max(u64::from(self.multiple)) as u32;
        let short = floor(u64::from(self.short_side));
        let native = floor(u64::from(source.width.min(source.height))) == short;
        let long = |long: u32, side: u32| match native {
            true => floor(u64::from(long)),
            false => floor(u64::from(self.short_side) * u64::from(long) / u64::from(side.max(1))),
        };
        if source.height <= source.width {
            Size::new(long(source.width, source.height), short)
        } else {
            Size::new(short, long(source.height, source.width))
        }
    }
}

impl Resolution {
    /// The same at a share of the short side, at least one `multiple`.
    pub fn at(self, level: f64) -> Self {
        let short = (f64::from(self.short_side) * level.clamp(0.0, 1.0)).round() as u32;
        Self { short_side: short.max(self.multiple), ..self }
    }
}

/// How much of a frame is seen, and of a stream: less than all where cameras outrun the engine.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// The network's resolution as a share of the configured short side, above 0; 1 is full.
    pub level: f64,
    /// Frames a second that the stream is held to; none where every frame may pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
}

impl Quality {
    /// Full resolution, and no frame held back.
    pub const FULL: Self = Self { level: 1.0, rate: None };
}

impl Default for Quality {
    fn default() -> Self {
        Self::FULL
    }
}

/// One picture of one stream.
#[derive(Clone)]
pub struct Frame {
    /// Which camera it is from.
    pub stream: StreamId,
    /// Pixels, `(height, width, 3)` row by row, 8-bit RGB, no padding.
    pub rgb: Arc<[u8]>,
    /// Size of `rgb`: the network's input size where ingest scales, else the camera's.
    pub size: Size,
    /// Size of the picture as the camera sent it; masks are published at this size.
    pub source: Size,
    /// Presentation timestamp in nanoseconds as the stream carries it; never rewritten.
    pub pts_ns: Option<u64>,
    /// When the frame left the decoder, nanoseconds since the Unix epoch.
    pub captured_unix_ns: u64,
    /// The same instant on the monotonic clock, for latencies.
    pub captured: Instant,
    /// Counts the frames captured from this stream since the daemon started, from 0; dropped frames are counted too.
    pub sequence: u64,
    /// Grows by one with each reconnect or timestamp jump, from 0.
    pub epoch: u32,
    /// How it is to be seen; full until the engine takes it.
    pub quality: Quality,
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} #{} epoch {} {})", self.stream, self.sequence, self.epoch, self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_names_that_could_break_a_key_expression_are_refused() {
        for bad in ["", "a/b", "a*", "A", "a$b", "ü", "a b", "@x", &"x".repeat(65)] {
            assert!(bad.parse::<StreamId>().is_err(), "{bad:?}");
        }
        assert_eq!("front-door_2".parse::<StreamId>().unwrap().as_str(), "front-door_2");
    }

    #[test]
    fn the_davis_frame_becomes_the_protocols_sizes() {
        let davis = Size::new(854, 480);
        assert_eq!(Resolution { short_side: 476, multiple: 14 }.fit(davis), Size::new(854, 476));
        assert_eq!(Resolution { short_side: 480, multiple: 14 }.fit(davis), Size::new(854, 476));
        assert_eq!(Resolution { short_side: 462, multiple: 14 }.fit(davis), Size::new(812, 462));
        assert_eq!(Resolution { short_side: 280, multiple: 14 }.fit(davis), Size::new(490, 280));
        assert_eq!(Resolution { short_side: 480, multiple: 8 }.fit(Size::new(480, 854)), Size::new(480, 848));
    }

    #[test]
    fn a_lower_level_is_a_share_of_the_short_side_in_whole_patches() {
        let full = Resolution { short_side: 336, multiple: 14 };
        let sizes = [1.0, 0.75, 0.5, 0.0].map(|level| full.at(level).fit(Size::new(448, 336)));
        assert_eq!(sizes, [Size::new(448, 336), Size::new(336, 252), Size::new(224, 168), Size::new(14, 14)]);
        assert_eq!(full.at(0.75).fit(Size::new(640, 480)), Size::new(336, 252), "scaled by ingest or not");
    }

    #[test]
    fn a_degenerate_source_still_has_a_patch() {
        assert_eq!(Resolution { short_side: 5, multiple: 14 }.fit(Size::new(1, 1)), Size::new(14, 14));
    }
}
