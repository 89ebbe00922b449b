//! Weighted round robin: whose frames go into the next batch when more streams have one than fit. Each stream has its
//! weight's share.

use std::collections::{HashMap, HashSet};

use crate::mailbox::Mailbox;
use maskd_types::frame::{Frame, StreamId};

/// Every stream has as many turns in a round as its weight; a round ends when the streams that have a frame have used
/// theirs up. While all waiting frames fit into one batch, weights change nothing.
#[derive(Debug, Default)]
pub struct WeightedRoundRobin {
    weights: HashMap<StreamId, u32>,
    used: HashMap<StreamId, u32>,
}

impl WeightedRoundRobin {
    /// Serves `stream` by `weight` from now on.
    pub fn weigh(&mut self, stream: StreamId, weight: u32) {
        self.weights.insert(stream, weight);
    }

    /// `stream` is no more.
    pub fn forget(&mut self, stream: &StreamId) {
        self.weights.remove(stream);
        self.used.remove(stream);
    }

    /// At most `max` waiting frames, at most one of each stream.
    pub fn take(&mut self, mailbox: &Mailbox, max: usize) -> Vec<Frame> {
        let mut spent: HashSet<StreamId> =
            self.used.iter().filter(|(stream, used)| **used >= self.weight(stream)).map(|(s, _)| s.clone()).collect();
        let mut batch = mailbox.take_batch_except(max, &spent);
        if batch.len() < max && !spent.is_empty() {
            // Room is left: a new round, in which those that were taken just now have had their first turn.
            self.used.clear();
            spent = batch.iter().map(|frame| frame.stream.clone()).collect();
            batch.extend(mailbox.take_batch_except(max - batch.len(), &spent));
        }
        for frame in &batch {
            *self.used.entry(frame.stream.clone()).or_default() += 1;
        }
        batch
    }

    fn weight(&self, stream: &StreamId) -> u32 {
        self.weights.get(stream).copied().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::tests::frame;
    use maskd_observability::metrics::Metrics;

    fn served(weights: &[u32], max: usize, batches: usize) -> Vec<usize> {
        let names: Vec<StreamId> = (0..weights.len()).map(|i| format!("s{i}").parse().unwrap()).collect();
        let mailbox = Mailbox::new(Metrics::new());
        let senders: Vec<_> = names.iter().map(|name| mailbox.add_stream(name)).collect();
        let mut round_robin = WeightedRoundRobin::default();
        names.iter().zip(weights).for_each(|(name, weight)| round_robin.weigh(name.clone(), *weight));
        let mut served = vec![0; weights.len()];
        for sequence in 0..batches as u64 {
            for (name, sender) in names.iter().zip(&senders) {
                sender.offer(frame(name, sequence));
            }
            let batch = round_robin.take(&mailbox, max);
            assert_eq!(batch.len(), max.min(weights.len()), "the engine is kept busy");
            for frame in batch {
                served[names.iter().position(|name| *name == frame.stream).unwrap()] += 1;
            }
        }
        served
    }

    #[test]
    fn a_stream_is_served_by_its_weight_when_not_all_can_be() {
        assert_eq!(served(&[3, 1], 1, 40), [30, 10]);
        assert_eq!(served(&[1, 1, 1], 1, 30), [10, 10, 10]);
    }

    #[test]
    fn weights_change_nothing_while_all_fit() {
        assert_eq!(served(&[3, 1], 2, 10), [10, 10]);
    }
}
