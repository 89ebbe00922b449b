//! The end of a pipeline, also where GStreamer waits for itself.

use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

use super::blocking::BlockingCalls;

/// How long a pipeline may take to stop, so many times, before it is left behind: a driver or a server may hang for ever.
const PATIENCE: (Duration, u32) = (Duration::from_secs(1), 5);

/// How long a camera may take to answer that its session has ended; `rtspsrc` counts in whole seconds.
const GOODBYE: Duration = Duration::from_secs(1);

/// Stops a pipeline for good, and says whether that was possible.
///
/// Null joins the streaming threads and closes files, devices and connections. Where that hangs, the camera's own thread must
/// live on to try again, or to end with the daemon.
pub(super) fn stop(pipeline: &gst::Pipeline, calls: &BlockingCalls) -> bool {
    shorten_goodbyes(pipeline);
    let (stops, nudged) = (pipeline.clone(), pipeline.clone());
    let call = move || stops.set_state(gst::State::Null);
    let stopped = calls.run_nudged(PATIENCE, None, call, move || wake_jitter_buffers(&nudged)).is_ok();
    if !stopped {
        let (pause, times) = PATIENCE;
        tracing::error!("a pipeline does not stop within {} s: it is left behind", (pause * times).as_secs());
    }
    stopped
}

/// `rtspsrc` flushes its jitter buffers when it closes, from a thread of its own. Where the end of that flush overtakes the
/// jitter buffer's deactivation, its loop waits for packets that will never come, and the deactivation for the loop: three
/// of a thousand teardowns with GStreamer 1.22. Another flush ends both.
fn wake_jitter_buffers(pipeline: &gst::Pipeline) {
    for buffer in made_by(pipeline, "rtpjitterbuffer") {
        if let Some(sink) = buffer.static_pad("sink") {
            tracing::debug!(element = %buffer.name(), "waits for itself: flushed once more");
            sink.send_event(gst::event::FlushStart::new());
        }
    }
}

/// `rtspsrc` asks the camera to end the session and waits for its answer, which on a broken connection never comes.
fn shorten_goodbyes(pipeline: &gst::Pipeline) {
    for source in made_by(pipeline, "rtspsrc") {
        source.set_property("tcp-timeout", GOODBYE.as_micros() as u64);
    }
}

/// The elements of a pipeline that a factory made, however deep inside.
fn made_by(pipeline: &gst::Pipeline, factory: &'static str) -> impl Iterator<Item = gst::Element> {
    let theirs = move |element: &gst::Element| element.factory().is_some_and(|f| f.name() == factory);
    pipeline.iterate_recurse().into_iter().filter_map(Result::ok).filter(theirs)
}

#[cfg(test)]
mod tests;
