//! The books: where every captured frame is. For each stream, at every moment,
//! `captured = published + dropped{stage, cause} + in flight`.
//!
//! A frame moves in one step, under one lock, and all of a stream's numbers are read in one: nobody ever sees a frame in
//! two places or in none. What is in flight is counted on its own and not worked out from the rest, so that a frame that
//! is forgotten stays there for all to see, and one that is counted twice breaks the sum.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

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
pub struct Book {
    /// Left the decoder.
    pub captured: u64,
    /// Their masks were handed to zenoh.
    pub published: u64,
    /// Given up, by [`DROPS`].
    dropped: BTreeMap<(Stage, DropCause), u64>,
    /// On their way: in the mailbox, in the engine, or before the publisher.
    pub in_flight: u64,
}

impl Default for Book {
    fn default() -> Self {
        Self { captured: 0, published: 0, dropped: DROPS.into_iter().map(|at| (at, 0)).collect(), in_flight: 0 }
    }
}

impl Book {
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

/// The books of all streams. A handle is cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Books(Arc<Mutex<BTreeMap<StreamId, Book>>>);

impl Books {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<StreamId, Book>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, stream: &StreamId, act: impl FnOnce(&mut Book) -> T) -> T {
        let mut books = self.lock();
        if let Some(book) = books.get_mut(stream) {
            return act(book);
        }
        act(books.entry(stream.clone()).or_default())
    }

    pub(super) fn captured(&self, stream: &StreamId) {
        self.with(stream, Book::capture);
    }

    pub(super) fn published(&self, stream: &StreamId) {
        self.with(stream, Book::publish);
    }

    pub(super) fn dropped(&self, stream: &StreamId, stage: Stage, cause: DropCause) {
        self.with(stream, |book| book.drop(stage, cause));
    }

    /// The stream's book as of now; an empty one is opened where there is none.
    pub(super) fn book(&self, stream: &StreamId) -> Book {
        self.with(stream, |book| book.clone())
    }

    /// Moves what is still in flight to the frames dropped for stopping; says how many those were.
    pub(super) fn abandon(&self, stream: &StreamId) -> u64 {
        self.with(stream, |book| {
            let open = book.in_flight;
            (0..open).for_each(|_| book.drop(Publish, Stopping));
            open
        })
    }

    pub(super) fn forget(&self, stream: &StreamId) {
        self.lock().remove(stream);
    }
}

impl fmt::Debug for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lock().fmt(f)
    }
}

/// All four families come from one look at the books: a scrape balances as well.
impl Collector for Books {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let books = self.lock().clone();
        let label = |stream: &StreamId| StreamLabels { stream: stream.to_string() };
        let counts = |pick: fn(&Book) -> u64| books.iter().map(move |(stream, book)| (label(stream), pick(book)));
        let captured = counts(|book| book.captured);
        family(&mut encoder, "frames_captured", "Frames that left the decoder", MetricType::Counter, captured)?;
        let published = counts(|book| book.published);
        family(
            &mut encoder,
            "frames_published",
            "Frames whose masks were handed to zenoh",
            MetricType::Counter,
            published,
        )?;
        let dropped = books.iter().flat_map(|(stream, book)| {
            book.drops().map(|(stage, cause, count)| {
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
        let in_flight = counts(|book| book.in_flight);
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
            let (books, stream) = (Books::default(), id());
            for step in steps {
                let open = books.book(&stream).in_flight;
                match step {
                    0..=3 => books.captured(&stream),
                    // Only what is on its way can arrive or be lost.
                    _ if open == 0 => {}
                    4 | 5 => books.published(&stream),
                    6 | 7 => books.dropped(&stream, Ingest, Superseded),
                    _ => prop_assert_eq!(books.abandon(&stream), open),
                }
                prop_assert!(books.book(&stream).balances());
            }
        }
    }

    #[test]
    fn a_frame_counted_twice_or_never_is_seen() {
        let (books, stream) = (Books::default(), id());
        books.captured(&stream);
        assert_eq!(books.book(&stream).in_flight, 1, "forgotten frames stay in flight");
        books.published(&stream);
        books.dropped(&stream, Publish, PublishFailed);
        assert!(!books.book(&stream).balances());
    }

    #[test]
    fn other_threads_see_a_sum_that_holds() {
        let (books, stream) = (Books::default(), id());
        std::thread::scope(|threads| {
            for _ in 0..3 {
                threads.spawn(|| {
                    for i in 0..2000 {
                        books.captured(&stream);
                        match i % 3 {
                            0 => books.dropped(&stream, Ingest, Superseded),
                            _ => books.published(&stream),
                        }
                    }
                });
            }
            for _ in 0..2000 {
                let book = books.book(&stream);
                assert!(book.balances() && book.in_flight <= 3, "{book:?}");
            }
        });
    }
}
