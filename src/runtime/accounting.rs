//! The end of frame accounting: once the daemon has ended, no frame may still be on its way.

use std::collections::BTreeMap;

use tracing::{error, info};

use maskd_observability::metrics::{FrameAccount, Metrics};
use maskd_types::frame::StreamId;

/// What happened, once the daemon has ended.
#[derive(Clone, Debug, Default)]
pub struct RunSummary {
    /// Where the frames of each stream are.
    pub streams: BTreeMap<StreamId, FrameAccount>,
}

/// Closes the account of a stream. Where the end was not orderly (`lost`: the grace time was over, the engine died),
/// frames that were still on their way are dropped for stopping; otherwise there must be none.
pub(super) fn close(metrics: &Metrics, stream: &StreamId, lost: bool) -> FrameAccount {
    if lost {
        metrics.abandon(stream);
    }
    // Not counted again: a thread that outlives the grace time may still move.
    let account = metrics.account(stream);
    if !account.balances() || account.in_flight > 0 && !lost {
        error!(%stream, ?account, "This is a bug: a frame is neither published nor dropped, or both");
    }
    account
}

/// Logs the final counts of a stream.
pub(super) fn tell(stream: &StreamId, account: &FrameAccount) {
    info!(%stream, captured = account.captured, published = account.published, dropped = account.dropped(), "stream done");
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
        let account = close(&metrics, &stream, true);
        assert_eq!((account.captured, account.published, account.dropped(), account.in_flight), (5, 1, 4, 0));
    }
}
