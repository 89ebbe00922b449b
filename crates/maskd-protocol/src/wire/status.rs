//! How a stream does, every few seconds, and where all of its frames are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::keys::Site;
use maskd_observability::metrics::{DropCause, FrameAccount, Stage};
use maskd_types::frame::{Quality, StreamId};

/// Whether frames arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Frames arrive.
    Up,
    /// Not started yet, or ended.
    Down,
    /// The pipeline is being rebuilt.
    Reconnecting,
}

/// Dropped frames: stage -> cause -> count, both in `snake_case`.
pub type Drops = BTreeMap<String, BTreeMap<String, u64>>;

/// [`Drops`] from counters; zero counts are left out.
pub fn drops(counters: impl IntoIterator<Item = (Stage, DropCause, u64)>) -> Drops {
    let mut drops = Drops::new();
    for (stage, cause, count) in counters.into_iter().filter(|(_, _, count)| *count > 0) {
        *drops.entry(snake(&format!("{stage:?}"))).or_default().entry(snake(&format!("{cause:?}"))).or_default() +=
            count;
    }
    drops
}

fn snake(camel: &str) -> String {
    let mut out = String::with_capacity(camel.len() + 2);
    for c in camel.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// How a stream does; what the caller says in a [`StatusMessage`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Whether frames arrive.
    pub state: State,
    /// Why not, on one line; of a stream that is up, why it did not start from its first mask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Published frames a second, over the last seconds.
    pub fps: f64,
    /// Where the stream's frames are.
    #[serde(flatten)]
    pub account: Account,
    /// How much of it is seen, as of the newest masks: see [`MasksMessage`](super::MasksMessage).
    #[serde(default)]
    pub quality: Quality,
    /// The decoder element in use, where known.
    #[serde(default)]
    pub decoder: Option<String>,
    /// Grows with each reconnect or jump of the timestamps.
    pub epoch: u32,
    /// Seconds since the daemon started.
    pub uptime_s: f64,
}

/// Where all frames of a stream are, at one moment: `captured` = `published` + all of `dropped` + `in_flight`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Frames that left the decoder since the daemon started.
    pub captured: u64,
    /// Frames whose masks were published.
    pub published: u64,
    /// Frames that were given up.
    pub dropped: Drops,
    /// Frames on their way.
    #[serde(default)]
    pub in_flight: u64,
}

impl Account {
    /// Frames given up, in all. `None` where the counts cannot be: a message may come from anybody.
    pub fn dropped(&self) -> Option<u64> {
        self.dropped.values().flat_map(BTreeMap::values).try_fold(0u64, |sum, count| sum.checked_add(*count))
    }

    /// Whether each captured frame is in exactly one place.
    pub fn balances(&self) -> bool {
        let sum =
            self.dropped().and_then(|n| n.checked_add(self.published)).and_then(|n| n.checked_add(self.in_flight));
        sum == Some(self.captured)
    }
}

impl From<&FrameAccount> for Account {
    fn from(account: &FrameAccount) -> Self {
        let FrameAccount { captured, published, in_flight, .. } = *account;
        Self { captured, published, dropped: drops(account.drops()), in_flight }
    }
}

/// A summary of one stream, every few seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusMessage {
    /// [`VERSION`](super::VERSION).
    pub version: u32,
    /// The daemon's site.
    pub site: Site,
    /// The camera.
    pub stream: StreamId,
    /// Counts this stream's status messages from 0.
    pub sequence: u64,
    /// When this message was written.
    pub published_unix_ns: u64,
    /// The summary; its fields stand beside the others.
    #[serde(flatten)]
    pub status: Status,
}
