//! The folder that a page goes to: what may be written there, and writing it.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use maskd_types::files::{self, Inputs, OutputError};

use crate::seal;

const PAGE: &str = "index.html";
const LOG: &str = "log.jsonl";
const PICTURES: &str = "pictures";

/// A folder that was checked.
pub struct Folder {
    path: PathBuf,
    inputs: Inputs,
    /// Pictures of an earlier page.
    earlier: Vec<PathBuf>,
}

impl Folder {
    /// Checks that a page can go to `path`, and writes nothing. With `overwrite`, a page of ours may be there.
    ///
    /// # Errors
    /// It is an input; a page is there, and nobody said to replace it; something else is where a file might go.
    pub fn check(path: &Path, inputs: Inputs, overwrite: bool) -> Result<Self, OutputError> {
        let pictures = path.join(PICTURES);
        inputs.refuse("--out", path)?;
        inputs.refuse("the folder", &pictures)?;
        let named = [path.join(PAGE), path.join(LOG)];
        let earlier = earlier(&pictures)?;
        for file in named.iter().chain(&earlier) {
            inputs.refuse("the file", file)?;
            match overwrite {
                true => drop(files::check_target(file, &seal::is_ours)?),
                false => files::check_new(file, &seal::is_ours, "give another --out, or --overwrite")?,
            }
        }
        Ok(Self { path: path.to_owned(), inputs, earlier })
    }

    /// Makes the folder, and takes away what an earlier page of ours left.
    ///
    /// # Errors
    /// It cannot be written to.
    pub fn clear(&self) -> Result<(), OutputError> {
        let pictures = self.path.join(PICTURES);
        fs::create_dir_all(&pictures).map_err(|source| OutputError::Io { path: pictures, source })?;
        for file in &self.earlier {
            // Looked at again: it may have been edited since.
            files::check_target(file, &seal::is_ours)?;
            fs::remove_file(file).map_err(|source| OutputError::Io { path: file.clone(), source })?;
        }
        Ok(())
    }

    /// Writes a frame's picture; its path from the page.
    ///
    /// # Errors
    /// Something else is there, or the folder cannot be written to.
    pub fn picture(&self, frame: u64, jpeg: &[u8]) -> Result<String, OutputError> {
        let file = format!("{PICTURES}/{frame:05}.jpg");
        self.write(&file, jpeg)?;
        Ok(file)
    }

    /// Writes log and page.
    ///
    /// # Errors
    /// Something else is there, or the folder cannot be written to.
    pub fn finish(&self, log: &[u8], page: &[u8]) -> Result<(), OutputError> {
        self.write(LOG, log)?;
        self.write(PAGE, page)
    }

    /// Where the page is.
    pub fn page(&self) -> PathBuf {
        self.path.join(PAGE)
    }

    fn write(&self, file: &str, bytes: &[u8]) -> Result<(), OutputError> {
        let path = self.path.join(file);
        self.inputs.refuse("the file", &path)?;
        files::write(&path, &seal::is_ours, |file| file.write_all(bytes))
    }
}

/// What is called as our pictures are.
fn earlier(pictures: &Path) -> Result<Vec<PathBuf>, OutputError> {
    let io = |source| OutputError::Io { path: pictures.to_owned(), source };
    let entries = match fs::read_dir(pictures) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io(e)),
    };
    let ours = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let number = name.strip_suffix(".jpg").and_then(|stem| Some((stem, stem.parse::<u64>().ok()?)));
        number.is_some_and(|(stem, number)| stem == format!("{number:05}"))
    };
    let all = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>().map_err(io)?;
    Ok(all.into_iter().filter(ours).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(text: &str) -> Vec<u8> {
        let mut bytes = format!("{text} {}", seal::blank()).into_bytes();
        seal::close(&mut bytes);
        bytes
    }

    fn written(path: &Path, pictures: &[u64], overwrite: bool) -> Result<(), OutputError> {
        let folder = Folder::check(path, Inputs::default(), overwrite)?;
        folder.clear()?;
        for frame in pictures {
            assert_eq!(folder.picture(*frame, &sealed("picture"))?, format!("pictures/{frame:05}.jpg"));
        }
        folder.finish(&sealed("log"), &sealed("page"))
    }

    #[test]
    fn a_page_takes_the_place_of_ours_where_told_and_of_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let out = home.path().join("new/out");
        written(&out, &[0, 7, 123_456], false).unwrap();
        assert!(matches!(written(&out, &[1], false), Err(OutputError::Exists { .. })));
        fs::write(out.join("pictures/notes.jpg"), "theirs").unwrap();
        fs::write(out.join("notes.txt"), "theirs").unwrap();
        written(&out, &[1], true).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(out.join("pictures")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["00001.jpg", "notes.jpg"], "pictures of the earlier page are gone");
        assert!(out.join("notes.txt").exists());
        // One that was drawn into is theirs, whether it would be replaced or not.
        let drawn = [sealed("picture"), b"a red circle".to_vec()].concat();
        for name in ["pictures/00001.jpg", "pictures/00400.jpg", "index.html", "log.jsonl"] {
            let before = fs::read(out.join(name)).ok();
            fs::write(out.join(name), &drawn).unwrap();
            let error = written(&out, &[2], true).unwrap_err();
            assert!(matches!(error, OutputError::Foreign(_)), "{name}: {error:?}");
            assert!(fs::read(out.join(name)).unwrap() == drawn && !out.join("pictures/00002.jpg").exists(), "{name}");
            match before {
                Some(bytes) => fs::write(out.join(name), bytes).unwrap(),
                None => fs::remove_file(out.join(name)).unwrap(),
            }
        }
        written(&out, &[2], true).unwrap();
    }

    #[test]
    fn what_is_read_is_not_written_to() {
        let home = tempfile::tempdir().unwrap();
        let pictures = home.path().join("pictures");
        fs::create_dir(&pictures).unwrap();
        for input in [home.path(), &pictures] {
            let mut inputs = Inputs::default();
            inputs.add("the input", input);
            let checked = Folder::check(home.path(), inputs, true);
            assert!(matches!(checked, Err(OutputError::Input { .. })), "{}", input.display());
        }
    }
}
