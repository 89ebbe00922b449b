//! Frame accounting: where every captured frame is. For each stream, at every moment,
//! `captured = published + dropped{stage, cause} + in flight`.
//!
//! A frame moves in one step, under one lock, and all of a stream's numbers are read in one: nobody ever sees a frame in
//! two places or in none. What is in flight is counted on its own and not worked out from the rest, so that a frame that
//! is forgotten stays there for all to see, and one that is counted twice breaks the sum.

use std::{collections::BTreeMap, fmt, sync::Arc};

use parking_lot::{Mutex, MutexGuard};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use super::{
    DropCause::{self, *},
    DropLabels, Stage,
    Stage::*,
    StageLabel, StreamLabels,
};
use maskd_types::frame::StreamId;

/// Where frames can be lost, and why. Known from the start, so that each counter is there at 0, as Prometheus wants it.
pub const DROPS: [(Stage, DropCause); 8] = [
    (Ingest, Unreadable),
    (Ingest, Paced),
    (Ingest, Superseded),
    (Ingest, Stopping),
    (Track, EngineFailed),
    (Publish, PublisherBusy),
    (Publish, PublishFailed),
    (Publish, Stopping),
];

/// Where the frames of one stream are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameAccount {
    /// Left the decoder.
    pub captured: u64,
    /// Their masks were handed to zenoh.
    pub published: u64,
    /// Given up, by [`DROPS`].
    dropped: BTreeMap<(Stage, DropCause), u64>,
    /// On their way: in the mailbox, in the engine, or before the publisher.
    pub in_flight: u64,
}

impl Default for FrameAccount {
    fn default() -> Self {
        Self { captured: 0, published: 0, dropped: DROPS.into_iter().map(|at| (at, 0)).collect(), in_flight: 0 }
    }
}

impl FrameAccount {
    /// Frames given up, by stage and cause; zeros too.
    pub fn drops(&self) -> impl Iterator<Item = (Stage, DropCause, u64)> {
        self.dropped.iter().map(|(&(stage, cause), &count)| (stage, cause, count))
    }

    /// Frames given up, in all.
    pub fn dropped(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// Whether each captured frame is in exactly one place. Anything else is a bug of ours.
    pub fn balances(&self) -> bool {
        self.captured == self.published + self.dropped() + self.in_flight
    }

    fn capture(&mut self) {
        self.captured += 1;
        self.in_flight += 1;
    }

    fn publish(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.published += 1;
    }

    fn drop(&mut self, stage: Stage, cause: DropCause) {
        self.in_flight = self.in_flight.saturating_sub(1);
        *self.dropped.entry((stage, cause)).or_default() += 1;
    }
}

/// The accounts of all streams. A handle is cheap to clone.
#[derive(Clone, Default)]
pub(super) struct FrameAccounts(Arc<Mutex<BTreeMap<StreamId, FrameAccount>>>);

impl FrameAccounts {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<StreamId, FrameAccount>> {
        self.0.lock()
    }

    fn with<T>(&self, stream: &StreamId, act: impl FnOnce(&mut FrameAccount) -> T) -> T {
        let mut accounts = self.lock();
        if let Some(account) = accounts.get_mut(stream) {
            return act(account);
        }
        act(accounts.entry(stream.clone()).or_default())
    }

    pub(super) fn captured(&self, stream: &StreamId) {
        self.with(stream, FrameAccount::capture);
    }

    pub(super) fn published(&self, stream: &StreamId) {
        self.with(stream, FrameAccount::publish);
    }

    pub(super) fn dropped(&self, stream: &StreamId, stage: Stage, cause: DropCause) {
        self.with(stream, |account| account.drop(stage, cause));
    }

    /// The stream's account as of now; an empty one is opened where there is none.
    pub(super) fn account(&self, stream: &StreamId) -> FrameAccount {
        self.with(stream, |account| account.clone())
    }

