//! Feeds the service manager's watchdog while every stage gives signs of life, and says which does not.
//!
//! It has a thread of its own, since it must report when everything else is stuck, tokio too.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result};
use tokio::task::JoinHandle;
use tracing::{error, info};

use super::service;
use maskd_observability::heartbeat::{Heartbeat, Heartbeats, Stuck};
use maskd_types::cancellation::CancellationToken;

/// The longest time between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// How often something that limits hold for shows that it is alive.
pub(super) fn beat_every(limit: Duration) -> Duration {
    (limit / 4).min(LOOK)
}

/// The thread as its starter holds it; dropped, it ends.
pub(super) struct Watchdog(CancellationToken);

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Starts the thread.
///
/// # Errors
/// The system refuses a thread.
pub(super) fn start(heartbeats: Heartbeats) -> Result<Watchdog> {
    let stop = CancellationToken::new();
    let watchdog = Watchdog(stop.clone());
    let every = service::watchdog_interval().map_or(LOOK, |interval| interval.min(LOOK));
    let body = move || {
        let mut known = BTreeSet::new();
        while !stop.wait(every) {
            look(&heartbeats.stuck(), &mut known);
        }
    };
    std::thread::Builder::new().name("watchdog".to_owned()).spawn(body).context("starting the watchdog's thread")?;
    Ok(watchdog)
}

fn look(stuck: &[Stuck], known: &mut BTreeSet<String>) {
    for stage in stuck {
        if known.insert(stage.stage.clone()) {
            error!(stage = stage.stage, "stuck: {stage}");
        }
    }
    known.retain(|name| {
        let still = stuck.iter().any(|stage| stage.stage == *name);
        if !still {
            info!(stage = name, "no longer stuck");
        }
        still
    });
    match told(stuck) {
        None => service::watchdog(),
        Some(told) => service::status(&told),
    }
}

/// The line about what is stuck, if anything is.
pub(super) fn told(stuck: &[Stuck]) -> Option<String> {
    let all: Vec<String> = stuck.iter().map(Stuck::to_string).collect();
    (!all.is_empty()).then(|| format!("stuck: {}", all.join("; ")))
}

/// A task that shows that tokio's workers run tasks.
pub(super) fn show_tokio(heartbeat: Heartbeat, limit: Duration) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            heartbeat.beat();
            tokio::time::sleep(beat_every(limit)).await;
        }
    })
}
