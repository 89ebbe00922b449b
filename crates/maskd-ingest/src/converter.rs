//! From a decoded sample to a numbered frame in the mailbox.

use std::{
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use gstreamer as gst;
use gstreamer_video::{VideoFormat, VideoFrameExt, VideoFrameRef, VideoInfo};
use parking_lot::Mutex;

use super::{source::Pace, timeline::Timeline};
use maskd_observability::metrics::{DropCause, Metrics, Stage};
use maskd_scheduling::mailbox::FrameSender;
use maskd_types::{
    cancellation::CancellationToken,
    frame::{Frame, Quality, Size, StreamId},
};

/// What outlives a stream's pipelines: its numbers and its end of the mailbox.
pub(super) struct SampleConverter {
    pub(super) stream: StreamId,
    pub(super) sender: FrameSender,
    pub(super) pace: Pace,
    /// A camera, which cannot wait; a file can.
    pub(super) live: bool,
    pub(super) metrics: Metrics,
    pub(super) timeline: Arc<Mutex<Timeline>>,
}

/// What became of a sample.
pub(super) enum Admitted {
    /// It is in the mailbox.
    Delivered { size: Size, epoch: u32, jumped: bool },
    /// It could not be read; counted as dropped.
    Unreadable,
    /// The pipeline is being torn down; counted as dropped.
    Stopped,
}

impl SampleConverter {
    /// The next pipeline opens a new epoch.
    pub(super) fn new_epoch(&self) {
        self.timeline.lock().new_epoch();
    }

    /// Numbers a sample and puts it in the mailbox; waits for room there only where no frame may be lost.
    pub(super) fn admit(&self, sample: &gst::Sample, source: Option<Size>, over: &CancellationToken) -> Admitted {
        let captured = Instant::now();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let pts_ns = sample.buffer().and_then(gst::BufferRef::pts).map(gst::ClockTime::nseconds);
        self.metrics.frame_captured(&self.stream);
        let stamp = self.timeline.lock().admit(pts_ns);
        let Some((size, rgb)) = pixels(sample) else {
            self.metrics.frame_dropped(&self.stream, Stage::Ingest, DropCause::Unreadable);
            return Admitted::Unreadable;
        };
        let frame = Frame {
            stream: self.stream.clone(),
            rgb,
            size,
            source: source.unwrap_or(size),
            pts_ns,
            captured_unix_ns: u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX),
            captured,
            sequence: stamp.sequence,
            epoch: stamp.epoch,
            quality: Quality::FULL,
        };
        match self.pace {
            Pace::Timestamps => self.sender.offer(frame),
            Pace::Fast if !self.sender.send(frame, over) => return Admitted::Stopped,
            Pace::Fast => {}
        }
        Admitted::Delivered { size: source.unwrap_or(size), epoch: stamp.epoch, jumped: stamp.jumped }
    }
}

/// The sample's pixels without padding, `(height, width, 3)`; `None` where it is no readable RGB picture.
pub(super) fn pixels(sample: &gst::Sample) -> Option<(Size, Arc<[u8]>)> {
    let info = VideoInfo::from_caps(sample.caps()?).ok()?;
    if info.format() != VideoFormat::Rgb {
        return None;
    }
    let frame = VideoFrameRef::from_buffer_ref_readable(sample.buffer()?, &info).ok()?;
    let size = Size::new(frame.width(), frame.height());
    let row = size.width as usize * 3;
    let stride = usize::try_from(*frame.plane_stride().first()?).ok()?;
    let plane = frame.plane_data(0).ok()?;
    // The last row may come without its padding.
    if size.area() == 0 || stride < row || plane.len() < stride * (size.height as usize - 1) + row {
        return None;
    }
    let rgb: Arc<[u8]> = if stride == row {
        plane[..row * size.height as usize].into()
    } else {
        let mut rgb = Vec::with_capacity(row * size.height as usize);
        for line in plane.chunks(stride).take(size.height as usize) {
            rgb.extend_from_slice(&line[..row]);
        }
        rgb.into()
    };
    Some((size, rgb))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(width: u32, height: u32, bytes: Vec<u8>, format: &str) -> gst::Sample {
        gst::init().unwrap();
        let caps = gst::Caps::builder("video/x-raw")
            .field("format", format)
            .field("width", width as i32)
            .field("height", height as i32)
            .field("framerate", gst::Fraction::new(1, 1))
            .build();
        gst::Sample::builder().buffer(&gst::Buffer::from_slice(bytes)).caps(&caps).build()
    }

    #[test]
    fn row_padding_is_left_out() {
        // 5 pixels are 15 bytes: GStreamer pads the row to 16.
        let padded: Vec<u8> =
            (0..3u8).flat_map(|row| (0..16).map(move |i| if i < 15 { row * 50 + i } else { 255 })).collect();
        let (size, rgb) = pixels(&sample(5, 3, padded, "RGB")).unwrap();
        assert_eq!(size, Size::new(5, 3));
        let expected: Vec<u8> = (0..3u8).flat_map(|row| (0..15).map(move |i| row * 50 + i)).collect();
        assert_eq!(&rgb[..], expected);
        let (_, rgb) = pixels(&sample(4, 2, (0..24).collect(), "RGB")).unwrap();
        assert_eq!(&rgb[..], (0..24).collect::<Vec<u8>>());
    }

    #[test]
    fn a_short_or_foreign_buffer_is_not_read() {
        assert!(pixels(&sample(5, 3, vec![0; 20], "RGB")).is_none());
        assert!(pixels(&sample(4, 2, vec![0; 24], "BGR")).is_none());
        assert!(pixels(&gst::Sample::builder().build()).is_none());
    }
}
