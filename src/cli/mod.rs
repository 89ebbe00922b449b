//! TODO

pub mod prompt;
pub mod watch;
