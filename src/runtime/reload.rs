//! The configuration, read again while the daemon runs: all of it is checked before any of it is done, and what is wrong
//! leaves everything as it was.
//!
//! Reading looks at files that may be anywhere, on a share that is gone too. So it is done beside this task
//! ([`BackgroundTask`]), which has signals and probes to answer.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::{
    background_task::{BackgroundTask, Busy},
    cameras::Cameras,
    changes::{Changes, network_of},
    engine_command::CommandSender,
    entry::Entry,
    model_swap::{self, Outcome},
    stream_output::StreamOutput,
};
use crate::config::{Config, Ready, Start};
use maskd_model::{Checkpoint, WeightsSource, backbone::BackboneConfig};
use maskd_protocol::wire::Reloaded;
use maskd_tracking::tracker::TrackerConfig;
use maskd_transport::{Publisher as _, Publishers};
use maskd_types::{
    files::{self, Stamp},
    frame::{Resolution, StreamId},
};

/// How long reading may take: that of the largest weights from a slow disk.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// Where the configuration came from.
pub struct Origin {
    /// The file, if it was one: read again when it changes.
    pub file: Option<PathBuf>,
    /// Reads it again, with everything that was said beside it, and looks at all that it names. May block.
    pub read: Box<dyn Fn() -> Read + Send + Sync>,
}

/// What came of reading the configuration.
pub struct Read {
    /// The weights that it names, whether or not they can be used.
    pub weights: Option<PathBuf>,
    /// The configuration, or every fault on its line.
    pub outcome: Result<Ready, Vec<String>>,
}

/// Who wants to know what came of a reload.
pub(super) type Asker = oneshot::Sender<Result<Reloaded, String>>;

/// The configuration's file, and that of the weights it names.
type Stamps = (Option<Stamp>, Option<Stamp>);

/// What a background task has come to.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and it is taken apart at once")]
pub(super) enum ReloadEvent {
    /// A file is another than was read, and is not being written: two looks in a row found the same.
    Changed,
    /// The configuration was read, or reading it hangs.
    Read(Result<(Stamps, Read), String>),
}

/// The running configuration and its origin.
pub(super) struct Reload {
    running: Config,
    /// What the first masks of its streams say.
    masks: BTreeMap<StreamId, u64>,
    origin: Arc<Origin>,
    /// The weights that were last asked for, whether or not they could be used.
    weights: Option<PathBuf>,
    /// The file of the weights that were last loaded, used or not.
    loaded: Option<Stamp>,
    /// As of the last reading.
    read: Stamps,
    /// As of the last look.
    seen: Stamps,
    reading: BackgroundTask<(Stamps, Read)>,
    looking: BackgroundTask<Stamps>,
    /// Who waits for the reading that is under way.
    asked: Vec<Asker>,
    /// Who asked since it began: the file may have changed under it, so it is read once more.
    asked_since: Option<Vec<Asker>>,
    /// The network that is being loaded or on probation, and the one to go back to.
    network: Option<(BackboneConfig, BackboneConfig)>,
    commands: CommandSender,
    tell: mpsc::Sender<Outcome>,
}

impl Reload {
    /// What becomes of another network is told to `tell`; `commands` are the engine's. `stamps` are those of the files that
    /// `running` was read from.
    pub(super) fn new(
        running: Config,
        starts: &BTreeMap<StreamId, Start>,
        stamps: Stamps,
        origin: Origin,
        commands: CommandSender,
        tell: mpsc::Sender<Outcome>,
    ) -> Self {
        Self {
            weights: running.model.weights.clone(),
            running,
            masks: fingerprints(starts),
            origin: Arc::new(origin),
            loaded: stamps.1,
            read: stamps,
            seen: stamps,
            reading: BackgroundTask::new(READ_WITHIN),
            looking: BackgroundTask::new(READ_WITHIN),
            asked: Vec::new(),
            asked_since: None,
            network: None,
            commands,
            tell,
        }
    }

    /// Looks, beside, whether a file has changed.
    pub(super) fn look(&mut self) {
        if !self.running.runtime.reload_on_change {
            return;
        }
        let (origin, weights) = (self.origin.clone(), self.weights.clone());
        // One that is under way, or hangs, was told of.
        let _ = self.looking.begin(move || (file_stamp(&origin), weights_stamp(weights.as_deref())));
    }

