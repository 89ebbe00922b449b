//! Cameras on this machine: `kind = "v4l2"`.

use std::path::Path;

use gstreamer as gst;

use super::{Key, Kind, Source, SourceConfig, SourceError, set};

pub(super) struct V4l2;

impl Source for V4l2 {
    fn name(&self) -> &'static str {
        "v4l2"
    }

    fn description(&self) -> &str {
        include_str!("../../pipelines/v4l2.launch")
    }

    fn has(&self, key: Key) -> bool {
        key == Key::Device
    }

    fn set_up(&self, config: &SourceConfig, source: &gst::Element) -> Vec<SourceError> {
        let device = config.device.as_ref().map(|device| device.display().to_string());
        device.and_then(|device| set(source, "device", &device, "device").err()).into_iter().collect()
    }

    fn for_argument(&self, argument: &str) -> Option<SourceConfig> {
        let device = argument.starts_with("/dev/video").then(|| argument.into());
        device.map(|device| SourceConfig { device: Some(device), ..SourceConfig::of(Kind::V4L2) })
    }

    fn path<'a>(&self, config: &'a SourceConfig) -> Option<&'a Path> {
        config.device.as_deref()
    }
}
