//! What the session and its streams share, and the one task that sends their events and status messages.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use zenoh::{Session, bytes::ZBytes};
use zenoh_ext::AdvancedPublisher;

use super::{cause, queries::Ask};
use maskd_observability::{heartbeat::Heartbeat, metrics::Metrics};
use maskd_protocol::{keys::Site, wire::Format};

/// Events and status messages of all streams that may wait for a slow subscriber.
const MOST_WAITING: usize = 256;

/// An event or status message to be sent; or a request to be told when all before it have been sent.
pub(super) enum Outgoing {
    /// Put this.
    Put(Arc<AdvancedPublisher<'static>>, ZBytes),
    /// Say when.
    Flush(oneshot::Sender<()>),
}

/// What the session and its streams share.
pub(super) struct Shared {
    pub session: Session,
    pub site: Site,
    pub format: Format,
    pub max_message_bytes: usize,
    pub model: String,
    pub metrics: Metrics,
    pub asks: mpsc::Sender<Ask>,
    pub outgoing: mpsc::Sender<Outgoing>,
}

/// One task sends what may block (events and status), in order, so that it never delays masks.
pub(super) fn open(heartbeat: Heartbeat) -> mpsc::Sender<Outgoing> {
    let (outgoing, mut waiting) = mpsc::channel(MOST_WAITING);
    tokio::spawn(async move {
        while let Some(message) = waiting.recv().await {
            heartbeat.beat();
            match message {
                Outgoing::Put(publisher, payload) => {
                    if let Err(e) = publisher.put(payload).await {
                        tracing::warn!(to = %publisher.key_expr(), "not published: {}", cause(&e));
                    }
                }
                // The asker may have stopped waiting.
                Outgoing::Flush(done) => drop(done.send(())),
            }
            if waiting.is_empty() {
                heartbeat.rest();
            }
        }
    });
    outgoing
}
