//! What camera threads tell the runtime.

use tokio::sync::mpsc;

use maskd_ingest::CameraEvent;
use maskd_types::frame::StreamId;

/// News of a stream.
pub(super) enum News {
    /// Something happened to it.
    Event(StreamId, CameraEvent),
    /// Its first mask cannot be used, and why.
    BadFirstMask(StreamId, String),
    /// Its thread has ended.
    Gone(StreamId),
}

/// Says that a camera's thread has ended, when dropped: even a panic is heard.
pub(super) struct ExitGuard(pub(super) StreamId, pub(super) mpsc::Sender<News>);

impl Drop for ExitGuard {
    fn drop(&mut self) {
        let _ = self.1.blocking_send(News::Gone(self.0.clone()));
    }
}
