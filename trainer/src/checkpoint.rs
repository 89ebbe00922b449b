//! The whole state of a training in one file, written whole or not at all: to a temporary file beside it, to the disk, and
//! only then under its name. What is read back is checked before it is used.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use candle_core::{DType, Device, Tensor};
use maskd_types::files;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{config::Config, method::Method};

/// The layout that this version writes and reads.
const VERSION: u32 = 1;
/// The header's key.
const KEY: &str = "maskd_train";
/// No training that this program can do leaves more.
const MAX_FILE: u64 = 64 << 30;
/// The longest header that files of tensors may have, by their format.
const MAX_HEADER: u64 = 100_000_000;

/// What a checkpoint says besides its tensors. Everything else (schedules, drop path, the data's order) is a function of
/// the configuration and the step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    version: u32,
    /// SHA-256 of all tensors, so that a damaged file is noticed.
    digest: String,
    /// Steps that are done.
    pub step: u64,
    /// What the data are.
    pub fingerprint: String,
    /// Where they are.
    pub sources: Vec<PathBuf>,
    /// The best score so far; higher is better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best: Option<Score>,
    /// Updates of each parameter.
    updates: BTreeMap<String, u64>,
    /// The resolved configuration; its `[model]` says the architecture.
    pub config: Config,
}

/// How good a checkpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Score {
    /// Higher is better.
    pub value: f64,
    /// Whether it is a measured quality; otherwise it is the negative loss, which says little from one temperature to
    /// another.
    pub measured: bool,
}

impl Score {
    /// Whether this one is to be kept in place of `other`.
    pub fn beats(self, other: Option<Self>) -> bool {
        other.is_none_or(|other| match (self.measured, other.measured) {
            (true, false) => true,
            (false, true) => false,
            _ => self.value > other.value,
        })
    }
}

impl Progress {
    /// For a training at `step`; what the tensors say is filled in by [`save`].
    pub fn new(config: Config, step: u64, fingerprint: String, sources: Vec<PathBuf>, best: Option<Score>) -> Self {
        let (digest, updates) = (String::new(), BTreeMap::new());
        Self { version: VERSION, digest, step, fingerprint, sources, best, updates, config }
    }
}

/// A checkpoint as read.
pub struct Saved {
    /// The file.
    pub path: PathBuf,
    /// What it says.
    pub progress: Progress,
    tensors: BTreeMap<String, Tensor>,
}

/// Every tensor of a training by name.
fn tensors(learner: &dyn Method) -> BTreeMap<String, Tensor> {
    let mut all = learner.state();
    for slot in learner.optimizer().slots() {
        all.insert(format!("mean.{}", slot.name), slot.mean.as_detached_tensor());
        all.insert(format!("square.{}", slot.name), slot.square.as_detached_tensor());
    }
    all
}

fn digest(tensors: &BTreeMap<String, Tensor>) -> Result<String> {
    use safetensors::tensor::View as _;
    let mut hash = Sha256::new();
    for (name, tensor) in tensors {
        hash.update(format!("{name} {:?}\n", tensor.dims()));
        hash.update(tensor.to_device(&Device::Cpu)?.data());
    }
    Ok(hex::encode(hash.finalize()))
}

/// What a file of tensors says of itself; nothing where it says nothing, or is no such file. Its tensors are not read.
///
/// # Errors
/// It cannot be opened or read.
pub fn about(path: &Path) -> io::Result<HashMap<String, String>> {
    #[derive(Default, Deserialize)]
    struct Header {
        #[serde(rename = "__metadata__", default)]
        about: HashMap<String, String>,
    }
    let mut file = files::open(path, u64::MAX)?;
    let mut header = Vec::new();
    file.by_ref().take(8).read_to_end(&mut header)?;
    let length = header.as_slice().try_into().map_or(0, u64::from_le_bytes);
    header.clear();
    if length <= MAX_HEADER {
        file.take(length).read_to_end(&mut header)?;
    }
    Ok(serde_json::from_slice::<Header>(&header).unwrap_or_default().about)
}

/// Whether `path` is a checkpoint.
///
/// # Errors
/// As [`about`].
pub fn is_checkpoint(path: &Path) -> io::Result<bool> {
    Ok(about(path)?.contains_key(KEY))
}

