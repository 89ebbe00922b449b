//! Where a stream's results leave the daemon: its publisher, and what is known of what was published.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicBool},
    time::Instant,
};

use parking_lot::{Mutex, RwLock};

use super::rate::Rate;
use maskd_transport::StreamPublisher;
use maskd_types::frame::{Quality, StreamId};

/// One stream's output: shared by the publish task and by those who publish status and stream events.
pub(super) struct StreamOutput {
    pub(super) publisher: Box<dyn StreamPublisher>,
    /// Whether a preview is being drawn: the frames that come meanwhile are not, so that nothing piles up.
    pub(super) drawing: AtomicBool,
    rate: Mutex<Rate>,
    quality: Mutex<Quality>,
}

impl StreamOutput {
    pub(super) fn new(publisher: Box<dyn StreamPublisher>) -> Self {
        Self { publisher, drawing: AtomicBool::default(), rate: Mutex::default(), quality: Mutex::default() }
    }

    /// Published frames a second as of now.
    pub(super) fn fps(&self) -> f64 {
        self.rate.lock().per_second(Instant::now())
    }

    /// That of the newest published frame.
    pub(super) fn quality(&self) -> Quality {
        *self.quality.lock()
    }

    /// Counts a frame that was published.
    pub(super) fn published(&self, now: Instant, quality: Quality) {
        self.rate.lock().tick(now);
        *self.quality.lock() = quality;
    }
}

/// The outputs of all streams; they come and go with the streams. A handle is cheap to clone.
#[derive(Clone, Default)]
pub(super) struct StreamOutputs(Arc<RwLock<HashMap<StreamId, Arc<StreamOutput>>>>);

impl StreamOutputs {
    pub(super) fn get(&self, stream: &StreamId) -> Option<Arc<StreamOutput>> {
        self.0.read().get(stream).cloned()
    }

    pub(super) fn insert(&self, stream: StreamId, output: StreamOutput) {
        self.0.write().insert(stream, Arc::new(output));
    }

    /// Takes the stream's keys back, as soon as nobody uses its output.
    pub(super) fn remove(&self, stream: &StreamId) {
        let output = self.0.write().remove(stream);
        // After the lock is let go: undeclaring asks the network.
        drop(output);
    }
}
