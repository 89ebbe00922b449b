//! An auditor: reads the books of a running daemon, over HTTP and over zenoh, and will not have a frame in two places.

use std::{
    collections::BTreeMap,
    sync::mpsc::{Receiver, sync_channel},
};

use maskd::publish::{
    Received,
    wire::{Account, Status},
};

use super::{PATIENCE, listener::listen};

/// Where the frames of each stream are, by one scrape of `/metrics`. Panics where they do not add up.
pub fn audit(metrics: &str) -> BTreeMap<String, Account> {
    let mut books: BTreeMap<String, Account> = BTreeMap::new();
    for line in metrics.lines().filter(|line| line.starts_with("maskd_frames_")) {
        let (name, rest) = line.split_once('{').unwrap();
        let (labels, value) = rest.split_once("} ").unwrap();
        let label = |key: &str| {
            let quoted = labels.split(',').find_map(|label| label.strip_prefix(&format!("{key}=")));
            quoted.map(|quoted| quoted.trim_matches('"').to_owned()).unwrap_or_default()
        };
        let (account, value) = (books.entry(label("stream")).or_default(), value.parse::<f64>().unwrap() as u64);
        match name {
            "maskd_frames_captured_total" => account.captured = value,
            "maskd_frames_published_total" => account.published = value,
            "maskd_frames_in_flight" => account.in_flight = value,
            "maskd_frames_dropped_total" => {
                account.dropped.entry(label("stage")).or_default().insert(label("cause"), value);
            }
            other => panic!("{other} is in no book"),
        }
    }
    for (stream, account) in &books {
        assert!(account.balances(), "{stream}: {account:#?}");
        // One in the mailbox, one in the engine, and those before the publisher: never a queue that grows.
        assert!(account.in_flight <= 20, "{stream}: {account:#?}");
    }
    books
}

/// The status messages of a daemon, as they come.
pub struct Statuses(Receiver<Status>);

impl Statuses {
    /// Subscribes at `endpoint`.
    pub fn follow(endpoint: &str) -> Self {
        let (tell, told) = sync_channel(1024);
        listen(endpoint, move |received| match received {
            Received::Status(message) => tell.send(message.status).is_ok(),
            _ => true,
        });
        Self(told)
    }

    /// The next `count` of them.
    pub fn take(&self, count: usize) -> Vec<Status> {
        (0..count).map(|_| self.0.recv_timeout(PATIENCE).expect("no status comes")).collect()
    }
}
