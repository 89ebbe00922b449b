//! Pipeline descriptions: text files in gst-launch syntax, made into a GStreamer pipeline with named elements.
//!
//! A description needs an element `name=source` and ends in `appsink name=frames`. Where it also has a
//! `capsfilter name=size` behind a scaler, frames come out at the network's size; without, at their own. A
//! `videoflip name=turn` before the scaler turns them as the stream says; without, they are taken as they lie.
//! Configuration reaches the elements through properties only; the text is never edited.

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSink;

use super::{
    address::split_login,
    guard, properties,
    redirect::{self, Guard},
    source::{self, SourceConfig, SourceError, key},
    upright,
};
use maskd_observability::redact::{Secrets, redact_value};
use maskd_types::files;

/// A description's text without its comments.
#[derive(Clone, Debug)]
pub struct Description {
    name: String,
    text: String,
}

/// A pipeline that has not started, and the elements maskd works with.
pub(super) struct Built {
    pub(super) pipeline: gst::Pipeline,
    pub(super) frames: AppSink,
    pub(super) scaling: Option<Scaling>,
    pub(super) guard: Guard,
}

/// Where frames are scaled inside the pipeline.
pub(super) struct Scaling {
    /// The scaler's input: the stream's own size passes here.
    pub(super) input: gst::Pad,
    /// The capsfilter `size`.
    pub(super) size: gst::Element,
}

impl Description {
    /// The description that `config` asks for: its own file, or the shipped one of its kind.
    pub fn of(config: &SourceConfig) -> Result<Self, SourceError> {
        if let Some(path) = &config.pipeline {
            let name = redact_value(&path.to_string_lossy()).into_owned();
            let text = files::read_text(path).map_err(|e| key("pipeline", format!("{name}: {e}")))?;
            return Ok(Self::parse(name, &text));
        }
        let kind = config.kind.ok_or_else(|| key("kind", "neither `kind` nor `pipeline` is given"))?;
        Ok(Self::parse(kind.name(), kind.source().description()))
    }

    /// Takes a description's text; lines that begin with `#` are comments.
    pub fn parse(name: impl Into<String>, text: &str) -> Self {
        let lines: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
        Self { name: name.into(), text: lines.join("\n") }
    }

    /// Builds the pipeline once, without starting it (no film, device or network is touched), and throws it away.
    ///
    /// # Errors
    /// The first of [`Description::faults`].
    pub fn check(&self, config: &SourceConfig) -> Result<(), SourceError> {
        self.build(config).map(drop)
    }

    /// What keeps the pipeline from being built, all of it: the text, else each key and property that cannot be set.
    pub fn faults(&self, config: &SourceConfig) -> Vec<SourceError> {
        let faults = self.parsed(config).map_or_else(|error| vec![error], |built| settle(config, &built));
        faults.into_iter().map(|error| self.discreet(config, error)).collect()
    }

    fn wrong(&self, reason: impl Into<String>) -> SourceError {
        SourceError::Description { name: self.name.clone(), reason: reason.into() }
    }

    /// Adds what must never be said of a camera that is described so.
    pub(super) fn reveal(&self, secrets: &mut Secrets) {
        secrets.learn_from(&self.text);
    }

    /// Builds the pipeline and sets the properties that `config` gives.
    pub(super) fn build(&self, config: &SourceConfig) -> Result<Built, SourceError> {
        let mut built = self.parsed(config).map_err(|error| self.discreet(config, error))?;
        if let Some(error) = settle(config, &built).into_iter().next() {
            return Err(self.discreet(config, error));
        }
        // It takes note of what is configured, so it comes last.
        built.guard = Guard::over(&built.pipeline);
        Ok(built)
    }

    /// `error` without a secret of the camera's.
    fn discreet(&self, config: &SourceConfig, error: SourceError) -> SourceError {
        let mut secrets = Secrets::default();
        self.reveal(&mut secrets);
        config.reveal(&mut secrets);
        error.without(&secrets)
    }

