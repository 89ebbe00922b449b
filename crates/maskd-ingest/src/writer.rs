//! Writes pictures to look at: an H.264 video in an MP4 file.

use std::{
    fs::OpenOptions,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSrc;
use gstreamer_video::{VideoFormat, VideoInfo};
use tempfile::TempPath;

use super::fault::CameraFault;
use maskd_types::{files, frame::Size};

/// Encoders in order of preference, each with what follows it.
const ENCODERS: [(&str, &str); 3] = [
    ("x264enc", "x264enc speed-preset=veryfast pass=quant quantizer=20 ! h264parse"),
    ("openh264enc", "openh264enc rate-control=quality bitrate=6000000 ! h264parse"),
    ("avenc_mpeg4", "avenc_mpeg4 bitrate=6000000 ! mpeg4videoparse"),
];

/// Pictures that may wait for the encoder.
const WAITING: u64 = 4;

/// The end of every video that this makes: a box that players skip, with the name of who made it. Programs that cut,
/// convert or repack a video leave it out.
const MARK: &[u8] = b"\0\0\0\x15freemade by maskd";

/// Whether `path` is a video that [`Mp4Writer`] made.
///
/// # Errors
/// A file that cannot be opened.
pub fn is_own_mp4(path: &Path) -> io::Result<bool> {
    let mut file = files::open(path, u64::MAX)?;
    let mut end = [0; MARK.len()];
    let read = file.seek(SeekFrom::End(-(MARK.len() as i64))).and_then(|_| file.read_exact(&mut end));
    Ok(read.is_ok() && end == MARK)
}

/// A video file that appears under its name once it is finished; dropped unfinished, it leaves nothing behind.
pub struct Mp4Writer {
    path: PathBuf,
    /// The file while it grows, beside its final place; removed when dropped.
    unfinished: Option<TempPath>,
    pipeline: gst::Pipeline,
    draw: AppSrc,
    bus: gst::Bus,
    info: VideoInfo,
    size: Size,
    fps: (u32, u32),
    pushed: u64,
}

impl Mp4Writer {
    /// Starts a video of pictures of `size` at `fps` (numerator, denominator) a second. H.264 wants even sides: an odd
    /// one gets its last row or column twice. Errors: a file at `path` that maskd did not make, a folder that cannot be
    /// written to, no encoder on this machine.
    pub fn create(path: &Path, size: Size, fps: (u32, u32)) -> Result<Self> {
        files::check_target(path, &is_own_mp4)?;
        let unfinished = files::beside(path, ".mp4")?.into_temp_path();
        Self::create_named(path, unfinished, size, fps).with_context(|| path.display().to_string())
    }

    fn create_named(path: &Path, unfinished: TempPath, size: Size, fps: (u32, u32)) -> Result<Self> {
        gst::init()?;
        ensure!(size.area() > 0 && fps.0 > 0 && fps.1 > 0, "a video of {size} at {}/{} frames a second", fps.0, fps.1);
        let has = |name: &str| gst::ElementFactory::find(name).is_some();
        let (_, encoder) = ENCODERS.iter().find(|(name, _)| has(name)).context(
            "no video encoder: install GStreamer's x264enc (Debian: gstreamer1.0-plugins-ugly), openh264enc \
             (gstreamer1.0-plugins-bad) or avenc_mpeg4 (gstreamer1.0-libav)",
        )?;
        let parser = encoder.rsplit(' ').next().unwrap_or_default();
        for (name, package) in [("mp4mux", "gstreamer1.0-plugins-good"), (parser, "gstreamer1.0-plugins-bad")] {
            ensure!(has(name), "GStreamer's {name} is missing: install it (Debian: {package})");
        }
        let text = format!("appsrc name=draw format=time ! videoconvert ! {encoder} ! mp4mux ! filesink name=file");
        let missing = "This is a bug: the writer's pipeline lacks an element";
        let pipeline = gst::parse::launch(&text)?.downcast::<gst::Pipeline>().ok().context(missing)?;
        let draw = pipeline.by_name("draw").and_then(|e| e.downcast::<AppSrc>().ok()).context(missing)?;
        let bus = pipeline.bus().context(missing)?;

        let even = Size::new(size.width.next_multiple_of(2), size.height.next_multiple_of(2));
        let info = VideoInfo::builder(VideoFormat::Rgb, even.width, even.height)
            .fps(gst::Fraction::new(i32::try_from(fps.0)?, i32::try_from(fps.1)?))
            .build()?;
        draw.set_caps(Some(&info.to_caps()?));
        draw.set_max_bytes(WAITING * info.size() as u64);

        let file = pipeline.by_name("file").context(missing)?;
        file.set_property("location", unfinished.to_str().context("the path is not UTF-8")?);
        let (path, unfinished) = (path.to_owned(), Some(unfinished));
        let writer = Self { path, unfinished, pipeline, draw, bus, info, size, fps, pushed: 0 };
        if writer.pipeline.set_state(gst::State::Playing).is_err() {
            writer.check(gst::ClockTime::ZERO)?;
            bail!("the encoder does not start");
        }
        Ok(writer)
    }

    /// Adds a picture, `(height, width, 3)` RGB without padding. Waits while the encoder is behind.
    pub fn push(&mut self, rgb: &[u8]) -> Result<()> {
        self.push_unnamed(rgb).with_context(|| self.path.display().to_string())
    }

    fn push_unnamed(&mut self, rgb: &[u8]) -> Result<()> {
        let row = self.size.width as usize * 3;
        ensure!(rgb.len() == self.size.area() * 3, "a picture of {} bytes is not {}", rgb.len(), self.size);
        // An encoder that has failed takes nothing more: wait for room with an eye on its errors.
        while self.draw.current_level_bytes() >= self.draw.max_bytes() {
            self.check(gst::ClockTime::from_mseconds(5))?;
        }
        self.check(gst::ClockTime::ZERO)?;
        let stride = usize::try_from(self.info.stride()[0])?;
        let mut padded = Vec::with_capacity(self.info.size());
        for y in 0..self.info.height() as usize {
            let line = &rgb[y.min(self.size.height as usize - 1) * row..][..row];
            padded.extend_from_slice(line);
            if self.info.width() > self.size.width {
                padded.extend_from_slice(&line[row - 3..]);
            }
            padded.resize((y + 1) * stride, 0);
        }
        let time = |i: u64| -> Option<gst::ClockTime> {
            gst::ClockTime::SECOND.mul_div_floor(i * u64::from(self.fps.1), u64::from(self.fps.0))
        };
        let (now, next) = (time(self.pushed), time(self.pushed + 1));
        let mut buffer = gst::Buffer::from_slice(padded);
        if let Some(fields) = buffer.get_mut() {
            fields.set_pts(now);
            fields.set_duration(next.zip(now).map(|(next, now)| next - now));
        }
        self.pushed += 1;
        if self.draw.push_buffer(buffer).is_err() {
            self.check(gst::ClockTime::SECOND)?;
            bail!("the encoder takes no more pictures");
        }
        Ok(())
    }

    /// Fails where the pipeline has reported an error, waiting `patience` for one.
    fn check(&self, patience: gst::ClockTime) -> Result<()> {
        let message = self.bus.timed_pop_filtered(patience, &[gst::MessageType::Error]);
        match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(error)) => bail!(CameraFault::from_message(error)),
            _ => Ok(()),
        }
    }

    /// Writes what is left and gives the file its name, in place of nothing or of a video that maskd made.
    pub fn finish(self) -> Result<()> {
        let path = self.path.clone();
        let finished = self.finish_unnamed().with_context(|| path.display().to_string())?;
        Ok(files::put(finished, &path, &is_own_mp4)?)
    }

    /// The finished file, which has no name yet.
    fn finish_unnamed(mut self) -> Result<TempPath> {
        ensure!(self.pushed > 0, "no picture was written");
        let _ = self.draw.end_of_stream();
        let ends = [gst::MessageType::Eos, gst::MessageType::Error];
        // The encoder has a few dozen frames to finish and the index to write.
        let message = self.bus.timed_pop_filtered(gst::ClockTime::from_seconds(300), &ends);
        match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(error)) => bail!(CameraFault::from_message(error)),
            Some(_) => {}
            None => bail!("the encoder does not come to an end"),
        }
        let _ = self.pipeline.set_state(gst::State::Null);
        let finished = self.unfinished.take().context("This is a bug: the video is finished twice")?;
        OpenOptions::new().append(true).open(&finished)?.write_all(MARK)?;
        Ok(finished)
    }
}

impl Drop for Mp4Writer {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
