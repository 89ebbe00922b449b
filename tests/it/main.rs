//! The one integration binary: it drives the real thing.
mod coarsening;
mod golden_propagation;
mod prompts;
mod publish;
mod wire;
