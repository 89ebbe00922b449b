//! Why a pipeline ended, in one line.

use std::fmt;

use gstreamer as gst;

use maskd_observability::redact::{Secrets, redact};

/// The kind of failure, for metrics and for what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The stream ended where it should not have.
    EndOfStream,
    /// A file that loops starts over.
    Replay,
    /// No frame arrived in time.
    Stall,
    /// A call into GStreamer did not return in time.
    Hang,
    /// The pictures cannot be brought into the form maskd needs.
    WrongCaps,
    /// The file, device or address cannot be opened or reached.
    Unreachable,
    /// The camera refuses these credentials.
    Refused,
    /// Anything else an element reports.
    Error,
}

impl Cause {
    /// A fixed word, as in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EndOfStream => "end_of_stream",
            Self::Replay => "replay",
            Self::Stall => "stall",
            Self::Hang => "hang",
            Self::WrongCaps => "wrong_caps",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failure: its cause and one line for people, without secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct CameraFault {
    /// What kind of failure.
    pub cause: Cause,
    /// What happened.
    pub detail: String,
}

impl CameraFault {
    /// A failure with its line; secrets are taken out and line breaks replaced.
    pub fn new(cause: Cause, detail: impl AsRef<str>) -> Self {
        let line = detail.as_ref().split_whitespace().collect::<Vec<_>>().join(" ");
        Self { cause, detail: redact(&line).into_owned() }
    }

    /// The same failure of the camera at `place`, whose `secrets` no library may have put into the line.
    pub(super) fn told(self, place: &str, secrets: &Secrets) -> Self {
        Self { cause: self.cause, detail: secrets.hide(&format!("{place}: {}", self.detail)) }
    }

    /// What an element's error message means.
    pub(super) fn from_message(message: &gst::message::Error) -> Self {
        let error = message.error();
        let debug = message.debug().unwrap_or_default();
        // "file.c(12): function (): /path/of/element:\nwhat we want", the last part is not always there
        let detail = debug.split_once('\n').map_or("", |(_, rest)| rest.trim());
        let flow = message.details().and_then(|details| details.get::<i32>("flow-return").ok());
        if flow == Some(gst::ffi::GST_FLOW_NOT_NEGOTIATED) || debug.contains("not-negotiated") {
            return Self::new(Cause::WrongCaps, "the pictures' format does not fit the pipeline (not negotiated)");
        }
        if flow == Some(gst::ffi::GST_FLOW_NOT_LINKED) || debug.contains("not-linked") || detail.contains("(audio/") {
            return Self::new(Cause::WrongCaps, "there is no video in it");
        }
        let cause = if error.matches(gst::ResourceError::NotAuthorized) {
            Cause::Refused
        } else if error.matches(gst::StreamError::Format) || error.matches(gst::StreamError::WrongType) {
            Cause::WrongCaps
        } else if error.is::<gst::ResourceError>() {
            Cause::Unreachable
        } else {
            Cause::Error
        };
        let said = error.message().trim_end_matches('.').to_owned();
        let line = if detail.is_empty() || said.contains(detail) { said } else { format!("{said}: {detail}") };
        Self::new(cause, line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_one_line_without_secrets() {
        let fault = CameraFault::new(Cause::Unreachable, "cannot open\nrtsp://me:hunter2@cam/1:\n  refused ");
        assert_eq!(fault.to_string(), "cannot open rtsp://***@cam/1: refused");
    }

    #[test]
    fn an_elements_message_keeps_its_own_words() {
        gst::init().unwrap();
        let message = |error: gst::message::ErrorBuilder| match error.build().view() {
            gst::MessageView::Error(error) => CameraFault::from_message(error),
            _ => unreachable!(),
        };
        let refused = gst::message::Error::builder(gst::ResourceError::OpenRead, "Could not open resource.")
            .debug("rtsp.c(1): open ():\nFailed to connect. (Connection refused)");
        let refused = message(refused);
        assert_eq!(refused.cause, Cause::Unreachable);
        assert_eq!(refused.detail, "Could not open resource: Failed to connect. (Connection refused)");
        let caps = gst::message::Error::builder(gst::StreamError::Failed, "Internal data stream error.")
            .debug("x.c(1): loop ():\nstreaming stopped, reason not-negotiated (-4)");
        assert_eq!(message(caps).cause, Cause::WrongCaps);
    }
}
