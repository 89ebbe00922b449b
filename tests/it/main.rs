//! The one integration binary: it drives the real thing.
mod golden_propagation;
mod publish;
