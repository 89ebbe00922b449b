//! What a command reads, known by device and inode and not by name: links, `..` and other spellings give one file many
//! names.

use std::{
    collections::{HashMap, hash_map::Entry},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

use super::OutputError;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// Of what is at `path`, behind all links.
    fn of(path: &Path) -> io::Result<Self> {
        let about = fs::metadata(path)?;
        Ok(Self { device: about.dev(), inode: about.ino() })
    }
}

struct Input {
    /// What the command calls it, e.g. `the input` or `--weights`.
    role: String,
    path: PathBuf,
    /// Whether everything below it is read, too.
    tree: bool,
}

/// The files and folders that a command reads, to keep its outputs away from them.
#[derive(Default)]
pub struct Inputs {
    known: HashMap<Identity, Input>,
}

impl Inputs {
    /// Notes a file, or a folder itself (not what is in it), which messages call `role`. What is not there is left out:
    /// whoever opens it says so.
    pub fn add(&mut self, role: &str, path: &Path) {
        self.note(role, path, false);
    }

    /// Notes a folder with everything below it.
    pub fn add_tree(&mut self, role: &str, path: &Path) {
        self.note(role, path, true);
    }

    fn note(&mut self, role: &str, path: &Path, tree: bool) {
        let Ok(identity) = Identity::of(path) else { return };
        match self.known.entry(identity) {
            Entry::Occupied(mut entry) => entry.get_mut().tree |= tree,
            Entry::Vacant(entry) => {
                entry.insert(Input { role: role.to_owned(), path: path.to_owned(), tree });
            }
        }
    }

    /// Refuses an output, a file or a folder that messages call `role`, that is an input or lies within a noted tree. It
    /// need not exist yet.
    ///
    /// # Errors
    /// [`OutputError::Input`], [`OutputError::Within`]; a link that leads nowhere; a path that cannot be looked at.
    pub fn refuse(&self, role: &str, output: &Path) -> Result<(), OutputError> {
        let place = resolve(output).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => OutputError::Link(output.to_owned()),
            _ => OutputError::Io { path: output.to_owned(), source },
        })?;
        let said = || format!("{role} {}", output.display());
        for (depth, ancestor) in place.ancestors().enumerate() {
            let Some(input) = Identity::of(ancestor).ok().and_then(|identity| self.known.get(&identity)) else {
                continue;
            };
            let named = if input.path == output {
                input.role.clone()
            } else {
                format!("{} {}", input.role, input.path.display())
            };
            if depth == 0 {
                return Err(OutputError::Input { output: said(), input: named });
            }
            if input.tree {
                return Err(OutputError::Within { output: said(), input: named });
            }
        }
        Ok(())
    }
}

/// Where `path` leads: absolute, without links and without `..`, also where its last parts are not there yet.
///
/// # Errors
/// A link that leads nowhere (not found); a folder that cannot be looked into.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut place = PathBuf::new();
    for component in std::path::absolute(path)?.components() {
        if component == Component::ParentDir {
            place.pop();
            continue;
        }
        place.push(component);
        if fs::symlink_metadata(&place).is_ok_and(|about| about.is_symlink()) {
            place = fs::canonicalize(&place)?;
        }
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder with `film.mp4`, `frames/1.png` and `data/deep/2.png`, and what a command that reads them notes.
    fn scene() -> (tempfile::TempDir, Inputs) {
        let root = tempfile::tempdir().unwrap();
        for name in ["film.mp4", "frames/1.png", "data/deep/2.png"] {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        let mut inputs = Inputs::default();
        inputs.add("the input", &root.path().join("film.mp4"));
        inputs.add("the folder", &root.path().join("frames"));
        inputs.add_tree("--data", &root.path().join("data"));
        inputs.add("--weights", &root.path().join("gone"));
        (root, inputs)
    }

    #[test]
    fn an_input_is_known_by_any_of_its_names() {
        let (root, inputs) = scene();
        let path = |name: &str| root.path().join(name);
        fs::hard_link(path("film.mp4"), path("hard.mp4")).unwrap();
        symlink("film.mp4", path("soft.mp4")).unwrap();
        symlink("soft.mp4", path("softer.mp4")).unwrap();
        symlink(root.path(), path("around")).unwrap();
        for name in [
            "film.mp4",
            "./film.mp4",
            "frames/../film.mp4",
            // Making the folders of this path makes it lead there.
            "new/../film.mp4",
            "hard.mp4",
            "soft.mp4",
            "softer.mp4",
            "around/film.mp4",
            "around/around/frames/../film.mp4",
        ] {
            let error = inputs.refuse("--overlay", &path(name)).unwrap_err();
            assert!(matches!(error, OutputError::Input { .. }), "{name}: {error}");
            let text = error.to_string();
            assert!(text.contains("--overlay") && text.contains(name) && text.contains("the input"), "{text}");
        }
        let text = inputs.refuse("--overlay", &path("film.mp4")).unwrap_err().to_string();
        assert_eq!(text, format!("--overlay {} is the input: give another path", path("film.mp4").display()));
    }

    #[test]
    fn folders_are_inputs_alone_or_with_all_that_is_below() {
        let (root, inputs) = scene();
        let path = |name: &str| root.path().join(name);
        symlink("data/deep", path("link")).unwrap();
        for (name, within) in
            [("frames", false), ("frames/.", false), ("data", false), ("data/new", true), ("link/new/far", true)]
        {
            let error = inputs.refuse("--out", &path(name)).unwrap_err();
            assert_eq!(matches!(error, OutputError::Within { .. }), within, "{name}: {error}");
        }
        for name in ["frames/masks", "masks", "new/film.mp4", "data/../masks", "film.mp4.png", "gone"] {
            assert!(inputs.refuse("--out", &path(name)).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_link_that_leads_nowhere_is_refused() {
        let (root, inputs) = scene();
        let link = root.path().join("dangling.mp4");
        symlink("nowhere.mp4", &link).unwrap();
        let error = inputs.refuse("--overlay", &link).unwrap_err();
        assert!(matches!(error, OutputError::Link(_)) && error.to_string().contains("dangling.mp4"), "{error}");
    }
}
