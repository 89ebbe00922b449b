//! Files that are named from outside: in a configuration, on the command line, in a data set.
//!
//! A name may be anything: a pipe that nobody writes to, a device without an end, a file of a terabyte. Everything that
//! maskd reads by name is opened here, so that a wrong name is an error and never a wait.
//!
//! What is written under a name goes through here as well: whole or not at all, never over something that the command
//! reads ([`Inputs`]), and never over a file that maskd did not make ([`put`]).

mod identity;
mod input;
mod output;
mod place;

pub use identity::Inputs;
pub use input::{TEXT, check, open, read, read_text};
pub use output::{OutputError, PART, beside, check_new, check_target, put, write, write_durably};
pub use place::{Place, Stamp, stamp};
