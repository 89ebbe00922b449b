//! The books: every captured frame is published or dropped for a named cause, and the daemon says so when it ends.

use std::collections::BTreeMap;

use crate::{
    frame::StreamId,
    metrics::{
        DropCause::{self, *},
        Metrics,
        Stage::{self, *},
    },
};

/// Where frames can be lost, and why.
const DROPS: [(Stage, DropCause); 7] = [
    (Ingest, Unreadable),
    (Ingest, Superseded),
    (Ingest, Stopping),
    (Track, EngineFailed),
    (Publish, PublisherBusy),
    (Publish, PublishFailed),
    (Publish, Stopping),
];

/// The frames of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Left the decoder.
    pub captured: u64,
    /// Their masks were handed to zenoh.
    pub published: u64,
    /// Neither published nor any longer on their way.
    pub dropped: u64,
}

impl Count {
    /// Captured, but neither published nor dropped yet; negative only if something was counted twice.
    pub fn in_flight(self) -> i64 {
        self.captured as i64 - self.published as i64 - self.dropped as i64
    }
}

/// What happened, once the daemon has ended.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The frames of each stream.
    pub streams: BTreeMap<StreamId, Count>,
}

/// The stream's drops by stage and cause. Asking also makes every counter known at 0, as Prometheus wants it.
pub(super) fn drops(metrics: &Metrics, stream: &StreamId) -> impl Iterator<Item = (Stage, DropCause, u64)> {
    DROPS.into_iter().map(move |(stage, cause)| (stage, cause, metrics.dropped_count(stream, stage, cause)))
}

/// The stream's frames so far.
pub(super) fn count(metrics: &Metrics, stream: &StreamId) -> Count {
    // In the order opposite to a frame's way, so that a frame that moves meanwhile counts as in flight.
    let published = metrics.published_count(stream);
    let dropped = drops(metrics, stream).map(|(.., count)| count).sum();
    Count { captured: metrics.captured_count(stream), published, dropped }
}

/// Closes the books of a stream. Where the end was not orderly (`lost`: the grace time was over, the engine died),
/// frames that were still on their way are dropped for stopping; otherwise there must be none.
pub(super) fn close(metrics: &Metrics, stream: &StreamId, lost: bool) -> Count {
    let mut count = count(metrics, stream);
    let open = count.in_flight();
    if open != 0 && !lost {
        tracing::error!(%stream, frames = open, "This is a bug: frames are neither published nor dropped");
    }
    if lost {
        for _ in 0..open {
            metrics.frame_dropped(stream, Publish, Stopping);
            count.dropped += 1;
        }
    }
    // Not counted again: a thread that outlives the grace time may still move.
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_on_their_way_are_dropped_only_where_the_end_was_not_orderly() {
        let (metrics, stream): (_, StreamId) = (Metrics::new(), "a".parse().unwrap());
        (0..5).for_each(|_| metrics.frame_captured(&stream));
        metrics.frame_published(&stream);
        metrics.frame_dropped(&stream, Ingest, Superseded);
        assert_eq!(close(&metrics, &stream, false).in_flight(), 3);
        assert_eq!(close(&metrics, &stream, true), Count { captured: 5, published: 1, dropped: 4 });
    }
}
