//! The dataset on disk: which sequences a set holds, and where their frames and annotations lie.

use std::{
    ffi::OsStr,
    fmt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use serde::Serialize;

use maskd_types::{
    files,
    frame::Size,
    mask::{FirstMask, LabelMap},
};

/// Which of DAVIS's tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// The objects are given in the first frame.
    #[default]
    SemiSupervised,
    /// Nothing is given.
    Unsupervised,
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::SemiSupervised => "semi-supervised",
            Self::Unsupervised => "unsupervised",
        })
    }
}

/// A DAVIS folder and one of its sets.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The set's name, as it stands in the names of the result files.
    pub set: String,
    /// What is done with it.
    pub task: Task,
    /// The folder of its annotations.
    pub annotations: PathBuf,
    /// The sequences in the order of the list.
    pub sequences: Vec<Sequence>,
}

/// One sequence: its frames and, as far as there are any, its annotations.
#[derive(Clone, Debug)]
pub struct Sequence {
    /// Its name, a plain folder name.
    pub name: String,
    /// The folder of its frames.
    pub folder: PathBuf,
    /// Frames (`.jpg`) in order.
    pub frames: Vec<PathBuf>,
    /// Annotations (`.png`) in order: one for each frame, for the first frame only, or none (the test sets).
    pub annotations: Vec<PathBuf>,
    /// DAVIS 2016, and annotations that are grey pictures of 0 and 255: whatever is not background is one object, though
    /// files say 255 or several labels.
    pub single_object: bool,
}

impl Dataset {
    /// Opens the DAVIS folder `root` (the one that holds `JPEGImages`) at 480p and lists the set
    /// (`train`, `val`, ...) of DAVIS 2017 (`ImageSets/2017/SET.txt`) or else 2016 (`ImageSets/2016`,
    /// or `ImageSets/480p` as first published, which lists files in place of sequences). A set with `/` or `.txt`
    /// in it is the path of such a list.
    ///
    /// Annotations are those in `Annotations_unsupervised` for the unsupervised task where there are any, else those
    /// in `Annotations`.
    ///
    /// # Errors
    /// A missing list, a name in it that is not a folder name, a sequence without frames, a frame without annotation
    /// or the reverse.
    pub fn open(root: &Path, set: &str, task: Task) -> Result<Self> {
        let (list, named_2017) = find_list(root, set)?;
        let text = files::read_text(&list).with_context(|| list.display().to_string())?;
        let mut names: Vec<&str> = Vec::new();
        let mut files = false;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            // 2016: `/JPEGImages/480p/NAME/00000.jpg /Annotations/480p/NAME/00000.png`.
            let of_files = line.starts_with('/');
            files |= of_files;
            let name = if of_files { line.split('/').nth(3).unwrap_or(line) } else { line };
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
            ensure!(name.chars().all(plain), "{}: {name:?} is not the name of a sequence", list.display());
            if names.last() != Some(&name) {
                names.push(name);
            }
        }
        ensure!(!names.is_empty(), "{}: it lists no sequence", list.display());
        let own = root.join("Annotations_unsupervised/480p");
        let unsupervised = task == Task::Unsupervised && own.is_dir();
        let annotations = if unsupervised { own } else { root.join("Annotations/480p") };
        let single_object = (files || !named_2017) && !unsupervised;
        let sequences = names.into_iter().map(|name| Sequence::open(root, &annotations, name, single_object));
        let sequences = sequences.collect::<Result<_>>()?;
        let set = list.file_stem().and_then(OsStr::to_str).unwrap_or(set).to_owned();
        Ok(Self { set, task, annotations, sequences })
    }

    /// Keeps the sequences of these names, in the order of the list.
    ///
    /// # Errors
    /// A name that is not in the list.
    pub fn select(&mut self, names: &[String]) -> Result<()> {
        if let Some(unknown) = names.iter().find(|name| self.sequences.iter().all(|s| s.name != **name)) {
            let all: Vec<&str> = self.sequences.iter().map(|s| s.name.as_str()).collect();
            bail!("there is no sequence {unknown:?} in the set {}: it holds {}", self.set, all.join(", "));
        }
        self.sequences.retain(|s| names.contains(&s.name));
        Ok(())
    }

    /// Forgets all but the first `most` frames of each sequence.
    pub fn truncate(&mut self, most: usize) {
        for sequence in &mut self.sequences {
            sequence.frames.truncate(most);
            sequence.annotations.truncate(most);
        }
    }

    /// Whether every frame has its annotation, so that results can be judged.
    pub fn is_annotated(&self) -> bool {
        self.sequences.iter().all(|s| s.annotations.len() == s.frames.len())
    }
}

