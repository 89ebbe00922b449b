//! Which images and videos stand below the paths that were given.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use maskd_types::picture;

const VIDEOS: [&str; 14] =
    ["mp4", "m4v", "mov", "mkv", "webm", "avi", "mpg", "mpeg", "ts", "m2ts", "mts", "wmv", "flv", "ogv"];

/// What a file's name says that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Image,
    Video,
}

/// A file to take samples from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DataFile {
    /// Where it is.
    pub path: PathBuf,
    /// Number of the source and the path below it: the same wherever the data lies.
    pub name: String,
    pub kind: Kind,
    /// Size in bytes.
    pub bytes: u64,
}

/// All files of `sources` in the order of the sources and then of names, and what could not be looked at.
///
/// Folders are searched to any depth, through symbolic links, each folder once; names that begin with a dot are left
/// out. A file that is named itself and is no image counts as a video, whatever its ending.
///
/// # Errors
/// A source that does not exist, or nothing found in any.
pub(super) fn find(sources: &[PathBuf]) -> Result<(Vec<DataFile>, Vec<String>)> {
    let mut search = Search::default();
    for (number, source) in sources.iter().enumerate() {
        let kind = fs::metadata(source).with_context(|| format!("{}: cannot be read", source.display()))?;
        if kind.is_dir() {
            search.folder(source, &number.to_string());
        } else {
            let name = source.file_name().unwrap_or_default().to_string_lossy();
            let kind_of_file = kind_of(source).unwrap_or(Kind::Video);
            search.add(source.clone(), format!("{number}/{name}"), kind_of_file, kind.len());
        }
    }
    let looked = sources.iter().map(|source| source.display().to_string()).collect::<Vec<_>>().join(", ");
    ensure!(
        !search.files.is_empty(),
        "no images or videos in {}: looked for files ending in {} (images) and {} (videos)",
        if looked.is_empty() { "no source at all" } else { &looked },
        picture::ENDINGS.join(", "),
        VIDEOS.join(", "),
    );
    Ok((search.files, search.skipped))
}

/// `count` files of `sources`, evenly over all that [`find`] finds: the same ones each time.
///
/// # Errors
/// As [`find`].
pub fn some(sources: &[PathBuf], count: usize) -> Result<Vec<PathBuf>> {
    let (files, _) = find(sources)?;
    let step = files.len().div_ceil(count.max(1)).max(1);
    Ok(files.into_iter().step_by(step).map(|file| file.path).collect())
}

#[derive(Default)]
struct Search {
    files: Vec<DataFile>,
    skipped: Vec<String>,
    /// Folders by their real path: a link back up would never end, links to and fro would multiply.
    seen: HashSet<PathBuf>,
}

impl Search {
    fn add(&mut self, path: PathBuf, name: String, kind: Kind, bytes: u64) {
        self.files.push(DataFile { path, name, kind, bytes });
    }

    fn folder(&mut self, folder: &Path, name: &str) {
        // A list instead of recursion: depth is the data's to choose, the stack is not.
        let mut open = vec![(folder.to_owned(), name.to_owned())];
        while let Some((path, name)) = open.pop() {
            match self.entries(&path, &name) {
                // The last pushed is the first popped.
                Ok(folders) => open.extend(folders.into_iter().rev()),
                Err(error) => self.skipped.push(format!("{}: {error}", path.display())),
            }
        }
    }

    /// Takes the files of one folder; returns the folders in it.
    fn entries(&mut self, folder: &Path, name: &str) -> std::io::Result<Vec<(PathBuf, String)>> {
        if !self.seen.insert(folder.canonicalize()?) {
            return Ok(vec![]);
        }
        let mut entries =
            fs::read_dir(folder)?.map(|e| e.map(|e| e.file_name())).collect::<std::io::Result<Vec<_>>>()?;
        entries.retain(|entry| !entry.as_encoded_bytes().starts_with(b"."));
        entries.sort();
        let mut folders = Vec::new();
        for entry in entries {
            let (path, name) = (folder.join(&entry), format!("{name}/{}", entry.to_string_lossy()));
            match fs::metadata(&path) {
                Ok(about) if about.is_dir() => folders.push((path, name)),
                // Pipes and devices would block whoever opens them.
                Ok(about) if about.is_file() => {
                    if let Some(kind) = kind_of(&path) {
                        self.add(path, name, kind, about.len());
                    }
                }
                Ok(_) => {}
                Err(error) => self.skipped.push(format!("{}: {error}", path.display())),
            }
        }
        Ok(folders)
    }
}

fn kind_of(path: &Path) -> Option<Kind> {
    if picture::is_named_so(path) {
        return Some(Kind::Image);
    }
    let ending = path.extension().and_then(OsStr::to_str)?.to_ascii_lowercase();
    VIDEOS.contains(&ending.as_str()).then_some(Kind::Video)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(sources: &[PathBuf]) -> Vec<String> {
        find(sources).unwrap().0.into_iter().map(|file| file.name).collect()
    }

    #[test]
    fn folders_are_searched_in_order_without_hidden_files() {
        let root = tempfile::tempdir().unwrap();
        for name in ["b/2.PNG", "b/10.jpg", "a.jpeg", "a/deep/er/x.jpg", "c.mp4", ".hidden.jpg", ".git/y.jpg", "z.txt"]
        {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        let named = root.path().join("z.txt");
        let found = names(&[root.path().to_owned(), named.clone()]);
        assert_eq!(found, ["0/a.jpeg", "0/c.mp4", "0/a/deep/er/x.jpg", "0/b/10.jpg", "0/b/2.PNG", "1/z.txt"]);
        assert_eq!(find(&[named]).unwrap().0[0].kind, Kind::Video);
    }

    #[test]
    fn links_in_circles_and_to_nowhere_end() {
        let root = tempfile::tempdir().unwrap();
        let folder = |name: &str| root.path().join(name);
        for name in ["a", "b"] {
            fs::create_dir(folder(name)).unwrap();
            fs::write(folder(name).join("1.jpg"), "x").unwrap();
        }
        symlink(folder("b"), folder("a/to_b")).unwrap();
        symlink(folder("a"), folder("b/to_a")).unwrap();
        symlink(root.path(), folder("a/up")).unwrap();
        symlink(folder("gone"), folder("a/gone.jpg")).unwrap();
        let (files, skipped) = find(&[root.path().to_owned()]).unwrap();
        let names: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["0/a/1.jpg", "0/a/to_b/1.jpg"]);
        assert!(skipped.len() == 1 && skipped[0].contains("gone.jpg"), "{skipped:?}");
    }

    #[test]
    fn nothing_found_says_what_was_looked_for() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("readme.md"), "x").unwrap();
        let error = find(&[root.path().to_owned()]).unwrap_err().to_string();
        assert!(error.contains(&root.path().display().to_string()) && error.contains("jpeg, png"), "{error}");
        let error = format!("{:#}", find(&[root.path().join("gone")]).unwrap_err());
        assert!(error.contains("gone"), "{error}");
        assert!(find(&[]).is_err());
    }
}
