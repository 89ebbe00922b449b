//! The end of a pipeline, also where GStreamer waits for itself.

use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;

use super::errand::Errands;

/// How long a pipeline may take to stop, so many times, before it is left behind: a driver or a server may hang for ever.
const PATIENCE: (Duration, u32) = (Duration::from_secs(1), 5);

/// Stops a pipeline for good, and says whether that was possible.
///
/// Null joins the streaming threads and closes files, devices and connections. Where that hangs, the camera's own thread must
/// live on to try again, or to end with the daemon.
pub(super) fn stop(pipeline: &gst::Pipeline, errands: &Errands) -> bool {
    let (stops, nudged) = (pipeline.clone(), pipeline.clone());
    let call = move || stops.set_state(gst::State::Null);
    let stopped = errands.run_nudged(PATIENCE, None, call, move || wake_jitter_buffers(&nudged)).is_ok();
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
    let ours = |element: &gst::Element| element.factory().is_some_and(|factory| factory.name() == "rtpjitterbuffer");
    for buffer in pipeline.iterate_recurse().into_iter().filter_map(Result::ok).filter(ours) {
        if let Some(sink) = buffer.static_pad("sink") {
            tracing::debug!(element = %buffer.name(), "waits for itself: flushed once more");
            sink.send_event(gst::event::FlushStart::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    };

    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn a_jitter_buffer_that_waits_for_itself_is_woken() {
        gst::init().unwrap();
        for _ in 0..5 {
            // Linked to nothing: elsewhere, so many flushes would block others.
            let buffer = gst::ElementFactory::make("rtpjitterbuffer").build().unwrap();
            let sink = buffer.static_pad("sink").unwrap();
            let pipeline = gst::Pipeline::new();
            pipeline.add(&buffer).unwrap();
            pipeline.set_state(gst::State::Playing).unwrap();
            let closed = Arc::new(AtomicBool::new(false));
            let over = closed.clone();
            // What rtspsrc does when it closes, again and again, so that it comes at the worst moment.
            let flusher = std::thread::spawn(move || {
                while !over.load(Relaxed) {
                    sink.send_event(gst::event::FlushStop::new(true));
                }
            });
            let errands = Errands::new("a".parse().unwrap(), Metrics::new());
            let stops = pipeline.clone();
            let ended = std::thread::spawn(move || {
                let stopped = stop(&stops, &errands);
                (stopped, errands.hanging())
            });
            std::thread::park_timeout(Duration::from_millis(20));
            closed.store(true, Relaxed);
            flusher.join().unwrap();
            assert_eq!(ended.join().unwrap(), (true, 0));
            // Where the flushes outlived it, they have started its loop again.
            pipeline.set_state(gst::State::Paused).unwrap();
            pipeline.set_state(gst::State::Null).unwrap();
        }
    }
}
