//! From what was asked for to a training that can go on: a new one, one on given weights, or one that was interrupted.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use candle_core::{DType, Device};
use maskd_cli::{Exit, Failure, OrExit as _};
use maskd_model::{Checkpoint, WeightsSource, backbone::DeviceChoice};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use crate::{
    checkpoint::{self, Progress, Score},
    config::{Config, ModelConfig, TrainingPrecision},
    data::Loader,
    distill::{Distiller, start},
    learner::Learner,
    method::Method,
    network::{Shape, init},
    run_folder::{self, RunFolder},
    schedule::RunLength,
};

/// Where a training starts.
#[derive(Clone, Debug)]
pub enum Start {
    /// From scratch.
    Fresh(Config),
    /// From given weights, with a fresh head; `heads` where the file does not say it.
    Weights(Config, PathBuf, Option<usize>),
    /// A distillation of the teacher in given weights; `heads` as above.
    Teacher(Config, PathBuf, Option<usize>),
    /// From the newest checkpoint in the run folder, with its configuration.
    Resume,
}

/// A training that is ready for its next step.
pub struct Training {
    /// Its resolved configuration.
    pub config: Config,
    /// Images and videos, or folders of them.
    pub sources: Vec<PathBuf>,
    /// Its length.
    pub plan: RunLength,
    /// Its state.
    pub learner: Box<dyn Method>,
    /// Its data, at the next step.
    pub loader: Loader,
    /// Its folder.
    pub folder: RunFolder,
    /// Steps that are done.
    pub step: u64,
    /// The best score so far.
    pub best: Option<Score>,
}

impl Training {
    /// What a checkpoint says of it besides tensors.
    pub fn progress(&self) -> Progress {
        let (config, sources) = (self.config.clone(), self.sources.clone());
        Progress::new(config, self.step, self.loader.fingerprint(), sources, self.best)
    }

    /// Writes a checkpoint of it as it is now, and lets old ones go.
    ///
    /// # Errors
    /// The disk is full; the last checkpoint is then still there.
    pub fn save(&self) -> Result<PathBuf> {
        let path = self.folder.checkpoint(self.step);
        checkpoint::save(&path, &*self.learner, self.progress())?;
        self.folder.prune(self.config.run.keep);
        Ok(path)
    }
}

/// Makes a training ready. `sources` may be empty where a run is resumed: it knows its own.
///
/// # Errors
/// A configuration that cannot be, weights that cannot be used, data that cannot be read or have changed, a folder in
/// use; each says what to do.
pub fn prepare(start: Start, sources: &[PathBuf], out: &Path) -> Result<Training, Failure> {
    match start {
        Start::Fresh(config) => begin(config, None, sources, out),
        Start::Weights(config, weights, heads) => {
            let given = read(&weights, heads)?.1;
            begin(config, Some(given), sources, out)
        }
        Start::Teacher(config, weights, heads) => distill(config, &weights, heads, sources, out),
        Start::Resume => resume(sources, out),
    }
}

/// Weights by path or by name.
fn read(weights: &Path, heads: Option<usize>) -> Result<(WeightsSource, Checkpoint), Failure> {
    let choice = WeightsSource::of(Some(weights)).or_exit(Exit::Config)?;
    let checkpoint = choice.read(heads).or_exit(Exit::Data)?;
    Ok((choice, checkpoint))
}

fn wrong((key, message): (String, String)) -> Failure {
    Failure::new(Exit::Config, anyhow!("{key}: {message}"))
}

fn begin(
    mut config: Config,
    weights: Option<Checkpoint>,
    sources: &[PathBuf],
    out: &Path,
) -> Result<Training, Failure> {
    if config.distill.is_some() {
        return Err(Failure::new(Exit::Config, anyhow!("[distill] is for maskd-train distill; leave it out")));
    }
    if let Some(weights) = &weights {
        let theirs = ModelConfig::of(&weights.architecture);
        if config.model.as_ref().is_some_and(|ours| *ours != theirs) {
            let name = weights.architecture;
            let message = format!("[model] is not the {name} of the given weights; leave it out");
            return Err(Failure::new(Exit::Config, anyhow!(message)));
        }
        config.model = Some(theirs);
    }
    let model = config.model.get_or_insert_default().clone();
    config.validate().map_err(wrong)?;
    let place = place(&config).or_exit(Exit::Config)?;

    let shape = Shape { backbone: model.architecture(), head: config.head.clone() };
    let mut rng = ChaCha8Rng::seed_from_u64(config.run.seed);
    let mut tensors = init::fresh(&shape, &mut rng).or_exit(Exit::Internal)?;
    for (name, tensor) in weights.into_iter().flat_map(|w| w.tensors) {
        tensors.insert(format!("backbone.{name}"), tensor);
    }
    let learner = Learner::new(shape, &tensors, (&config.loss, &config.optim), config.run.seed, (&place.0, place.1))
        .or_exit(Exit::Internal)?;
    drop(tensors);
    first(config, Box::new(learner), None, sources, out)
}

