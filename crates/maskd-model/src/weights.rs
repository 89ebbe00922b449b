//! Weights from files: `.safetensors`, PyTorch `.pth`, the Hugging Face naming. Everything is checked
//! before it is used, and a fault names the file and the tensor.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use candle_core::{DType, Tensor};
use sha2::{Digest, Sha256};

pub use super::fault::WeightsFault;
use super::{
    Architecture, names, pth,
    raw::{Raw, from_bytes},
};
use maskd_types::files;

/// No backbone that we read is larger: ViT-g in float32 is 4.5 GB, ViT-B 0.35 GB.
const MAX_FILE: u64 = 8 << 30;

/// Weights that cannot be used, with the file they are in.
#[derive(Debug, thiserror::Error)]
#[error("weights {}: {fault}", path.display())]
pub struct WeightsError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub fault: WeightsFault,
}

/// Checked weights of a backbone: tensors in the original naming, float32, on the CPU.
#[derive(Debug)]
pub struct Checkpoint {
    /// The network they are for.
    pub architecture: Architecture,
    /// Every tensor of [`Architecture::tensors`], and no other.
    pub tensors: HashMap<String, Tensor>,
    /// What the file says about itself.
    pub metadata: HashMap<String, String>,
    /// The number types that the file stores, e.g. `F16`.
    pub stored: Vec<String>,
    /// SHA-256 of the file, lower-case hexadecimal.
    pub sha256: String,
}

impl Checkpoint {
    /// Reads and checks a weights file. `heads` overrides what the file's metadata (`heads`) or the
    /// width say; see [`Architecture::infer`].
    ///
    /// # Errors
    /// [`WeightsError`] names the file, the tensor and the fault. Nothing in a `.pth` is ever run.
    pub fn read(path: &Path, heads: Option<usize>) -> Result<Self, WeightsError> {
        let fail = |fault| WeightsError { path: path.to_owned(), fault };
        let bytes = read_file(path).map_err(fail)?;
        Self::parse(&bytes, heads).map_err(fail)
    }

    /// As [`Checkpoint::read`], for a file's content.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8], heads: Option<usize>) -> Result<Self, WeightsFault> {
        let sha256 = hex::encode(Sha256::digest(bytes));
        let raw = if bytes.starts_with(b"PK\x03\x04") {
            pth::read(bytes)?
        } else if bytes.starts_with(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.") {
            return Err(WeightsFault::Format(
                "saved by a PyTorch older than 1.6; load and save it with a newer one".to_owned(),
            ));
        } else {
            read_safetensors(bytes)?
        };
        let mut stored: Vec<String> = raw.tensors.values().map(|t| format!("{:?}", t.dtype())).collect();
        stored.sort();
        stored.dedup();
        let mut tensors = names::canonical(raw.tensors)?;
        let heads = match (heads, raw.metadata.get("heads")) {
            (Some(heads), _) => Some(heads),
            (None, Some(text)) => Some(
                text.parse().map_err(|_| WeightsFault::Format(format!("metadata heads = {text:?} is no number")))?,
            ),
            (None, None) => None,
        };
        let architecture = Architecture::infer(&tensors, heads)?;
        let mut checked = HashMap::with_capacity(tensors.len());
        for (name, shape) in architecture.tensors() {
            let tensor = tensors.remove(&name).ok_or_else(|| WeightsFault::Missing(name.clone()))?;
            if tensor.dims() != shape {
                return Err(WeightsFault::Shape {
                    found: format!("{:?}", tensor.dims()),
                    expected: format!("{shape:?}"),
                    name,
                });
            }
            let tensor = finite_f32(&name, &tensor)?;
            checked.insert(name, tensor);
        }
        if let Some(name) = tensors.into_keys().min() {
            return Err(WeightsFault::Extra(name));
        }
        Ok(Self { architecture, tensors: checked, metadata: raw.metadata, stored, sha256 })
    }

    /// A short name that tells these weights from others: architecture and the start of the file's hash.
    pub fn model_id(&self) -> String {
        format!("{}@{}", self.architecture, &self.sha256[..12])
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, WeightsFault> {
    files::read(path, MAX_FILE).map_err(WeightsFault::Io)
}

fn read_safetensors(bytes: &[u8]) -> Result<Raw, WeightsFault> {
    let format = |e: safetensors::SafeTensorError| WeightsFault::Format(e.to_string());
    let (_, header) = safetensors::SafeTensors::read_metadata(bytes).map_err(format)?;
    let file = safetensors::SafeTensors::deserialize(bytes).map_err(format)?;
    let mut tensors = HashMap::new();
    for (name, view) in file.iter() {
        let dtype = match view.dtype() {
            safetensors::Dtype::F16 => DType::F16,
            safetensors::Dtype::BF16 => DType::BF16,
            safetensors::Dtype::F32 => DType::F32,
            safetensors::Dtype::F64 => DType::F64,
            other => return Err(WeightsFault::Type { name: name.to_owned(), found: format!("{other:?}") }),
        };
        tensors.insert(name.to_owned(), from_bytes(name, view.data(), dtype, view.shape())?);
    }
    let metadata = header.metadata().clone().unwrap_or_default();
    Ok(Raw { tensors, metadata })
}

fn finite_f32(name: &str, tensor: &Tensor) -> Result<Tensor, WeightsFault> {
    let broken = |e: candle_core::Error| WeightsFault::Format(format!("tensor {name}: {e}"));
    let tensor = tensor.to_dtype(DType::F32).map_err(broken)?;
    let values = tensor.flatten_all().and_then(|t| t.to_vec1::<f32>()).map_err(broken)?;
    if values.iter().all(|x| x.is_finite()) { Ok(tensor) } else { Err(WeightsFault::NotFinite(name.to_owned())) }
}
