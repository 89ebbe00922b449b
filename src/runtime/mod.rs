//! The daemon, put together: the only place that connects its parts, and the only one that starts long-lived threads.
//!
//! ```text
//! cam-NAME (one each) -> Mailbox (latest frame of each) -> engine (device, trackers) -> bounded -> publish task (tokio) -> zenoh
//!         \-> events -> this task: events, status, health            ^-- prompts (bounded) <-- zenoh
//! ```
//!
//! A frame is lost in one of few places, each counted ([`maskd_observability::metrics::DROPS`]): `captured = published +
//! dropped{stage, cause} + in flight` at every moment, with nothing in flight once the daemon has ended ([`accounting`]). The
//! engine never waits for the network. Stopping goes along the flow: cameras first, then the mailbox is emptied, then the
//! publish task ends, then zenoh is closed; all within the grace time.

pub mod accounting;
mod background_task;
mod cameras;
mod changes;
mod daemon;
mod engine_command;
mod engine_thread;
mod entry;
mod log_writer;
mod memory;
mod model_swap;
mod preview;
mod publish_task;
mod rate;
mod reload;
mod service;
mod signals;
mod starts;
mod stream_event;
mod stream_output;
mod watchdog;

use std::{net::TcpListener, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};
use tracing::{info, warn};

pub use accounting::RunSummary;
pub use log_writer::LogWriter;
pub use reload::{Origin, Read};

use crate::{
    admin::{self, Health, Listen},
    config::{Config, Ready},
};
use cameras::{Cameras, Wiring};
use daemon::{Daemon, Why};
use engine_thread::{EngineThread, Work};
use entry::Entry;
use maskd_model::WeightsError;
use maskd_observability::{heartbeat::Heartbeats, metrics::Metrics};
use maskd_scheduling::mailbox::Mailbox;
use maskd_transport::{PublishError, Publisher, Publishers, Requests, ZenohPublisher};
use maskd_types::cancellation::CancellationToken;
use model_swap::ModelSwap;
use reload::Reload;
use signals::{Hangups, Signals};
use stream_output::{StreamOutput, StreamOutputs};

/// Why the daemon did not start, or ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration names something that cannot be.
    #[error(transparent)]
    Config(anyhow::Error),
    /// Weights, a mask or a video cannot be used.
    #[error(transparent)]
    Data(anyhow::Error),
    /// A port is taken, or nobody answers.
    #[error(transparent)]
    Unavailable(anyhow::Error),
    /// The engine failed.
    #[error(transparent)]
    Engine(anyhow::Error),
    /// The system refused what every process needs, or a fault of ours.
    #[error(transparent)]
    Internal(anyhow::Error),
}

/// Results that may wait for the publisher, whatever comes and goes: two of each of eight cameras.
const WAITING_RESULTS: usize = 16;

/// Runs the daemon of a configuration that was found `ready`, until a signal comes or, where so configured, all sources have ended. On SIGHUP, and where its file
/// changes, the configuration is read again from `origin`.
///
/// # Errors
/// What kept it from starting; a fatal fault of the engine; a file, played once, that could not be played to its end.
pub fn run(ready: Ready, origin: Origin) -> Result<RunSummary, RunError> {
    run_with(ready, origin, |_| Vec::new())
}