    /// The pipeline as the text describes it.
    fn parsed(&self, config: &SourceConfig) -> Result<Built, SourceError> {
        gst::init().map_err(|e| SourceError::GStreamer(e.to_string()))?;
        let mut context = gst::ParseContext::new();
        let parsed = gst::parse::launch_full(&self.text, Some(&mut context), gst::ParseFlags::FATAL_ERRORS);
        let parsed = parsed.map_err(|error| match context.missing_elements().first() {
            Some(element) if error.matches(gst::ParseError::NoSuchElement) => {
                self.wrong(format!("no element {element:?} on this machine: install its GStreamer plugin"))
            }
            _ => self.wrong(error.message().replace('\n', " ")),
        })?;
        let pipeline = parsed
            .downcast::<gst::Pipeline>()
            .map_err(|_| self.wrong("needs an element with name=source and a final `appsink name=frames`"))?;
        pipeline.by_name("source").ok_or_else(|| self.wrong("needs an element with name=source"))?;
        let frames = pipeline
            .by_name("frames")
            .and_then(|element| element.downcast::<AppSink>().ok())
            .ok_or_else(|| self.wrong("needs a final `appsink name=frames`"))?;
        let scaling = pipeline.by_name("size").map(|size| self.scaling(size)).transpose()?;
        upright::spare_copies(&pipeline);
        if config.is_shipped() {
            guard::guard(&pipeline).map_err(|reason| self.wrong(reason))?;
        }
        Ok(Built { pipeline, frames, scaling, guard: Guard::default() })
    }

    /// The scaler before `size`: the nearest element upstream that says of itself that it scales.
    fn scaling(&self, size: gst::Element) -> Result<Scaling, SourceError> {
        let missing = || self.wrong("`capsfilter name=size` needs a scaler before it, such as videoscale");
        if size.find_property("caps").is_none() {
            return Err(self.wrong("the element with name=size must be a capsfilter"));
        }
        let mut element = size.clone();
        loop {
            let pad = element.static_pad("sink").ok_or_else(missing)?;
            element = pad.peer().and_then(|peer| peer.parent_element()).ok_or_else(missing)?;
            let class = element.factory().and_then(|f| f.metadata("klass").map(str::to_owned)).unwrap_or_default();
            if class.split('/').any(|part| part == "Scaler") {
                let input = element.static_pad("sink").ok_or_else(missing)?;
                return Ok(Scaling { input, size });
            }
        }
    }
}

/// Sets what `config` says; what cannot be set is left as it is, and returned.
fn settle(config: &SourceConfig, built: &Built) -> Vec<SourceError> {
    let mut faults = built.pipeline.by_name("source").map_or_else(Vec::new, |source| apply_keys(config, &source));
    faults.extend(apply_properties(config, &built.pipeline));
    faults
}

/// The keys of the stream's table that are properties of `source`.
fn apply_keys(config: &SourceConfig, source: &gst::Element) -> Vec<SourceError> {
    let mut faults = Vec::new();
    let login = config.location.as_deref().filter(|_| redirect::is_rtspsrc(source)).and_then(split_login);
    if let Some(location) = &config.location {
        // With the login in it not every version of GStreamer takes every address.
        let bare = login.as_ref().map_or(location, |(_, bare)| bare);
        faults.extend(source::set(source, "location", bare, "location").err());
    }
    faults.extend(config.kind.map(|kind| kind.source().set_up(config, source)).unwrap_or_default());
    if let Some((login, _)) = login {
        redirect::log_in(source, login);
    }
    faults
}

