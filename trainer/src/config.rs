//! The configuration file: strict, defaulted, printable. Each part owns its section; this file only nests them.
//!
//! `configs/train-vits8.toml` documents every key. A key that nobody reads is an error, not ignored.

use std::path::Path;

use maskd_cli::ConfigError;
use maskd_model::{Architecture, Family, backbone::DeviceChoice};
use maskd_types::files;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    augment::CropConfig, data::DataConfig, distill::DistillConfig, loss::LossConfig, network::HeadConfig,
    optim::OptimConfig, quality::QualityConfig, schedule::ScheduleConfig,
};

/// Everything that a training can be told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `[distill]`: there for a distillation, absent for DINO.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distill: Option<DistillConfig>,
    /// `[run]`: batch, machine, checkpoints.
    pub run: RunConfig,
    /// `[model]`: the backbone; absent where given weights say it, else ViT-S/8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelConfig>,
    /// `[head]`: what the loss is computed on.
    pub head: HeadConfig,
    /// `[loss]`: temperatures and centre.
    pub loss: LossConfig,
    /// `[schedule]`: how long.
    pub schedule: ScheduleConfig,
    /// `[optim]`: learning rate, weight decay, teacher momentum.
    pub optim: OptimConfig,
    /// `[data]`: reading images and videos.
    pub data: DataConfig,
    /// `[crops]`: the views of an image.
    pub crops: CropConfig,
    /// `[quality]`: what a run is judged by at each checkpoint.
    pub quality: QualityConfig,
}

/// `[run]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    /// Images that go through the networks at once: what fits into memory.
    pub batch: usize,
    /// So many of them make one step: the batch that counts is batch x accumulate.
    pub accumulate: usize,
    /// All chance comes from it: first weights, order, crops, drop path.
    pub seed: u64,
    /// `auto`, `cpu` or `cuda`.
    pub device: DeviceChoice,
    /// `auto`, `f32` or `bf16`.
    pub precision: TrainingPrecision,
    /// Steps between two checkpoints.
    pub checkpoint_steps: u64,
    /// So many of the newest checkpoints are kept, besides the best.
    pub keep: usize,
    /// Steps between two lines of the log, each with diagnostics.
    pub log_steps: u64,
}

/// The numbers that the networks compute with; parameters and optimiser are float32 always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrainingPrecision {
    /// float32 on the CPU, bfloat16 on a GPU.
    #[default]
    Auto,
    /// float32.
    F32,
    /// bfloat16, GPU only.
    Bf16,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            batch: 32,
            accumulate: 32,
            seed: 0,
            device: DeviceChoice::Auto,
            precision: TrainingPrecision::Auto,
            checkpoint_steps: 500,
            keep: 3,
            log_steps: 10,
        }
    }
}

/// `[model]`: a vision transformer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Channels of a token.
    pub dim: usize,
    /// Blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Channels inside the MLP.
    pub hidden: usize,
    /// Side in pixels of the square that position embeddings are made for.
    pub image: usize,
    /// DINOv2's LayerScale (and its way to resize position embeddings).
    pub layer_scale: bool,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self { patch: 8, dim: 384, depth: 12, heads: 6, hidden: 1536, image: 224, layer_scale: false }
    }
}

impl ModelConfig {
    /// The network that it describes.
    pub fn architecture(&self) -> Architecture {
        Architecture {
            family: if self.layer_scale { Family::DinoV2 } else { Family::Dino },
            patch: self.patch,
            dim: self.dim,
            depth: self.depth,
            heads: self.heads,
            hidden: self.hidden,
            grid: self.image / self.patch.max(1),
            registers: 0,
            gated: false,
        }
    }

    /// The description of a network.
    pub fn of(a: &Architecture) -> Self {
        Self {
            patch: a.patch,
            dim: a.dim,
            depth: a.depth,
            heads: a.heads,
            hidden: a.hidden,
            image: a.grid * a.patch,
            layer_scale: a.family.design().layer_scale,
        }
    }

    fn validate(&self) -> Result<(), (&'static str, String)> {
        let ranges = [
            ("patch", self.patch, 1..=64),
            ("dim", self.dim, 1..=8192),
            ("depth", self.depth, 1..=128),
            ("heads", self.heads, 1..=256),
            ("hidden", self.hidden, 1..=65536),
            ("image", self.image, 1..=4096),
        ];
        for (key, value, range) in ranges {
            if !range.contains(&value) {
                return Err((key, format!("{value} is not in {} to {}", range.start(), range.end())));
            }
        }
        if !self.dim.is_multiple_of(self.heads) {
            return Err(("heads", format!("{} heads do not divide {} channels", self.heads, self.dim)));
        }
        if !self.image.is_multiple_of(self.patch) {
            return Err(("image", format!("{} is no multiple of the patch, {}", self.image, self.patch)));
        }
        Ok(())
    }
}

impl RunConfig {
    /// Images that one step learns from.
    pub fn step_images(&self) -> usize {
        self.batch * self.accumulate
    }

