//! The configuration, read again while the daemon runs: all of it is checked before any of it is done, and what is wrong
//! leaves everything as it was.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context as _, Result, bail};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::{
    changes::{Changes, network_of},
    engine_thread::Orders,
    exchange::{self, Outcome},
    fleet::{Entry, Fleet},
    outbox::Desk,
};
use crate::config::{Config, StreamConfig};
use maskd_ingest::{Camera, Kind};
use maskd_model::{Choice, backbone::BackboneConfig};
use maskd_protocol::wire::Reloaded;
use maskd_transport::Publisher;
use maskd_types::{frame::Resolution, mask::LabelMap};

/// Where the configuration came from.
pub struct Origin {
    /// The file, if it was one: read again when it changes.
    pub file: Option<PathBuf>,
    /// Reads it again, with everything that was said beside it.
    pub read: Box<dyn Fn() -> Result<Config> + Send + Sync>,
}

/// What tells one content of a file from another without reading it.
type Stamp = (SystemTime, u64);

/// The configuration's file, and that of the weights it names.
type Stamps = (Option<Stamp>, Option<Stamp>);

/// The running configuration and its origin.
pub(super) struct Reload {
    running: Config,
    origin: Origin,
    /// The weights that were last asked for, whether or not they could be used.
    weights: Option<PathBuf>,
    /// The file of the weights that were last loaded, used or not.
    loaded: Option<Stamp>,
    /// As of the last reading.
    read: Stamps,
    /// As of the last look.
    seen: Stamps,
    /// The network that is being loaded or on probation, and the one to go back to.
    network: Option<(BackboneConfig, BackboneConfig)>,
    orders: Orders,
    tell: mpsc::Sender<Outcome>,
}

impl Reload {
    /// What becomes of another network is told to `tell`; `orders` are the engine's.
    pub(super) fn new(running: Config, origin: Origin, orders: Orders, tell: mpsc::Sender<Outcome>) -> Self {
        let weights = running.model.weights.clone();
        let none = (None, None);
        let mut reload =
            Self { running, origin, weights, loaded: None, read: none, seen: none, network: None, orders, tell };
        reload.note();
        reload.loaded = reload.read.1;
        reload
    }

    /// The files are as they were read.
    fn note(&mut self) {
        self.read = self.stamps();
        self.seen = self.read;
    }

    fn stamps(&self) -> Stamps {
        let weights = match Choice::of(self.weights.as_deref()) {
            Ok(Choice::File(path)) => stamp(&path),
            _ => None,
        };
        (self.origin.file.as_deref().and_then(stamp), weights)
    }

    /// Whether a file is another than was read, and is not being written: two looks in a row found the same.
    pub(super) fn file_changed(&mut self) -> bool {
        if !self.running.runtime.reload_on_change {
            return false;
        }
        let now = self.stamps();
        // A file that is gone for a moment is being replaced.
        let gone = |now: Option<Stamp>, read: Option<Stamp>| now.is_none() && read.is_some();
        if gone(now.0, self.read.0) || gone(now.1, self.read.1) {
            return false;
        }
        let steady = std::mem::replace(&mut self.seen, now) == now;
        steady && self.read != now
    }

    /// Reads the configuration and does what has changed of its streams and weights; says what that is. What is wrong is
    /// logged, and changes nothing.
    ///
    /// # Errors
    /// Why the configuration is refused, on one line.
    pub(super) async fn reload(&mut self, fleet: &mut Fleet, publisher: &Publisher) -> Result<Reloaded, String> {
        let done = self.try_reload(fleet, publisher).await;
        done.map_err(|error| {
            error!("the configuration is refused, the old one goes on: {error:#}");
            format!("{error:#}")
        })
    }

    async fn try_reload(&mut self, fleet: &mut Fleet, publisher: &Publisher) -> Result<Reloaded> {
        self.note();
        let new = (self.origin.read)()?;
        let mut changes = Changes::between(&self.running, &new);
        self.weights = new.model.weights.clone();
        self.note();
        changes.network |= self.read.1 != self.loaded;
        if !changes.waiting.is_empty() {
            warn!("changed, but not before a restart: [{}]", changes.waiting.join("], ["));
        }
        if changes.any() {
            let plan = prepare(&self.running, &new, &changes, fleet, publisher).await?;
            if changes.network {
                self.load(network_of(&self.running.model, &new.model));
            }
            self.carry_out(plan, new, &changes, fleet);
            publisher.tell_config(&self.running.redacted());
            let Changes { added, removed, changed, weighed, .. } = &changes;
            info!(?added, ?removed, ?changed, ?weighed, "the configuration was read again");
        } else {
            info!("the configuration was read again: nothing has changed");
        }
        let Changes { added, removed, changed, weighed, network, waiting } = changes;
        Ok(Reloaded { added, removed, changed, weighed, weights: network, waiting })
    }