/// The table `properties`.
fn apply_properties(config: &SourceConfig, pipeline: &gst::Pipeline) -> Vec<SourceError> {
    let mut faults = Vec::new();
    for (name, values) in &config.properties {
        let element = pipeline.by_name(name);
        for (property, value) in values {
            let wrong =
                |reason: String| SourceError::Property { element: name.clone(), property: property.clone(), reason };
            let missing = || wrong(format!("the pipeline has no element with name={name}"));
            let set = |element: &gst::Element| properties::set(element, property, value).map_err(wrong);
            faults.extend(element.as_ref().ok_or_else(missing).and_then(set).err());
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use gstreamer_base::prelude::BaseTransformExt;

    use super::*;
    use crate::Kind;

    fn fails(text: &str) -> String {
        let error = Description::parse("mine", text).check(&SourceConfig::of(Kind::TEST)).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains("mine"), "{error}");
        error
    }

    #[test]
    fn the_shipped_descriptions_are_sound() {
        let location = Some("rtsp://host/x".to_owned());
        for config in [
            SourceConfig::file("/nowhere.mp4", super::super::Pace::Fast),
            SourceConfig { location, user: Some("me".to_owned()), ..SourceConfig::of(Kind::RTSP) },
            SourceConfig { device: Some("/dev/video9".into()), ..SourceConfig::of(Kind::V4L2) },
            SourceConfig::of(Kind::TEST),
        ] {
            config.check().unwrap();
            let built = Description::of(&config).unwrap().build(&config).unwrap();
            let scaling = built.scaling.unwrap();
            assert_eq!(scaling.input.parent_element().unwrap().name(), "scale");
            // What the scaler sees is upright, and what lies so already is not copied.
            if let Some(turn) = built.pipeline.by_name("turn") {
                let next = turn.static_pad("src").and_then(|pad| pad.peer()?.parent_element());
                assert_eq!(next.unwrap().name(), "scale");
                assert!(turn.downcast::<gstreamer_base::BaseTransform>().unwrap().is_passthrough());
            } else {
                assert_eq!(config.kind, Some(Kind::TEST));
            }
        }
    }

    #[test]
    fn a_malformed_description_names_what_is_wrong() {
        assert!(fails("videotestsrc name=source ! magicscale ! appsink name=frames").contains("magicscale"));
        assert!(fails("videotestsrc ! appsink name=frames").contains("name=source"));
        assert!(fails("videotestsrc name=source ! fakesink name=frames").contains("appsink"));
        assert!(fails("videotestsrc name=source").contains("appsink"));
        assert!(fails("videotestsrc name=source colour=red ! appsink name=frames").contains("colour"));
        assert!(fails("videotestsrc name=source ! ! appsink name=frames").contains("syntax"));
        assert!(fails("# nothing but a comment").contains("mine"));
        let unscaled = "videotestsrc name=source ! videoconvert ! capsfilter name=size ! appsink name=frames";
        assert!(fails(unscaled).contains("videoscale"));
    }

    #[test]
    fn comments_go_and_a_hash_inside_a_line_stays() {
        let text = "# one\n  # two\nvideotestsrc name=source ! \n#three\nidentity name=\"#1\" ! appsink name=frames";
        assert!(Description::parse("x", text).text.contains("\"#1\""));
        assert!(!Description::parse("x", text).text.contains("three"));
        assert!(Description::parse("x", text).check(&SourceConfig::of(Kind::TEST)).is_ok());
    }

    #[test]
    fn properties_name_the_element_the_property_and_the_value() {
        let check = |element: &str, property: &str, value: toml::Value| {
            let table = BTreeMap::from([(property.to_owned(), value)]);
            let properties = BTreeMap::from([(element.to_owned(), table)]);
            let config = SourceConfig { properties, ..SourceConfig::of(Kind::TEST) };
            Description::of(&config).unwrap().check(&config).map_err(|e| e.to_string())
        };
        check("source", "pattern", "snow".into()).unwrap();
        check("mode", "caps", "video/x-raw,width=64,height=48,framerate=5/1".into()).unwrap();
        for (element, property, value, named) in [
            ("sauce", "pattern", "snow", "name=sauce"),
            ("source", "patern", "snow", "properties.source.patern"),
            ("source", "pattern", "snowy", "snowy"),
            ("mode", "caps", "video/x-raw,,", "video/x-raw,,"),
        ] {
            let error = check(element, property, value.into()).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn a_missing_password_file_is_named() {
        let password_file = Some("/nowhere/pw".into());
        let config = SourceConfig { password_file, ..SourceConfig::rtsp("rtsp://cam/") };
        let error = Description::of(&config).unwrap().check(&config).unwrap_err().to_string();
        assert!(error.contains("/nowhere/pw"), "{error}");
    }
}