/// A distillation of the teacher in `weights`.
fn distill(
    mut config: Config,
    weights: &Path,
    heads: Option<usize>,
    sources: &[PathBuf],
    out: &Path,
) -> Result<Training, Failure> {
    let (choice, teacher) = read(weights, heads)?;
    let fresh = config.model.as_ref().map(ModelConfig::architecture);
    let settings = config.distill.get_or_insert_default();
    (settings.teacher_heads, settings.teacher_sha256) = (heads, teacher.sha256.clone());
    let settings = settings.clone();
    config.validate().map_err(wrong)?;
    let place = place(&config).or_exit(Exit::Config)?;
    let (shape, tensors) = match fresh {
        Some(shape) => {
            let mut rng = ChaCha8Rng::seed_from_u64(config.run.seed);
            (shape, start::fresh(&shape, &teacher.architecture, &mut rng).or_exit(Exit::Internal)?)
        }
        None => {
            let shape = start::shape_of_teacher(&teacher.architecture, &settings).or_exit(Exit::Config)?;
            (shape, start::from_teacher(&teacher, &settings).or_exit(Exit::Internal)?)
        }
    };
    config.model = Some(ModelConfig::of(&shape));
    config.validate().map_err(wrong)?;
    let learner = Distiller::new(shape, &tensors, &teacher, (&settings, &config.optim), (&place.0, place.1));
    drop(tensors);
    first(config, Box::new(learner.or_exit(Exit::Config)?), Some(&choice), sources, out)
}

/// A training before its first step, in a new folder.
fn first(
    config: Config,
    learner: Box<dyn Method>,
    teacher: Option<&WeightsSource>,
    sources: &[PathBuf],
    out: &Path,
) -> Result<Training, Failure> {
    let sources = absolute(sources).or_exit(Exit::Io)?;
    let (loader, plan) = open(&config, &sources, 0)?;
    let folder = RunFolder::create(out).or_exit(Exit::Io)?;
    if let Some(weights) = teacher {
        folder.keep_teacher(weights).or_exit(Exit::Io)?;
    }
    let text = config.to_toml().context("the configuration").or_exit(Exit::Internal)?;
    folder.write_config(&text).or_exit(Exit::Io)?;
    let training = Training { config, sources, plan, learner, loader, folder, step: 0, best: None };
    // From here on the run can be resumed, and needs neither the weights nor the configuration that it began with.
    training.save().or_exit(Exit::Io)?;
    Ok(training)
}

fn resume(sources: &[PathBuf], out: &Path) -> Result<Training, Failure> {
    let folder = RunFolder::open(out).or_exit(Exit::Io)?;
    let saved = checkpoint::read(&run_folder::newest(out).or_exit(Exit::Io)?).or_exit(Exit::Data)?;
    let Progress { step, best, config, fingerprint, sources: recorded, .. } = saved.progress.clone();
    let place = place(&config).or_exit(Exit::Config)?;

    let mut learner = interrupted(&config, &saved, &folder, &place)
        .with_context(|| format!("checkpoint {}", saved.path.display()))
        .or_exit(Exit::Data)?;
    saved.restore(&mut *learner).or_exit(Exit::Data)?;

    let sources = if sources.is_empty() { recorded } else { absolute(sources).or_exit(Exit::Io)? };
    let (loader, plan) = open(&config, &sources, step)?;
    let now = loader.fingerprint();
    if now != fingerprint {
        let message = format!(
            "the data are not those that the run began with (they were {fingerprint}, they are {now}): put them back, or \
             start a new run on them with --init and this run's export"
        );
        return Err(Failure::new(Exit::Data, anyhow!(message)));
    }
    Ok(Training { config, sources, plan, learner, loader, folder, step, best })
}

/// Who was learning when `saved` was written, the optimiser without a past.
fn interrupted(
    config: &Config,
    saved: &checkpoint::Saved,
    folder: &RunFolder,
    place: &(Device, DType),
) -> Result<Box<dyn Method>> {
    let backbone = config.model.as_ref().context("it says no [model]")?.architecture();
    let (tensors, place) = (saved.student(), (&place.0, place.1));
    let Some(settings) = &config.distill else {
        let shape = Shape { backbone, head: config.head.clone() };
        let method = (&config.loss, &config.optim);
        return Ok(Box::new(Learner::new(shape, &tensors, method, config.run.seed, place)?));
    };
    let teacher = Checkpoint::read(&folder.teacher(), settings.teacher_heads)?;
    if teacher.sha256 != settings.teacher_sha256 {
        bail!("{} is not the teacher that the run began with", folder.teacher().display());
    }
    Ok(Box::new(Distiller::new(backbone, &tensors, &teacher, (settings, &config.optim), place)?))
}

/// The data at step `step`, and the run's length, which depends on how many there are.
fn open(config: &Config, sources: &[PathBuf], step: u64) -> Result<(Loader, RunLength), Failure> {
    let batches = step.saturating_mul(config.run.accumulate as u64);
    let loader = Loader::open(sources, &config.data, &config.crops, config.run.batch, config.run.seed, batches)
        .or_exit(Exit::Data)?;
    let pass = loader.samples() / config.run.step_images();
    let plan = config.schedule.plan(pass as u64).or_exit(Exit::Config)?;
    Ok((loader, plan))
}

fn absolute(sources: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let path = |p: &PathBuf| std::path::absolute(p).with_context(|| p.display().to_string());
    sources.iter().map(path).collect()
}

/// The device, and the numbers to compute with.
fn place(config: &Config) -> Result<(Device, DType)> {
    let device = match config.run.device {
        DeviceChoice::Cpu => Device::Cpu,
        DeviceChoice::Auto if !candle_core::utils::cuda_is_available() => Device::Cpu,
        DeviceChoice::Auto | DeviceChoice::Cuda => Device::new_cuda(0).context(
            "run.device: no usable GPU (is this build made with --features cuda?); \"cpu\" trains without one",
        )?,
    };
    let dtype = match (config.run.precision, device.is_cpu()) {
        (TrainingPrecision::F32, _) | (TrainingPrecision::Auto, true) => DType::F32,
        (TrainingPrecision::Bf16 | TrainingPrecision::Auto, false) => DType::BF16,
        (TrainingPrecision::Bf16, true) => {
            bail!("run.precision: the CPU computes in f32; bf16 needs a GPU (run.device)")
        }
    };
    Ok((device, dtype))
}
