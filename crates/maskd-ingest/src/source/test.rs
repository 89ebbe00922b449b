//! A drawn picture, to try maskd without a camera: `kind = "test"`.

use super::{Key, Kind, Source, SourceConfig};

pub(super) struct Test;

impl Source for Test {
    fn name(&self) -> &'static str {
        "test"
    }

    fn description(&self) -> &str {
        include_str!("../../pipelines/test.launch")
    }

    fn has(&self, _key: Key) -> bool {
        false
    }

    fn for_argument(&self, argument: &str) -> Option<SourceConfig> {
        (argument == "test").then(|| SourceConfig::of(Kind::TEST))
    }
}
