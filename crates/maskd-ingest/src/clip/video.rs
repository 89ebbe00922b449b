//! The frames of a video file, decoded as fast as they are taken.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSink;
use gstreamer_video::VideoInfo;

use super::ClipFrame;
use crate::{converter::pixels, fault::CameraFault, guard::guard, upright::spare_copies};
use maskd_types::{files, frame::Size};

/// Longest wait for the next frame of a file: a disc may have to spin up.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often a file is tried that fails without an error message.
const SILENT_TRIES: usize = 4;

/// A video file that is decoded as fast as its frames are taken.
pub(super) struct Video {
    pub(super) path: PathBuf,
    pipeline: gst::Pipeline,
    bus: gst::Bus,
    frames: AppSink,
    pub(super) size: Size,
    pub(super) fps: Option<(u32, u32)>,
    pub(super) len_hint: Option<usize>,
    taken: usize,
}

impl Video {
    /// Decodes up to the first frame.
    ///
    /// # Errors
    /// What is wrong with the file, without its name.
    pub(super) fn open(path: &Path) -> Result<Self> {
        // filesrc would wait at a pipe for its other end.
        files::check(path)?;
        gst::init()?;
        let pipeline = gst::parse::launch(
            "filesrc name=source ! decodebin expose-all-streams=false caps=video/x-raw(ANY) ! videoconvert \
             ! videoflip name=turn video-direction=auto ! appsink name=frames sync=false max-buffers=4 wait-on-eos=false caps=video/x-raw,format=RGB",
        )?;
        let missing = "This is a bug: the clip's pipeline lacks an element";
        let pipeline = pipeline.downcast::<gst::Pipeline>().ok().context(missing)?;
        let frames = pipeline.by_name("frames").and_then(|e| e.downcast::<AppSink>().ok()).context(missing)?;
        let bus = pipeline.bus().context(missing)?;
        pipeline.by_name("source").context(missing)?.set_property("location", path);
        guard(&pipeline).map_err(anyhow::Error::msg)?;
        spare_copies(&pipeline);
        let size = Size::new(0, 0);
        let path = path.to_owned();
        let mut video = Self { path, pipeline, bus, frames, size, fps: None, len_hint: None, taken: 0 };
        video.preroll()?;
        Ok(video)
    }

    /// Decodes up to the first frame, which says the size.
    fn preroll(&mut self) -> Result<()> {
        // decodebin and decodebin3 swallow the error of a demuxer that fails while it is being plugged in, about one
        // time in three: then nothing runs and nothing is said. Asked again, it usually answers.
        for _ in 0..SILENT_TRIES {
            if self.reach_first_frame()? {
                return self.note_format();
            }
            let _ = self.pipeline.set_state(gst::State::Null);
        }
        bail!("it cannot be read: GStreamer gave up on it without saying why");
    }

    /// False where the pipeline gave up in silence.
    fn reach_first_frame(&self) -> Result<bool> {
        // Where this fails, the bus says why.
        let _ = self.pipeline.set_state(gst::State::Paused);
        let start = Instant::now();
        let mut idle = 0;
        while start.elapsed() < PATIENCE {
            let ends = [gst::MessageType::AsyncDone, gst::MessageType::Error];
            let message = self.bus.timed_pop_filtered(gst::ClockTime::from_mseconds(100), &ends);
            match message.as_ref().map(|message| message.view()) {
                Some(gst::MessageView::Error(error)) => bail!(CameraFault::from_message(error)),
                Some(_) => return Ok(true),
                None if self.runs() => idle = 0,
                None => idle += 1,
            }
            if idle == 5 {
                return Ok(false);
            }
        }
        bail!("no frame within {} s", PATIENCE.as_secs());
    }

    /// Whether any element's thread is at work.
    fn runs(&self) -> bool {
        let works = |pad: &gst::Pad| pad.task_state() == gst::TaskState::Started;
        self.pipeline.iterate_recurse().into_iter().flatten().any(|element| element.pads().iter().any(works))
    }

    fn note_format(&mut self) -> Result<()> {
        let caps =
            self.frames.static_pad("sink").and_then(|pad| pad.current_caps()).context("there is no video in it")?;
        let info = VideoInfo::from_caps(&caps)?;
        self.size = Size::new(info.width(), info.height());
        let (numer, denom) = (info.fps().numer(), info.fps().denom());
        self.fps = (numer > 0 && denom > 0).then_some((numer as u32, denom as u32));
        let frames = |length: gst::ClockTime| {
            let (numer, denom) = self.fps?;
            let frames = length.seconds_f64() * f64::from(numer) / f64::from(denom);
            (frames.is_finite() && frames < 1e9).then_some(frames.round() as usize)
        };
        self.len_hint = self.pipeline.query_duration::<gst::ClockTime>().and_then(frames);
        self.pipeline.set_state(gst::State::Playing)?;
        Ok(())
    }

    /// The next frame; an error where the file fails or holds none.
    pub(super) fn next(&mut self) -> Option<Result<ClipFrame>> {
        let start = Instant::now();
        loop {
            if let Some(sample) = self.frames.try_pull_sample(gst::ClockTime::from_mseconds(200)) {
                return Some(self.frame(&sample));
            }
            if let Some(message) = self.bus.pop_filtered(&[gst::MessageType::Error])
                && let gst::MessageView::Error(error) = message.view()
            {
                return Some(Err(CameraFault::from_message(error).into()));
            }
            if self.frames.is_eos() {
                let empty = self.taken == 0;
                return empty.then(|| Err(anyhow::anyhow!("there is no frame in it")));
            }
            if start.elapsed() > PATIENCE {
                return Some(Err(anyhow::anyhow!(
                    "no frame within {} s after frame {}",
                    PATIENCE.as_secs(),
                    self.taken
                )));
            }
        }
    }

    fn frame(&mut self, sample: &gst::Sample) -> Result<ClipFrame> {
        let (size, rgb) = pixels(sample).with_context(|| format!("frame {} cannot be read", self.taken))?;
        ensure!(size == self.size, "frame {} is {size}, but the first is {}", self.taken, self.size);
        let name = format!("{:05}", self.taken);
        self.taken += 1;
        let pts_ns = sample.buffer().and_then(gst::BufferRef::pts).map(gst::ClockTime::nseconds);
        Ok(ClipFrame { name, rgb, size, pts_ns })
    }
}

impl Drop for Video {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
