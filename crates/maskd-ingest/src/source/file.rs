//! Video files: `kind = "file"`.

use std::{io, path::Path};

use maskd_types::files;

use super::{Key, NO_LOCATION, Source, SourceConfig};

pub(super) struct File;

impl Source for File {
    fn name(&self) -> &'static str {
        "file"
    }

    fn description(&self) -> &str {
        include_str!("../../pipelines/file.launch")
    }

    fn has(&self, key: Key) -> bool {
        matches!(key, Key::Location | Key::Pace | Key::Loop)
    }

    fn is_live(&self) -> bool {
        false
    }

    fn faults(&self, config: &SourceConfig) -> Vec<(&'static str, String)> {
        let missing = config.location.is_none() && config.is_shipped();
        missing.then(|| ("location", NO_LOCATION.to_owned())).into_iter().collect()
    }

    /// A regular file only: at a pipe, GStreamer would wait for its other end.
    fn check_location(&self, config: &SourceConfig) -> io::Result<()> {
        config.location.as_ref().map_or(Ok(()), |path| files::check(Path::new(path)))
    }

    fn path<'a>(&self, config: &'a SourceConfig) -> Option<&'a Path> {
        config.location.as_deref().map(Path::new)
    }
}
