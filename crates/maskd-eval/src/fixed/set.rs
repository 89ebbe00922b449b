//! The set on disk: which sequences it holds.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};

use super::{Cut, Sequence, names::Layout};

/// A folder of sequences, which may lie in folders of categories.
#[derive(Clone, Debug)]
pub struct Set {
    root: PathBuf,
    places: Vec<Place>,
}

/// A sequence that was not looked into yet.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    pub(super) layout: Layout,
}

impl Set {
    /// Finds the sequences below `root`, in the order of their names.
    ///
    /// # Errors
    /// A folder that cannot be read or holds no sequence, and one that is a sequence itself.
    pub fn find(root: &Path) -> Result<Self> {
        let own = root.file_name().unwrap_or_default().to_string_lossy();
        ensure!(
            Layout::of(root).is_none(),
            "{}: it is a sequence itself: give the folder above it, and --sequences {own}",
            root.display()
        );
        let mut places = Vec::new();
        for (name, folder) in folders(root)? {
            if let Some(layout) = Layout::of(&folder) {
                places.push(Place { name, folder, layout });
                continue;
            }
            for (inner, folder) in folders(&folder)? {
                // Folders of frames and of results may lie around; CDnet alone has categories.
                if let Some(layout @ Layout::CdNet) = Layout::of(&folder) {
                    places.push(Place { name: format!("{name}/{inner}"), folder, layout });
                }
            }
        }
        ensure!(
            !places.is_empty(),
            "{}: no sequence is in it, neither SEQUENCE/frames and SEQUENCE/truth nor CDnet's SEQUENCE/input and \
             SEQUENCE/groundtruth",
            root.display()
        );
        Ok(Self { root: root.to_owned(), places })
    }

    /// Keeps the sequences of these names: `NAME`, `CATEGORY/NAME`, or a whole `CATEGORY`.
    ///
    /// # Errors
    /// A name that no sequence has.
    pub fn select(&mut self, names: &[String]) -> Result<()> {
        let has = |place: &Place, name: &str| {
            let (category, last) = place.name.rsplit_once('/').unwrap_or(("", &place.name));
            place.name == name || category == name || last == name
        };
        if let Some(unknown) = names.iter().find(|name| !self.places.iter().any(|place| has(place, name))) {
            let all: Vec<&str> = self.places.iter().map(|place| place.name.as_str()).collect();
            bail!("{}: there is no sequence {unknown:?}: it holds {}", self.root.display(), all.join(", "));
        }
        self.places.retain(|place| names.iter().any(|name| has(place, name)));
        Ok(())
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Looks into the sequences.
    ///
    /// # Errors
    /// A sequence without frames or with nothing to judge, a truth that is missing, a `temporalROI.txt` that makes no sense.
    pub fn sequences(&self, cut: Cut) -> Result<Vec<Sequence>> {
        self.places.iter().map(|place| Sequence::open(place, cut)).collect()
    }
}

/// The folders in a folder, in the order of their names; hidden ones are left out.
fn folders(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry.with_context(|| folder.display().to_string())?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') {
            found.push((name, path));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests;
