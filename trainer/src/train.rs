//! The loop. It reads from top to bottom: a batch, a step, a report, now and then a checkpoint.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use anyhow::{Context as _, Result};

use crate::{
    checkpoint::Score,
    data::Loader,
    diagnostics::Watch,
    learner::{NotFinite, StepSchedule},
    method::Learned,
    optim::Rates,
    prepare::Training,
    report::{Observer, StepReport},
    schedule::{Cosine, Ramp},
};

/// How a training came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All steps are done; the last checkpoint.
    Done(PathBuf),
    /// It was asked to stop; the checkpoint to go on from.
    Stopped(PathBuf),
}

/// All that changes along a run, as functions of the step.
struct Schedules {
    lr: Cosine,
    weight_decay: Cosine,
    teacher_momentum: Cosine,
    teacher_temperature: Ramp,
}

impl Schedules {
    fn new(training: &Training) -> Self {
        let Training { config, plan, .. } = training;
        let (optim, loss) = (&config.optim, &config.loss);
        let cosine = |start: f64, end: f64, warmup: u64| Cosine { start, end, warmup, total: plan.total };
        Self {
            lr: cosine(config.scaled_lr(), optim.min_lr, plan.warmup),
            weight_decay: cosine(optim.weight_decay, optim.weight_decay_end, 0),
            teacher_momentum: cosine(optim.teacher_momentum, optim.teacher_momentum_end, 0),
            teacher_temperature: Ramp {
                start: loss.teacher_temperature_start,
                end: loss.teacher_temperature,
                warmup: loss.teacher_temperature_epochs,
            },
        }
    }

    fn at(&self, step: u64, training: &Training) -> StepSchedule {
        StepSchedule {
            rates: Rates {
                lr: self.lr.at(step),
                weight_decay: self.weight_decay.at(step),
                frozen_last_layer: step < training.plan.frozen_last_layer,
            },
            teacher_momentum: self.teacher_momentum.at(step),
            teacher_temperature: self.teacher_temperature.at(step / training.plan.epoch),
        }
    }
}

/// Pace and waiting since this process began, for people.
struct Clock {
    begun: Instant,
    first: u64,
}

impl Clock {
    /// (images per second, seconds left, share of waiting)
    fn read(&self, training: &Training, step: u64, loader: &Loader) -> (f64, f64, f64) {
        let elapsed = self.begun.elapsed().as_secs_f64().max(1e-9);
        let per_step = elapsed / (step - self.first).max(1) as f64;
        let images = training.config.run.step_images() as f64 / per_step;
        let left = per_step * training.plan.total.saturating_sub(step) as f64;
        (images, left, (loader.waited().as_secs_f64() / elapsed).min(1.0))
    }
}

