//! What the process holds: memory, handles, threads. Under the names that Prometheus' own clients give them, so that
//! dashboards know them.

use std::{fmt, fs};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};

/// Looks at the process whenever somebody asks.
#[derive(Debug)]
pub(super) struct Process;

/// What it held at one moment; what the system does not tell is left out.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    resident_bytes: Option<u64>,
    threads: Option<u64>,
    open_files: Option<u64>,
    heap_bytes: Option<u64>,
}

impl Held {
    fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        // The look itself opens the folder.
        let open_files = fs::read_dir("/proc/self/fd").ok().map(|files| (files.count() as u64).saturating_sub(1));
        Self {
            resident_bytes: number(&status, "VmRSS:").map(|kib| 1024 * kib),
            threads: number(&status, "Threads:"),
            open_files,
            heap_bytes: heap_bytes(),
        }
    }
}

/// The first number after `key` in a file of `/proc`.
fn number(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

/// Bytes that the program has asked for and not given back: what a leak grows, whatever the allocator keeps for later.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn heap_bytes() -> Option<u64> {
    // SAFETY: it takes no arguments, and locks the allocator's arenas one by one while it reads them.
    let arenas = unsafe { libc::mallinfo2() };
    u64::try_from(arenas.uordblks.saturating_add(arenas.hblkhd)).ok()
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn heap_bytes() -> Option<u64> {
    None
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Held { resident_bytes, threads, open_files, heap_bytes } = Held::now();
        for (name, help, value) in [
            ("process_resident_memory_bytes", "Memory of the process that is in RAM", resident_bytes),
            (
                "process_heap_bytes",
                "Memory that was allocated and not freed, without what the allocator keeps",
                heap_bytes,
            ),
            ("process_open_fds", "Open files, sockets and other handles", open_files),
            ("process_threads", "Threads", threads),
        ] {
            let Some(value) = value else { continue };
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(metric)?;
        }
        Ok(())
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_counted_and_what_is_given_back_is_not() {
        // Other tests of this process come and go meanwhile: only what is large is certain.
        let large = 1 << 30;
        let before = Held::now();
        let block = std::hint::black_box(vec![0u8; large]);
        let grown = Held::now().heap_bytes.unwrap() as i64 - before.heap_bytes.unwrap() as i64;
        assert!(grown > large as i64 / 2, "{grown}");
        drop(block);
        let left = Held::now().heap_bytes.unwrap() as i64 - before.heap_bytes.unwrap() as i64;
        assert!(left < large as i64 / 2, "{left}");
        assert!(before.threads.unwrap() >= 2 && before.open_files.unwrap() >= 3, "{before:?}");
        assert!(before.resident_bytes.unwrap() > 1 << 20, "{before:?}");
    }
}
