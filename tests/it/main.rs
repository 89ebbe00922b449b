//! The one integration binary: it drives the real thing.

mod golden_model;
mod golden_propagation;
mod shared;
