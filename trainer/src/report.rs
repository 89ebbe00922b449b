//! What a step and a checkpoint report, and who listens: the progress bar, the log, and whoever else is handed to the loop.

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use crate::{
    diagnostics::Health,
    method::{Agreement, Method},
};

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
    /// Mean loss since the last report with diagnostics.
    pub mean_loss: f64,
    /// Learning rate.
    pub lr: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// How much of DINO's teacher stayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher_momentum: Option<f64>,
    /// The temperature of DINO's teacher.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher_temperature: Option<f64>,
    /// Images per second since this process began.
    pub images_per_second: f64,
    /// Seconds until the run ends, at this pace.
    pub seconds_left: f64,
    /// Share of the time that was spent waiting for data, 0 to 1.
    pub waiting: f64,
    /// Images and videos that were skipped so far.
    pub skipped: usize,
    /// DINO's diagnostics; every `run.log_steps` steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// A distillation's diagnostics; every `run.log_steps` steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agreement: Option<Agreement>,
    /// Norm of the whole gradient before clipping, with either.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gradient_norm: Option<f64>,
    /// What is wrong and what to change, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// How good the network was found to be.
#[derive(Clone, Debug, Serialize)]
pub struct Quality {
    /// Mean J of the masks that its features propagate, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub j: Option<f64>,
    /// Share of images that their nearest neighbours class right, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub knn: Option<f64>,
    /// A picture of where it looks in some frames.
    #[serde(skip)]
    pub probes: Option<PathBuf>,
}

impl Quality {
    /// What the best checkpoint is chosen by, where it was measured.
    pub fn score(&self) -> Option<f64> {
        self.j.or(self.knn)
    }
}

impl StepReport {
    /// Whether it has diagnostics.
    pub fn is_observed(&self) -> bool {
        self.gradient_norm.is_some()
    }
}

/// Who listens. All methods are called between two steps.
pub trait Observer {
    /// After each step.
    ///
    /// # Errors
    /// What ends the run: the observer's own files cannot be written.
    fn observe(&mut self, _report: &StepReport) -> Result<()> {
        Ok(())
    }

    /// Before the checkpoint after `step` is written, and before the first step. A measured quality chooses the best
    /// checkpoint.
    ///
    /// # Errors
    /// What ends the run.
    fn on_checkpoint(&mut self, _step: u64, _learner: &dyn Method) -> Result<Option<Quality>> {
        Ok(None)
    }

    /// What another observer has measured.
    ///
    /// # Errors
    /// What ends the run.
    fn on_quality(&mut self, _step: u64, _quality: &Quality) -> Result<()> {
        Ok(())
    }
}