    /// Reads the configuration, beside; `askers` are told what comes of it.
    pub(super) fn begin(&mut self, askers: Vec<Asker>) {
        let (origin, weights) = (self.origin.clone(), self.weights.clone());
        let work = move || {
            // Before it is read: what is written meanwhile is a change.
            let stamps = (file_stamp(&origin), weights_stamp(weights.as_deref()));
            let read = (origin.read)();
            let of_weights = match &read.outcome {
                Ok(ready) => ready.stamp,
                Err(_) => weights_stamp(read.weights.as_deref()),
            };
            ((stamps.0, of_weights), read)
        };
        match self.reading.begin(work) {
            Ok(()) => self.asked.extend(askers),
            Err(Busy::Working) => self.asked_since.get_or_insert_default().extend(askers),
            Err(Busy::Hanging(why)) => answer(askers, &refused(vec![why])),
        }
    }

    /// What a background task has come to, once it has.
    pub(super) async fn next(&mut self) -> ReloadEvent {
        loop {
            tokio::select! {
                read = self.reading.done() => return ReloadEvent::Read(read),
                looked = self.looking.done() => match looked {
                    Ok(stamps) if self.changed(stamps) => return ReloadEvent::Changed,
                    Ok(_) => {}
                    Err(why) => warn!("changes of files are not seen: {why}"),
                },
            }
        }
    }

    fn changed(&mut self, now: Stamps) -> bool {
        // A file that is gone for a moment is being replaced.
        let gone = |now: Option<Stamp>, read: Option<Stamp>| now.is_none() && read.is_some();
        if gone(now.0, self.read.0) || gone(now.1, self.read.1) {
            return false;
        }
        let steady = std::mem::replace(&mut self.seen, now) == now;
        steady && self.read != now
    }

    /// Does what has changed of the configuration's streams and weights, and tells who asked what that is. What is wrong is
    /// logged, and changes nothing.
    pub(super) async fn conclude_reading(
        &mut self,
        read: Result<(Stamps, Read), String>,
        cameras: &mut Cameras,
        publisher: &Publishers,
    ) {
        let done = match read {
            Err(why) => {
                // Tried once for each change of a file.
                self.read = self.seen;
                refused(vec![why])
            }
            Ok((stamps, Read { weights, outcome })) => {
                (self.read, self.seen, self.weights) = (stamps, stamps, weights);
                match outcome {
                    Err(faults) => refused(faults),
                    Ok(ready) => {
                        self.take_up(ready, cameras, publisher).await.or_else(|e| refused(vec![format!("{e:#}")]))
                    }
                }
            }
        };
        answer(std::mem::take(&mut self.asked), &done);
        if let Some(since) = self.asked_since.take() {
            self.begin(since);
        }
    }

    async fn take_up(&mut self, ready: Ready, cameras: &mut Cameras, publisher: &Publishers) -> Result<Reloaded> {
        let Ready { config: new, weights, streams: starts, .. } = ready;
        let mut changes = Changes::between(&self.running, &new);
        changes.network |= self.read.1 != self.loaded;
        let masks = fingerprints(&starts);
        // The same name, another mask.
        let redrawn = |name: &&StreamId| self.masks.contains_key(*name) && self.masks.get(*name) != masks.get(*name);
        let redrawn: Vec<_> = masks.keys().filter(redrawn).filter(|name| !changes.changed.contains(name)).collect();
        changes.weighed.retain(|name| !redrawn.contains(&name));
        changes.changed.extend(redrawn.into_iter().cloned());
        if !changes.waiting.is_empty() {
            warn!("changed, but not before a restart: [{}]", changes.waiting.join("], ["));
        }
        if changes.any() {
            let plan = prepare(&new, &self.running.tracker, starts, &changes, cameras, publisher).await?;
            if changes.network {
                self.load(network_of(&self.running.model, &new.model), weights);
            }
            self.masks = masks;
            self.carry_out(plan, new, &changes, cameras);
            publisher.tell_config(&self.running.redacted());
            let Changes { added, removed, changed, weighed, .. } = &changes;
            info!(?added, ?removed, ?changed, ?weighed, "the configuration was read again");
        } else {
            info!("the configuration was read again: nothing has changed");
        }
        let Changes { added, removed, changed, weighed, network, waiting } = changes;
        Ok(Reloaded { added, removed, changed, weighed, weights: network, waiting })
    }