/// Trains until all steps are done or `stop` is set, with a checkpoint at the end of either.
///
/// # Errors
/// A loss that is not finite, data that fail, an observer that fails, a last checkpoint that cannot be written. Where the
/// state is sound, it is saved first.
pub fn train(training: &mut Training, observers: &mut [Box<dyn Observer>], stop: &AtomicBool) -> Result<Ended> {
    let schedules = Schedules::new(training);
    let (log_steps, checkpoint_steps) = (training.config.run.log_steps, training.config.run.checkpoint_steps);
    let total = training.plan.total;
    let dino = training.config.distill.is_none();
    let clock = Clock { begun: Instant::now(), first: training.step };
    let mut watch = Watch::default();
    let (mut losses, mut since_checkpoint) = (Mean::default(), Mean::default());
    let mut saved = training.step;

    if training.step == 0 {
        // So that every curve of quality begins with the weights that the run began with.
        judge(training, observers)?;
    }
    while training.step < total && !stop.load(Ordering::Relaxed) {
        let step = training.step;
        let observed = (step + 1).is_multiple_of(log_steps) || step + 1 == total;
        let knobs = schedules.at(step, training);

        let loader = &mut training.loader;
        let parts = training.config.run.accumulate;
        let outcome = training.learner.step(step, parts, &mut || loader.next_batch(), &knobs, observed);
        let Learned { loss, gradient_norms, health, agreement } = match outcome {
            Ok(outcome) => outcome,
            Err(e) if e.downcast_ref::<NotFinite>().is_some() => return Err(e),
            Err(e) if saved == step => return Err(e),
            Err(e) => {
                let path = training.save().context("while ending after an error")?;
                return Err(e.context(format!("stopped after step {step}; saved as {}", path.display())));
            }
        };
        training.step = step + 1;
        losses.add(loss);
        since_checkpoint.add(loss);

        let warm = step >= training.plan.warmup && step >= training.plan.epoch;
        let warning = health.filter(|_| warm).and_then(|h| watch.look(&h, losses.value()));
        let norm = gradient_norms.iter().map(|(_, n)| f64::from(*n).powi(2)).sum::<f64>().sqrt();
        let (images_per_second, seconds_left, waiting) = clock.read(training, step + 1, &training.loader);
        let report = StepReport {
            step: step + 1,
            total,
            epoch: step / training.plan.epoch,
            loss,
            mean_loss: losses.value(),
            lr: knobs.rates.lr,
            weight_decay: knobs.rates.weight_decay,
            teacher_momentum: dino.then_some(knobs.teacher_momentum),
            teacher_temperature: dino.then_some(knobs.teacher_temperature),
            images_per_second,
            seconds_left,
            waiting,
            skipped: training.loader.skipped().len(),
            health,
            agreement,
            gradient_norm: observed.then_some(norm),
            warning,
        };
        for observer in observers.iter_mut() {
            observer.observe(&report)?;
        }
        if observed {
            losses = Mean::default();
        }

        if training.step.is_multiple_of(checkpoint_steps) && training.step < total {
            let loss = std::mem::take(&mut since_checkpoint).value();
            match checkpoint(training, observers, loss)? {
                Ok(_) => saved = training.step,
                // The work is in memory still: the disk may have room again at the next one.
                Err(e) => {
                    tracing::warn!("no checkpoint at step {}, the one before is still there: {e:#}", training.step)
                }
            }
        }
    }

    let done = training.step >= total;
    let path = if saved == training.step {
        training.folder.checkpoint(saved)
    } else if done {
        checkpoint(training, observers, since_checkpoint.value())??
    } else {
        training.save()?
    };
    Ok(if done { Ended::Done(path) } else { Ended::Stopped(path) })
}

/// Asks how good it is, writes the checkpoint, and keeps it as the best where it is. The outer error ends the run; the
/// inner one is a checkpoint that could not be written.
fn checkpoint(training: &mut Training, observers: &mut [Box<dyn Observer>], loss: f64) -> Result<Result<PathBuf>> {
    let measured = judge(training, observers)?;
    let score = Score { value: measured.unwrap_or(-loss), measured: measured.is_some() };
    let before = training.best;
    let best = score.beats(before);
    if best {
        training.best = Some(score);
    }
    let written = training.save().and_then(|path| {
        if best {
            training.folder.keep_best(&path)?;
        }
        Ok(path)
    });
    if written.is_err() {
        training.best = before;
    }
    Ok(written)
}

/// Has the network judged by those observers who can, tells all what they found, and gives the score.
fn judge(training: &Training, observers: &mut [Box<dyn Observer>]) -> Result<Option<f64>> {
    let mut score = None;
    for i in 0..observers.len() {
        if let Some(quality) = observers[i].on_checkpoint(training.step, &*training.learner)? {
            score = score.or(quality.score());
            for observer in observers.iter_mut() {
                observer.on_quality(training.step, &quality)?;
            }
        }
    }
    Ok(score)
}

/// A running mean.
#[derive(Default)]
struct Mean {
    sum: f64,
    count: u32,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn value(&self) -> f64 {
        self.sum / f64::from(self.count.max(1))
    }
}
