//! What the tests need and draw themselves.

pub mod weights;
