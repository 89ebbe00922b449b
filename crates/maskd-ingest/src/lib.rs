//! Cameras and files become [`Frame`](maskd_types::frame::Frame)s. Everything that knows GStreamer is in here.
//!
//! ```text
//! Source (of a Kind)   -> Description -> Camera (one supervised pipeline) -> FrameSender | slot | Mailbox -> engine
//!                                         stalls, errors, end of stream: torn down and rebuilt
//! files and folders  -> Clip    (offline, every frame at full size)
//! overlays           -> Mp4Writer
//! ```

mod address;
mod backoff;
mod blocking;
mod camera;
mod clip;
mod converter;
mod credential;
mod description;
mod fault;
mod guard;
mod pipeline;
mod properties;
mod redirect;
mod source;
mod teardown;
mod timeline;
mod upright;
mod writer;

pub use backoff::Backoff;
pub use camera::{Camera, CameraEvent, Numbers};
pub use clip::{Clip, ClipFrame};
pub use description::Description;
pub use fault::{CameraFault, Cause};
/// Whoever writes a [`Source`] speaks of its elements.
pub use gstreamer;
pub use source::{Key, Kind, Pace, Source, SourceConfig, SourceError, set as set_property};
pub use timeline::{Stamp, Timeline};
pub use writer::{Mp4Writer, is_own_mp4};
