//! Weights as people name them: a file, a name out of the catalogue, or nothing at all for those that maskd carries.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use super::{
    Checkpoint, WeightsError,
    catalogue::{KNOWN, cache_dir},
};
use maskd_types::files;

/// The name of the weights that maskd carries.
pub const SHIPPED: &str = "maskd_s14";

/// What `maskd-train distill` made; `crates/maskd-model/pretrained/README.md` says of what.
static SHIPPED_FILE: &[u8] = include_bytes!("../pretrained/maskd-s14.safetensors");

/// Which weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WeightsSource {
    /// Those that maskd carries.
    Shipped,
    /// Those in a file.
    File(PathBuf),
}

/// A name of the catalogue that is not in the cache.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("weights {0} are not in the cache: run 'maskd weights fetch {0}'")]
pub struct NotFetched(&'static str);

impl WeightsSource {
    /// What `given` means: a path, a name out of `maskd weights list`, or [`SHIPPED`], which nothing means too. A file
    /// of that name comes first.
    ///
    /// # Errors
    /// A name of the catalogue that was not fetched.
    pub fn of(given: Option<&Path>) -> Result<Self, NotFetched> {
        Self::among(given, cache_dir().as_deref())
    }

    fn among(given: Option<&Path>, cache: Option<&Path>) -> Result<Self, NotFetched> {
        let Some(path) = given else { return Ok(Self::Shipped) };
        if files::stamp(path).is_some() {
            return Ok(Self::File(path.to_owned()));
        }
        if path.as_os_str() == SHIPPED {
            return Ok(Self::Shipped);
        }
        match KNOWN.iter().find(|k| path.as_os_str() == k.name || path.as_os_str() == k.file) {
            None => Ok(Self::File(path.to_owned())),
            Some(known) => cache
                .map(|cache| cache.join(format!("{}.pth", known.file)))
                .filter(|file| file.is_file())
                .map(Self::File)
                .ok_or(NotFetched(known.name)),
        }
    }

    /// Reads and checks them, as [`Checkpoint::read`].
    ///
    /// # Errors
    /// As [`Checkpoint::read`].
    pub fn read(&self, heads: Option<usize>) -> Result<Checkpoint, WeightsError> {
        match self {
            Self::Shipped => Checkpoint::parse(SHIPPED_FILE, heads)
                .map_err(|fault| WeightsError { path: PathBuf::from(SHIPPED), fault }),
            Self::File(path) => Checkpoint::read(path, heads),
        }
    }

    /// The file's size in bytes.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub fn size(&self) -> io::Result<u64> {
        match self {
            Self::Shipped => Ok(SHIPPED_FILE.len() as u64),
            Self::File(path) => Ok(fs::metadata(path)?.len()),
        }
    }

    /// Writes the file's content, unchecked, to `to`.
    ///
    /// # Errors
    /// It cannot be read, or not written.
    pub fn copy(&self, to: &Path) -> io::Result<()> {
        match self {
            Self::Shipped => fs::write(to, SHIPPED_FILE),
            Self::File(path) => fs::copy(path, to).map(drop),
        }
    }
}

impl fmt::Display for WeightsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shipped => f.write_str(SHIPPED),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_a_path_a_name_or_those_that_maskd_carries() {
        let cache = tempfile::tempdir().unwrap();
        let choose = |given: Option<&str>| WeightsSource::among(given.map(Path::new), Some(cache.path()));
        assert_eq!(choose(None), Ok(WeightsSource::Shipped));
        assert_eq!(choose(Some(SHIPPED)), Ok(WeightsSource::Shipped));
        assert_eq!(choose(Some("other.pth")), Ok(WeightsSource::File("other.pth".into())));
        let missing = choose(Some("dino_vits8")).unwrap_err().to_string();
        assert!(missing.contains("maskd weights fetch dino_vits8"), "{missing}");
        let fetched = cache.path().join("dino_deitsmall8_pretrain.pth");
        fs::write(&fetched, "").unwrap();
        assert_eq!(choose(Some("dino_vits8")), Ok(WeightsSource::File(fetched)));
    }

    #[test]
    fn the_weights_that_maskd_carries_are_whole_small_and_say_where_they_come_from() {
        assert!(SHIPPED_FILE.len() < 25_000_000, "{} bytes", SHIPPED_FILE.len());
        let shipped = WeightsSource::Shipped.read(None).unwrap();
        for key in ["teacher_sha256", "propagation_block", "config_sha256", "data", "step"] {
            assert!(shipped.metadata.contains_key(key), "{key}");
        }
        // The card speaks of these weights and of no others.
        let card = include_str!("../pretrained/README.md");
        assert!(
            card.contains(&shipped.sha256),
            "crates/maskd-model/pretrained/README.md does not name {}",
            shipped.sha256
        );
    }
}
