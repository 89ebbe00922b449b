//! The network as the rest sees it: pictures in, features of their patches out. Owns the device.

mod block;
mod precision;
mod tokens;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
pub use block::{BlockChoice, PROPAGATION_BLOCK};
use candle_core::{DType, Device, Tensor};
pub use precision::Precision;
use serde::{Deserialize, Serialize};

use crate::{Architecture, Checkpoint, Discovery, OutputRequest, Vit, WeightsSource, preprocess};
use maskd_kernels::ComputePath;
use maskd_types::{
    features::{Features, Grid},
    frame::{Frame, Resolution, Size},
};

/// More pixels than this on the short side fill any memory.
const MAX_SHORT_SIDE: u32 = 4096;

/// Where `[CLS]` looks in one picture.
#[derive(Clone, Debug)]
pub struct Attention {
    /// The patch grid, N = rows x cols.
    pub grid: Grid,
    /// For each head, the attention to each patch `(N)`, 0..1; what is missing to a sum of 1 goes to `[CLS]` itself.
    pub heads: Vec<Vec<f32>>,
}

/// Where the network runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// The first NVIDIA GPU where this build and this machine have one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The first NVIDIA GPU, or an error.
    Cuda,
}

/// The `[model]` part of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackboneConfig {
    /// The weights: a file or a name, as in [`WeightsSource::of`]; `None` means those that maskd carries.
    pub weights: Option<PathBuf>,
    /// Where to compute.
    pub device: DeviceChoice,
    /// What to compute with.
    pub precision: Precision,
    /// Pixels of the short side of the network's input; the long side follows, both floored to whole patches.
    pub short_side: u32,
    /// Attention heads, where the weights do not tell (a width that is no multiple of 64).
    pub heads: Option<usize>,
    /// The block whose tokens labels are propagated by.
    pub propagation_block: BlockChoice,
}

impl Default for BackboneConfig {
    fn default() -> Self {
        Self {
            weights: None,
            device: DeviceChoice::Auto,
            precision: Precision::Auto,
            short_side: 336,
            heads: None,
            propagation_block: BlockChoice::Auto,
        }
    }
}

impl BackboneConfig {
    /// What is wrong with the values, as far as it needs no weights to know: each key in `[model]`, and what to do.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if !(1..=MAX_SHORT_SIDE).contains(&self.short_side) {
            faults.push(("short_side", format!("{} is not in 1 to {MAX_SHORT_SIDE}", self.short_side)));
        }
        if self.heads == Some(0) {
            faults.push(("heads", "0 heads cannot attend to anything".to_owned()));
        }
        faults
    }

    /// What is wrong with the values on this machine: a device that is not there, a precision that it has not.
    pub fn faults_here(&self) -> Vec<(&'static str, String)> {
        let precision = self.precision.check(self.device).err().map(|error| ("precision", error.to_string()));
        let device = match self.device {
            // Only a GPU that is asked for by name can be missing.
            DeviceChoice::Cuda => choose_device(self.device).err().map(|error| ("device", error.to_string())),
            DeviceChoice::Auto | DeviceChoice::Cpu => None,
        };
        device.into_iter().chain(precision).collect()
    }

    /// What of the values these weights cannot do: a picture smaller than a patch, a block that they have not.
    pub fn faults_with(&self, weights: &Checkpoint) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let patch = weights.architecture.patch as u32;
        if !(patch..=MAX_SHORT_SIDE).contains(&self.short_side) {
            let wanted =
                format!("{} is not in {patch} (one patch of these weights) to {MAX_SHORT_SIDE}", self.short_side);
            faults.push(("short_side", wanted));
        }
        if let Err(error) = self.propagation_block.of(weights) {
            faults.push(("propagation_block", error.to_string()));
        }
        faults
    }
}

/// A loaded network on its device.
pub struct Backbone {
    vit: Vit,
    device: Device,
    /// Of inputs.
    dtype: DType,
    /// What is multiplied.
    numbers: DType,
    resolution: Resolution,
    /// 0-based.
    block: usize,
    model_id: String,
}

impl Backbone {
    /// Reads the weights, chooses the device and builds the network.
    ///
    /// # Errors
    /// Weights that cannot be used (the cause is a [`crate::WeightsError`]), a device that is
    /// not there, a precision that the device has not.
    pub fn load(config: &BackboneConfig) -> Result<Self> {
        Self::build(config, &WeightsSource::of(config.weights.as_deref())?.read(config.heads)?)
    }

    /// As [`Backbone::load`], of weights that were read before.
    ///
    /// # Errors
    /// As [`Backbone::load`].
    pub fn build(config: &BackboneConfig, checkpoint: &Checkpoint) -> Result<Self> {
        let arch = checkpoint.architecture;
        let device = choose_device(config.device).context("model.device")?;
        let (dtype, path) = config.precision.on(device.is_cpu()).context("model.precision")?;
        if let Some((key, wrong)) = config.faults_with(checkpoint).into_iter().next() {
            bail!("model.{key}: {wrong}");
        }
        let (block, patch) = (config.propagation_block.of(checkpoint)?, arch.patch as u32);
        let vit = Vit::new(arch, &checkpoint.tensors, &device, dtype, path).context("building the network")?;
        let numbers = if path == ComputePath::Bf16 { DType::BF16 } else { dtype };
        let model_id = match numbers {
            DType::F32 => checkpoint.model_id(),
            less => format!("{}+{}", checkpoint.model_id(), less.as_str()),
        };
        Ok(Self {
            vit,
            device,
            dtype,
            numbers,
            resolution: Resolution { short_side: config.short_side, multiple: patch },
            block,
            model_id,
        })
    }

