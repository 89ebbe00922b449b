//! `maskd check`: everything that can be known to be wrong before the daemon starts.

use std::{io::Write as _, path::PathBuf};

use clap::Args as ClapArgs;

use super::{Exit, Failure, OrExit as _, log};
use crate::config::Config;
use maskd_ingest::Description;
use maskd_model::Choice;
use maskd_types::mask::LabelMap;

/// Validate a configuration and everything it names, and print it with all defaults filled in
#[derive(ClapArgs, Debug)]
#[command(after_help = "Examples:
  maskd check --config configs/maskd.toml
  maskd check --config /etc/maskd/maskd.toml > resolved.toml
  maskd check --quiet --config /etc/maskd/maskd.toml && systemctl restart maskd

Looked at: keys and values, whether this CPU computes in [model] precision, the weights' tensors, each stream's pipeline
(parsed, not started), first masks, zenoh's own configuration file. Every fault is a line on standard error; the exit code is that of the last. Passwords are printed as ***.
Cameras and the network are not contacted.")]
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
    let mut config = Config::load(&args.config).or_exit(Exit::Config)?;
    config.model.weights = args.weights.or(config.model.weights);
    let mut faults = named_files(&config);
    if let Some(last) = faults.pop() {
        for fault in faults {
            eprintln!("maskd: error: {fault}");
        }
        return Err(last);
    }
    if !args.quiet {
        // A reader that closes early (| head) is no error.
        let _ = std::io::stdout().lock().write_all(config.redacted().as_bytes());
    }
    Ok(())
}

/// What is wrong with the files and pipelines that `config` names.
fn named_files(config: &Config) -> Vec<Failure> {
    let mut faults = Vec::new();
    faults.extend(config.publish.check().or_exit(Exit::Config).err());
    faults.extend(log::check(&config.log).err());
    faults.extend(config.model.precision.check(config.model.device).or_exit(Exit::Config).err());
    match Choice::of(config.model.weights.as_deref()) {
        Err(error) => faults.push(fault(error, Exit::Config, "model.weights")),
        Ok(weights) => {
            if let Err(error) = weights.read(config.model.heads) {
                faults.push(fault(error, Exit::Data, "model.weights"));
            }
        }
    }
    for (name, stream) in &config.streams {
        if let Err(error) = Description::of(&stream.source).and_then(|pipeline| pipeline.check(&stream.source)) {
            faults.push(fault(error, Exit::Config, &format!("streams.{name}")));
        }
        if let Some(path) = &stream.first_mask
            && let Err(error) = LabelMap::read_png(path)
        {
            faults.push(fault(error, Exit::Data, &format!("streams.{name}.first_mask")));
        }
    }
    faults
}

fn fault(error: impl Into<anyhow::Error>, exit: Exit, key: &str) -> Failure {
    match Err::<(), _>(error.into().context(key.to_owned())).or_exit(exit) {
        Err(failure) => failure,
        Ok(()) => Failure::new(Exit::Internal, anyhow::anyhow!("This is a bug: a fault without an error")),
    }
}
