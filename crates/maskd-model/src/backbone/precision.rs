//! The numbers that the network computes with.

use anyhow::{Result, bail};
use candle_core::DType;
use serde::{Deserialize, Serialize};

use super::DeviceChoice;
use maskd_kernels::{self as kernels, ComputePath};

/// The numbers that the network computes with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// float32 on the CPU, bfloat16 on a GPU.
    #[default]
    Auto,
    /// float32.
    F32,
    /// bfloat16, on a GPU or on a CPU that multiplies it (AVX512_BF16). On a CPU only what is multiplied is rounded:
    /// sums, norms, softmax and the residual stream stay float32.
    Bf16,
    /// float16, GPU only.
    F16,
}

impl Precision {
    /// What activations are stored as and which operators compute, on the CPU or a GPU.
    ///
    /// # Errors
    /// A precision that the device has not.
    pub(super) fn on(self, cpu: bool) -> Result<(DType, ComputePath)> {
        self.choose(cpu, kernels::bf16::is_available())
    }

    /// `multiplies`: whether the CPU multiplies bfloat16.
    fn choose(self, cpu: bool, multiplies: bool) -> Result<(DType, ComputePath)> {
        match (self, cpu) {
            (Self::Auto | Self::F32, true) | (Self::F32, false) => Ok((DType::F32, ComputePath::Fused)),
            (Self::Auto | Self::Bf16, false) => Ok((DType::BF16, ComputePath::Fused)),
            (Self::F16, false) => Ok((DType::F16, ComputePath::Fused)),
            (Self::Bf16, true) if multiplies => Ok((DType::F32, ComputePath::Bf16)),
            (Self::Bf16, true) => {
                bail!("\"bf16\": this CPU does not multiply bf16 (AVX512_BF16); want \"f32\" or \"auto\"")
            }
            (Self::F16, true) => {
                bail!("\"f16\": the CPU computes in f32 or bf16; f16 needs a GPU (model.device)")
            }
        }
    }

    /// Whether `device`, as far as it is known without opening it, computes so.
    ///
    /// # Errors
    /// A precision that the device has not.
    pub fn check(self, device: DeviceChoice) -> Result<()> {
        let cpu = match device {
            DeviceChoice::Cpu => true,
            DeviceChoice::Auto => !candle_core::utils::cuda_is_available(),
            DeviceChoice::Cuda => false,
        };
        self.on(cpu).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_computes_in_float32_unless_asked_for_bf16_and_says_what_it_cannot() {
        let all = [Precision::Auto, Precision::F32, Precision::Bf16, Precision::F16];
        for (precision, text) in all.into_iter().zip(["auto", "f32", "bf16", "f16"]) {
            for multiplies in [false, true] {
                match (precision.choose(true, multiplies), text) {
                    (Ok(chosen), "auto" | "f32") => assert_eq!(chosen, (DType::F32, ComputePath::Fused)),
                    (Ok(chosen), "bf16") => assert!(multiplies && chosen == (DType::F32, ComputePath::Bf16)),
                    (Err(error), "bf16" | "f16") => {
                        let error = error.to_string();
                        assert!(text == "f16" || !multiplies, "{error}");
                        assert!(error.starts_with(&format!("\"{text}\": ")), "{error}");
                    }
                    (other, _) => panic!("{text}: {other:?}"),
                }
            }
            let (dtype, path) = precision.choose(false, false).unwrap();
            assert_eq!((dtype == DType::F32, path), (text == "f32", ComputePath::Fused));
        }
    }
}
