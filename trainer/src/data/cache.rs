//! Frames of videos as JPEG files, so that a video is decoded once and its frames can be read in any order.
//!
//! An entry is a folder named after the video's identity (path, size, time of change) and the settings that decide
//! its frames. It is written under another name, with its list of files last, and then renamed: what bears an
//! entry's name is whole, and files whose sizes disagree with the list make it void. Locks on folders tell entries
//! in use from old ones: those of other runs go, oldest first, where the space is needed.

use std::{
    collections::HashSet,
    fs::{self, File},
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::{DataConfig, files::DataFile};

const LIST: &str = "frames.json";
const WRITING: &str = ".writing-";
/// Raised where the same video and settings would give other frames.
const FORMAT: u32 = 2;

/// A folder of entries, in use for as long as this lives.
pub(super) struct Cache {
    root: PathBuf,
    bound: u64,
    in_use: HashSet<String>,
    /// Shared locks on the entries in use.
    locks: Vec<File>,
    temporary: Option<TempDir>,
}

/// What an entry holds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Listing {
    pub frames: Vec<CachedFrame>,
    /// How often the sampling rate was halved for want of space.
    pub halvings: u32,
    /// The space it had, in bytes.
    pub share: u64,
    /// Why the video's end was not reached.
    pub fault: Option<String>,
}

/// One frame of a video.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CachedFrame {
    pub file: String,
    pub bytes: u64,
    /// Time in the video.
    pub time_ns: u64,
}

impl Listing {
    /// Space its frames take, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.frames.iter().map(|frame| frame.bytes).sum()
    }

    /// Whether sampling anew with `share` bytes would give the same frames.
    fn suits(&self, share: u64) -> bool {
        if self.halvings == 0 { self.bytes() <= share } else { self.share == share }
    }
}

impl Cache {
    /// Opens or creates the folder, and clears away what interrupted runs left.
    pub(super) fn open(config: &DataConfig) -> Result<Self> {
        let temporary = match config.cache {
            Some(_) => None,
            None => Some(tempfile::Builder::new().prefix("maskd-train-").tempdir().context("temporary cache")?),
        };
        let root = config.cache.clone().or(temporary.as_ref().map(|t| t.path().to_owned())).unwrap_or_default();
        let prepare = || {
            fs::create_dir_all(&root)?;
            // Nobody creates a folder and has not locked it yet.
            let _guard = locked(&root)?;
            for entry in fs::read_dir(&root)? {
                let entry = entry?;
                if entry.file_name().to_string_lossy().starts_with(WRITING) && is_free(&entry.path()) {
                    fs::remove_dir_all(entry.path())?;
                }
            }
            anyhow::Ok(())
        };
        prepare().with_context(|| format!("data.cache {}", root.display()))?;
        let bound = config.cache_megabytes * 1_000_000;
        Ok(Self { root, bound, in_use: HashSet::new(), locks: Vec::new(), temporary })
    }

    /// Whether the frames outlive the run.
    pub(super) fn is_kept(&self) -> bool {
        self.temporary.is_none()
    }

    /// The entry's name for a video.
    pub(super) fn key(file: &DataFile, config: &DataConfig) -> Result<String> {
        let about = fs::metadata(&file.path)?;
        let changed = about.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let settings = (FORMAT, config.video_rate, config.video_difference, config.video_short_side);
        let identity = (file.path.canonicalize()?, about.len(), changed.as_nanos());
        let digest = Sha256::digest(format!("{settings:?} {:?}", (identity, config.max_megapixels, config.min_side)));
        Ok(hex::encode(&digest[..16]))
    }

    /// A whole entry, if there is one that suits; it is in use from now on.
    pub(super) fn find(&mut self, key: &str, share: u64) -> Option<(PathBuf, Listing)> {
        let folder = self.root.join(key);
        let lock = File::open(&folder).ok()?;
        // Where a file system has no locks, nothing is ever cleared away either.
        let _ = lock.lock_shared();
        let listing: Listing = serde_json::from_slice(&fs::read(folder.join(LIST)).ok()?).ok()?;
        let whole = |frame: &CachedFrame| {
            // A list from outside names no file elsewhere.
            !frame.file.contains('/') && fs::metadata(folder.join(&frame.file)).is_ok_and(|m| m.len() == frame.bytes)
        };
        if listing.frames.is_empty() || !listing.suits(share) || !listing.frames.iter().all(whole) {
            return None;
        }
        self.locks.push(lock);
        self.in_use.insert(key.to_owned());
        Some((folder, listing))
    }

