//! The one integration binary: it drives the real thing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod attention;
mod cameras;
mod checking;
mod clips;
mod coarsening;
mod config;
mod counting;
mod credentials;
mod daemon;
mod davis_metrics;
mod earlier;
mod end_to_end;
mod eval;
mod families;
mod first_masks;
mod fixed;
mod fixed_reference;
mod footage;
mod golden_model;
mod golden_propagation;
mod hostile;
mod identity;
mod ingest;
mod inspect;
mod lists;
mod manual;
mod model_swap;
mod outputs;
mod overload;
mod pictures;
mod pointing;
mod prompting;
mod prompts;
mod publish;
mod publishers;
mod quality;
mod redirects;
mod reload;
mod secrets;
mod segment;
mod service;
mod shared;
mod side_by_side;
mod skip;
mod structure;
#[allow(dead_code, reason = "shared with the fault bench, which uses the rest")]
mod support;
mod tls;
mod tracking;
mod upright;
mod viewers;
mod watchdog;
mod weights_fetch;
mod wire;
