//! One camera's pipeline from its description to its teardown. It decides nothing; it reports.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSinkCallbacks};
use gstreamer_video::VideoInfo;
use parking_lot::{Mutex, MutexGuard};

use super::{
    blocking::BlockingCalls,
    converter::{Admitted, SampleConverter},
    description::{Built, Scaling},
    fault::{CameraFault, Cause},
    properties::set_if_there,
    redirect::Guard,
    source::Pace,
    teardown,
};
use maskd_types::{
    cancellation::CancellationToken,
    frame::{Resolution, Size},
    mask::MAX_AREA,
};

/// A long side of more than this many short sides is no camera, and would make the network's input huge.
const MAX_ASPECT: u32 = 8;

/// Reports that may wait for the supervisor. Jumps in time may take half of it, so that an end or a fault always fits;
/// what no longer fits after those says nothing new.
const NEWS: usize = 32;

/// What a running pipeline reports.
pub(super) enum Signal {
    /// The first frame arrived.
    Flowing { source: Size, epoch: u32 },
    /// The timestamps jumped.
    Jumped { epoch: u32 },
    /// The stream's orderly end; every frame before it has been delivered.
    Ended,
    /// It will deliver no more.
    Fault(CameraFault),
}

/// A pipeline that plays. Dropping it tears it down.
pub(super) struct Running {
    pipeline: gst::Pipeline,
    frames: AppSink,
    /// Set at teardown: wakes GStreamer's thread where it waits for room in the mailbox.
    over: CancellationToken,
    flow: Arc<Mutex<Flow>>,
    calls: BlockingCalls,
    pub(super) signals: Receiver<Signal>,
}

/// What GStreamer's threads note down for the supervisor.
struct Flow {
    /// Since when nothing arrives; `None` while a frame is being handed over.
    idle_since: Option<Instant>,
    first_frame: Option<Instant>,
    source: Option<Size>,
    decoder: Option<String>,
}

fn lock(flow: &Mutex<Flow>) -> MutexGuard<'_, Flow> {
    flow.lock()
}

impl Running {
    /// Starts a built pipeline. Frames go to `intake`, scaled for `resolution` where the description scales, until `over`
    /// is set. May hang in an element for ever.
    pub(super) fn start(
        built: Built,
        converter: Arc<SampleConverter>,
        resolution: Resolution,
        over: CancellationToken,
        calls: BlockingCalls,
    ) -> Self {
        let Built { pipeline, frames, scaling, guard } = built;
        let (tell, signals) = bounded(NEWS);
        let flow = Flow { idle_since: Some(Instant::now()), first_frame: None, source: None, decoder: None };
        let running = Self { pipeline, frames, over, flow: Arc::new(Mutex::new(flow)), calls, signals };
        running.set_up_frames(&converter, tell.clone());
        if let Some(scaling) = scaling {
            running.watch_size(scaling, resolution, tell.clone());
        }
        running.watch_elements();
        running.watch_bus(guard, tell.clone());
        if running.pipeline.set_state(gst::State::Playing).is_err() {
            // The element that refused has said why on the bus; this is for one that has not.
            let _ = tell.try_send(Signal::Fault(CameraFault::new(Cause::Error, "the pipeline does not start")));
        }
        running
    }

