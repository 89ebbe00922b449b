//! What the daemon is to run, as the command line says it: a file or one source, and options over what they say.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{Exit, Failure, OrExit as _};
use crate::{
    admin::Listen,
    config::{Config, Draft, StreamConfig},
};
use maskd_ingest::{Kind, SourceConfig};
use maskd_types::frame::StreamId;

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
    let source = Kind::from_argument(source);
    source.check_location().with_context(|| {
        format!("{}: give a video file, an rtsp:// address, /dev/videoN, or the word test", source.place())
    })?;
    let name = stream_name(&source)?;
    let mut stream = StreamConfig::new(source);
    stream.first_mask = first_mask.map(Path::to_owned);
    let mask_key = format!("streams.{name}.first_mask");
    let mut config = Config::default();
    config.streams.insert(name, stream);
    let mut draft = Draft::of(config);
    draft.given(mask_key, "--first-mask");
    Ok(draft)
}

/// `street` for `/data/Street.mp4`, `video0` for `/dev/video0`, else the kind of the source.
fn stream_name(source: &SourceConfig) -> anyhow::Result<StreamId> {
    let stem = source.path().and_then(Path::file_stem).and_then(|stem| stem.to_str());
    let kind = source.kind.map_or("source", Kind::name);
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
            (Kind::FILE, "/data/Street View.mp4", "street_view"),
            (Kind::V4L2, "/dev/video0", "video0"),
            (Kind::RTSP, "rtsp://user:secret@cam/1", "rtsp"),
            (Kind::TEST, "test", "test"),
        ] {
            let source = Kind::from_argument(source);
            assert_eq!(source.kind, Some(kind));
            assert_eq!(stream_name(&source).unwrap().as_str(), name);
        }
    }
}
