//! The rate controller: measures what arrives and how busy the engine is, asks [`Controller`] what to do about overload, and
//! does it.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use tracing::{info, warn};

use crate::{
    mailbox::{Arrived, Mailbox},
    overload::{Controller, Decision, Demand, Fading, OverloadConfig},
};
use maskd_observability::metrics::Metrics;
use maskd_types::frame::{Frame, Quality, Size, StreamId};

/// Between two looks at what arrives.
const EVERY: Duration = Duration::from_millis(500);

/// Holds streams to their rates and frames to their level; does nothing where it is switched off.
pub struct RateController {
    config: OverloadConfig,
    controller: Controller,
    streams: HashMap<StreamId, Stream>,
    level: usize,
    began: Instant,
    looked: Instant,
}

/// What is known of one stream.
struct Stream {
    weight: u32,
    flow: Fading,
    arrived: Arrived,
    rate: Option<f64>,
}

impl RateController {
    /// Nothing is known yet of any stream.
    pub fn new(config: OverloadConfig, now: Instant) -> Self {
        let controller = Controller::new(config.clone());
        Self { config, controller, streams: HashMap::new(), level: 0, began: now, looked: now }
    }

    /// Serves `stream` by `weight` from now on.
    pub fn weigh(&mut self, stream: &StreamId, weight: u32) {
        let new = || Stream { weight, flow: Fading::default(), arrived: Arrived::default(), rate: None };
        self.streams.entry(stream.clone()).or_insert_with(new).weight = weight;
    }

    /// `stream` is no more.
    pub fn forget(&mut self, stream: &StreamId) {
        self.streams.remove(stream);
    }

    /// Says how each frame is to be seen.
    pub fn stamp(&self, frames: &mut [Frame]) {
        let level = self.level();
        for frame in frames {
            frame.quality = Quality { level, rate: self.streams.get(&frame.stream).and_then(|stream| stream.rate) };
        }
    }

    fn level(&self) -> f64 {
        self.config.levels.get(self.level).copied().unwrap_or(1.0)
    }

    /// The engine took `time` until `now` for stamped frames of so many patches in all.
    pub fn worked(&mut self, now: Instant, patches: usize, time: Duration) {
        let at = (now - self.began).as_secs_f64();
        self.controller.worked(at, patches as f64, time.as_secs_f64());
    }

    /// Looks at what arrives, now and then, and does what the controller decides. `patches` says how many a frame of a
    /// size has at a level.
    pub fn look(&mut self, now: Instant, mailbox: &Mailbox, patches: impl Fn(Size, f64) -> usize, metrics: &Metrics) {
        let passed = now - self.looked;
        if !self.config.enabled || passed < EVERY {
            return;
        }
        self.looked = now;
        let arrived: BTreeMap<StreamId, Arrived> = mailbox.arrived().into_iter().collect();
        let mut names = Vec::new();
        let mut demands = Vec::new();
        for (name, stream) in &mut self.streams {
            let Some(seen) = arrived.get(name) else { continue };
            // A slot that was added anew counts from zero.
            let before = if seen.frames < stream.arrived.frames { 0 } else { stream.arrived.frames };
            stream.flow.add((seen.frames - before) as f64, passed.as_secs_f64(), passed.as_secs_f64());
            stream.arrived = *seen;
            names.push(name.clone());
            demands.push(Demand {
                arrival: stream.flow.value().unwrap_or_default(),
                weight: f64::from(stream.weight.max(1)),
                patches: self
                    .config
                    .levels
                    .iter()
                    .map(|level| seen.size.map_or(0, |size| patches(size, *level)) as f64)
                    .collect(),
                patient: seen.patient,
                limit: stream.rate,
            });
        }
        let decision = self.controller.plan((now - self.began).as_secs_f64(), &demands);
        metrics.engine_load(decision.load);
        self.carry_out(&decision, &names, mailbox, metrics);
    }

    fn carry_out(&mut self, decision: &Decision, names: &[StreamId], mailbox: &Mailbox, metrics: &Metrics) {
        let held = |rates: &Self| rates.streams.values().filter(|stream| stream.rate.is_some()).count();
        let (level_before, held_before) = (std::mem::replace(&mut self.level, decision.level), held(self));
        let level = self.level();
        for (name, rate) in names.iter().zip(&decision.rates) {
            // Rounded to hundredths, as it is logged and published; the gate uses the rounded rate, too.
            let rate = rate.map(|rate| (100.0 * rate).round().max(1.0) / 100.0);
            let Some(stream) = self.streams.get_mut(name) else { continue };
            stream.rate = rate;
            mailbox.limit_rate(name, rate);
            metrics.quality(name, Quality { level, rate });
        }
        let (load, held) = (format!("{:.2}", decision.load), held(self));
        if self.level > level_before {
            warn!(level, load, "the engine is too slow for these cameras: a lower resolution");
        } else if self.level < level_before {
            info!(level, load, "the engine has time again: a higher resolution");
        }
        if held > 0 && held_before == 0 {
            warn!(streams = held, load, "the cameras outrun the engine: their rates are lowered, by weight");
        } else if held == 0 && held_before > 0 {
            info!(load, "the engine keeps up again: no rate is lowered");
        }
    }
}
