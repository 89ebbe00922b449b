//! Writing whole or not at all, and only over files that maskd made.
//!
//! A file grows under another name beside its place and is renamed at the end. Just before, its place is looked at
//! again: nothing may be there but a file that its kind's mark tells to be ours. Renaming replaces a name and follows no
//! link, so whatever a link leads to stays as it is.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use tempfile::{NamedTempFile, TempPath};

/// How unfinished files, and the folders of some, begin: what a killed process left is known by it.
pub const PART: &str = ".part-";

/// Why a file is not written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The command reads it.
    #[error("{output} is {input}: give another path")]
    Input {
        /// The output, as the command line calls it, with its path.
        output: String,
        /// The input, likewise.
        input: String,
    },
    /// The command reads everything around it.
    #[error("{output} lies within {input}: give another path")]
    Within {
        /// The output, as the command line calls it, with its path.
        output: String,
        /// The input, likewise.
        input: String,
    },
    /// It is there, and nothing in it says that maskd made it.
    #[error("{}: it is there and not known to be made by maskd, so it stays: remove it, or give another path", .0.display())]
    Foreign(PathBuf),
    /// It is there, and nobody said to replace it.
    #[error("{}: it is there already: {hint}", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
        /// What to do.
        hint: &'static str,
    },
    /// A link, which would be replaced and not followed.
    #[error("{}: it is a link, and is neither followed nor replaced: give the path that it leads to, or another", .0.display())]
    Link(PathBuf),
    /// A folder, a pipe or a device is there.
    #[error("{}: {why}: give another path", path.display())]
    NoFile {
        /// What is there.
        path: PathBuf,
        /// What it is, in words.
        why: String,
    },
    /// It could not be looked at or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Whether a file that is there may be replaced, by the mark of its kind.
type IsOurs<'a> = &'a dyn Fn(&Path) -> io::Result<bool>;

/// Checks that a file may be written to `path`: nothing is there, or a file that `is_ours` knows. True where there is one.
///
/// # Errors
/// [`OutputError::Foreign`], [`OutputError::Link`], and what is no regular file or cannot be read.
pub fn check_target(path: &Path, is_ours: IsOurs) -> Result<bool, OutputError> {
    let io = |source| OutputError::Io { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(io(e)),
        Ok(about) if about.is_symlink() => return Err(OutputError::Link(path.to_owned())),
        Ok(_) => super::check(path).map_err(|e| match e.kind() {
            io::ErrorKind::InvalidInput => OutputError::NoFile { path: path.to_owned(), why: e.to_string() },
            _ => io(e),
        })?,
    }
    match is_ours(path).map_err(io)? {
        true => Ok(true),
        false => Err(OutputError::Foreign(path.to_owned())),
    }
}

/// Checks that nothing is at `path`; where something is that `is_ours` knows, `hint` says what to do.
///
/// # Errors
/// [`OutputError::Exists`], and those of [`check_target`].
pub fn check_new(path: &Path, is_ours: IsOurs, hint: &'static str) -> Result<(), OutputError> {
    match check_target(path, is_ours)? {
        true => Err(OutputError::Exists { path: path.to_owned(), hint }),
        false => Ok(()),
    }
}

/// An empty file beside `path`, to become it by [`put`]; dropped before, it is removed. Its name ends in `suffix`.
///
/// # Errors
/// The folder cannot be written to.
pub fn beside(path: &Path, suffix: &str) -> Result<NamedTempFile, OutputError> {
    tempfile::Builder::new()
        .prefix(PART)
        .suffix(suffix)
        // The usual mode of a new file: the umask still applies.
        .permissions(fs::Permissions::from_mode(0o666))
        .tempfile_in(folder_of(path))
        .map_err(|source| OutputError::Io { path: path.to_owned(), source })
}

/// Gives a finished file its name, in place of nothing or of a file that `is_ours` knows.
///
/// # Errors
/// As [`check_target`], and the folder cannot be written to: what was at `path` is then still there.
pub fn put(part: TempPath, path: &Path, is_ours: IsOurs) -> Result<(), OutputError> {
    check_target(path, is_ours)?;
    part.persist(path).map_err(|e| OutputError::Io { path: path.to_owned(), source: e.error })
}

/// Writes `path` whole or not at all: `fill` is given the file to write to.
///
/// # Errors
/// As [`put`], and those of `fill`.
pub fn write(path: &Path, is_ours: IsOurs, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), OutputError> {
    let mut part = beside(path, "")?;
    fill(part.as_file_mut()).map_err(|source| OutputError::Io { path: path.to_owned(), source })?;
    put(part.into_temp_path(), path, is_ours)
}