    fn load(&mut self, model: BackboneConfig, weights: Checkpoint) {
        if self.network.is_some() {
            return error!("weights are still being loaded or on probation: read the configuration again after that");
        }
        self.loaded = self.read.1;
        let tracker = self.running.tracker.clone();
        match model_swap::start(model.clone(), weights, tracker, self.commands.clone(), self.tell.clone()) {
            Ok(()) => {
                info!("other weights are being loaded; the old ones go on meanwhile");
                self.network = Some((model, self.running.model.clone()));
            }
            Err(error) => error!("the weights are refused, the old ones go on: {error:#}"),
        }
    }

    /// Takes note of what became of another network; returns what is now different for all: the weights' name, and how
    /// large frames are wanted.
    pub(super) fn conclude(&mut self, outcome: Outcome, publisher: &Publishers) -> Option<(String, Resolution)> {
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

    fn carry_out(&mut self, plan: StreamsToStart, new: Config, changes: &Changes, cameras: &mut Cameras) {
        self.running.streams = new.streams;
        cameras.once(plays_once(&self.running));
        changes.removed.iter().for_each(|name| cameras.remove(name));
        for (name, entry, output) in plan {
            match output {
                None => cameras.change(&name, entry),
                Some(output) => {
                    if let Err(error) = cameras.add(&name, entry, output) {
                        error!(stream = %name, "cannot be started: {error:#}");
                    }
                }
            }
        }
        for name in &changes.weighed {
            // What cannot be was refused before.
            let stream = self.running.streams.get(name);
            if let Some(settings) = stream.and_then(|stream| stream.settings(&self.running.tracker).ok()) {
                cameras.configure(name, settings);
            }
        }
    }
}

/// Streams to take up (with an output) or to run anew.
type StreamsToStart = Vec<(StreamId, Entry, Option<StreamOutput>)>;

/// What is still to be had before anything is done.
async fn prepare(
    new: &Config,
    defaults: &TrackerConfig,
    mut starts: BTreeMap<StreamId, Start>,
    changes: &Changes,
    cameras: &Cameras,
    publisher: &Publishers,
) -> Result<StreamsToStart> {
    let mut plan = StreamsToStart::new();
    for name in changes.added.iter().chain(&changes.changed) {
        let (Some(config), Some(start)) = (new.streams.get(name), starts.remove(name)) else {
            bail!("This is a bug: no stream {name}")
        };
        let entry = Entry::new(config.clone(), start, defaults).with_context(|| format!("streams.{name}"))?;
        plan.push((name.clone(), entry, None));
    }
    // Last, since the network sees it. A stream on its way out still has its output.
    for (name, _, output) in plan.iter_mut().filter(|(name, ..)| !cameras.has(name)) {
        *output =
            Some(StreamOutput::new(publisher.stream(name.clone()).await.with_context(|| format!("streams.{name}"))?));
    }
    Ok(plan)
}

/// Logs the faults, each on its line, and gathers them for who asked.
fn refused(faults: Vec<String>) -> Result<Reloaded, String> {
    for fault in &faults {
        error!("the configuration is refused, the old one goes on: {fault}");
    }
    Err(faults.join("\n"))
}

fn answer(askers: Vec<Asker>, done: &Result<Reloaded, String>) {
    for asker in askers {
        // Who asked may have gone.
        let _ = asker.send(done.clone());
    }
}

fn fingerprints(starts: &BTreeMap<StreamId, Start>) -> BTreeMap<StreamId, u64> {
    let fingerprint =
        |(name, start): (&StreamId, &Start)| Some((name.clone(), start.first_mask.as_ref()?.fingerprint()));
    starts.iter().filter_map(fingerprint).collect()
}

/// Whether the daemon ends with its sources: all are files that do not loop.
pub(super) fn plays_once(config: &Config) -> bool {
    config.runtime.exit_when_done && config.streams.values().all(|stream| stream.source.plays_once())
}

/// The stamp of the configuration's file.
pub(super) fn file_stamp(origin: &Origin) -> Option<Stamp> {
    origin.file.as_deref().and_then(files::stamp)
}

fn weights_stamp(weights: Option<&Path>) -> Option<Stamp> {
    match WeightsSource::of(weights) {
        Ok(WeightsSource::File(path)) => files::stamp(&path),
        _ => None,
    }
}
