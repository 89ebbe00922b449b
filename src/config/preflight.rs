//! A look at everything a configuration names, before anything runs: weights, pipelines, films, first masks, passwords,
//! zenoh's own file, and whether this machine computes as is asked.

use std::collections::BTreeMap;

use anyhow::anyhow;

use super::{Config, StreamConfig, findings::Findings};
use maskd_ingest::{Description, SourceError};
use maskd_model::{Checkpoint, WeightsSource};
use maskd_transport::{PublishConfig, PublishError};
use maskd_types::{
    files::{self, Stamp},
    frame::StreamId,
    mask::FirstMask,
};

/// A configuration that can run, and what it names, read: nothing of it needs to be looked at again.
pub struct Ready {
    /// The configuration.
    pub config: Config,
    /// The network's weights.
    pub weights: Checkpoint,
    /// The weights' file as it was before it was read; none where they are in no file.
    pub stamp: Option<Stamp>,
    /// What each stream plays and starts from.
    pub streams: BTreeMap<StreamId, Start>,
}

/// What a stream plays and starts from.
#[derive(Clone, Debug)]
pub struct Start {
    /// Its pipeline, which could be built.
    pub description: Description,
    /// The mask that its first frame starts from.
    pub first_mask: Option<FirstMask>,
}

/// What was read on the way; nothing where any of it could not be.
pub(super) type Parts = (Weights, BTreeMap<StreamId, Start>);

/// The weights, and the stamp of their file before it was read.
type Weights = (Checkpoint, Option<Stamp>);

/// Looks at everything that `config` names; what is wrong goes to `findings`.
pub(super) fn look(config: &Config, findings: &mut Findings) -> Option<Parts> {
    if !findings.known("publish") {
        zenoh(&config.publish, findings);
    }
    for (key, wrong) in config.model.faults_here() {
        findings.add(&format!("model.{key}"), anyhow!(wrong), false);
    }
    let weights = weights(config, findings);
    let starts: Vec<_> =
        config.streams.iter().map(|(name, stream)| (name, start(config, name, stream, findings))).collect();
    let starts: Option<_> = starts.into_iter().map(|(name, start)| Some((name.clone(), start?))).collect();
    Some((weights?, starts?))
}

fn zenoh(publish: &PublishConfig, findings: &mut Findings) {
    let cause = match publish.check() {
        Ok(()) => return,
        Err(PublishError::File { path, source }) => anyhow!(source).context(path.display().to_string()),
        Err(PublishError::Config(text)) => anyhow!(text.trim_start_matches("zenoh_config ").to_owned()),
        Err(other) => other.into(),
    };
    let key = if publish.zenoh_config.is_some() { "publish.zenoh_config" } else { "publish" };
    findings.add(key, cause, false);
}

fn weights(config: &Config, findings: &mut Findings) -> Option<Weights> {
    const KEY: &str = "model.weights";
    if findings.known(KEY) || findings.known("model.heads") {
        return None;
    }
    let choice =
        WeightsSource::of(config.model.weights.as_deref()).map_err(|e| findings.add(KEY, e.into(), false)).ok()?;
    let stamp = match &choice {
        WeightsSource::File(path) => files::stamp(path),
        WeightsSource::Shipped => None,
    };
    let weights = choice.read(config.model.heads).map_err(|e| findings.add(KEY, e.into(), true)).ok()?;
    for (key, wrong) in config.model.faults_with(&weights) {
        findings.add(&format!("model.{key}"), anyhow!(wrong), false);
    }
    Some((weights, stamp))
}

fn start(config: &Config, name: &StreamId, stream: &StreamConfig, findings: &mut Findings) -> Option<Start> {
    let key = |key: &str| format!("streams.{name}.{key}");
    let description = description(stream, &key, findings);
    if let Err(error) = stream.source.check_location() {
        findings.add(&key("location"), anyhow!(error).context(stream.source.place()), true);
    }
    let Some(path) = &stream.first_mask else { return Some(Start { description: description?, first_mask: None }) };
    // What is wrong with the settings has been told.
    let most = stream.settings(&config.tracker).map_or(config.tracker.max_instances, |own| own.tracker.max_instances);
    let read = FirstMask::read(path).and_then(|mask| mask.at_most(most));
    let first_mask = read.map_err(|e| findings.add(&key("first_mask"), e.into(), true)).ok()?;
    Some(Start { description: description?, first_mask: Some(first_mask) })
}

fn description(stream: &StreamConfig, key: &dyn Fn(&str) -> String, findings: &mut Findings) -> Option<Description> {
    // What these decide cannot be told from a pipeline that lacks them.
    if ["kind", "pipeline", "location", "device"].iter().any(|deciding| findings.known(&key(deciding))) {
        return None;
    }
    let source = &stream.source;
    let (description, faults) = match Description::of(source) {
        Ok(description) => (Some(description.clone()), description.faults(source)),
        Err(error) => (None, vec![error]),
    };
    let sound = faults.is_empty();
    for fault in faults {
        let (at, cause) = match fault {
            SourceError::Key { key, reason } => (key.to_owned(), reason),
            SourceError::Property { element, property, reason } => (format!("properties.{element}.{property}"), reason),
            SourceError::Description { name, reason } => {
                ((if source.pipeline.is_some() { "pipeline" } else { "kind" }).to_owned(), format!("{name}: {reason}"))
            }
            other @ SourceError::GStreamer(_) => ("kind".to_owned(), other.to_string()),
        };
        findings.add(&key(&at), anyhow!(cause), false);
    }
    description.filter(|_| sound)
}
