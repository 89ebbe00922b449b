//! The backbone that a training was for as a weights file that `maskd` reads, with where it comes from in its metadata.

use std::{collections::HashMap, io, path::Path};

use anyhow::{Context as _, Result, bail};
use candle_core::DType;
use maskd_model::backbone::PROPAGATION_BLOCK;
use maskd_types::files;

use crate::{
    checkpoint::{Saved, about},
    config::ModelConfig,
};

/// The metadata's key that says which program made the weights.
const MADE_BY: &str = "made_by";

/// Whether `path` holds weights that [`export`] wrote.
///
/// # Errors
/// It cannot be opened or read.
pub fn is_export(path: &Path) -> io::Result<bool> {
    Ok(about(path)?.get(MADE_BY).is_some_and(|name| name.starts_with("maskd-train ")))
}

/// Writes the backbone to `out`, as float16 where `half` says so, else as float32.
///
/// # Errors
/// `out` is there already, and `force` does not allow it or it is not an earlier export; it cannot be written.
pub fn export(saved: &Saved, out: &Path, half: bool, force: bool) -> Result<()> {
    if !force && out.exists() {
        bail!("{}: it is there already; --force overwrites it", out.display());
    }
    let progress = &saved.progress;
    let arch =
        progress.config.model.as_ref().map(ModelConfig::architecture).context("the checkpoint says no [model]")?;
    let mut tensors = saved.backbone();
    if half {
        tensors.values_mut().try_for_each(|t| t.to_dtype(DType::F16).map(|half| *t = half))?;
    }
    let about = [
        ("architecture", arch.to_string()),
        ("heads", arch.heads.to_string()),
        (MADE_BY, concat!("maskd-train ", env!("CARGO_PKG_VERSION")).to_owned()),
        ("step", progress.step.to_string()),
        ("data", progress.fingerprint.clone()),
        ("config_sha256", progress.config.sha256().context("the configuration")?),
    ];
    // What a student was taught, and by whom.
    let taught = progress.config.distill.as_ref().map(|d| -> Result<_> {
        let block = d.propagation_block.index(&arch)? + 1;
        Ok([(PROPAGATION_BLOCK, block.to_string()), ("teacher_sha256", d.teacher_sha256.clone())])
    });
    let about = about.into_iter().chain(taught.transpose()?.into_iter().flatten());
    let about: HashMap<String, String> = about.map(|(key, value)| (key.to_owned(), value)).collect();
    files::write_durably(out, &is_export, |part| Ok(safetensors::serialize_to_file(&tensors, Some(about), part)?))
}