/// As [`run`], with `more` publishers beside zenoh. They are made once the network is loaded, on tokio's runtime, and may pass
/// on what they are asked. A frame counts as published where all of them took it.
///
/// # Errors
/// As [`run`].
pub fn run_with(
    ready: Ready,
    origin: Origin,
    more: impl FnOnce(Requests) -> Vec<Box<dyn Publisher>>,
) -> Result<RunSummary, RunError> {
    memory::few_arenas();
    let tokio = tokio::runtime::Builder::new_multi_thread()
        // A slow subscriber may block the publisher, and its worker thread with it; probes and timers must still be served.
        .worker_threads(4)
        .thread_name("io")
        .enable_all()
        .build()
        .context("starting tokio")
        .map_err(RunError::Internal)?;
    let result = tokio.block_on(live(ready, origin, more));
    // Tasks that still hang (in a driver, a name server) must not delay the exit.
    tokio.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn live(
    ready: Ready,
    origin: Origin,
    more: impl FnOnce(Requests) -> Vec<Box<dyn Publisher>>,
) -> Result<RunSummary, RunError> {
    let Ready { config, weights, stamp, streams: mut starts } = ready;
    let mut signals = Signals::install().context("listening for signals").map_err(RunError::Internal)?;
    let hangups = Hangups::install().context("listening for signals").map_err(RunError::Internal)?;
    let metrics = Metrics::new();
    let stall = Duration::from_secs_f64(config.runtime.stall_seconds);
    let heartbeats = Heartbeats::new(stall);
    let _watchdog = watchdog::start(heartbeats.clone()).map_err(RunError::Internal)?;
    let _workers = watchdog::show_tokio(heartbeats.stage("network threads"), stall);
    let health = Arc::new(Health::new(config.streams.keys().cloned(), heartbeats.clone()));
    let (end_admin, admin) = open_admin(&config, &health, &metrics)?;

    let EngineThread { mut loaded, start, end } = {
        let heartbeat = heartbeats.stage("engine");
        engine_thread::spawn(config.model.clone(), weights, config.tracker.clone(), heartbeat, metrics.clone())
            .map_err(RunError::Internal)?
    };
    let about = tokio::select! {
        about = &mut loaded => about,
        signal = signals.next() => {
            info!("{} while loading: nothing to drain", signal.name);
            return Ok(RunSummary::default());
        }
    };
    let about = match about {
        Ok(Ok(about)) => about,
        Ok(Err(error)) => return Err(refused_model(error)),
        // The thread ended before it could tell: `end` says why.
        Err(_) => return Err(fatal(end.await)),
    };
    health.model_loaded(&about.model);

    let (requests, prompts, reloads) = Requests::channel();
    let mut publisher = Publishers::default();
    let (resolved, model) = (config.redacted(), &about.model);
    let zenoh = ZenohPublisher::open(&config.publish, &resolved, model, requests.clone(), metrics.clone(), &heartbeats);
    publisher.add(Box::new(zenoh.await.map_err(refused_publisher)?));
    for one in more(requests) {
        one.tell_config(&resolved);
        info!("publishing over {} too", one.name());
        publisher.add(one);
    }
    let (commands, command_queue) = mpsc::channel(engine_command::WAITING_COMMANDS);
    let (tell_outcome, outcomes) = mpsc::channel(model_swap::WAITING_OUTCOMES);
    let stamps = (reload::file_stamp(&origin), stamp);
    let reload = Reload::new(config.clone(), &starts, stamps, origin, commands.clone(), tell_outcome.clone());
    let mut streams = Vec::new();
    for (name, stream) in &config.streams {
        let Some(start) = starts.remove(name) else { continue };
        let output = StreamOutput::new(publisher.stream(name.clone()).await.map_err(refused_publisher)?);
        let entry = Entry::new(stream.clone(), start, &config.tracker);
        let entry = entry.with_context(|| format!("streams.{name}")).map_err(RunError::Config)?;
        streams.push((name.clone(), entry, output));
    }
    health.publisher_open(true);

    let (mailbox, outputs) = (Mailbox::new(metrics.clone()), StreamOutputs::default());
    let wiring = Wiring {
        mailbox: mailbox.clone(),
        resolution: about.resolution,
        commands,
        outputs: outputs.clone(),
        health: health.clone(),
        metrics: metrics.clone(),
    };
    let (mut cameras, events) = Cameras::new(wiring);
    cameras.once(reload::plays_once(&config));
    let (results, waiting) = mpsc::channel((2 * config.streams.len()).max(WAITING_RESULTS));
    let publishing = heartbeats.stage("publisher");
    let publisher_notifier = publishing.notifier();
    let publish_task = tokio::spawn(publish_task::publish_all(waiting, outputs, metrics.clone(), publishing));
    let (drain, abandon) = (CancellationToken::new(), CancellationToken::new());
    let work = Work {
        mailbox,
        max_batch: config.runtime.max_batch,
        overload: config.overload.clone(),
        commands: command_queue,
        tell: cameras.teller(),
        prompts,
        results,
        publisher: publisher_notifier,
        swap: ModelSwap::new(tell_outcome),
        drain: drain.clone(),
        abandon: abandon.clone(),
    };
    if start.send(work).is_err() {
        return Err(fatal(end.await));
    }

    for (name, entry, output) in streams {
        cameras.add(&name, entry, output).with_context(|| format!("streams.{name}")).map_err(RunError::Config)?;
    }
    let keys = format!("maskd/v1/{}/*/masks", config.publish.site);
    info!(model = about.model, device = about.device, streams = config.streams.len(), "ready; publishing on {keys}");
    service::ready(&format!("{} streams starting", config.streams.len()));

    let (status_every, grace) = (Duration::from_secs_f64(config.runtime.status_seconds), config.runtime.grace());
    let (end, publish_task) = (Some(end), Some(publish_task));
    let heartbeat = heartbeats.stage("supervisor");
    let mut daemon = Daemon {
        signals,
        hangups,
        reload,
        publisher,
        cameras,
        events,
        outcomes,
        reloads,
        health,
        heartbeat,
        end,
        publish_task,
        drain,
        abandon,
    };
    let why = daemon.watch(status_every).await;
    let forced = daemon.stop(&why, grace).await;

    // Whatever an engine or a task that died had in hand is lost, as is what the grace time was too short for.
    let lost = forced || matches!(why, Why::Fatal(_));
    let summary = RunSummary { streams: daemon.cameras.close(lost) };
    daemon.cameras.report();
    let fault = daemon.cameras.fault().map(|(stream, why)| anyhow!("streams.{stream}: {why}"));
    let publisher = daemon.end();
    let name = publisher.name().to_owned();
    if timeout(Duration::from_secs(3), Box::new(publisher).close()).await.is_err() {
        warn!("{name} did not close in time");
    }
    drop(end_admin);
    if let Some(admin) = admin {
        let _ = timeout(Duration::from_secs(1), admin).await;
    }
    match (why, fault) {
        (Why::Fatal(error), _) => Err(RunError::Engine(error)),
        (Why::Done, Some(fault)) => Err(RunError::Data(fault)),
        _ => Ok(summary),
    }
}

/// The task that answers the probes.
type Serving = JoinHandle<std::io::Result<()>>;

/// Serves the probes from now on, so that they can say "not yet". Dropping the sender ends it.
fn open_admin(
    config: &Config,
    health: &Arc<Health>,
    metrics: &Metrics,
) -> Result<(watch::Sender<()>, Option<Serving>), RunError> {
    let (end, mut ended) = watch::channel(());
    let Listen::At(address) = config.admin.listen else { return Ok((end, None)) };
    let bind = || -> std::io::Result<tokio::net::TcpListener> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(listener)
    };
    let listener = bind()
        .with_context(|| format!("admin.listen = \"{address}\": choose another, or \"off\""))
        .map_err(RunError::Unavailable)?;
    let address = listener.local_addr().context("admin.listen").map_err(RunError::Unavailable)?;
    info!("health and metrics on http://{address}/");
    let stop = async move { while ended.changed().await.is_ok() {} };
    Ok((end, Some(tokio::spawn(admin::serve(listener, health.clone(), metrics.clone(), stop)))))
}

/// Weights that cannot be used are an error of the input ([`RunError::Data`]); everything else about the model is one of the
/// configuration.
fn refused_model(error: anyhow::Error) -> RunError {
    match error.chain().any(|cause| cause.is::<WeightsError>()) {
        true => RunError::Data(error),
        false => RunError::Config(error),
    }
}

/// What the configuration says wrong is a setting; everything else that keeps zenoh from opening may pass.
fn refused_publisher(error: PublishError) -> RunError {
    match error {
        PublishError::Config(_) | PublishError::File { .. } => RunError::Config(error.into()),
        _ => RunError::Unavailable(error.into()),
    }
}

fn fatal(end: Result<anyhow::Result<()>, oneshot::error::RecvError>) -> RunError {
    RunError::Engine(daemon::why_ended(end))
}
