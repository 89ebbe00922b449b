//! Files that are named from outside: in a configuration, on the command line, in a data set.
//!
//! A name may be anything: a pipe that nobody writes to, a device without an end, a file of a terabyte. Everything that
//! maskd reads by name is opened here, so that a wrong name is an error and never a wait.

mod input;

pub use input::{TEXT, check, open, read, read_text};
