//! What the daemon is to run, as the command line says it: a file or one source, and options over what they say.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Deserialize as _;

use super::{Exit, Failure, OrExit as _};
use crate::{
    admin::Listen,
    config::{Config, Draft, StreamConfig},
};
use maskd_observability::redact::redact_value;
use maskd_types::{files, frame::StreamId};

/// Where a configuration comes from, and what was said beside it.
#[derive(Clone, Debug, Default)]
pub(super) struct Given {
    /// The file; else `source`.
    pub(super) config: Option<PathBuf>,
    /// One source, to try it out.
    pub(super) source: Option<String>,
    /// The mask that the source starts from.
    pub(super) first_mask: Option<PathBuf>,
    /// Over `[model] weights`.
    pub(super) weights: Option<PathBuf>,
    /// Over `[model] short_side`.
    pub(super) short_side: Option<u32>,
    /// Over `[admin] listen`.
    pub(super) admin: Option<Listen>,
}

impl Given {
    /// The configuration, not yet judged.
    pub(super) fn draft(&self) -> Result<Draft, Failure> {
        let mut draft = match (&self.config, &self.source) {
            (Some(file), _) => Draft::read(file).or_exit(Exit::Config)?,
            (None, Some(source)) => trial(source, self.first_mask.as_deref()).or_exit(Exit::Config)?,
            (None, None) => Draft::of(Config::default()),
        };
        if let Some(short_side) = self.short_side {
            draft.config.model.short_side = short_side;
            draft.given("model.short_side", "--short-side");
        }
        if let Some(admin) = self.admin {
            draft.config.admin.listen = admin;
        }
        if let Some(weights) = &self.weights {
            draft.config.model.weights = Some(weights.clone());
            draft.given("model.weights", "--weights");
        }
        Ok(draft)
    }
}

/// A configuration of one stream, for somebody who tries it the first time.
fn trial(source: &str, first_mask: Option<&Path>) -> anyhow::Result<Draft> {
    let (kind, key) = match source {
        "test" => ("test", None),
        s if s.starts_with("rtsp://") || s.starts_with("rtsps://") => ("rtsp", Some("location")),
        s if s.starts_with("/dev/video") => ("v4l2", Some("device")),
        _ => ("file", Some("location")),
    };
    if kind == "file" {
        files::check(Path::new(source)).with_context(|| {
            format!("{}: give a video file, an rtsp:// address, /dev/videoN, or the word test", redact_value(source))
        })?;
    }
    let mut table = toml::Table::new();
    table.insert("kind".to_owned(), kind.into());
    if let Some(key) = key {
        table.insert(key.to_owned(), source.into());
    }
    let mut stream = StreamConfig::deserialize(toml::Value::Table(table))?;
    stream.first_mask = first_mask.map(Path::to_owned);
    let name = stream_name(kind, source)?;
    let mask_key = format!("streams.{name}.first_mask");
    let mut config = Config::default();
    config.streams.insert(name, stream);
    let mut draft = Draft::of(config);
    draft.given(mask_key, "--first-mask");
    Ok(draft)
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