    fn validate(&self) -> Result<(), (&'static str, String)> {
        let ranges = [
            ("batch", self.batch as u64, 1..=65536),
            ("accumulate", self.accumulate as u64, 1..=65536),
            ("checkpoint_steps", self.checkpoint_steps, 1..=1_000_000_000),
            ("keep", self.keep as u64, 1..=1_000_000),
            ("log_steps", self.log_steps, 1..=1_000_000_000),
        ];
        for (key, value, range) in ranges {
            if !range.contains(&value) {
                return Err((key, format!("{value} is not in {} to {}", range.start(), range.end())));
            }
        }
        if self.step_images() < 2 {
            return Err(("batch", "one image is no batch: the centre needs at least two".to_owned()));
        }
        Ok(())
    }
}

impl Config {
    /// Reads and validates a file.
    ///
    /// # Errors
    /// The file cannot be read; a key is unknown, of the wrong type or out of range. Each names file, line and key.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let text = files::read_text(path).map_err(|source| ConfigError::Read { file: name.clone(), source })?;
        Self::parse(&text, &name)
    }

    /// Reads and validates `text`, which errors call `name`.
    ///
    /// # Errors
    /// As [`Config::load`]: every key that cannot be read, else the first value that cannot be.
    pub fn parse(text: &str, name: &str) -> Result<Self, ConfigError> {
        let (config, faults) = maskd_cli::read::<Self>(text);
        ConfigError::check(name, faults)?;
        let config = config.unwrap_or_default();
        config.validate().map_err(|(key, message)| ConfigError::invalid(text, name, &key, &message))?;
        Ok(config)
    }

    /// Checks what a key's type cannot.
    ///
    /// # Errors
    /// The key, dotted, and what is wrong with its value.
    pub fn validate(&self) -> Result<(), (String, String)> {
        let in_section = |section: &str, found: Result<(), (&'static str, String)>| {
            found.map_err(|(key, message)| (format!("{section}.{key}"), message))
        };
        if let Some(distill) = &self.distill {
            in_section("distill", distill.validate())?;
            if self.crops.local_count > 0 {
                let message =
                    format!("{}: a distillation takes two global crops, and 0 local ones", self.crops.local_count);
                return Err(("crops.local_count".to_owned(), message));
            }
        }
        in_section("run", self.run.validate())?;
        in_section("head", self.head.validate())?;
        in_section("loss", self.loss.validate())?;
        in_section("schedule", self.schedule.validate())?;
        in_section("optim", self.optim.validate())?;
        in_section("data", self.data.validate())?;
        in_section("crops", self.crops.validate())?;
        in_section("quality", self.quality.validate())?;
        match &self.model {
            Some(model) => {
                in_section("model", model.validate())?;
                self.fits(model.patch)
            }
            None => Ok(()),
        }
    }

    /// Whether the crops are made of whole patches.
    ///
    /// # Errors
    /// The key, dotted, and the nearest size that fits.
    pub fn fits(&self, patch: usize) -> Result<(), (String, String)> {
        let sizes = [("crops.global_size", self.crops.global_size), ("crops.local_size", self.crops.local_size)];
        // The size of crops that nobody makes does not matter.
        for (key, size) in sizes.into_iter().take(if self.crops.local_count > 0 { 2 } else { 1 }) {
            if !size.is_multiple_of(patch) {
                let near = ((size + patch / 2) / patch).max(1) * patch;
                return Err((key.to_owned(), format!("{size} is no multiple of the patch, {patch}; take {near}")));
            }
        }
        Ok(())
    }

    /// What a distillation is without a file: the defaults, but pictures that are hardly disturbed.
    pub fn distillation() -> Self {
        let crops = CropConfig {
            global_scale: [0.1, 1.0],
            local_count: 0,
            jitter: 0.3,
            grey: 0.05,
            blur_global_1: 0.1,
            solarise: 0.0,
            ..CropConfig::default()
        };
        Self {
            distill: Some(DistillConfig::default()),
            crops,
            optim: OptimConfig { lr: 5e-3, weight_decay: 0.02, weight_decay_end: 0.02, ..OptimConfig::default() },
            run: RunConfig { batch: 8, accumulate: 1, checkpoint_steps: 250, ..RunConfig::default() },
            schedule: ScheduleConfig { epochs: 80, epoch_steps: 100, warmup_epochs: 2.0, ..ScheduleConfig::default() },
            ..Self::default()
        }
    }

    /// As TOML, defaults included.
    ///
    /// # Errors
    /// A number that TOML cannot hold.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(self)
    }

    /// SHA-256 of [`Config::to_toml`], lower-case hexadecimal.
    ///
    /// # Errors
    /// As there.
    pub fn sha256(&self) -> Result<String, toml::ser::Error> {
        Ok(hex::encode(Sha256::digest(self.to_toml()?)))
    }

    /// The learning rate after the warm-up: scaled with the images of a step, 256 being the unit.
    pub fn scaled_lr(&self) -> f64 {
        self.optim.lr * self.run.step_images() as f64 / 256.0
    }
}
