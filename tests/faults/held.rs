//! What a running daemon holds, as its own metrics tell it.

use std::net::SocketAddr;

use serde::Serialize;

use super::support::process::get;

/// Memory, handles and threads at one moment.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Held {
    /// In RAM.
    pub resident_bytes: u64,
    /// Allocated and not freed.
    pub heap_bytes: u64,
    /// Files, sockets, and the like.
    pub files: u64,
    pub threads: u64,
}

impl Held {
    /// By one scrape of `/metrics`.
    pub fn by(metrics: &str) -> Self {
        let gauge = |name: &str| {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse::<f64>().unwrap() as u64
        };
        Self {
            resident_bytes: gauge("process_resident_memory_bytes"),
            heap_bytes: gauge("process_heap_bytes"),
            files: gauge("process_open_fds"),
            threads: gauge("process_threads"),
        }
    }

    /// Now.
    pub fn of(admin: SocketAddr) -> Self {
        Self::by(&get(admin, "/metrics").1)
    }
}

/// `after - before`, in MB of 10^6 bytes.
pub fn grown_mb(before: u64, after: u64) -> f64 {
    (after as f64 - before as f64) / 1e6
}
