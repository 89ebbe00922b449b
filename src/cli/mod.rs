//! The command line: one file per subcommand, and the one place that maps errors to exit codes.

mod attention;
mod check;
mod eval;
mod given;
mod inputs;
mod inspect;
mod interrupt;
mod log;
mod options;
mod progress;
pub mod prompt;
pub mod reload;
mod run;
mod segment;
pub mod watch;
pub mod weights;

use clap::{Parser, Subcommand};

pub use maskd_cli::{Exit, Failure, OrExit};

/// `maskd --help`.
#[derive(Parser, Debug)]
#[command(
    version,
    about = "Live video in, instance masks out",
    long_about = "Live video in, instance masks out.\n\n\
        maskd reads cameras through GStreamer, computes features with a vision transformer, \
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

From a camera, then as a service:
  maskd run rtsp://camera.lan/stream1
  maskd check --config /etc/maskd/maskd.toml && systemctl enable --now maskd

Exit codes:
  0   done
  2   wrong usage of the command line
  64  bad configuration: the line names the file, the line and the key
  65  bad input: weights, a mask, a video or a prompt cannot be used
  69  unavailable: a port is taken, nobody answers, no network
  70  internal: the engine failed, or a fault of maskd itself
  74  a file could not be read or written

Environment:
  MASKD_LOG   what to log, over the configuration: a level (debug) or a filter (info,maskd_ingest=debug)

An error is a single line on standard error that starts with 'maskd: error:'. A configuration has one for each of its
faults; the exit code is the lowest of theirs. Wrong usage of the command line is explained in several lines.";

#[derive(Subcommand, Debug)]
enum Command {
    Run(run::Args),
    Check(check::Args),
    Segment(segment::Args),
    Inspect(inspect::Args),
    Attention(attention::Args),
    /// Measure mask quality as the field does
    #[command(subcommand)]
    Eval(eval::Command),
    #[command(after_help = WATCH_EXAMPLES)]
    Watch(watch::WatchArgs),
    #[command(after_help = PROMPT_EXAMPLES)]
    Prompt(prompt::PromptArgs),
    #[command(after_help = RELOAD_EXAMPLES)]
    Reload(reload::ReloadArgs),
    /// List, fetch and look into weights of the network
    #[command(after_help = WEIGHTS_EXAMPLES)]
    Weights(weights::Args),
}

const WATCH_EXAMPLES: &str = "Examples:
  maskd watch                                            the daemon on this machine
  maskd watch --connect tcp/192.0.2.7:7447 --stream front-door
  maskd watch --json --count 10 | jq .instances[].id     ten messages, as a program sees them";

const PROMPT_EXAMPLES: &str = "Examples:
  maskd prompt front-door --point 320,240
  maskd prompt front-door --box 100,80,60,140
  maskd prompt front-door --reset";

const RELOAD_EXAMPLES: &str = "Examples:
  maskd reload                                           the daemon on this machine (or: systemctl reload maskd)
  maskd reload --site yard --connect tls/box.lan:7447 --zenoh-config zenoh-reader.json5";

const WEIGHTS_EXAMPLES: &str = "Examples:
  maskd weights list
  maskd weights fetch dino_vits8
  maskd weights info my.safetensors";

/// Runs the chosen command to its end.
///
/// # Errors
/// What the command failed of, with the exit code it asks for.
pub fn dispatch(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::run(args),
        Command::Segment(args) => quietly(|| segment::run(args)),
        Command::Inspect(args) => quietly(|| inspect::run(args)),
        Command::Attention(args) => quietly(|| attention::run(args)),
        Command::Eval(command) => quietly(|| eval::run(command)),
        Command::Watch(args) => quietly(|| watch::run(args).or_exit(Exit::Unavailable)),
        Command::Prompt(args) => quietly(|| prompt::run(args)),
        Command::Reload(args) => quietly(|| reload::run(args)),
        Command::Weights(args) => quietly(|| weights::run(args).or_exit(Exit::Data)),
    }
}

/// Runs an offline command: warnings only beside its own output.
fn quietly(command: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    let _log = log::init_quiet()?;
    command()
}
