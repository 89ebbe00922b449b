//! Which network an offline command runs, and on what.

use std::path::PathBuf;

use clap::Args;

use super::{Exit, Failure, OrExit as _};
use maskd_model::backbone::{Backbone, BackboneConfig, BlockChoice, DeviceChoice, Precision};

// No documentation of its own: clap would take it for the command's.
#[allow(missing_docs)]
#[derive(Args, Debug)]
pub(super) struct Network {
    /// The network's weights: a file, or a name from 'maskd weights list' [default: those that maskd carries]
    #[arg(short, long, value_name = "FILE")]
    pub(super) weights: Option<PathBuf>,
    /// Pixels of the short side as the network sees it; quality and time grow with it
    #[arg(short, long, value_name = "PIXELS", default_value_t = 480)]
    pub(super) short_side: u32,
    /// Attention heads, where the weights do not tell
    #[arg(long, value_name = "N")]
    heads: Option<usize>,
    /// auto, cpu or cuda
    #[arg(long, default_value = "auto", value_parser = parse_device)]
    device: DeviceChoice,
    /// auto, f32, bf16 or f16; bf16 on a CPU wants AVX512_BF16
    #[arg(long, value_name = "PRECISION", default_value = "auto")]
    precision: Precision,
}

impl Network {
    /// Loads it; masks are propagated by the tokens of `block`.
    pub(super) fn load(&self, block: BlockChoice) -> Result<Backbone, Failure> {
        Backbone::load(&BackboneConfig {
            weights: self.weights.clone(),
            device: self.device,
            precision: self.precision,
            short_side: self.short_side,
            heads: self.heads,
            propagation_block: block,
        })
        .or_exit(Exit::Config)
    }
}

fn parse_device(text: &str) -> Result<DeviceChoice, String> {
    match text {
        "auto" => Ok(DeviceChoice::Auto),
        "cpu" => Ok(DeviceChoice::Cpu),
        "cuda" => Ok(DeviceChoice::Cuda),
        other => Err(format!("{other:?} is not auto, cpu or cuda")),
    }
}
