//! The messages that maskd publishes and takes, and the keys that they travel under. No transport.
//!
//! Takes: results of the engine, and bytes from outside. Gives: messages as JSON or CBOR ([`wire`]), key expressions
//! ([`keys`]), and masks made coarser where a message would be too large ([`coarsen`]).

pub mod coarsen;
mod error;
pub mod keys;
pub mod wire;

pub use error::PublishError;
