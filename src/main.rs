//! The `maskd` program: parse, dispatch, exit code. Everything else is in the library.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;
use maskd::cli::{Cli, dispatch};

fn main() -> ExitCode {
    match dispatch(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            for line in failure.lines() {
                // Where standard error cannot be written to, the exit code still tells.
                let _ = writeln!(io::stderr(), "maskd: error: {line}");
            }
            (&failure).into()
        }
    }
}