/// The list of a set, and whether it is one of DAVIS 2017.
fn find_list(root: &Path, set: &str) -> Result<(PathBuf, bool)> {
    if set.contains('/') || set.ends_with(".txt") {
        let path = PathBuf::from(set);
        ensure!(path.is_file(), "{}: no such list of sequences", path.display());
        let year = path.parent().and_then(Path::file_name);
        let old = year.is_some_and(|year| year == "2016" || year == "480p");
        return Ok((path, !old));
    }
    let list = |kind: &str| root.join("ImageSets").join(kind).join(format!("{set}.txt"));
    let Some(kind) = ["2017", "2016", "480p"].into_iter().find(|kind| list(kind).is_file()) else {
        bail!("{}: no such list; is {} a DAVIS folder with a set {set:?}?", list("2017").display(), root.display());
    };
    Ok((list(kind), kind == "2017"))
}

impl Sequence {
    fn open(root: &Path, annotations: &Path, name: &str, single_object: bool) -> Result<Self> {
        let folder = root.join("JPEGImages/480p").join(name);
        ensure!(folder.is_dir(), "{}: there is no such folder of frames", folder.display());
        let frames = files(&folder, "jpg")?;
        ensure!(!frames.is_empty(), "{}: it holds no .jpg frame", folder.display());
        let own = annotations.join(name);
        let annotations = if own.is_dir() { files(&own, "png")? } else { Vec::new() };
        // The test sets give away the first one, or none.
        let first_only = annotations.len() == 1 && stem(&annotations[0]) == stem(&frames[0]);
        if !annotations.is_empty() && !first_only {
            let lacks = |there: &[PathBuf], path: &Path| there.iter().all(|other| stem(other) != stem(path));
            if let Some(frame) = frames.iter().find(|frame| lacks(&annotations, frame)) {
                let missing = own.join(stem(frame)).with_extension("png");
                bail!("{}: missing, though there is {}", missing.display(), frame.display());
            }
            if let Some(annotation) = annotations.iter().find(|annotation| lacks(&frames, annotation)) {
                let missing = folder.join(stem(annotation)).with_extension("jpg");
                bail!("{}: missing, though there is {}", missing.display(), annotation.display());
            }
        }
        // The masks of 2016, listed as 2017's: their 255 is the object, not void.
        let single_object = single_object || annotations.first().is_some_and(|first| FirstMask::is_binary(first));
        Ok(Self { name: name.to_owned(), folder, frames, annotations, single_object })
    }

    /// Reads an annotation of this sequence; void becomes background.
    ///
    /// # Errors
    /// A file that is not a mask.
    pub fn annotation(&self, index: usize) -> Result<LabelMap> {
        let mut map = self.annotation_with_void(index)?;
        map.labels.iter_mut().filter(|label| **label == 255).for_each(|label| *label = 0);
        Ok(map)
    }

    /// Reads an annotation with void as 255. DAVIS 2016 has no void.
    ///
    /// # Errors
    /// A file that is not a mask.
    pub fn annotation_with_void(&self, index: usize) -> Result<LabelMap> {
        let Some(path) = self.annotations.get(index) else {
            bail!("sequence {}: it has no annotation of frame {index}", self.name);
        };
        let mut map = LabelMap::read_png_with_void(path)?;
        if self.single_object {
            map.labels.iter_mut().for_each(|label| *label = u8::from(*label > 0));
        }
        Ok(map)
    }

    /// Reads a method's mask of a frame from `results/NAME/`, where files are named as the annotations are. `size` is
    /// the annotation's.
    ///
    /// # Errors
    /// A file that is missing, no indexed PNG or of another size: the error names it.
    pub fn result(&self, results: &Path, index: usize, size: Size) -> Result<LabelMap> {
        let path = self.result_path(results, index);
        ensure!(path.is_file(), "{}: missing, the results are not complete", path.display());
        let mut map = LabelMap::read_indexed_png(&path)?;
        ensure!(map.size == size, "{}: it is {}, the annotation is {size}", path.display(), map.size);
        if self.single_object {
            map.labels.iter_mut().for_each(|label| *label = u8::from(*label > 0));
        }
        Ok(map)
    }

    /// Where a method's mask of a frame lies.
    pub fn result_path(&self, results: &Path, index: usize) -> PathBuf {
        let name = self.frames.get(index).map(|frame| stem(frame)).unwrap_or_default();
        let mut file = name.to_owned();
        file.push(".png");
        results.join(&self.name).join(file)
    }
}

