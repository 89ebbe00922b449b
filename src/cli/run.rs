//! `maskd run`: the daemon.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use super::{Exit, Failure, OrExit as _, given::Given, log};
use crate::{admin::Listen, runtime};

/// Run the daemon: cameras in, instance masks out over zenoh
#[derive(ClapArgs, Clone, Debug)]
#[command(after_help = "Examples:
  maskd run test                                a moving test picture, no camera needed
  maskd run street.mp4                          a video at its own pace; ends when the video ends
  maskd run rtsp://camera.lan/stream1           a network camera
  maskd run /dev/video0 --weights dino_vits8    a webcam, with weights fetched before, over those that maskd carries
  maskd run --config /etc/maskd/maskd.toml      for good: several cameras, everything set in a file

Then, in a second terminal:  maskd watch

SIGHUP, or a change of the file, has it read its configuration again: streams come, go and change while the others run
on, and what is wrong is refused whole. SIGTERM or Ctrl-C stops it: frames in flight are still published, for at most [runtime] grace_seconds. A second
signal ends it at once, with exit code 128 + its number.")]
pub(super) struct Args {
    /// A video file, rtsp:// address, /dev/videoN, or the word 'test'; for trying out, instead of --config
    #[arg(required_unless_present = "config", conflicts_with = "config")]
    source: Option<String>,
    /// The configuration file (configs/maskd.toml documents every key)
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The network's weights, over [model] weights: a file, or a name from 'maskd weights list'
    #[arg(short, long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Pixels of the short side as the network sees it, over [model] short_side; fewer are faster
    #[arg(short, long, value_name = "PIXELS")]
    short_side: Option<u32>,
    /// Where health and metrics are served, over [admin] listen; "off" for nowhere
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin: Option<Listen>,
    /// The first instances of SOURCE, as a PNG of its pictures' size: indexed or grey, values are ids (255 is void); a grey
    /// one of 0 and 255 alone is one instance. Without it instances are discovered
    #[arg(long, value_name = "PNG", requires = "source")]
    first_mask: Option<PathBuf>,
}

/// Runs until a signal comes or every source has ended.
pub(super) fn run(args: Args) -> Result<(), Failure> {
    let file = args.config.clone();
    let given = Given {
        config: args.config,
        source: args.source,
        first_mask: args.first_mask,
        weights: args.weights,
        short_side: args.short_side,
        admin: args.admin,
    };
    let ready = given.draft()?.ready().or_exit(Exit::Config)?;
    let _log = log::init(&ready.config.log)?;
    let origin = runtime::Origin { file, read: Box::new(move || read(&given)) };
    runtime::run(ready, origin).map(drop).or_else(|error| {
        use runtime::RunError::*;
        match error {
            // A file that is not there is told from one with the wrong content.
            Config(_) => Err(error).or_exit(Exit::Config),
            Data(_) => Err(error).or_exit(Exit::Data),
            // A port that may not be taken is no file that may not be read, though the system says the same of both.
            Unavailable(_) => Err(Failure::new(Exit::Unavailable, error)),
            Engine(_) | Internal(_) => Err(Failure::new(Exit::Internal, error)),
        }
    })
}

/// The configuration once more, while the daemon runs.
fn read(given: &Given) -> runtime::Read {
    match given.draft() {
        Err(failure) => runtime::Read { weights: None, outcome: Err(failure.lines()) },
        Ok(draft) => {
            let weights = draft.config.model.weights.clone();
            runtime::Read { weights, outcome: draft.ready().or_exit(Exit::Config).map_err(|failure| failure.lines()) }
        }
    }
}
