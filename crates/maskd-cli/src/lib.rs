//! What the programs of maskd share at the command line: exit codes, errors of one line, and faults of a configuration file
//! with their file, line and key.
//!
//! Takes: errors of the other crates. Gives: a [`Failure`], which prints as one line and knows its exit code.

mod config_error;
mod exit;

pub use config_error::ConfigError;
pub use exit::{Exit, Failure, OrExit};
