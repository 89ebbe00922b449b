//! The configuration, read again while the daemon runs: all of it is checked before any of it is done, and what is wrong
//! leaves everything as it was.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context as _, Result, bail};
use tracing::{error, info, warn};

use super::{
    changes::Changes,
    fleet::{Entry, Fleet},
    outbox::Desk,
};
use crate::{
    config::{Config, StreamConfig},
    ingest::{Camera, Kind},
    mask::LabelMap,
    publish::Publisher,
};

/// Where the configuration came from.
pub struct Origin {
    /// The file, if it was one: read again when it changes.
    pub file: Option<PathBuf>,
    /// Reads it again, with everything that was said beside it.
    pub read: Box<dyn Fn() -> Result<Config> + Send + Sync>,
}

/// What tells one content of a file from another without reading it.
type Stamp = (SystemTime, u64);

/// The running configuration and its origin.
pub(super) struct Reload {
    running: Config,
    origin: Origin,
    /// As of the last reading.
    read: Option<Stamp>,
    /// As of the last look.
    seen: Option<Stamp>,
}

impl Reload {
    pub(super) fn new(running: Config, origin: Origin) -> Self {
        let stamp = origin.file.as_deref().and_then(stamp);
        Self { running, origin, read: stamp, seen: stamp }
    }

    /// Whether the file is another than was read, and is not being written: two looks in a row found the same.
    pub(super) fn file_changed(&mut self) -> bool {
        if !self.running.runtime.reload_on_change {
            return false;
        }
        // A file that is gone for a moment is being replaced.
        let Some(now) = self.origin.file.as_deref().and_then(stamp) else { return false };
        let steady = self.seen.replace(now) == Some(now);
        steady && self.read != Some(now)
    }

    /// Reads the configuration and does what has changed of its streams. What is wrong is logged, and changes nothing.
    pub(super) async fn reload(&mut self, fleet: &mut Fleet, publisher: &Publisher) {
        self.read = self.origin.file.as_deref().and_then(stamp);
        self.seen = self.read;
        let new = match (self.origin.read)() {
            Ok(new) => new,
            Err(error) => return error!("the configuration is refused, the old one goes on: {error:#}"),
        };
        let changes = Changes::between(&self.running, &new);
        if !changes.waiting.is_empty() {
            warn!("changed, but not before a restart: [{}]", changes.waiting.join("], ["));
        }
        if !changes.any() {
            return info!("the configuration was read again: no stream has changed");
        }
        match prepare(&self.running, &new, &changes, fleet, publisher).await {
            Ok(plan) => self.carry_out(plan, new, &changes, fleet),
            Err(error) => return error!("the configuration is refused, the old one goes on: {error:#}"),
        }
        publisher.tell_config(&self.running.redacted());
        let Changes { added, removed, changed, weighed, .. } = &changes;
        info!(?added, ?removed, ?changed, ?weighed, "the configuration was read again");
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
type Plan = Vec<(crate::frame::StreamId, Entry, Option<Desk>)>;

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
