//! `maskd eval`: mask quality, measured as the field does.

mod davis;
mod fixed;
mod results;

use anyhow::Result;
use clap::Subcommand;
use indicatif::ProgressBar;
use serde::Serialize;
use serde_json::Value;

use super::progress;
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

/// A bar over the frames of these sequences.
fn bar<'a, J: Job + 'a>(sequences: impl IntoIterator<Item = &'a J>) -> ProgressBar {
    progress::bar(Some(sequences.into_iter().map(Job::frames).sum()))
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
