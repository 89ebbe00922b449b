//! The daemon while it runs, and how it stops.

use std::{sync::Arc, time::Duration};

use anyhow::anyhow;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep},
};
use tracing::{error, info, warn};

use super::{
    cameras::Cameras,
    model_swap::Outcome,
    reload::{self, Asker, Reload},
    service,
    signals::{Hangups, Signals},
    stream_event::StreamEvent,
    watchdog,
};
use crate::admin::Health;
use maskd_observability::heartbeat::Heartbeat;
use maskd_transport::{Publishers, ReloadRequest};
use maskd_types::cancellation::CancellationToken;

/// What the running daemon holds.
pub(super) struct Daemon {
    pub(super) signals: Signals,
    pub(super) hangups: Hangups,
    pub(super) reload: Reload,
    pub(super) publisher: Publishers,
    pub(super) cameras: Cameras,
    pub(super) events: mpsc::Receiver<StreamEvent>,
    /// What becomes of other networks.
    pub(super) outcomes: mpsc::Receiver<Outcome>,
    /// Who wants the configuration to be read again.
    pub(super) reloads: mpsc::Receiver<ReloadRequest>,
    pub(super) health: Arc<Health>,
    pub(super) heartbeat: Heartbeat,
    /// How the engine thread ends; taken once it has.
    pub(super) end: Option<oneshot::Receiver<anyhow::Result<()>>>,
    /// The publishing task; taken once it has ended.
    pub(super) publish_task: Option<JoinHandle<()>>,
    pub(super) drain: CancellationToken,
    pub(super) abandon: CancellationToken,
}

/// Why the daemon stops.
#[derive(Debug)]
pub(super) enum Why {
    /// Somebody asked.
    Signal(&'static str),
    /// All files have ended.
    Done,
    /// It cannot go on.
    Fatal(anyhow::Error),
}

impl Daemon {
    /// Handles what happens, and reports every `status_every`, until there is a reason to stop.
    pub(super) async fn watch(&mut self, status_every: Duration) -> Why {
        let mut report = steady(status_every);
        let mut second = steady(watchdog::beat_every(self.health.heartbeats().limit()));
        loop {
            tokio::select! {
                signal = self.signals.next() => return Why::Signal(signal.name),
                Some(event) = self.events.recv() => {
                    self.cameras.handle(event);
                    if self.cameras.done() {
                        return Why::Done;
                    }
                    self.tell_service();
                }
                Some(outcome) = self.outcomes.recv() => {
                    if let Some((model, resolution)) = self.reload.conclude(outcome, &self.publisher) {
                        self.health.model_loaded(&model);
                        self.cameras.rescale(resolution);
                    }
                    self.tell_service();
                }
                () = self.hangups.next() => self.read_again("SIGHUP", Vec::new()),
                Some(ReloadRequest(answer)) = self.reloads.recv() => {
                    self.read_again("somebody asked over zenoh", vec![answer]);
                }
                event = self.reload.next() => match event {
                    reload::ReloadEvent::Changed => self.read_again("a file has changed", Vec::new()),
                    reload::ReloadEvent::Read(read) => {
                        self.reload.conclude_reading(read, &mut self.cameras, &self.publisher).await;
                        self.tell_service();
                    }
                },
                end = ended(&mut self.end) => return Why::Fatal(why_ended(end)),
                end = joined(&mut self.publish_task) => {
                    let why = end.err().map_or_else(String::new, |e| format!(": {e}"));
                    return Why::Fatal(anyhow!("This is a bug: the publishing task ended{why}"));
                }
                _ = report.tick() => {
                    self.cameras.report();
                    self.tell_service();
                }
                _ = second.tick() => {
                    self.heartbeat.beat();
                    self.cameras.measure();
                    self.cameras.let_go();
                    self.reload.look();
                }
            }
        }
    }

    /// Stops along the flow: cameras, mailbox, engine, publish task. True when the grace time was over before all of it.
    pub(super) async fn stop(&mut self, why: &Why, grace: Duration) -> bool {
        match why {
            Why::Signal(name) => info!("{name}: draining for at most {} s", grace.as_secs_f64()),
            Why::Done => info!("all sources have ended"),
            Why::Fatal(error) => error!("stopping: {error:#}"),
        }
        self.health.stopping();
        // Bounded by the grace time, not by the watchdog.
        self.heartbeat.rest();
        service::stopping("draining");
        let Self { signals, cameras, events, end, publish_task, drain, abandon, .. } = self;
        cameras.stop();
        let orderly = async {
            while !cameras.all_gone() {
                let Some(event) = events.recv().await else { break };
                cameras.handle(event);
            }
            drain.cancel();
            if end.is_some() {
                let _ = ended(end).await;
            }
            if publish_task.is_some() {
                let _ = joined(publish_task).await;
            }
        };
        let forced = if grace.is_zero() {
            // No grace at all: no race between what is quick enough and what is not.
            drop(orderly);
            true
        } else {
            tokio::select! {
                () = orderly => false,
                () = sleep(grace) => true,
                signal = signals.next() => {
                    warn!("{} again: ending at once", signal.name);
                    std::process::exit(128 + signal.number);
                }
            }
        };
        if forced {
            warn!("the grace time is over: what is still in flight is dropped");
            drain.cancel();
            abandon.cancel();
            if let Some(publish_task) = publish_task.take() {
                publish_task.abort();
            }
        }
        forced
    }

    /// Takes everything down but the session, which is closed last.
    pub(super) fn end(self) -> Publishers {
        self.publisher
    }

    fn read_again(&mut self, why: &str, askers: Vec<Asker>) {
        info!("{why}: reading the configuration again");
        self.reload.begin(askers);
    }

    fn tell_service(&self) {
        let summary = self.cameras.summary();
        let line = watchdog::told(&self.health.stuck()).map_or(summary.clone(), |stuck| format!("{stuck} ({summary})"));
        service::status(&line);
    }
}

/// Resolves when the engine thread ends; never again after that.
async fn ended(
    end: &mut Option<oneshot::Receiver<anyhow::Result<()>>>,
) -> Result<anyhow::Result<()>, oneshot::error::RecvError> {
    let Some(receiver) = end.as_mut() else { return std::future::pending().await };
    let result = receiver.await;
    *end = None;
    result
}

/// Resolves when the task ends; never again after that.
async fn joined(task: &mut Option<JoinHandle<()>>) -> Result<(), tokio::task::JoinError> {
    let Some(handle) = task.as_mut() else { return std::future::pending().await };
    let result = handle.await;
    *task = None;
    result
}

/// What the end of the engine thread means when it was not asked for.
pub(super) fn why_ended(end: Result<anyhow::Result<()>, oneshot::error::RecvError>) -> anyhow::Error {
    match end {
        Ok(Err(error)) => error,
        Ok(Ok(())) | Err(_) => anyhow!("This is a bug: the engine thread ended without an error"),
    }
}

fn steady(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