    fn load(&mut self, model: BackboneConfig) {
        if self.network.is_some() {
            return error!("weights are still being loaded or on probation: read the configuration again after that");
        }
        self.loaded = self.read.1;
        let tracker = self.running.tracker.clone();
        match exchange::start(model.clone(), tracker, self.orders.clone(), self.tell.clone()) {
            Ok(()) => {
                info!("other weights are being loaded; the old ones go on meanwhile");
                self.network = Some((model, self.running.model.clone()));
            }
            Err(error) => error!("the weights are refused, the old ones go on: {error:#}"),
        }
    }

    /// Takes note of what became of another network; returns what is now different for all: the weights' name, and how
    /// large frames are wanted.
    pub(super) fn conclude(&mut self, outcome: Outcome, publisher: &Publisher) -> Option<(String, Resolution)> {
        match outcome {
            Outcome::Refused(error) => {
                self.network = None;
                error!("the weights are refused, the old ones go on: {error:#}");
                None
            }
            Outcome::Taken { model, resolution } => {
                info!(
                    model,
                    "the weights were exchanged; the old ones are kept until the new ones have proved themselves"
                );
                if let Some((new, _)) = &self.network {
                    self.running.model = new.clone();
                }
                publisher.tell_config(&self.running.redacted());
                Some((model, resolution))
            }
            Outcome::Kept => {
                self.network = None;
                info!("the new weights are kept");
                None
            }
            Outcome::RolledBack { model, resolution, why } => {
                error!(model, "the new weights have failed, the old ones are back: {why}");
                if let Some((_, old)) = self.network.take() {
                    self.running.model = old;
                }
                publisher.tell_config(&self.running.redacted());
                Some((model, resolution))
            }
        }
    }

    fn carry_out(&mut self, plan: Plan, new: Config, changes: &Changes, fleet: &mut Fleet) {
        self.running.streams = new.streams;
        fleet.once(plays_once(&self.running));
        changes.removed.iter().for_each(|name| fleet.remove(name));
        for (name, entry, desk) in plan {
            match desk {
                None => fleet.change(&name, entry),
                Some(desk) => {
                    if let Err(error) = fleet.add(&name, entry, desk) {
                        error!(stream = %name, "cannot be started: {error:#}");
                    }
                }
            }
        }
        for name in &changes.weighed {
            if let Some(stream) = self.running.streams.get(name) {
                fleet.weigh(name, stream.weight);
            }
        }
    }
}

/// Streams to take up (with a desk) or to run anew.
type Plan = Vec<(maskd_types::frame::StreamId, Entry, Option<Desk>)>;

/// Everything that can be refused.
async fn prepare(old: &Config, new: &Config, changes: &Changes, fleet: &Fleet, publisher: &Publisher) -> Result<Plan> {
    let mut plan = Plan::new();
    for name in changes.added.iter().chain(&changes.changed) {
        let Some(config) = new.streams.get(name) else { bail!("This is a bug: no stream {name}") };
        let what = || format!("streams.{name}");
        Camera::check(&config.source).with_context(what)?;
        let was = old.streams.get(name).and_then(|stream| stream.first_mask.as_ref());
        // A mask that was there before has had its frame.
        let first_mask = match &config.first_mask {
            Some(path) if was != Some(path) => Some(read_mask(path).with_context(what)?),
            _ => None,
        };
        plan.push((name.clone(), Entry { config: config.clone(), first_mask }, None));
    }
    // Last, since the network sees it. A stream on its way out still has its desk.
    for (name, _, desk) in plan.iter_mut().filter(|(name, ..)| !fleet.has(name)) {
        *desk = Some(Desk::new(publisher.stream(name.clone()).await.with_context(|| format!("streams.{name}"))?));
    }
    Ok(plan)
}

/// What a stream starts from.
pub(super) fn entry(config: &StreamConfig) -> Result<Entry> {
    let first_mask = config.first_mask.as_deref().map(read_mask).transpose()?;
    Ok(Entry { config: config.clone(), first_mask })
}

fn read_mask(path: &Path) -> Result<LabelMap> {
    LabelMap::read_png(path).context("first_mask")
}

/// Whether the daemon ends with its sources: all are files that do not loop.
pub(super) fn plays_once(config: &Config) -> bool {
    let ends = |stream: &StreamConfig| stream.source.kind == Some(Kind::File) && !stream.source.repeat;
    config.runtime.exit_when_done && config.streams.values().all(ends)
}

fn stamp(file: &Path) -> Option<Stamp> {
    let about = fs::metadata(file).ok()?;
    Some((about.modified().ok()?, about.len()))
}
