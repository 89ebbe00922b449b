//! What is given up when cameras outrun the engine: first frames, by weight, then resolution; and back again.
//!
//! ```text
//! arrivals, engine time -> Controller -> a rate for each stream -> Gate (frames are let go evenly, before anything queues)
//!                                    \-> one level for all      -> the network's resolution
//! ```
//!
//! Nothing here has a clock or does I/O: time is an argument, in seconds from any start. One level serves all streams, so
//! that frames of equal size stay one batch; weights decide about rates.

mod controller;
mod costs;
mod fading;
mod gate;
mod shares;
#[cfg(test)]
mod simulation;

use serde::{Deserialize, Serialize};

pub use controller::{Controller, Decision, Demand};
pub use fading::Fading;
pub use gate::Gate;
pub use shares::{Claim, shares};

/// The `[overload]` part of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OverloadConfig {
    /// Whether anything is done about overload. Without it the newest frame of each stream wins, by weight.
    pub enabled: bool,
    /// Frames a second that each stream keeps at full resolution; below it the resolution gives way.
    pub min_fps: f64,
    /// The resolutions, as shares of `model.short_side`, falling from 1.
    pub levels: Vec<f64>,
    /// Share of the engine's time that cameras may ask for.
    pub target_load: f64,
    /// The next higher resolution is taken once `min_fps` of all streams would need less than this share of the engine's
    /// time there.
    pub recover_load: f64,
    /// Seconds that a reason to change the resolution must last, and least seconds between two changes.
    pub dwell_seconds: f64,
}

impl Default for OverloadConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            min_fps: 2.0,
            levels: vec![1.0, 0.75, 0.5],
            target_load: 0.95,
            recover_load: 0.8,
            dwell_seconds: 5.0,
        }
    }
}

impl OverloadConfig {
    /// What is wrong with the values: each key in `[overload]`, and what to do.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let numbers = [
            ("min_fps", self.min_fps, 0.0..=1000.0),
            ("target_load", self.target_load, 0.1..=2.0),
            ("recover_load", self.recover_load, 0.05..=2.0),
            ("dwell_seconds", self.dwell_seconds, 0.1..=3600.0),
        ];
        let mut faults = Vec::new();
        // Not a number is in no range.
        for (key, value, range) in numbers.into_iter().filter(|(_, value, range)| !range.contains(value)) {
            faults.push((key, format!("{value} is not in {} to {}", range.start(), range.end())));
        }
        let judged = |key: &str| faults.iter().any(|(wrong, _)| *wrong == key);
        if self.recover_load > 0.95 * self.target_load && !judged("recover_load") && !judged("target_load") {
            let limit = 0.95 * self.target_load;
            faults.push(("recover_load", format!("at most {limit:.3}, 95 % of target_load, or it would swing")));
        }
        let falls = self.levels.windows(2).all(|pair| pair[0] > pair[1]);
        let within = self.levels.iter().all(|level| (0.1..=1.0).contains(level));
        if self.levels.first() != Some(&1.0) || !falls || !within || self.levels.len() > 8 {
            faults.push(("levels", "say 1 to 8 shares that fall from 1.0, none below 0.1".to_owned()));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused_by_its_key() {
        let refused = |edit: fn(&mut OverloadConfig)| {
            let mut config = OverloadConfig::default();
            edit(&mut config);
            config.faults().into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        assert!(refused(|_| {}).is_empty());
        assert!(refused(|c| c.levels = vec![1.0]).is_empty());
        assert_eq!(refused(|c| c.min_fps = f64::NAN), ["min_fps"]);
        assert_eq!(refused(|c| c.recover_load = 0.95), ["recover_load"]);
        assert_eq!(refused(|c| c.dwell_seconds = 0.0), ["dwell_seconds"]);
        assert_eq!(refused(|c| (c.target_load, c.min_fps) = (9.0, -1.0)), ["min_fps", "target_load"]);
        for levels in [vec![], vec![0.9], vec![1.0, 1.0], vec![1.0, 0.5, 0.75], vec![1.0, 0.01], vec![1.0, f64::NAN]] {
            let config = OverloadConfig { levels, ..OverloadConfig::default() };
            assert_eq!(config.faults()[0].0, "levels");
        }
    }
}
