//! The one integration binary: it drives the real thing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is how a test fails, in its helpers too

mod cameras;
mod clips;
mod ingest;
mod support;
