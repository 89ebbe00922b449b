//! The command line: one file per subcommand, and the one place that maps errors to exit codes.

mod check;
mod exit;
mod log;
mod run;

use clap::{Parser, Subcommand};

pub use exit::{Exit, Failure, OrExit};

/// `maskd --help`.
#[derive(Parser, Debug)]
#[command(
    version,
    about = "Live video in, instance masks out",
    long_about = "Live video in, instance masks out.\n\n\
        maskd reads cameras through GStreamer, computes features with a self-supervised vision transformer, \
        finds and follows instances, and publishes their masks over zenoh. The offline commands run the same \
        engine on files.",
    after_help = "Try it without a camera:\n  \
        maskd run test\n  \
        maskd watch                        (in a second terminal)\n\n\
        'maskd COMMAND --help' shows examples; 'maskd --help' the exit codes.",
    after_long_help = LONG_HELP,
    propagate_version = true,
    max_term_width = 110
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const LONG_HELP: &str = "Try it without a camera:
  maskd run test
  maskd watch                        (in a second terminal)

From a camera, then for good:
  maskd run rtsp://camera.lan/stream1
  maskd check --config /etc/maskd/maskd.toml && systemctl enable --now maskd

Exit codes:
  0   done
  2   wrong usage of the command line
  64  bad configuration: the line names the file, the line and the key
  65  bad input: weights, a mask or a video cannot be used
  69  unavailable: a port is taken, nobody answers, no network
  70  internal: the engine failed, or a fault of maskd itself
  74  a file could not be read or written

Environment:
  MASKD_LOG   what to log, over the configuration: a level (debug) or a filter (info,maskd::ingest=debug)

An error is a single line on standard error that starts with 'maskd: error:'.";

#[derive(Subcommand, Debug)]
enum Command {
    Run(run::Args),
    Check(check::Args),
}

/// Runs the chosen command to its end.
///
/// # Errors
/// What the command failed of, with the exit code it asks for.
pub fn dispatch(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::run(args),
    }
}
