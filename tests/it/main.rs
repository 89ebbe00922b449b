//! The one integration binary: it drives the real thing.

mod ingest;
mod support;
