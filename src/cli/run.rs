//! `maskd run`: the daemon.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args as ClapArgs;
use serde::Deserialize as _;

use super::{Exit, Failure, OrExit as _, log};
use crate::{
    admin::Listen,
    config::{Config, StreamConfig},
    runtime,
};
use maskd_model::Choice;
use maskd_observability::redact::redact_value;
use maskd_types::frame::StreamId;

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
    /// A PNG whose palette indices become the first instances of SOURCE; without it they are discovered
    #[arg(long, value_name = "PNG", requires = "source")]
    first_mask: Option<PathBuf>,
}

/// Runs until a signal comes or every source has ended.
pub(super) fn run(args: Args) -> Result<(), Failure> {
    let config = resolve(args.clone())?;
    let _log = log::init(&config.log)?;
    let origin = runtime::Origin {
        file: args.config.clone(),
        read: Box::new(move || resolve(args.clone()).map_err(|failure| anyhow::anyhow!("{failure}"))),
    };
    runtime::run(config, origin).map(drop).or_else(|error| {
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

fn resolve(args: Args) -> Result<Config, Failure> {
    let mut config = match (&args.config, &args.source) {
        (Some(file), _) => Config::load(file).or_exit(Exit::Config)?,
        (None, Some(source)) => trial(source, args.first_mask).or_exit(Exit::Config)?,
        (None, None) => Config::default(),
    };
    if let Some(short_side) = args.short_side {
        config.model.short_side = short_side;
    }
    if let Some(admin) = args.admin {
        config.admin.listen = admin;
    }
    config.model.weights = args.weights.or(config.model.weights);
    // A name that was not fetched is known before anything starts.
    Choice::of(config.model.weights.as_deref()).or_exit(Exit::Config)?;
    Ok(config)
}

/// A configuration of one stream, for somebody who tries it the first time.
fn trial(source: &str, first_mask: Option<PathBuf>) -> anyhow::Result<Config> {
    let (kind, key) = match source {
        "test" => ("test", None),
        s if s.starts_with("rtsp://") || s.starts_with("rtsps://") => ("rtsp", Some("location")),
        s if s.starts_with("/dev/video") => ("v4l2", Some("device")),
        _ => ("file", Some("location")),
    };
    if kind == "file" {
        std::fs::metadata(source).with_context(|| {
            format!("{}: give a video file, an rtsp:// address, /dev/videoN, or the word test", redact_value(source))
        })?;
    }
    let mut table = toml::Table::new();
    table.insert("kind".to_owned(), kind.into());
    if let Some(key) = key {
        table.insert(key.to_owned(), source.into());
    }
    let mut stream = StreamConfig::deserialize(toml::Value::Table(table))?;
    stream.first_mask = first_mask;
    let mut config = Config::default();
    config.streams.insert(stream_name(kind, source)?, stream);
    config.validate().map_err(|(key, message)| anyhow::anyhow!("{key}: {message}"))?;
    Ok(config)
}

/// `street` for `/data/Street.mp4`, `video0` for `/dev/video0`, else the kind of the source.
fn stream_name(kind: &str, source: &str) -> anyhow::Result<StreamId> {
    let stem =
        Path::new(source).file_stem().and_then(|stem| stem.to_str()).filter(|_| kind == "file" || kind == "v4l2");
    let clean = |name: &str| {
        let name: String = name
            .chars()
            .map(|c| c.to_ascii_lowercase())
            .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' })
            .take(64)
            .collect();
        name
    };
    Ok(stem.map(clean).filter(|name| !name.is_empty()).unwrap_or_else(|| kind.to_owned()).parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_named_after_its_source() {
        for (kind, source, name) in [
            ("file", "/data/Street View.mp4", "street_view"),
            ("v4l2", "/dev/video0", "video0"),
            ("rtsp", "rtsp://user:secret@cam/1", "rtsp"),
            ("test", "test", "test"),
        ] {
            assert_eq!(stream_name(kind, source).unwrap().as_str(), name);
        }
    }
}
