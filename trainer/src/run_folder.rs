//! The folder of a run: `config.toml`, `log.jsonl`, `best.safetensors` and the newest `checkpoints/step-*.safetensors`.
//! One process at a time works in it, and nothing in it is overwritten unasked.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use maskd_model::WeightsSource;
use maskd_types::files::{PART, write_durably};

use crate::checkpoint::is_checkpoint;

/// The name of the log.
pub const LOG: &str = "log.jsonl";

/// An open run folder. It is this process's as long as this value lives.
pub struct RunFolder {
    root: PathBuf,
    _lock: File,
}

impl RunFolder {
    /// Makes the folder for a new run.
    ///
    /// # Errors
    /// Something is there already; it cannot be made.
    pub fn create(root: &Path) -> Result<Self> {
        let what = || root.display().to_string();
        if root.exists() && fs::read_dir(root).with_context(what)?.next().is_some() {
            bail!("{}: there is something in it already; continue it with --resume, or name another --out", what());
        }
        fs::create_dir_all(root.join("checkpoints")).with_context(what)?;
        Self::lock(root)
    }

    /// Opens the folder of a run that was begun, and clears away files that were never finished.
    ///
    /// # Errors
    /// There is none, or another process works in it.
    pub fn open(root: &Path) -> Result<Self> {
        let checkpoints = root.join("checkpoints");
        if !checkpoints.is_dir() {
            bail!(
                "{}: no run that could be resumed (it has no checkpoints/); start one without --resume",
                root.display()
            );
        }
        let folder = Self::lock(root)?;
        // Nothing is cleared away in a folder that is no run's.
        let newest = newest(root)?;
        if !is_checkpoint(&newest).with_context(|| newest.display().to_string())? {
            return Ok(folder);
        }
        for place in [root, &checkpoints] {
            for entry in fs::read_dir(place).with_context(|| place.display().to_string())?.flatten() {
                if entry.file_name().to_string_lossy().starts_with(PART) {
                    let _ = fs::remove_file(entry.path()).or_else(|_| fs::remove_dir_all(entry.path()));
                }
            }
        }
        Ok(folder)
    }

    fn lock(root: &Path) -> Result<Self> {
        let path = root.join("lock");
        let what = || path.display().to_string();
        // Whatever a file of that name holds, it is not ours to empty.
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(&path).with_context(what)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { root: root.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => bail!("{}: another maskd-train works in it", root.display()),
            Err(TryLockError::Error(e)) => Err(e).with_context(what),
        }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The log.
    pub fn log(&self) -> PathBuf {
        self.root.join(LOG)
    }

    /// Writes the resolved configuration, for people.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_config(&self, text: &str) -> Result<()> {
        write_durably(&self.root.join("config.toml"), &|_| Ok(false), |part| Ok(fs::write(part, text)?))
    }

    /// The teacher of a distillation: the file as it was given.
    pub fn teacher(&self) -> PathBuf {
        self.root.join("teacher.weights")
    }

    /// Keeps a copy of the teacher in `weights`, so that the run needs nothing but its folder.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub fn keep_teacher(&self, weights: &WeightsSource) -> Result<()> {
        write_durably(&self.teacher(), &|_| Ok(false), |part| {
            weights.copy(part).with_context(|| weights.to_string())?;
            Ok(())
        })
    }

    /// Where the checkpoint of `step` goes.
    pub fn checkpoint(&self, step: u64) -> PathBuf {
        self.root.join("checkpoints").join(format!("step-{step:010}.safetensors"))
    }

    /// Lets all but the newest `keep` checkpoints go. What cannot be removed stays.
    pub fn prune(&self, keep: usize) {
        let all = checkpoints(&self.root);
        for (_, path) in &all[..all.len().saturating_sub(keep)] {
            if let Err(e) = fs::remove_file(path) {
                tracing::warn!("{}: an old checkpoint stays: {e}", path.display());
            }
        }
    }

    /// Keeps the checkpoint at `path` as the best, too.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep_best(&self, path: &Path) -> Result<()> {
        write_durably(&self.root.join("best.safetensors"), &is_checkpoint, |part| {
            fs::remove_file(part)?;
            // A second name where the file system has them: nothing is copied.
            fs::hard_link(path, part).or_else(|_| fs::copy(path, part).map(drop))?;
            Ok(())
        })
    }
}

/// The checkpoints of the run in `root`, by step, oldest first.
pub fn checkpoints(root: &Path) -> Vec<(u64, PathBuf)> {
    let step = |path: &Path| {
        path.file_name()?.to_str()?.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse::<u64>().ok()
    };
    let entries = fs::read_dir(root.join("checkpoints")).into_iter().flatten().flatten().map(|e| e.path());
    let mut all: Vec<_> = entries.filter_map(|path| Some((step(&path)?, path))).collect();
    all.sort();
    all
}

/// The newest checkpoint of the run in `root`.
///
/// # Errors
/// There is none.
pub fn newest(root: &Path) -> Result<PathBuf> {
    let newest = checkpoints(root).pop().map(|(_, path)| path);
    newest.with_context(|| format!("{}: it has no checkpoint yet; remove it and start again", root.display()))
}
