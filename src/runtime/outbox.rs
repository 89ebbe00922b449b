//! From the engine's results to the publishers: one task publishes masks and what happened to instances, and counts.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Instant,
};

use tokio::sync::mpsc;
use tracing::warn;

use super::{
    preview::{self, Easel},
    rate::{OncePerSecond, Rate},
};
use maskd_observability::{
    metrics::{DropCause, Metrics, Stage},
    pulse::Pulse,
};
use maskd_tracking::engine::FrameResult;
use maskd_transport::StreamPublisher;
use maskd_types::frame::{Quality, StreamId};

/// One stream's way out: shared by the task here and by those who publish status and stream events.
pub(super) struct Desk {
    pub(super) publisher: Box<dyn StreamPublisher>,
    pub(super) easel: Easel,
    rate: Mutex<Rate>,
    quality: Mutex<Quality>,
}

impl Desk {
    pub(super) fn new(publisher: Box<dyn StreamPublisher>) -> Self {
        Self { publisher, easel: Easel::default(), rate: Mutex::default(), quality: Mutex::default() }
    }

    /// Published frames a second as of now.
    pub(super) fn fps(&self) -> f64 {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner).per_second(Instant::now())
    }

    /// That of the newest published frame.
    pub(super) fn quality(&self) -> Quality {
        *self.quality.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn published(&self, now: Instant, quality: Quality) {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner).tick(now);
        *self.quality.lock().unwrap_or_else(PoisonError::into_inner) = quality;
    }
}

/// The streams' desks; they come and go with the streams. A handle is cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Desks(Arc<RwLock<HashMap<StreamId, Arc<Desk>>>>);

impl Desks {
    pub(super) fn get(&self, stream: &StreamId) -> Option<Arc<Desk>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(stream).cloned()
    }

    pub(super) fn insert(&self, stream: StreamId, desk: Desk) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(stream, Arc::new(desk));
    }

    /// Takes the stream's keys back, as soon as nobody uses its desk.
    pub(super) fn remove(&self, stream: &StreamId) {
        let desk = self.0.write().unwrap_or_else(PoisonError::into_inner).remove(stream);
        // After the lock is let go: undeclaring asks the network.
        drop(desk);
    }
}

/// Publishes until the engine's end of the channel is gone and all results are out.
pub(super) async fn publish_all(
    mut results: mpsc::Receiver<FrameResult>,
    desks: Desks,
    metrics: Metrics,
    pulse: Pulse,
) {
    let mut failures = OncePerSecond::default();
    loop {
        if results.is_empty() {
            pulse.rest();
        }
        let Some(result) = results.recv().await else { break };
        pulse.beat();
        let FrameResult { frame, labels, instances, events, discovered, model, .. } = result;
        let Some(desk) = desks.get(&frame.stream) else {
            metrics.frame_dropped(&frame.stream, Stage::Publish, DropCause::PublishFailed);
            warn!(stream = %frame.stream, "This is a bug: a frame of an unknown stream");
            continue;
        };
        let (start, visible) = (Instant::now(), instances.len());
        desk.publisher.name_model(&model);
        let sent = desk.publisher.publish_masks(&frame, discovered, instances).await;
        let now = Instant::now();
        metrics.stage_took(Stage::Publish, now - start);
        metrics.instances(&frame.stream, visible);
        let mut failed = match sent {
            Ok(_) => {
                metrics.frame_published(&frame.stream);
                metrics.stage_took(Stage::Total, frame.captured.elapsed());
                desk.published(now, frame.quality);
                None
            }
            Err(error) => {
                metrics.frame_dropped(&frame.stream, Stage::Publish, DropCause::PublishFailed);
                Some(error)
            }
        };
        for event in events {
            failed = desk.publisher.publish_track_event(&frame, event).err().or(failed);
        }
        if let Some(error) = failed
            && let Some(times) = failures.pass(now)
        {
            warn!(stream = %frame.stream, times, "not published: {error}");
        }
        preview::show(&desks, frame, labels);
    }
}
