//! The command line.

pub mod weights;
