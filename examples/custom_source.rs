//! A daemon with one more kind of source beside maskd's own: moving patterns, of which `device` says which.
//!
//!     cargo run --release --example custom_source -- maskd.toml
//!
//! `maskd.toml` is a configuration as `maskd run` takes it (`configs/maskd.toml` explains every key), in which a stream may
//! say
//!
//!     [streams.drawn]
//!     kind = "pattern"
//!     device = "ball"

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use maskd::{
    config::Draft,
    ingest::{Key, Kind, Source, SourceConfig, SourceError, gstreamer as gst, set_property},
    runtime::{Origin, Read, run},
};

/// What GStreamer's `videotestsrc` draws. A camera with a driver of its own would be an `appsrc` here, fed from `set_up`.
struct Pattern;

impl Source for Pattern {
    fn name(&self) -> &'static str {
        "pattern"
    }

    fn description(&self) -> &str {
        "videotestsrc name=source is-live=true
         ! video/x-raw,width=640,height=480,framerate=15/1
         ! videoscale add-borders=false ! videoconvert
         ! capsfilter name=size caps=video/x-raw,format=RGB
         ! appsink name=frames"
    }

    fn has(&self, key: Key) -> bool {
        key == Key::Device
    }

    fn set_up(&self, config: &SourceConfig, source: &gst::Element) -> Vec<SourceError> {
        let pattern = config.device.as_ref().map(|device| device.display().to_string());
        pattern.and_then(|pattern| set_property(source, "pattern", &pattern, "device").err()).into_iter().collect()
    }
}

fn main() -> Result<()> {
    let path: PathBuf = std::env::args_os().nth(1).context("say a configuration: custom_source maskd.toml")?.into();
    // Before the configuration is read, so that it may name the kind.
    Kind::register(&Pattern)?;
    let ready = Draft::read(&path)?.ready()?;
    // Without a file to watch, the configuration stays as it is.
    let fixed = || Read { weights: None, outcome: Err(vec!["this example does not reload".to_owned()]) };
    let summary = run(ready, Origin { file: None, read: Box::new(fixed) })?;
    for (stream, account) in summary.streams {
        eprintln!("{stream}: {} frames captured, {} published", account.captured, account.published);
    }
    Ok(())
}
