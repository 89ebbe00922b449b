//! What a step and a checkpoint report, and who listens: the progress bar, the log, and whoever else is handed to the loop.

use anyhow::Result;
use serde::Serialize;

use crate::{diagnostics::Health, learner::Learner};

/// One step, after it is done.
#[derive(Clone, Debug, Serialize)]
pub struct StepReport {
    /// Steps that are done with it.
    pub step: u64,
    /// Steps of the run.
    pub total: u64,
    /// Epoch that it belongs to, from 0.
    pub epoch: u64,
    /// Its loss.
    pub loss: f64,
    /// Mean loss since the last report with `health`.
    pub mean_loss: f64,
    /// Learning rate.
    pub lr: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// How much of the teacher stayed.
    pub teacher_momentum: f64,
    /// The teacher's temperature.
    pub teacher_temperature: f64,
    /// Images per second since this process began.
    pub images_per_second: f64,
    /// Seconds until the run ends, at this pace.
    pub seconds_left: f64,
    /// Share of the time that was spent waiting for data, 0 to 1.
    pub waiting: f64,
    /// Images and videos that were skipped so far.
    pub skipped: usize,
    /// Diagnostics; every `run.log_steps` steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Norm of the whole gradient before clipping, with `health`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gradient_norm: Option<f64>,
    /// What is wrong and what to change, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// Who listens. All methods are called between two steps.
pub trait Observer {
    /// After each step.
    ///
    /// # Errors
    /// What ends the run: the observer's own files cannot be written.
    fn observe(&mut self, report: &StepReport) -> Result<()>;

    /// Before the checkpoint after `step` is written. A measured quality (higher is better) chooses the best checkpoint.
    ///
    /// # Errors
    /// What ends the run.
    fn on_checkpoint(&mut self, _step: u64, _learner: &Learner) -> Result<Option<f64>> {
        Ok(None)
    }
}
