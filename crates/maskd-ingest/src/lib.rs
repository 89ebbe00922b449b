//! Cameras and files become [`Frame`](maskd_types::frame::Frame)s. Everything that knows GStreamer is in here.
//!
//! ```text
//! pipelines/*.launch -> Description -> Camera (one supervised pipeline) -> Outlet | slot | Inbox -> engine
//!                                         stalls, errors, end of stream: torn down and rebuilt
//! files and folders  -> Clip    (offline, every frame at full size)
//! overlays           -> Mp4Writer
//! ```

mod address;
mod backoff;
mod camera;
mod clip;
mod credential;
mod description;
mod errand;
mod fault;
mod guard;
mod intake;
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
pub use fault::{Cause, Fault};
pub use source::{Kind, Pace, SourceConfig, SourceError};
pub use timeline::{Stamp, Timeline};
pub use writer::{Mp4Writer, is_own_mp4};
