//! What happens to streams, as camera threads and the engine tell the runtime.

use tokio::sync::mpsc;

use maskd_ingest::CameraEvent;
use maskd_types::frame::StreamId;

/// What happened to a stream.
pub(super) enum StreamEvent {
    /// What its camera reports.
    Camera(StreamId, CameraEvent),
    /// Its first mask cannot be used, and why.
    BadFirstMask(StreamId, String),
    /// Its thread has ended.
    Gone(StreamId),
}

/// Reports, when dropped, that a camera's thread has ended, also by a panic.
pub(super) struct ExitGuard(pub(super) StreamId, pub(super) mpsc::Sender<StreamEvent>);

impl Drop for ExitGuard {
    fn drop(&mut self) {
        let _ = self.1.blocking_send(StreamEvent::Gone(self.0.clone()));
    }
}
