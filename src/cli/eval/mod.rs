//! `maskd eval`: mask quality, measured as the field does.

mod davis;
mod fixed;

use anyhow::Result;
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::Value;

pub(super) use super::{Exit, Failure, OrExit};
use maskd_eval::{EngineFailed, Job};

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    Davis(davis::Args),
    Fixed(fixed::Args),
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Davis(args) => davis::run(args),
        Command::Fixed(args) => fixed::run(args),
    }
}

/// A bar over the frames of all sequences that are yet to be run.
fn bar<J: Job>(remaining: &[&J]) -> ProgressBar {
    let frames: usize = remaining.iter().map(|job| job.frames()).sum();
    let bar = ProgressBar::new(frames as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} frames  {per_sec}  ETA {eta}  {msg}") {
        bar.set_style(style);
    }
    bar
}

/// Settings as a report says them. By way of text, numbers of 32 bits keep the digits that people gave them.
fn as_json(settings: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_string(settings).and_then(|text| serde_json::from_str(&text)).or_exit(Exit::Internal)
}

/// What the engine fails of is not the data's fault.
fn failed(error: anyhow::Error) -> Failure {
    let exit = if error.is::<EngineFailed>() { Exit::Internal } else { Exit::Data };
    Err::<(), _>(error).or_exit(exit).err().unwrap_or_else(|| Failure::new(exit, anyhow::anyhow!("failed")))
}

/// Refuses results that are not there.
fn check_results(results: &std::path::Path) -> Result<(), Failure> {
    match results.is_dir() {
        true => Ok(()),
        false => {
            let error = anyhow::anyhow!("{}: there is no such folder of results", results.display());
            Err(Failure::new(Exit::Data, error))
        }
    }
}
