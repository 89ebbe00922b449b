//! The end of the books: once the daemon has ended, no frame may still be on its way.

use std::collections::BTreeMap;

use tracing::{error, info};

use maskd_observability::metrics::{Book, Metrics};
use maskd_types::frame::StreamId;

/// What happened, once the daemon has ended.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Where the frames of each stream are.
    pub streams: BTreeMap<StreamId, Book>,
}

/// Closes the book of a stream. Where the end was not orderly (`lost`: the grace time was over, the engine died),
/// frames that were still on their way are dropped for stopping; otherwise there must be none.
pub(super) fn close(metrics: &Metrics, stream: &StreamId, lost: bool) -> Book {
    if lost {
        metrics.abandon(stream);
    }
    // Not counted again: a thread that outlives the grace time may still move.
    let book = metrics.book(stream);
    if !book.balances() || book.in_flight > 0 && !lost {
        error!(%stream, ?book, "This is a bug: a frame is neither published nor dropped, or both");
    }
    book
}

/// The last word on a stream, in the log.
pub(super) fn tell(stream: &StreamId, book: &Book) {
    info!(%stream, captured = book.captured, published = book.published, dropped = book.dropped(), "stream done");
}

#[cfg(test)]
mod tests {
    use super::*;
    use maskd_observability::metrics::{DropCause::Superseded, Stage::Ingest};

    #[test]
    fn frames_on_their_way_are_dropped_only_where_the_end_was_not_orderly() {
        let (metrics, stream): (_, StreamId) = (Metrics::new(), "a".parse().unwrap());
        (0..5).for_each(|_| metrics.frame_captured(&stream));
        metrics.frame_published(&stream);
        metrics.frame_dropped(&stream, Ingest, Superseded);
        assert_eq!(close(&metrics, &stream, false).in_flight, 3);
        let book = close(&metrics, &stream, true);
        assert_eq!((book.captured, book.published, book.dropped(), book.in_flight), (5, 1, 4, 0));
    }
}
