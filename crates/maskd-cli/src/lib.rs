//! What the programs of maskd share at the command line: exit codes, errors of one line, and configuration files that are
//! read as far as they can be, every fault with its file, line and key.
//!
//! Takes: errors of the other crates, TOML texts. Gives: a [`Failure`], which prints as one line for each fault and knows its
//! exit code; a [`Document`] with the place of each of its keys.

mod config_error;
mod document;
mod exit;

pub use config_error::{ConfigError, ConfigFault, Faults};
pub use document::{DUPLICATE, Document, read};
pub use exit::{Exit, Failure, OrExit};