/// Writes the checkpoint of `learner` to `path`, whole or not at all.
///
/// # Errors
/// The disk is full or the folder cannot be written, or something else than a checkpoint is there; what was at `path` is
/// then still there.
pub fn save(path: &Path, learner: &dyn Method, mut progress: Progress) -> Result<()> {
    let tensors = tensors(learner);
    progress.digest = digest(&tensors)?;
    progress.updates = learner.optimizer().slots().iter().map(|s| (s.name.clone(), s.updates)).collect();
    let header = HashMap::from([(KEY.to_owned(), toml::to_string(&progress).context("the checkpoint's header")?)]);
    files::write_durably(path, &is_checkpoint, |part| Ok(safetensors::serialize_to_file(&tensors, Some(header), part)?))
}

/// Reads and checks a checkpoint.
///
/// # Errors
/// One line that names the file: it cannot be read, is none of ours, or is damaged.
pub fn read(path: &Path) -> Result<Saved> {
    let inner = || -> Result<Saved> {
        let bytes = files::read(path, MAX_FILE)?;
        let (_, header) = SafeTensors::read_metadata(&bytes).context("not a checkpoint, or cut off")?;
        let text = header.metadata().as_ref().and_then(|m| m.get(KEY)).context("no checkpoint of maskd-train")?;
        let progress: Progress = toml::from_str(text).map_err(|e| {
            anyhow::anyhow!("its header is damaged or of another version: {}", e.message().trim().replace('\n', ", "))
        })?;
        if progress.version != VERSION {
            bail!("version {} of the format; this program reads version {VERSION}", progress.version);
        }
        progress.config.validate().map_err(|(key, message)| anyhow::anyhow!("its configuration: {key}: {message}"))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in SafeTensors::deserialize(&bytes).context("cut off or damaged")?.iter() {
            if view.dtype() != safetensors::Dtype::F32 {
                bail!("tensor {name} is {:?}, not F32", view.dtype());
            }
            let tensor = Tensor::from_raw_buffer(view.data(), DType::F32, view.shape(), &Device::Cpu)?;
            tensors.insert(name.to_owned(), tensor);
        }
        if digest(&tensors)? != progress.digest {
            bail!("damaged: its tensors are not those that were written");
        }
        Ok(Saved { path: path.to_owned(), progress, tensors })
    };
    inner().with_context(|| format!("checkpoint {}", path.display()))
}

impl Saved {
    /// The backbone that the training is for, in the original naming, float32, on the CPU: DINO's teacher, or the
    /// student of a distillation.
    pub fn backbone(&self) -> BTreeMap<String, Tensor> {
        let whose = if self.progress.config.distill.is_some() { "student.backbone." } else { "teacher.backbone." };
        let named = self.tensors.iter();
        named.filter_map(|(n, t)| Some((n.strip_prefix(whose)?.to_owned(), t.clone()))).collect()
    }

    /// The student's tensors by full name.
    pub fn student(&self) -> HashMap<String, Tensor> {
        let named = self.tensors.iter();
        named.filter_map(|(n, t)| Some((n.strip_prefix("student.")?.to_owned(), t.clone()))).collect()
    }

    /// Puts `learner` into the saved state.
    ///
    /// # Errors
    /// Tensors that are missing, too many, or of another shape.
    pub fn restore(mut self, learner: &mut dyn Method) -> Result<()> {
        let path = self.path.clone();
        self.restore_inner(learner).with_context(|| format!("checkpoint {}", path.display()))
    }

    fn restore_inner(&mut self, learner: &mut dyn Method) -> Result<()> {
        let mut take = |name: &str, like: &Tensor| -> Result<Tensor> {
            let tensor = self.tensors.remove(name).with_context(|| format!("tensor {name} is missing"))?;
            if tensor.dims() != like.dims() {
                bail!("tensor {name} has shape {:?}, expected {:?}", tensor.dims(), like.dims());
            }
            Ok(tensor.to_device(like.device())?)
        };
        let taken = learner.state().into_iter().map(|(name, like)| Ok((name.clone(), take(&name, &like)?)));
        let state = taken.collect::<Result<BTreeMap<_, _>>>()?;
        learner.set_state(&state)?;
        for slot in learner.optimizer_mut().slots_mut() {
            slot.mean.set(&take(&format!("mean.{}", slot.name), &slot.mean)?)?;
            slot.square.set(&take(&format!("square.{}", slot.name), &slot.square)?)?;
            slot.updates = *self.progress.updates.get(&slot.name).context("a parameter's updates are missing")?;
        }
        match self.tensors.keys().next() {
            Some(name) => bail!("tensor {name} is not part of the training"),
            None => Ok(()),
        }
    }
}
