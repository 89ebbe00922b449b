//! `maskd check`: everything that can be known to be wrong before the daemon starts, all of it at once.

use std::{io::Write as _, path::PathBuf};

use clap::Args as ClapArgs;

use super::{Exit, Failure, OrExit as _, given::Given, log};

/// Validate a configuration and everything it names, and print it with all defaults filled in
#[derive(ClapArgs, Debug)]
#[command(after_help = "Examples:
  maskd check --config configs/maskd.toml
  maskd check --config /etc/maskd/maskd.toml > resolved.toml
  maskd check --quiet --config /etc/maskd/maskd.toml && systemctl restart maskd

Looked at, by the same rules as 'maskd run' and a reload: keys and values, whether this machine computes in [model]
precision, the weights' tensors and what they can do, each stream's pipeline (built, not started), films, password files,
first masks, zenoh's own configuration file. Every fault is a line on standard error, FILE:LINE: KEY: what is wrong; the
exit code is the lowest of theirs. Passwords are printed as ***.
Cameras and the network are not contacted: whether a first mask has the size of a camera's pictures shows only when the
first one comes, and is told then as an error, an event (first_mask_refused) and in the stream's status.")]
pub(super) struct Args {
    /// The configuration file
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// The weights that will be given to 'maskd run', over [model] weights
    #[arg(short, long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Print faults only
    #[arg(short, long)]
    quiet: bool,
}

/// Checks, then prints the resolved configuration to standard output.
pub(super) fn run(args: Args) -> Result<(), Failure> {
    let _log = log::init_quiet()?;
    let given = Given { config: Some(args.config), weights: args.weights, ..Given::default() };
    let config = given.draft()?.ready().or_exit(Exit::Config)?.config;
    if !args.quiet {
        // A reader that closes early (| head) is no error.
        let _ = std::io::stdout().lock().write_all(config.redacted().as_bytes());
    }
    Ok(())
}