    fn set_up_frames(&self, converter: &Arc<SampleConverter>, tell: Sender<Signal>) {
        let frames = &self.frames;
        frames.set_caps(Some(&gst::Caps::builder("video/x-raw").field("format", "RGB").build()));
        // appsink holds one buffer and the callback takes it out at once, in the same thread: nothing is ever
        // lost here, so every frame is numbered and every drop is counted, in the mailbox. Should a callback
        // be late all the same, a live source must not be held up; a file may wait.
        frames.set_max_buffers(1);
        let live = converter.live;
        let leaks = if live { "downstream" } else { "none" };
        if frames.find_property("leaky-type").is_some() {
            set_if_there(frames.upcast_ref(), "leaky-type", leaks);
        } else {
            frames.set_drop(live);
        }
        frames.set_property("sync", !live && converter.pace == Pace::Timestamps);
        frames.set_property("enable-last-sample", false);
        let (converter, over, flow) = (converter.clone(), self.over.clone(), self.flow.clone());
        let take = move |sink: &AppSink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Flushing)?;
            // At teardown nothing is taken in any more, least of all from a pipeline that was left behind.
            if over.is_cancelled() {
                return Err(gst::FlowError::Flushing);
            }
            let source = {
                let mut flow = lock(&flow);
                flow.idle_since = None;
                flow.source
            };
            let admitted = converter.admit(&sample, source, &over);
            let mut flow = lock(&flow);
            match admitted {
                Admitted::Delivered { size, epoch, jumped } => {
                    flow.idle_since = Some(Instant::now());
                    if flow.first_frame.is_none() {
                        flow.first_frame = flow.idle_since;
                        let _ = tell.try_send(Signal::Flowing { source: size, epoch });
                    } else if jumped && tell.len() < NEWS / 2 {
                        let _ = tell.try_send(Signal::Jumped { epoch });
                    }
                    Ok(gst::FlowSuccess::Ok)
                }
                Admitted::Unreadable => {
                    let fault = CameraFault::new(Cause::WrongCaps, "a frame could not be read as RGB");
                    let _ = tell.try_send(Signal::Fault(fault));
                    Err(gst::FlowError::NotNegotiated)
                }
                Admitted::Stopped => Err(gst::FlowError::Flushing),
            }
        };
        frames.set_callbacks(AppSinkCallbacks::builder().new_sample(take).build());
    }

    /// Before the first picture of a new size reaches the scaler, says what the scaler must make of it.
    fn watch_size(&self, scaling: Scaling, resolution: Resolution, tell: Sender<Signal>) {
        let (flow, size) = (self.flow.clone(), scaling.size.downgrade());
        scaling.input.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            let Some(gst::PadProbeData::Event(event)) = &info.data else { return gst::PadProbeReturn::Ok };
            let gst::EventView::Caps(caps) = event.view() else { return gst::PadProbeReturn::Ok };
            let Ok(video) = VideoInfo::from_caps(caps.caps()) else { return gst::PadProbeReturn::Ok };
            let source = Size::new(video.width(), video.height());
            let shown = display_size(source, video.par());
            let (long, short) = (shown.width.max(shown.height), shown.width.min(shown.height));
            let wanted = if short == 0 || long / short > MAX_ASPECT || source.area() > MAX_AREA {
                let fault = CameraFault::new(
                    Cause::WrongCaps,
                    format!("pictures of {source} cannot be used: too large, or one side far longer than the other"),
                );
                let _ = tell.try_send(Signal::Fault(fault));
                gst::Caps::new_empty() // nothing fits: no frame passes until the teardown
            } else {
                let wanted = resolution.fit(shown);
                gst::Caps::builder("video/x-raw")
                    .field("format", "RGB")
                    .field("width", wanted.width as i32)
                    .field("height", wanted.height as i32)
                    .build()
            };
            if let Some(size) = size.upgrade() {
                size.set_property("caps", wanted);
            }
            lock(&flow).source = Some(source);
            gst::PadProbeReturn::Ok
        });
    }

    /// Notes the decoder. And no pictures after a loss until they can be whole again: a gap is known to be one, but of what a
    /// decoder makes up nobody can say what it shows.
    fn watch_elements(&self) {
        let flow = self.flow.clone();
        self.pipeline.connect_deep_element_added(move |_, _, element| {
            let Some(factory) = element.factory() else { return };
            set_if_there(element, "wait-for-keyframe", "true");
            set_if_there(element, "discard-corrupted-frames", "true");
            set_if_there(element, "output-corrupt", "false");
            let class = factory.metadata("klass").unwrap_or("");
            let has = |part| class.split('/').any(|p| p == part);
            if has("Decoder") && (has("Video") || has("Image")) && !has("Bin") {
                lock(&flow).decoder = Some(factory.name().to_string());
            }
        });
    }

    fn watch_bus(&self, guard: Guard, tell: Sender<Signal>) {
        let Some(bus) = self.pipeline.bus() else { return };
        // Runs in whichever thread posts; nothing is queued on the bus.
        bus.set_sync_handler(move |_, message| {
            let signal = match message.view() {
                gst::MessageView::Eos(_) => Some(Signal::Ended),
                gst::MessageView::Error(error) => {
                    Some(Signal::Fault(guard.explain(error.src(), CameraFault::from_message(error))))
                }
                gst::MessageView::Progress(progress) => {
                    guard.hear(progress);
                    None
                }
                _ => None,
            };
            if let Some(signal) = signal {
                let _ = tell.try_send(signal);
            }
            gst::BusSyncReply::Drop
        });
    }

    /// How much longer the pipeline may be silent before it counts as stalled; zero where it is.
    /// A pipeline that waits for the engine to take its frame is not silent.
    pub(super) fn patience(&self, stall_timeout: Duration) -> Duration {
        lock(&self.flow).idle_since.map_or(stall_timeout, |since| stall_timeout.saturating_sub(since.elapsed()))
    }

    /// How long frames have been arriving.
    pub(super) fn flowed_for(&self) -> Option<Duration> {
        lock(&self.flow).first_frame.map(|first| first.elapsed())
    }

    /// The decoder's element, such as `avdec_h264`; `None` where nothing is decoded.
    pub(super) fn decoder(&self) -> Option<String> {
        lock(&self.flow).decoder.clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.over.cancel();
        if !teardown::stop(&self.pipeline, &self.calls) {
            return;
        }
        self.frames.set_callbacks(AppSinkCallbacks::builder().build());
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
        }
    }
}

/// The size at which pixels are square: what the network should see. Ratios that no camera has are not believed.
fn display_size(stored: Size, pixel_aspect: gst::Fraction) -> Size {
    let (wide, high) = (i64::from(pixel_aspect.numer()), i64::from(pixel_aspect.denom()));
    if wide <= 0 || high <= 0 || wide > 4 * high || high > 4 * wide {
        return stored;
    }
    let width = (i64::from(stored.width) * wide + high / 2) / high;
    Size::new(u32::try_from(width).unwrap_or(stored.width).max(1), stored.height)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anamorphic_pictures_are_widened_and_absurd_ratios_ignored() {
        let pal = Size::new(720, 576);
        assert_eq!(display_size(pal, gst::Fraction::new(16, 11)), Size::new(1047, 576));
        assert_eq!(display_size(pal, gst::Fraction::new(1, 1)), pal);
        assert_eq!(display_size(pal, gst::Fraction::new(0, 1)), pal);
        assert_eq!(display_size(pal, gst::Fraction::new(100, 1)), pal);
    }
}
