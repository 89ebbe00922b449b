//! AdamW (Loshchilov & Hutter 2019) as the paper uses it: weight decay for matrices only, gradients clipped parameter by
//! parameter, a last layer that waits, and a state that can be saved.

mod update;

use candle_core::{Device, Result, Tensor, Var, backprop::GradStore};
use maskd_kernels::grad;
use serde::{Deserialize, Serialize};

use crate::network::Parameters;

/// `[optim]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimConfig {
    /// Learning rate after the warm-up for a batch of 256 images; it is scaled with the batch.
    pub lr: f64,
    /// Learning rate at the end, not scaled.
    pub min_lr: f64,
    /// Weight decay at the start.
    pub weight_decay: f64,
    /// Weight decay at the end.
    pub weight_decay_end: f64,
    /// The largest norm of one parameter's gradient; 0: no limit.
    pub clip: f64,
    /// How much of the teacher stays at each step, at the start.
    pub teacher_momentum: f64,
    /// How much of the teacher stays at each step, at the end.
    pub teacher_momentum_end: f64,
    /// How often the student's last block is left out for an image; earlier blocks less often.
    pub drop_path: f64,
    /// Decay of the gradient's mean and of its square's.
    pub betas: [f64; 2],
    /// What keeps the quotient finite.
    pub eps: f64,
}

impl Default for OptimConfig {
    fn default() -> Self {
        Self {
            lr: 5e-4,
            min_lr: 1e-6,
            weight_decay: 0.04,
            weight_decay_end: 0.4,
            clip: 3.0,
            teacher_momentum: 0.996,
            teacher_momentum_end: 1.0,
            drop_path: 0.1,
            betas: [0.9, 0.999],
            eps: 1e-8,
        }
    }
}

impl OptimConfig {
    pub(crate) fn validate(&self) -> std::result::Result<(), (&'static str, String)> {
        let ranges = [
            ("lr", self.lr, 0.0, 1.0),
            ("min_lr", self.min_lr, 0.0, 1.0),
            ("weight_decay", self.weight_decay, 0.0, 10.0),
            ("weight_decay_end", self.weight_decay_end, 0.0, 10.0),
            ("clip", self.clip, 0.0, 1e6),
            ("teacher_momentum", self.teacher_momentum, 0.0, 1.0),
            ("teacher_momentum_end", self.teacher_momentum_end, 0.0, 1.0),
            ("drop_path", self.drop_path, 0.0, 0.9),
            ("betas", self.betas[0], 0.0, 0.9999999),
            ("betas", self.betas[1], 0.0, 0.9999999),
            ("eps", self.eps, 1e-16, 1.0),
        ];
        for (key, value, least, most) in ranges {
            if !(least..=most).contains(&value) {
                return Err((key, format!("{value} is not in {least} to {most}")));
            }
        }
        Ok(())
    }
}

/// What changes from step to step.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    /// Learning rate.
    pub lr: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Whether the head's last layer stays as it is.
    pub frozen_last_layer: bool,
}

/// One trained parameter and its state.
pub struct Slot {
    /// Its full name.
    pub name: String,
    /// Its values.
    pub var: Var,
    /// Running mean of the gradient.
    pub mean: Var,
    /// Running mean of the gradient's square.
    pub square: Var,
    /// Updates that it has had: less than the run's steps where it was frozen.
    pub updates: u64,
    decays: bool,
}

/// Gradients of all slots, summed over the parts of a batch; `None` where none has come yet.
pub struct Gradients(Vec<Option<Tensor>>);

/// The optimiser: owns its state, shares the student's variables.
pub struct AdamW {
    slots: Vec<Slot>,
    betas: [f64; 2],
    eps: f64,
    clip: f64,
}

impl AdamW {
    /// An optimiser without a past for `student`. A last layer of fixed length (`norm_last_layer`) is no parameter.
    ///
    /// # Errors
    /// No memory left.
    pub fn new(student: &Parameters, config: &OptimConfig, norm_last_layer: bool) -> Result<Self> {
        let trained = student.0.iter().filter(|p| !(norm_last_layer && p.name == "head.last_layer.weight_g"));
        let slot = |p: &crate::network::Parameter| {
            let zeros = || Var::zeros(p.var.shape(), p.var.dtype(), p.var.device());
            Ok(Slot {
                name: p.name.clone(),
                var: p.var.clone(),
                mean: zeros()?,
                square: zeros()?,
                updates: 0,
                decays: p.var.rank() > 1 && !p.name.ends_with(".bias"),
            })
        };
        let slots = trained.map(slot).collect::<Result<_>>()?;
        Ok(Self { slots, betas: config.betas, eps: config.eps, clip: config.clip })
    }

    /// Parameters and state, to look at and to save.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Parameters and state, to restore.
    pub fn slots_mut(&mut self) -> &mut [Slot] {
        &mut self.slots
    }

    /// Gradients before the first part of a batch.
    pub fn no_gradients(&self) -> Gradients {
        Gradients(self.slots.iter().map(|_| None).collect())
    }

    /// Adds what one backward pass gave.
    ///
    /// # Errors
    /// No memory left.
    pub fn add(&self, sum: &mut Gradients, store: &mut GradStore) -> Result<()> {
        for (slot, sum) in self.slots.iter().zip(&mut sum.0) {
            let Some(gradient) = store.remove(slot.var.as_tensor()) else { continue };
            let gradient = gradient.contiguous()?;
            *sum = Some(match sum.take() {
                Some(before) => (before + gradient)?,
                None => gradient,
            });
        }
        Ok(())
    }

    /// The norm of each slot's gradient, with its name; 0 where there is none.
    ///
    /// # Errors
    /// No memory left.
    pub fn norms(&self, gradients: &Gradients) -> Result<Vec<(String, f32)>> {
        let norm = |g: &Tensor| g.sqr()?.sum_all()?.sqrt()?.to_scalar::<f32>();
        let named = self.slots.iter().zip(&gradients.0);
        named.map(|(slot, g)| Ok((slot.name.clone(), g.as_ref().map(norm).transpose()?.unwrap_or(0.0)))).collect()
    }

    /// Clips, updates every parameter that has a gradient and is not frozen, and forgets the gradients.
    ///
    /// # Errors
    /// No memory left.
    pub fn step(&mut self, gradients: Gradients, rates: Rates) -> Result<()> {
        for (slot, gradient) in self.slots.iter_mut().zip(gradients.0) {
            let Some(gradient) = gradient else { continue };
            if rates.frozen_last_layer && slot.name.contains("last_layer") {
                continue;
            }
            slot.updates += 1;
            let step = grad::AdamW {
                lr: rates.lr,
                weight_decay: if slot.decays { rates.weight_decay } else { 0.0 },
                betas: self.betas.into(),
                eps: self.eps,
                step: slot.updates,
                clip: (self.clip > 0.0).then_some(self.clip),
            };
            match slot.var.device() {
                Device::Cpu => {
                    let [var, mean, square] = [&slot.var, &slot.mean, &slot.square].map(|v| v.as_detached_tensor());
                    step.apply(&var, &gradient, (&mean, &square), None)?;
                }
                _ => update::plain(&step, &slot.var, &slot.mean, &slot.square, &gradient)?,
            }
        }
        Ok(())
    }
}
