//! `maskd` turns live video into instance masks.
//!
//! ```text
//! ingest (GStreamer) -> preprocess -> backbone (ViT features, candle)
//!     -> discover / propagate (per-stream tracker) -> mask (RLE) -> publish (zenoh)
//! ```
//!
//! This package is the daemon and the command line: configuration, threads, HTTP. The rest is in crates of its own, which
//! are found here under their short names.

pub use maskd_eval as davis;
pub use maskd_ingest as ingest;
pub use maskd_kernels as kernels;
pub use maskd_model as model;
pub use maskd_model::{attention, backbone, preprocess};
pub use maskd_observability::{heartbeat, metrics, redact};
pub use maskd_scheduling as scheduling;
pub use maskd_scheduling::overload;
pub use maskd_tracking::{discover, engine, preset, propagate, refine, tracker};
pub use maskd_types::{cancellation, features, files, frame, instance, mask, picture};

/// Messages and their transport.
pub mod publish {
    pub use maskd_protocol::{coarsen, keys, wire};
    pub use maskd_transport::*;
}

pub mod admin;
pub mod config;
pub mod runtime;

pub mod cli;
