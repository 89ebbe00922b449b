//! Which frames of each sequence are run, and which of them are judged.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

/// Which part of each sequence is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// All of it.
    #[default]
    All,
    /// What lies in the first half.
    First,
    /// The second half.
    Second,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::All => "all",
            Self::First => "first",
            Self::Second => "second",
        })
    }
}

/// Which frames are run and judged.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// The part that is judged. What comes before it is run, too.
    pub part: Part,
    /// Only every so manyeth frame is there, the first one included.
    pub every: usize,
}
