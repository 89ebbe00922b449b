//! The one integration binary: it drives the real thing.

mod config;
mod daemon;
mod davis_metrics;
mod golden_model;
mod golden_propagation;
mod imports;
mod ingest;
mod publish;
mod shared;
mod support;
mod weights_fetch;
