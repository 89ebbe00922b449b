//! The dataset on disk: which sequences a split holds, and where their frames and annotations lie.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::mask::LabelMap;

/// A DAVIS folder and one of its splits.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The sequences in the order of the list.
    pub sequences: Vec<Sequence>,
}

/// One sequence: its frames and, as far as there are any, its annotations.
#[derive(Clone, Debug)]
pub struct Sequence {
    /// Its name, a plain folder name.
    pub name: String,
    /// Frames (`.jpg`) in order.
    pub frames: Vec<PathBuf>,
    /// Annotations (`.png`) in order; the test splits have one for the first frame only.
    pub annotations: Vec<PathBuf>,
    /// DAVIS 2016: whatever is not background is one object, though files say 255 or several labels.
    pub single_object: bool,
}

impl Dataset {
    /// Opens the DAVIS folder `root` (the one that holds `JPEGImages`) at 480p and lists the split
    /// (`train`, `val`, ...) of DAVIS 2017 (`ImageSets/2017/SPLIT.txt`) or else 2016 (`ImageSets/2016`,
    /// or `ImageSets/480p` as first published, which lists files in place of sequences).
    ///
    /// # Errors
    /// A missing list, a name in it that is not a folder name, a sequence without frames.
    pub fn open(root: &Path, split: &str) -> Result<Self> {
        let list = |kind: &str| root.join("ImageSets").join(kind).join(format!("{split}.txt"));
        let Some(kind) = ["2017", "2016", "480p"].into_iter().find(|kind| list(kind).is_file()) else {
            bail!(
                "{}: no such list; is {} a DAVIS folder with a split {split:?}?",
                list("2017").display(),
                root.display()
            );
        };
        let path = list(kind);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let mut names: Vec<&str> = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            // 2016: `/JPEGImages/480p/NAME/00000.jpg /Annotations/480p/NAME/00000.png`.
            let name = if kind == "480p" { line.split('/').nth(3).unwrap_or(line) } else { line };
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
            ensure!(name.chars().all(plain), "{}: {name:?} is not the name of a sequence", path.display());
            if names.last() != Some(&name) {
                names.push(name);
            }
        }
        ensure!(!names.is_empty(), "{}: it lists no sequence", path.display());
        let sequences = names.into_iter().map(|name| Sequence::open(root, name, kind != "2017"));
        Ok(Self { sequences: sequences.collect::<Result<_>>()? })
    }
}

impl Sequence {
    fn open(root: &Path, name: &str, single_object: bool) -> Result<Self> {
        let folder = root.join("JPEGImages/480p").join(name);
        let frames = files(&folder, "jpg")?;
        ensure!(!frames.is_empty(), "{}: it holds no .jpg frame", folder.display());
        let annotations = root.join("Annotations/480p").join(name);
        let annotations = if annotations.is_dir() { files(&annotations, "png")? } else { Vec::new() };
        Ok(Self { name: name.to_owned(), frames, annotations, single_object })
    }

    /// Reads an annotation of this sequence; void becomes background.
    ///
    /// # Errors
    /// A file that is not a mask.
    pub fn annotation(&self, index: usize) -> Result<LabelMap> {
        let Some(path) = self.annotations.get(index) else {
            bail!("sequence {}: it has no annotation of frame {index}", self.name);
        };
        if !self.single_object {
            return Ok(LabelMap::read_png(path)?);
        }
        let mut map = LabelMap::read_png_with_void(path)?;
        map.labels.iter_mut().for_each(|label| *label = u8::from(*label > 0));
        Ok(map)
    }
}

/// The files of a folder with an extension, in the order of their names.
fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut files: Vec<PathBuf> =
        entries.map(|entry| Ok(entry.with_context(|| folder.display().to_string())?.path())).collect::<Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|e| e == extension));
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::frame::Size;

    /// A dataset of two sequences of two frames, listed by `list`.
    fn folder(kind: &str, list: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for name in ["dog", "car-shadow"] {
            let (images, masks) = (root.path().join("JPEGImages/480p"), root.path().join("Annotations/480p"));
            fs::create_dir_all(images.join(name)).unwrap();
            fs::create_dir_all(masks.join(name)).unwrap();
            for frame in ["00001", "00000"] {
                fs::write(images.join(name).join(frame).with_extension("jpg"), "").unwrap();
                let map = LabelMap { size: Size::new(4, 1), labels: vec![0, 1, 2, 255] };
                map.write_png(&masks.join(name).join(frame).with_extension("png")).unwrap();
            }
        }
        fs::create_dir_all(root.path().join("ImageSets").join(kind)).unwrap();
        fs::write(root.path().join("ImageSets").join(kind).join("val.txt"), list).unwrap();
        root
    }

    #[test]
    fn all_three_layouts_are_listed_in_order() {
        let files = "/JPEGImages/480p/dog/00000.jpg /Annotations/480p/dog/00000.png\n\
                     /JPEGImages/480p/dog/00001.jpg /Annotations/480p/dog/00001.png\n\
                     /JPEGImages/480p/car-shadow/00000.jpg /Annotations/480p/car-shadow/00000.png\n";
        for (kind, list, labels) in [
            ("2017", "dog\n\ncar-shadow\n", [0, 1, 2, 0]),
            ("2016", "dog\r\ncar-shadow", [0, 1, 1, 1]),
            ("480p", files, [0, 1, 1, 1]),
        ] {
            let root = folder(kind, list);
            let dataset = Dataset::open(root.path(), "val").unwrap();
            let names: Vec<&str> = dataset.sequences.iter().map(|s| s.name.as_str()).collect();
            assert_eq!(names, ["dog", "car-shadow"], "{kind}");
            let dog = &dataset.sequences[0];
            assert!(dog.frames[0].ends_with("dog/00000.jpg") && dog.annotations[1].ends_with("dog/00001.png"));
            assert_eq!(dog.annotation(0).unwrap().labels, labels, "{kind}");
            assert!(dog.annotation(2).unwrap_err().to_string().contains("no annotation of frame 2"));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let open = |list: &str, split: &str| {
            let root = folder("2017", list);
            format!("{:#}", Dataset::open(root.path(), split).unwrap_err())
        };
        assert!(open("dog", "train").contains("2017/train.txt"));
        assert!(open("../../etc", "val").contains("is not the name"));
        assert!(open("\n", "val").contains("no sequence"));
        assert!(open("cat", "val").contains("480p/cat"));
    }
}