    /// The network's shape.
    pub fn architecture(&self) -> &Architecture {
        self.vit.architecture()
    }

    /// Architecture and hash of the weights, and the precision where it is not float32, as stamped on every message:
    /// `dinov2-vits14@31fb8b2c2e47+bf16`.
    pub fn model_id(&self) -> &str {
        &self.model_id
    }

    /// How large the network sees frames; give it to ingest, so that GStreamer scales.
    pub fn resolution(&self) -> Resolution {
        self.resolution
    }

    /// Where and in what the network computes, for people to read.
    pub fn device(&self) -> String {
        let place = match &self.device {
            Device::Cpu => format!("CPU, {} threads", rayon::current_num_threads()),
            Device::Cuda(_) => "CUDA GPU".to_owned(),
            Device::Metal(_) => "Metal GPU".to_owned(),
        };
        format!("{place}, {}", self.numbers.as_str())
    }

    /// Runs a grey frame through, so that the first camera frame finds everything allocated and compiled.
    ///
    /// # Errors
    /// Out of memory, or a broken device.
    pub fn warm_up(&self) -> Result<()> {
        let side = self.resolution.fit(Size::new(16, 9));
        let grey = Tensor::zeros((1, 3, side.height as usize, side.width as usize), DType::F32, &Device::Cpu)?;
        // A device that computes in the background says what went wrong when it is read.
        Ok(self.run(&grey, true)?.iter().try_for_each(Features::load)?)
    }

    /// Input for frames of one network size: `(B, 3, H, W)`; see [`Self::input_size`].
    ///
    /// # Errors
    /// A frame whose buffer does not hold its own size.
    pub fn prepare(&self, frames: &[&Frame], size: Size) -> Result<Tensor> {
        Ok(preprocess::batch(frames, size)?)
    }

    /// The size that the network sees pictures of `source` size at.
    pub fn input_size(&self, source: Size) -> Size {
        self.resolution.fit(source)
    }

    /// The size that the network sees `frame` at: as it is where ingest has scaled it, which knows of pixels that are
    /// not square; smaller where its quality has a lower level.
    pub fn input_size_of(&self, frame: &Frame) -> Size {
        let Size { width, height } = frame.size;
        let whole = |side: u32| side > 0 && side.is_multiple_of(self.resolution.multiple);
        let scaled = frame.size != frame.source && whole(width) && whole(height);
        let full = if scaled { frame.size } else { self.input_size(frame.source) };
        if frame.quality.level < 1.0 { self.resolution.at(frame.quality.level).fit(full) } else { full }
    }

    /// Features of a prepared batch, one per image, with what discovery needs where `discovery`. They stay on the network's
    /// device until they are read.
    ///
    /// # Errors
    /// Out of memory, or a broken device; one that computes in the background says so in [`Features::load`].
    pub fn run(&self, input: &Tensor, discovery: bool) -> Result<Vec<Features>> {
        let arch = *self.architecture();
        let (_, _, height, width) = input.dims4()?;
        let grid = Grid { rows: height / arch.patch, cols: width / arch.patch };
        let last = arch.depth - 1;
        let by_keys = arch.family.design().discovery == Discovery::Keys;
        let mut blocks = vec![self.block];
        if discovery && !by_keys && self.block != last {
            blocks.push(last);
        }
        let want = OutputRequest {
            tokens: blocks,
            keys: if discovery && by_keys { vec![last] } else { vec![] },
            ..OutputRequest::default()
        };
        let output = self.vit.forward(&input.to_device(&self.device)?.to_dtype(self.dtype)?, &want)?;

        let images = |tokens: &Tensor| tokens::of_images(tokens, arch.prefix());
        let features = images(&output.tokens[0])?.into_iter().map(|tokens| Features::new(grid, arch.dim, tokens));
        if !discovery {
            return Ok(features.collect());
        }
        Ok(match output.keys.first().or(output.tokens.get(1)) {
            Some(other) => {
                features.zip(images(other)?).map(|(features, other)| features.with_discovery(other)).collect()
            }
            None => features.map(Features::discovered_by_tokens).collect(),
        })
    }

    /// The attention of `[CLS]` to the patches in `block`, for each image of a prepared batch.
    ///
    /// # Errors
    /// A block that the network has not, out of memory, a broken device.
    pub fn attention(&self, input: &Tensor, block: BlockChoice) -> Result<Vec<Attention>> {
        let patch = self.architecture().patch;
        let (_, _, height, width) = input.dims4()?;
        let grid = Grid { rows: height / patch, cols: width / patch };
        let want = OutputRequest { cls_attention: Some(block.index(self.architecture())?), ..OutputRequest::default() };
        let output = self.vit.forward(&input.to_device(&self.device)?.to_dtype(self.dtype)?, &want)?;
        let all = output.cls_attention.context("no attention was computed. This is a bug.")?; // (B, heads, P + N)
        let all = all.narrow(2, self.architecture().prefix(), grid.len())?.to_dtype(DType::F32)?.to_vec3()?;
        Ok(all.into_iter().map(|heads| Attention { grid, heads }).collect())
    }
}

fn choose_device(choice: DeviceChoice) -> Result<Device> {
    match choice {
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Auto if candle_core::utils::cuda_is_available() => {
            Ok(Device::new_cuda(0).unwrap_or_else(|error| {
                let error = error.to_string();
                tracing::warn!("no usable GPU, computing on the CPU: {}", error.lines().next().unwrap_or_default());
                Device::Cpu
            }))
        }
        DeviceChoice::Auto => Ok(Device::Cpu),
        DeviceChoice::Cuda => {
            Device::new_cuda(0).context("\"cuda\": no usable GPU (is this build made with --features cuda?)")
        }
    }
}
