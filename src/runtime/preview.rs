//! Pictures to look at: a stream's newest frame with its masks drawn over it, as JPEG, while somebody subscribes.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use anyhow::{Context as _, Result};
use image::{ExtendedColorType, codecs::jpeg::JpegEncoder};
use tracing::debug;

use super::outbox::{Desk, Desks};
use maskd_types::{
    frame::Frame,
    mask::{LabelMap, overlay},
};

/// Good enough to see what is followed; a picture stays near one of zenoh's batches.
const QUALITY: u8 = 75;

/// Whether a stream's picture is being drawn: the frames that come meanwhile are not, so that nothing piles up.
#[derive(Debug, Default)]
pub(super) struct Easel(AtomicBool);

/// Draws and publishes a preview of `frame`, if somebody wants one and the last is done. Returns at once; the drawing is
/// done on a thread for such work, beside the engine's and the network's.
pub(super) fn show(desks: &Desks, frame: Frame, labels: LabelMap) {
    let stream = frame.stream.clone();
    let wanted = |desk: &Arc<Desk>| desk.publisher.wants_preview() && !desk.easel.0.swap(true, Relaxed);
    let Some(desk) = desks.get(&stream).filter(wanted) else { return };
    tokio::spawn(async move {
        let drawn = tokio::task::spawn_blocking(move || draw(&frame, &labels)).await;
        let shown = match drawn.context("This is a bug: drawing a preview panicked").flatten() {
            Ok(jpeg) => desk.publisher.publish_preview(jpeg).await.map_err(anyhow::Error::from),
            Err(error) => Err(error),
        };
        if let Err(error) = shown {
            debug!(%stream, "no preview: {error:#}");
        }
        desk.easel.0.store(false, Relaxed);
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