    /// Starts an entry with `share` bytes of space.
    pub(super) fn start(&self, share: u64) -> Result<EntryWriter> {
        let create = || {
            let _guard = locked(&self.root)?;
            let folder = tempfile::Builder::new().prefix(WRITING).tempdir_in(&self.root)?;
            let lock = File::open(folder.path())?;
            let _ = lock.lock();
            anyhow::Ok(EntryWriter { folder, lock, frames: Vec::new(), halvings: 0, share, total: 0 })
        };
        create().with_context(|| format!("data.cache {}", self.root.display()))
    }

    /// Gives a written entry its name, and makes room for it.
    pub(super) fn finish(
        &mut self,
        key: &str,
        entry: EntryWriter,
        fault: Option<String>,
    ) -> Result<(PathBuf, Listing)> {
        let EntryWriter { folder, lock, frames, halvings, share, .. } = entry;
        let listing = Listing { frames, halvings, share, fault };
        let target = self.root.join(key);
        let root = self.root.clone();
        let place = || format!("data.cache {}", root.display());
        fs::write(folder.path().join(LIST), serde_json::to_vec(&listing)?).with_context(place)?;
        let _guard = locked(&self.root).with_context(place)?;
        // Another run may have been faster with the same video.
        if let Some(found) = self.find(key, share) {
            return Ok(found);
        }
        if target.exists() {
            ensure!(
                is_free(&target),
                "{} is in use by a run with another data.cache_megabytes: give this run a data.cache of its own",
                target.display()
            );
            fs::remove_dir_all(&target).with_context(place)?;
        }
        fs::rename(folder.path(), &target).with_context(place)?;
        // It has gone by that name.
        let _ = folder.keep();
        let _ = lock.unlock();
        let entry =
            self.find(key, share).with_context(|| format!("{}: vanished while it was written", target.display()))?;
        self.trim()?;
        Ok(entry)
    }

    /// Removes entries that nobody uses, oldest first, until everything is within the bound.
    fn trim(&self) -> Result<()> {
        let mut others = Vec::new();
        let mut total = 0;
        for entry in fs::read_dir(&self.root).with_context(|| format!("data.cache {}", self.root.display()))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // Whatever else lies in the folder is not ours to count or remove.
            let Some(listing) = fs::read(entry.path().join(LIST)).ok().filter(|_| name.len() == 32) else { continue };
            let Ok(listing) = serde_json::from_slice::<Listing>(&listing) else { continue };
            total += listing.bytes();
            if !self.in_use.contains(&name) && is_free(&entry.path()) {
                let changed = entry.metadata()?.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                others.push((changed, entry.path(), listing.bytes()));
            }
        }
        others.sort();
        for (_, path, bytes) in others {
            if total <= self.bound {
                break;
            }
            fs::remove_dir_all(&path).with_context(|| format!("{}: cannot be removed", path.display()))?;
            total -= bytes;
        }
        Ok(())
    }
}

/// An entry that is being written; dropped, it leaves nothing.
pub(super) struct EntryWriter {
    folder: TempDir,
    lock: File,
    frames: Vec<CachedFrame>,
    halvings: u32,
    share: u64,
    total: u64,
}

impl EntryWriter {
    /// Whether any frame was added.
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Time of the last frame that is still there.
    pub(super) fn last_ns(&self) -> u64 {
        self.frames.last().map_or(0, |frame| frame.time_ns)
    }

    /// Adds a frame. Where that takes more than the space there is, every second frame goes, again if need be.
    /// Returns how often: the caller halves its rate as many times from here on.
    pub(super) fn add(&mut self, number: usize, time_ns: u64, jpeg: &[u8]) -> Result<u32> {
        let (file, bytes) = (format!("{number:07}.jpg"), jpeg.len() as u64);
        if bytes > self.share {
            bail!("one frame takes {bytes} bytes and the video may have {}: raise data.cache_megabytes", self.share);
        }
        let path = self.folder.path().join(&file);
        fs::write(&path, jpeg).with_context(|| {
            format!("{}: free some space, or lower data.cache_megabytes, or point data.cache elsewhere", path.display())
        })?;
        self.frames.push(CachedFrame { file, bytes, time_ns });
        self.total += bytes;
        let before = self.halvings;
        while self.total > self.share {
            self.halve()?;
        }
        Ok(self.halvings - before)
    }

    fn halve(&mut self) -> Result<()> {
        self.halvings += 1;
        for (place, frame) in std::mem::take(&mut self.frames).into_iter().enumerate() {
            if place % 2 == 0 {
                self.frames.push(frame);
            } else {
                fs::remove_file(self.folder.path().join(&frame.file))?;
                self.total -= frame.bytes;
            }
        }
        Ok(())
    }
}

/// Locks a folder until the file is dropped.
fn locked(folder: &Path) -> Result<File> {
    let file = File::open(folder)?;
    let _ = file.lock();
    Ok(file)
}

/// Whether nobody holds a lock on a folder.
fn is_free(folder: &Path) -> bool {
    File::open(folder).is_ok_and(|file| file.try_lock().is_ok())
}
