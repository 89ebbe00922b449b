//! What the loop, the checkpoints and those who watch know of a way to learn: DINO's own ([`Learner`]), or distillation.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, Result};
use candle_core::Tensor;
use maskd_model::Architecture;
use maskd_tracking::preset::Preset;
use serde::Serialize;

use crate::{
    data::Batch,
    diagnostics::Health,
    learner::{Learner, Outcome, StepSchedule},
    optim::AdamW,
};

/// How near a student is to the teacher that it is distilled from; each is 0 where it says the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Agreement {
    /// Share of the variance of the teacher's propagation tokens that the student's do not explain.
    pub propagation: f64,
    /// Mean Kullback-Leibler divergence of the student's affinities from the teacher's, nats.
    pub affinity: f64,
    /// As `propagation`, of what instances are discovered from.
    pub discovery: f64,
}

/// What a step leaves behind besides the changed state.
pub struct Learned {
    /// The loss of the whole batch.
    pub loss: f64,
    /// Norm of each parameter's gradient before clipping, where it was asked for.
    pub gradient_norms: Vec<(String, f32)>,
    /// DINO's diagnostics, where they were asked for.
    pub health: Option<Health>,
    /// A distillation's, where they were asked for.
    pub agreement: Option<Agreement>,
}

/// A network on its way to be used.
pub struct ExportedModel {
    /// Its shape.
    pub architecture: Architecture,
    /// Its tensors in the original naming.
    pub tensors: HashMap<String, Tensor>,
    /// The block (from 1) whose tokens it was taught for propagation, where it was.
    pub propagation_block: Option<usize>,
}

/// A way to learn.
pub trait Method {
    /// Step number `step` on a batch that comes in `parts` from `next`: all parts together count as one batch, whose size
    /// and loss they share. `observe` asks for norms and diagnostics, which cost copies.
    ///
    /// # Errors
    /// A loss that is not finite ([`crate::learner::NotFinite`]); a batch that cannot be had or does not fit. The state is
    /// then as it was.
    fn step(
        &mut self,
        step: u64,
        parts: usize,
        next: &mut dyn FnMut() -> Result<Batch>,
        knobs: &StepSchedule,
        observe: bool,
    ) -> Result<Learned>;

    /// Every tensor that a step changes, by name, besides the optimiser's.
    fn state(&self) -> BTreeMap<String, Tensor>;

    /// Puts back what [`Self::state`] gave: the same names and shapes.
    ///
    /// # Errors
    /// One that is missing.
    fn set_state(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()>;

    /// The optimiser.
    fn optimizer(&self) -> &AdamW;

    /// The optimiser, to be restored.
    fn optimizer_mut(&mut self) -> &mut AdamW;

    /// The network that is judged.
    fn product(&self) -> ExportedModel;

    /// `[CLS]` `(B, C)` of that network for images `(B, 3, S, S)` on the CPU.
    ///
    /// # Errors
    /// S no multiple of the patch; no memory left.
    fn cls(&self, images: &Tensor) -> Result<Tensor>;

    /// How that network is judged.
    fn preset(&self) -> Preset;

    /// What learns, in a few words for people.
    fn about(&self) -> String;
}

impl Method for Learner {
    fn step(
        &mut self,
        step: u64,
        parts: usize,
        next: &mut dyn FnMut() -> Result<Batch>,
        knobs: &StepSchedule,
        observe: bool,
    ) -> Result<Learned> {
        let Outcome { loss, gradient_norms, outputs } = Self::step(self, step, parts, next, knobs, observe)?;
        let health = outputs.map(|o| Health::of(&o, &self.centre)).transpose()?;
        Ok(Learned { loss, gradient_norms, health, agreement: None })
    }

    fn state(&self) -> BTreeMap<String, Tensor> {
        let mut all = BTreeMap::from([("centre".to_owned(), self.centre.clone())]);
        for (who, parameters) in [("student", &self.student), ("teacher", &self.teacher)] {
            all.extend(parameters.0.iter().map(|p| (format!("{who}.{}", p.name), p.var.as_detached_tensor())));
        }
        all
    }

    fn set_state(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        self.centre = state.get("centre").context("tensor centre is missing")?.clone();
        self.student.set("student.", state)?;
        self.teacher.set("teacher.", state)
    }

    fn optimizer(&self) -> &AdamW {
        &self.optimizer
    }

    fn optimizer_mut(&mut self) -> &mut AdamW {
        &mut self.optimizer
    }

    fn product(&self) -> ExportedModel {
        let strip = |(name, t): (String, Tensor)| Some((name.strip_prefix("backbone.")?.to_owned(), t));
        let tensors = self.teacher.detached().into_iter().filter_map(strip).collect();
        ExportedModel { architecture: self.shape.backbone, tensors, propagation_block: None }
    }

    fn cls(&self, images: &Tensor) -> Result<Tensor> {
        let network = self.teacher_network()?;
        Ok(network.features(&[images.to_device(network.device())?], None)?)
    }

    fn preset(&self) -> Preset {
        Preset::Paper
    }

    fn about(&self) -> String {
        let parameters: usize = self.student.0.iter().map(|p| p.var.elem_count()).sum();
        format!(
            "{}, {:.1} M parameters with head; ln K = {:.3}",
            self.shape.backbone,
            parameters as f64 / 1e6,
            (self.shape.head.outputs as f64).ln()
        )
    }
}
