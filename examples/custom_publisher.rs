//! A daemon that also writes what it finds to standard output, one JSON object a frame, beside zenoh.
//!
//!     cargo run --release --example custom_publisher -- maskd.toml
//!
//! `maskd.toml` is a configuration as `maskd run` takes it; `configs/maskd.toml` explains every key.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use maskd::{
    config::Draft,
    frame::{Frame, StreamId},
    instance::{Instance, TrackEvent},
    publish::{
        PublishError, Published, Publisher, StreamPublisher,
        wire::{Event, Status},
    },
    runtime::{Origin, Read, run_with},
};

/// Writes lines to standard output.
struct Lines;

#[async_trait]
impl Publisher for Lines {
    fn name(&self) -> &str {
        "standard output"
    }

    async fn stream(&self, _stream: StreamId) -> Result<Box<dyn StreamPublisher>, PublishError> {
        Ok(Box::new(Self))
    }
}

#[async_trait]
impl StreamPublisher for Lines {
    async fn publish_masks(
        &self,
        frame: &Frame,
        _discovered: bool,
        instances: Vec<Instance>,
    ) -> Result<Published, PublishError> {
        let boxes: Vec<_> = instances.iter().map(|one| serde_json::json!({ "id": one.id, "box": one.bbox })).collect();
        let line =
            serde_json::json!({ "stream": frame.stream, "frame": frame.sequence, "instances": boxes }).to_string();
        writeln!(io::stdout(), "{line}")
            .map_err(|e| PublishError::Transport { what: "a line", cause: e.to_string() })?;
        Ok(Published { bytes: line.len() + 1, ..Published::default() })
    }

    fn publish_event(&self, _epoch: u32, _event: Event) -> Result<(), PublishError> {
        Ok(())
    }

    fn publish_track_event(&self, _frame: &Frame, _event: TrackEvent) -> Result<(), PublishError> {
        Ok(())
    }

    fn publish_status(&self, _status: Status) -> Result<(), PublishError> {
        Ok(())
    }
}

fn main() -> Result<()> {
    let path: PathBuf = std::env::args_os().nth(1).context("say a configuration: custom_publisher maskd.toml")?.into();
    let ready = Draft::read(&path)?.ready()?;
    // Without a file to watch, the configuration stays as it is.
    let fixed = || Read { weights: None, outcome: Err(vec!["this example does not reload".to_owned()]) };
    let origin = Origin { file: None, read: Box::new(fixed) };
    let summary = run_with(ready, origin, |_requests| vec![Box::new(Lines)])?;
    for (stream, account) in summary.streams {
        eprintln!("{stream}: {} frames captured, {} published", account.captured, account.published);
    }
    Ok(())
}