/// As [`write`], for writers that want a path and may leave other files beside it. When this returns, the file is on the
/// disk under its name, whatever happens to the power.
///
/// # Errors
/// As [`write`].
pub fn write_durably(
    path: &Path,
    is_ours: IsOurs,
    fill: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    check_target(path, is_ours)?;
    let folder = folder_of(path);
    let inner = || -> anyhow::Result<()> {
        // A folder of its own: what the writer leaves beside its file must go with it.
        let place = tempfile::Builder::new().prefix(PART).tempdir_in(folder)?;
        let part = place.path().join("part");
        // Who may read it is for the umask to say, which not every writer asks.
        let permissions = File::create(&part)?.metadata()?.permissions();
        fill(&part)?;
        let file = File::open(&part)?;
        file.set_permissions(permissions)?;
        file.sync_all()?;
        check_target(path, is_ours)?;
        fs::rename(&part, path)?;
        // The name itself is on the disk only when the folder is.
        Ok(File::open(folder)?.sync_all()?)
    };
    inner().with_context(|| format!("{} could not be written", path.display()))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        os::unix::fs::{MetadataExt as _, symlink},
    };

    use super::*;

    /// Files that begin with `ours` are.
    fn is_ours(path: &Path) -> io::Result<bool> {
        Ok(fs::read(path)?.starts_with(b"ours"))
    }

    fn write_ours(path: &Path) -> Result<(), OutputError> {
        write(path, &is_ours, |file| file.write_all(b"ours, new"))
    }

    fn write_ours_durably(path: &Path) -> anyhow::Result<()> {
        write_durably(path, &is_ours, |part| Ok(fs::write(part, "ours, new")?))
    }

    #[test]
    fn only_what_is_ours_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for old in [None, Some("ours, old")] {
            if let Some(text) = old {
                fs::write(&path, text).unwrap();
            }
            assert_eq!(check_target(&path, &is_ours).unwrap(), old.is_some());
            write_ours(&path).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"ours, new");
            fs::remove_file(&path).unwrap();
            if let Some(text) = old {
                fs::write(&path, text).unwrap();
            }
            write_ours_durably(&path).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"ours, new");
            let error = check_new(&path, &is_ours, "say please").unwrap_err().to_string();
            assert!(error.ends_with("a: it is there already: say please"), "{error}");
            fs::remove_file(&path).unwrap();
        }
        fs::write(&path, "theirs").unwrap();
        assert!(matches!(write_ours(&path), Err(OutputError::Foreign(_))));
        assert!(matches!(check_new(&path, &is_ours, ""), Err(OutputError::Foreign(_))));
        let error = format!("{:#}", write_ours_durably(&path).unwrap_err());
        assert!(error.contains("not known to be made by maskd") && error.contains("remove it"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"theirs");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_link_is_neither_followed_nor_replaced_nor_is_what_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        for there in [true, false] {
            let _ = fs::remove_file(&link);
            symlink("file", &link).unwrap();
            if there {
                fs::write(&file, "ours, old").unwrap()
            } else {
                fs::remove_file(&file).unwrap()
            }
            assert!(matches!(write_ours(&link), Err(OutputError::Link(_))));
            assert!(write_ours_durably(&link).is_err());
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            assert_eq!(fs::read(&file).ok(), there.then(|| b"ours, old".to_vec()));
        }
        let error = write_ours(folder.path()).unwrap_err().to_string();
        assert!(error.contains("it is a folder"), "{error}");
    }

    #[test]
    fn what_takes_the_place_while_the_file_grows_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let taken = write(&path, &is_ours, |_| fs::write(&path, "theirs"));
        assert!(matches!(taken, Err(OutputError::Foreign(_))));
        fs::remove_file(&path).unwrap();
        assert!(write_durably(&path, &is_ours, |_| Ok(fs::write(&path, "theirs")?)).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"theirs");
    }

    #[test]
    fn a_writer_that_fails_leaves_what_was_there_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "ours, old").unwrap();
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        assert!(write(&path, &is_ours, |_| Err(full())).unwrap_err().to_string().contains("/a: "));
        assert!(write_durably(&path, &is_ours, |_| Err(full().into())).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"ours, old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write_ours(&folder.path().join("no/a")).is_err());
    }

    #[test]
    fn the_umask_says_who_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("like"), "").unwrap();
        write_ours(&path("a")).unwrap();
        write_ours_durably(&path("b")).unwrap();
        let mode = |name: &str| fs::metadata(path(name)).unwrap().mode();
        assert_eq!((mode("a"), mode("b")), (mode("like"), mode("like")));
    }
}
