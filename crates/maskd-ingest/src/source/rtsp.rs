//! Network cameras: `kind = "rtsp"`. That a login goes to the configured place only is seen to in
//! [`redirect`](crate::redirect), since a pipeline of the user's own may hold such an element too.

use gstreamer as gst;

use super::{Key, NO_LOCATION, Source, SourceConfig, SourceError, key, set};
use crate::{credential, properties};

pub(super) struct Rtsp;

fn is_rtsp(address: &str) -> bool {
    address.starts_with("rtsp://") || address.starts_with("rtsps://")
}

impl Source for Rtsp {
    fn name(&self) -> &'static str {
        "rtsp"
    }

    fn description(&self) -> &str {
        include_str!("../../pipelines/rtsp.launch")
    }

    fn has(&self, key: Key) -> bool {
        matches!(key, Key::Location | Key::User | Key::PasswordFile)
    }

    fn faults(&self, config: &SourceConfig) -> Vec<(&'static str, String)> {
        let wrong = match &config.location {
            None if config.is_shipped() => NO_LOCATION,
            Some(address) if !is_rtsp(address) => "an RTSP address starts with rtsp:// or rtsps://",
            _ => return Vec::new(),
        };
        vec![("location", wrong.to_owned())]
    }

    fn set_up(&self, config: &SourceConfig, source: &gst::Element) -> Vec<SourceError> {
        let mut faults = Vec::new();
        faults.extend(set(source, "latency", &config.latency_ms.to_string(), "latency_ms").err());
        // In the middle of a message nothing else wakes it, not even its end; no frame for so long is a stall anyway.
        let patience = config.stall_timeout().as_micros();
        properties::set_if_there(source, "tcp-timeout", &patience.to_string());
        if let Some(user) = &config.user {
            faults.extend(set(source, "user-id", user, "user").err());
        }
        match config.password_file.as_deref().map(credential::password) {
            Some(Ok(password)) => faults.extend(set(source, "user-pw", &password, "password_file").err()),
            Some(Err(reason)) => faults.push(key("password_file", reason)),
            None => {}
        }
        faults
    }

    fn for_argument(&self, argument: &str) -> Option<SourceConfig> {
        is_rtsp(argument).then(|| SourceConfig::rtsp(argument))
    }
}
