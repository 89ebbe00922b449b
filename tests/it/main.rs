//! The one integration binary: it drives the real thing.
// A panic is how a test fails; clippy's own exception does not reach the functions that tests share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod davis_metrics;
mod golden_model;
mod golden_propagation;
mod shared;
mod tracking;