    /// Moves what is still in flight to the frames dropped for stopping; says how many those were.
    pub(super) fn abandon(&self, stream: &StreamId) -> u64 {
        self.with(stream, |account| {
            let open = account.in_flight;
            (0..open).for_each(|_| account.drop(Publish, Stopping));
            open
        })
    }

    pub(super) fn forget(&self, stream: &StreamId) {
        self.lock().remove(stream);
    }
}

impl fmt::Debug for FrameAccounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lock().fmt(f)
    }
}

/// All four families come from one look at the accounts: a scrape balances as well.
impl Collector for FrameAccounts {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let accounts = self.lock().clone();
        let label = |stream: &StreamId| StreamLabels { stream: stream.to_string() };
        let counts = |pick: fn(&FrameAccount) -> u64| {
            accounts.iter().map(move |(stream, account)| (label(stream), pick(account)))
        };
        let captured = counts(|account| account.captured);
        family(&mut encoder, "frames_captured", "Frames that left the decoder", MetricType::Counter, captured)?;
        let published = counts(|account| account.published);
        family(
            &mut encoder,
            "frames_published",
            "Frames whose masks were handed to zenoh",
            MetricType::Counter,
            published,
        )?;
        let dropped = accounts.iter().flat_map(|(stream, account)| {
            account.drops().map(|(stage, cause, count)| {
                (DropLabels { stream: stream.to_string(), stage: StageLabel(stage), cause }, count)
            })
        });
        family(
            &mut encoder,
            "frames_dropped",
            "Frames not published, by stage and cause",
            MetricType::Counter,
            dropped,
        )?;
        let in_flight = counts(|account| account.in_flight);
        family(
            &mut encoder,
            "frames_in_flight",
            "Frames on their way from the decoder to zenoh",
            MetricType::Gauge,
            in_flight,
        )
    }
}

fn family<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    kind: MetricType,
    samples: impl Iterator<Item = (L, u64)>,
) -> fmt::Result {
    let mut samples = samples.peekable();
    if samples.peek().is_none() {
        return Ok(());
    }
    let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, count) in samples {
        let sample = metric.encode_family(&labels)?;
        match kind {
            MetricType::Gauge => ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX)).encode(sample)?,
            _ => ConstCounter::new(count).encode(sample)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id() -> StreamId {
        "a".parse().unwrap()
    }

    proptest! {
        #[test]
        fn the_sum_holds_after_every_step(steps in prop::collection::vec(0usize..9, 0..200)) {
            let (accounts, stream) = (FrameAccounts::default(), id());
            for step in steps {
                let open = accounts.account(&stream).in_flight;
                match step {
                    0..=3 => accounts.captured(&stream),
                    // Only what is on its way can arrive or be lost.
                    _ if open == 0 => {}
                    4 | 5 => accounts.published(&stream),
                    6 | 7 => accounts.dropped(&stream, Ingest, Superseded),
                    _ => prop_assert_eq!(accounts.abandon(&stream), open),
                }
                prop_assert!(accounts.account(&stream).balances());
            }
        }
    }

    #[test]
    fn a_frame_counted_twice_or_never_is_seen() {
        let (accounts, stream) = (FrameAccounts::default(), id());
        accounts.captured(&stream);
        assert_eq!(accounts.account(&stream).in_flight, 1, "forgotten frames stay in flight");
        accounts.published(&stream);
        accounts.dropped(&stream, Publish, PublishFailed);
        assert!(!accounts.account(&stream).balances());
    }

    #[test]
    fn other_threads_see_a_sum_that_holds() {
        let (accounts, stream) = (FrameAccounts::default(), id());
        std::thread::scope(|threads| {
            for _ in 0..3 {
                threads.spawn(|| {
                    for i in 0..2000 {
                        accounts.captured(&stream);
                        match i % 3 {
                            0 => accounts.dropped(&stream, Ingest, Superseded),
                            _ => accounts.published(&stream),
                        }
                    }
                });
            }
            for _ in 0..2000 {
                let account = accounts.account(&stream);
                assert!(account.balances() && account.in_flight <= 3, "{account:?}");
            }
        });
    }
}