fn stem(path: &Path) -> &OsStr {
    path.file_stem().unwrap_or_default()
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
            let dataset = Dataset::open(root.path(), "val", Task::SemiSupervised).unwrap();
            let names: Vec<&str> = dataset.sequences.iter().map(|s| s.name.as_str()).collect();
            assert_eq!(names, ["dog", "car-shadow"], "{kind}");
            let dog = &dataset.sequences[0];
            assert!(dog.frames[0].ends_with("dog/00000.jpg") && dog.annotations[1].ends_with("dog/00001.png"));
            assert_eq!(dog.annotation(0).unwrap().labels, labels, "{kind}");
            assert!(dog.annotation(2).unwrap_err().to_string().contains("no annotation of frame 2"));
        }
    }

    #[test]
    fn grey_annotations_of_0_and_255_are_one_object_under_whatever_list() {
        let root = folder("2017", "dog\ncar-shadow\n");
        let own = root.path().join("Annotations/480p/dog");
        for frame in ["00000", "00001"] {
            let grey = image::GrayImage::from_raw(4, 1, vec![0, 255, 255, 0]).unwrap();
            grey.save(own.join(frame).with_extension("png")).unwrap();
        }
        let dataset = Dataset::open(root.path(), "val", Task::SemiSupervised).unwrap();
        let [dog, car] = &dataset.sequences[..] else { panic!("two sequences") };
        assert_eq!(dog.annotation_with_void(1).unwrap().labels, [0, 1, 1, 0]);
        // Indexed ones keep their void.
        assert_eq!(car.annotation_with_void(1).unwrap().labels, [0, 1, 2, 255]);
    }

    #[test]
    fn a_set_is_restricted_by_name_and_by_length() {
        let root = folder("2017", "dog\ncar-shadow\n");
        let list = root.path().join("some-list.txt");
        fs::write(&list, "car-shadow\n").unwrap();
        let own = Dataset::open(root.path(), list.to_str().unwrap(), Task::SemiSupervised).unwrap();
        assert_eq!((own.set.as_str(), own.sequences.len(), own.sequences[0].single_object), ("some-list", 1, false));

        let mut dataset = Dataset::open(root.path(), "val", Task::SemiSupervised).unwrap();
        let error = dataset.select(&["dog".into(), "cat".into()]).unwrap_err().to_string();
        assert!(error.contains("\"cat\"") && error.contains("dog, car-shadow"), "{error}");
        dataset.select(&["car-shadow".into()]).unwrap();
        dataset.truncate(1);
        let sequence = &dataset.sequences[0];
        assert_eq!((dataset.sequences.len(), sequence.frames.len(), sequence.annotations.len()), (1, 1, 1));
        assert!(sequence.result_path(Path::new("out"), 0).ends_with("out/car-shadow/00000.png"));
    }

    #[test]
    fn the_unsupervised_task_has_annotations_of_its_own_and_void_where_there_are_any() {
        let root = folder("2016", "dog\n");
        let open = || Dataset::open(root.path(), "val", Task::Unsupervised).unwrap();
        assert!(open().annotations.ends_with("Annotations/480p") && open().sequences[0].single_object);
        let own = root.path().join("Annotations_unsupervised/480p");
        fs::create_dir_all(&own).unwrap();
        fs::rename(root.path().join("Annotations/480p/dog"), own.join("dog")).unwrap();
        assert_eq!(open().annotations, own);
        let dog = &open().sequences[0];
        assert_eq!(dog.annotation_with_void(1).unwrap().labels, [0, 1, 2, 255]);
        assert_eq!(dog.annotation(1).unwrap().labels, [0, 1, 2, 0]);
    }

    #[test]
    fn frames_and_annotations_go_in_pairs_but_the_test_sets_give_the_first_only() {
        let root = folder("2017", "dog\n");
        let open = || Dataset::open(root.path(), "val", Task::SemiSupervised);
        let mask = |frame: &str| root.path().join("Annotations/480p/dog").join(frame);
        fs::remove_file(mask("00001.png")).unwrap();
        assert!(!open().unwrap().is_annotated());
        fs::write(mask("00007.png"), "").unwrap();
        let error = open().unwrap_err().to_string();
        assert!(error.contains("dog/00001.png: missing"), "{error}");
        fs::rename(mask("00007.png"), mask("00001.png")).unwrap();
        assert!(open().unwrap().is_annotated());
        fs::write(mask("00002.png"), "").unwrap();
        let error = open().unwrap_err().to_string();
        assert!(error.contains("dog/00002.jpg: missing"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let open = |list: &str, split: &str| {
            let root = folder("2017", list);
            format!("{:#}", Dataset::open(root.path(), split, Task::SemiSupervised).unwrap_err())
        };
        assert!(open("dog", "train").contains("2017/train.txt"));
        assert!(open("../../etc", "val").contains("is not the name"));
        assert!(open("\n", "val").contains("no sequence"));
        assert!(open("cat", "val").contains("480p/cat"));
    }
}
