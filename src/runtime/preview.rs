//! Pictures to look at: a stream's newest frame with its masks drawn over it, as JPEG, while somebody subscribes.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use anyhow::{Context as _, Result};
use image::{ExtendedColorType, codecs::jpeg::JpegEncoder};
use tracing::debug;

use super::stream_output::{StreamOutput, StreamOutputs};
use maskd_types::{
    frame::Frame,
    mask::{LabelMap, overlay},
};

/// Good enough to see what is followed; a picture stays near one of zenoh's batches.
const QUALITY: u8 = 75;

/// Draws and publishes a preview of `frame`, if somebody wants one and the last is done. Returns at once; the drawing is
/// done on a thread for such work, beside the engine's and the network's.
pub(super) fn show(outputs: &StreamOutputs, frame: Frame, labels: LabelMap) {
    let stream = frame.stream.clone();
    let wanted = |output: &Arc<StreamOutput>| output.publisher.wants_preview() && !output.drawing.swap(true, Relaxed);
    let Some(output) = outputs.get(&stream).filter(wanted) else { return };
    tokio::spawn(async move {
        let drawn = tokio::task::spawn_blocking(move || draw(&frame, &labels)).await;
        let shown = match drawn.context("This is a bug: drawing a preview panicked").flatten() {
            Ok(jpeg) => output.publisher.publish_preview(jpeg).await.map_err(anyhow::Error::from),
            Err(error) => Err(error),
        };
        if let Err(error) = shown {
            debug!(%stream, "no preview: {error:#}");
        }
        output.drawing.store(false, Relaxed);
    });
}

/// The frame as the network saw it, with its masks, as JPEG.
fn draw(frame: &Frame, labels: &LabelMap) -> Result<Vec<u8>> {
    let mut rgb = frame.rgb.to_vec();
    overlay(&mut rgb, &labels.resize_nearest(frame.size));
    let mut jpeg = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut jpeg, QUALITY);
    encoder.encode(&rgb, frame.size.width, frame.size.height, ExtendedColorType::Rgb8)?;
    Ok(jpeg)
}
