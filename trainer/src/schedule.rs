//! What changes while training: learning rate, weight decay, teacher momentum (each step) and teacher temperature (each
//! epoch). Cosines with a linear warm-up, as in the paper's code.

use std::f64::consts::PI;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// `[schedule]`: how long a run is, in epochs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleConfig {
    /// Length of the run.
    pub epochs: u64,
    /// Steps of an epoch; 0: as many as one pass over the data takes.
    pub epoch_steps: u64,
    /// Length of the run in steps, in place of `epochs`; 0: `epochs` says it.
    pub steps: u64,
    /// Epochs in which the learning rate rises from 0.
    pub warmup_epochs: f64,
    /// Epochs in which the head's last layer stays as it is.
    pub frozen_last_layer_epochs: f64,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self { epochs: 100, epoch_steps: 0, steps: 0, warmup_epochs: 10.0, frozen_last_layer_epochs: 1.0 }
    }
}

impl ScheduleConfig {
    pub(crate) fn validate(&self) -> std::result::Result<(), (&'static str, String)> {
        if self.epochs == 0 && self.steps == 0 {
            return Err(("epochs", "0 epochs (and no steps) are no training".to_owned()));
        }
        for (key, value) in
            [("warmup_epochs", self.warmup_epochs), ("frozen_last_layer_epochs", self.frozen_last_layer_epochs)]
        {
            if !(0.0..=1e6).contains(&value) {
                return Err((key, format!("{value} is not in 0 to 1000000")));
            }
        }
        Ok(())
    }

    /// The run in steps, where one pass over the data is `pass` steps.
    ///
    /// # Errors
    /// A warm-up that is longer than the run.
    pub fn plan(&self, pass: u64) -> Result<RunLength> {
        let epoch = if self.epoch_steps > 0 { self.epoch_steps } else { pass.max(1) };
        let total = if self.steps > 0 { self.steps } else { self.epochs.saturating_mul(epoch) };
        let in_steps = |epochs: f64| (epochs * epoch as f64).round() as u64;
        let plan = RunLength {
            total,
            epoch,
            warmup: in_steps(self.warmup_epochs),
            frozen_last_layer: in_steps(self.frozen_last_layer_epochs),
        };
        if plan.warmup >= total {
            bail!(
                "schedule.warmup_epochs: a warm-up of {} steps ({} epochs of {epoch} steps) does not fit into a run of \
                 {total} steps: make it shorter or the run longer",
                plan.warmup,
                self.warmup_epochs
            );
        }
        Ok(plan)
    }
}

/// How long a run and its parts are, in steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunLength {
    /// Steps of the run.
    pub total: u64,
    /// Steps of an epoch.
    pub epoch: u64,
    /// Steps in which the learning rate rises.
    pub warmup: u64,
    /// Steps in which the last layer stays as it is.
    pub frozen_last_layer: u64,
}

/// A value that goes from `start` to `end` along half a cosine, after a linear rise from 0 over `warmup` steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cosine {
    /// Value after the warm-up.
    pub start: f64,
    /// Value that the last step comes near to.
    pub end: f64,
    /// Steps of the rise; its last one has the value `start`.
    pub warmup: u64,
    /// Steps in all.
    pub total: u64,
}

impl Cosine {
    /// The value at `step`, counted from 0.
    pub fn at(&self, step: u64) -> f64 {
        if step < self.warmup {
            let last = self.warmup - 1;
            return if step == last && last > 0 { self.start } else { step as f64 * (self.start / last.max(1) as f64) };
        }
        let (i, n) = ((step - self.warmup) as f64, (self.total - self.warmup) as f64);
        self.end + 0.5 * (self.start - self.end) * (1.0 + (PI * i / n).cos())
    }
}

/// A value that goes from `start` to `end` in equal paces over the first `warmup` epochs, and stays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ramp {
    /// Value of the first epoch.
    pub start: f64,
    /// Value of epoch `warmup - 1` and of all after it.
    pub end: f64,
    /// Epochs of the ramp.
    pub warmup: u64,
}

impl Ramp {
    /// The value in `epoch`, counted from 0.
    pub fn at(&self, epoch: u64) -> f64 {
        if epoch + 1 >= self.warmup {
            return if self.warmup == 1 && epoch == 0 { self.start } else { self.end };
        }
        self.start + epoch as f64 * ((self.end - self.start) / (self.warmup - 1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ramp_is_linspace_and_then_stays() {
        let ramp = Ramp { start: 0.03, end: 0.06, warmup: 2 };
        assert_eq!([0, 1, 2, 9].map(|e| ramp.at(e)), [0.03, 0.06, 0.06, 0.06]);
        assert_eq!(Ramp { start: 0.04, end: 0.07, warmup: 0 }.at(0), 0.07);
        assert_eq!([0, 1].map(|e| Ramp { start: 0.04, end: 0.07, warmup: 1 }.at(e)), [0.04, 0.07]);
    }

    #[test]
    fn a_plan_counts_in_epochs_or_steps_and_refuses_what_does_not_fit() {
        let config = ScheduleConfig { epochs: 3, warmup_epochs: 0.5, ..Default::default() };
        let plan = RunLength { total: 30, epoch: 10, warmup: 5, frozen_last_layer: 10 };
        assert_eq!(config.plan(10).unwrap(), plan);
        assert_eq!(ScheduleConfig { steps: 7, ..config.clone() }.plan(10).unwrap().total, 7);
        let error = ScheduleConfig { steps: 5, ..config }.plan(10).unwrap_err().to_string();
        assert!(error.contains("schedule.warmup_epochs"), "{error}");
    }
}
