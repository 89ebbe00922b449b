//! `maskd` turns live video into instance masks.
//!
//! ```text
//! ingest (GStreamer) -> preprocess -> backbone (ViT features, candle)
//!     -> discover / propagate (per-stream tracker) -> mask (RLE) -> publish (zenoh)
//! ```
//!
//! The modules stand in the order of that flow. Imports point down only: see `tests/it/imports.rs`.

pub mod files;
pub mod frame;
pub mod instance;
pub mod mask;
pub mod metrics;
pub mod picture;
pub mod pulse;
pub mod redact;

pub mod kernels;
pub mod model;

pub mod ingest;
pub mod overload;
pub mod preprocess;

pub mod attention;
pub mod backbone;
pub mod discover;
pub mod propagate;
pub mod refine;
pub mod tracker;

pub mod engine;
pub mod preset;

pub mod admin;
pub mod publish;

pub mod config;
pub mod davis;
pub mod runtime;

pub mod cli;
