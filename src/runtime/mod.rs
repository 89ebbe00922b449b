//! The daemon, put together. This is the only place that wires, and the only one that starts long-lived threads.
//!
//! ```text
//! cam-NAME (one each) -> Inbox (newest frame of each) -> engine (device, trackers) -> bounded -> outbox (tokio) -> zenoh
//!         \-> news -> this task: events, status, health            ^-- prompts (bounded) <-- zenoh
//! ```
//!
//! A frame is lost in one of few places, each counted ([`crate::metrics::DROPS`]): `captured = published + dropped{stage,
//! cause} + in flight` at every moment, with nothing in flight once the daemon has ended ([`ledger`]). The engine never waits for the network. Stopping goes along the flow: cameras first, then the
//! mailbox is emptied, then the outbox, then zenoh is closed; all within the grace time.

mod daemon;
mod engine_thread;
mod fleet;
pub mod ledger;
mod outbox;
mod preview;
mod rate;
mod service;
mod signals;
mod turns;

use std::{collections::HashMap, net::TcpListener, sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};
use tracing::{info, warn};

pub use ledger::Summary;

use crate::{
    admin::{self, Health, Listen},
    config::{Config, StreamConfig},
    frame::StreamId,
    ingest::{Camera, Inbox, Kind, Stop},
    mask::LabelMap,
    metrics::Metrics,
    model::WeightsError,
    publish::{PublishError, Publisher},
};
use daemon::{Daemon, Why};
use engine_thread::{EngineThread, Work};
use fleet::Fleet;
use outbox::{Desk, Desks};
use signals::Signals;
use turns::Turns;

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

/// Runs the daemon until a signal comes or, where so configured, all sources have ended.
///
/// # Errors
/// What kept it from starting; a fatal fault of the engine; a file, played once, that could not be played to its end.
pub fn run(config: Config) -> Result<Summary, RunError> {
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("io")
        .enable_all()
        .build()
        .context("starting tokio")
        .map_err(RunError::Internal)?;
    let result = tokio.block_on(live(config));
    // Whatever still hangs (a driver, a name server) must not hold up the exit.
    tokio.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn live(config: Config) -> Result<Summary, RunError> {
    let mut signals = Signals::install().context("listening for signals").map_err(RunError::Internal)?;
    let metrics = Metrics::new();
    let stall = Duration::from_secs_f64(config.runtime.stall_seconds);
    let health = Arc::new(Health::new(config.streams.keys().cloned(), stall));
    let first_masks = read_first_masks(&config)?;
    let (end_admin, admin) = open_admin(&config, &health, &metrics)?;

    let EngineThread { mut loaded, start, end } =
        engine_thread::spawn(config.model.clone(), config.tracker.clone(), health.clone(), metrics.clone())
            .map_err(RunError::Internal)?;
    let about = tokio::select! {
        about = &mut loaded => about,
        signal = signals.next() => {
            info!("{} while loading: nothing to drain", signal.name);
            return Ok(Summary::default());
        }
    };
    let about = match about {
        Ok(Ok(about)) => about,
        Ok(Err(error)) => return Err(refused_model(error)),
        // The thread ended without a word: its end tells why.
        Err(_) => return Err(fatal(end.await)),
    };
    health.model_loaded(&about.model);

    let inbox = Inbox::new(metrics.clone());
    let mut cameras = Vec::new();
    for (name, stream) in &config.streams {
        let outlet = inbox.add_stream(name);
        let camera = Camera::new(name.clone(), stream.source.clone(), about.resolution, outlet, metrics.clone())
            .with_context(|| format!("streams.{name}"))
            .map_err(RunError::Config)?;
        cameras.push((name, stream, camera));
    }

    let (publisher, prompts) = Publisher::open(&config.publish, &config.redacted(), &about.model, metrics.clone())
        .await
        .map_err(refused_publisher)?;
    let mut desks = HashMap::new();
    for name in config.streams.keys() {
        let stream = publisher.stream(name.clone()).await.map_err(refused_publisher)?;
        desks.insert(name.clone(), Desk::new(stream));
        let _known_at_zero = metrics.book(name);
    }
    let desks: Desks = Arc::new(desks);
    health.publisher_open(true);

    let once = config.runtime.exit_when_done
        && config.streams.values().all(|s| s.source.kind == Some(Kind::File) && !s.source.repeat);
    let (mut fleet, news) = Fleet::new(desks.clone(), health.clone(), metrics.clone());
    let (results, waiting) = mpsc::channel((2 * config.streams.len()).max(4));
    let outbox = tokio::spawn(outbox::publish_all(waiting, desks.clone(), metrics.clone()));
    let (drain, abandon) = (Stop::new(), Stop::new());
    let work = Work {
        inbox: inbox.clone(),
        turns: Turns::new(config.streams.iter().map(|(name, stream)| (name.clone(), stream.weight))),
        max_batch: config.runtime.max_batch,
        first_masks,
        tell: fleet.teller(),
        prompts,
        results,
        drain: drain.clone(),
        abandon: abandon.clone(),
    };
    if start.send(work).is_err() {
        return Err(fatal(end.await));
    }

    for (name, stream, camera) in cameras {
        fleet.start(name, &stream.source, camera, once).map_err(RunError::Internal)?;
    }
    let keys = format!("maskd/v1/{}/*/masks", config.publish.site);
    info!(model = about.model, device = about.device, streams = config.streams.len(), "ready; publishing on {keys}");
    service::ready(&format!("{} streams starting", config.streams.len()));

    let mut daemon =
        Daemon { signals, fleet, news, health, once, end: Some(end), outbox: Some(outbox), drain, abandon };
    let why = daemon.watch(Duration::from_secs_f64(config.runtime.status_seconds)).await;
    let forced = daemon.stop(&why, config.runtime.grace()).await;

    // What still waits in the mailbox is dropped for stopping.
    config.streams.keys().for_each(|name| inbox.remove_stream(name));
    // Whatever an engine or a task that died had in hand is lost, as is what the grace time was too short for.
    let lost = forced || matches!(why, Why::Fatal(_));
    let close = |name: &StreamId| {
        let book = ledger::close(&metrics, name, lost);
        info!(stream = %name, captured = book.captured, published = book.published, dropped = book.dropped(), "stream done");
        (name.clone(), book)
    };
    let summary = Summary { streams: config.streams.keys().map(close).collect() };
    daemon.fleet.report();
    let fault = daemon.fleet.fault().map(|(stream, why)| anyhow!("streams.{stream}: {why}"));
    drop((daemon, desks));
    if timeout(Duration::from_secs(3), publisher.close()).await.is_err() {
        warn!("zenoh did not close in time");
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

/// What each stream starts from.
fn read_first_masks(config: &Config) -> Result<Vec<(StreamId, Option<LabelMap>)>, RunError> {
    let read = |(name, stream): (&StreamId, &StreamConfig)| {
        let labels = stream.first_mask.as_ref().map(|path| LabelMap::read_png(path)).transpose();
        labels.map(|labels| (name.clone(), labels)).with_context(|| format!("streams.{name}.first_mask"))
    };
    config.streams.iter().map(read).collect::<anyhow::Result<_>>().map_err(RunError::Data)
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

/// Weights that cannot be used are data; everything else about the model is a setting.
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
