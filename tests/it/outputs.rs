//! What a command reads is never written over, and neither is a file that maskd did not make: through the real program.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use maskd::{frame::Size, mask::LabelMap};

use crate::support::{
    process::{free_port, maskd},
    scene::Scene,
    weights::TinyVit,
};

const SCENE: Scene = Scene { size: Size::new(96, 64), frames: 4, fps: 15 };

/// A folder with `film.mp4`, `frames/1.jpg` and `frames/2.png`, `first.png` and `tiny.safetensors`.
struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let home = Self { folder: tempfile::tempdir().unwrap() };
        TinyVit::default().write(&home.path("tiny.safetensors"), 7);
        SCENE.write_video(&home.path("film.mp4"));
        SCENE.truth(0).write_png(&home.path("first.png")).unwrap();
        fs::create_dir(home.path("frames")).unwrap();
        for (i, name) in ["frames/1.jpg", "frames/2.png"].into_iter().enumerate() {
            let picture = image::RgbImage::from_raw(SCENE.size.width, SCENE.size.height, SCENE.rgb(i as u64)).unwrap();
            picture.save(home.path(name)).unwrap();
        }
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs maskd; words that begin with `@` are paths in this folder. Exit code, and standard error.
    fn run(&self, words: &[&str]) -> (Option<i32>, String) {
        let own = |word: &&str| match word.strip_prefix('@') {
            Some(name) => format!("{}/{name}", self.folder.path().display()),
            None => (*word).to_owned(),
        };
        let words: Vec<String> = words.iter().map(own).collect();
        let output = maskd(&words.iter().map(String::as_str).collect::<Vec<_>>());
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    /// `command` over the network, at the scene's own size.
    fn engine(&self, command: &[&str]) -> (Option<i32>, String) {
        self.run(&[command, &["--weights", "@tiny.safetensors", "--short-side", "64", "--device", "cpu"]].concat())
    }

    #[track_caller]
    fn works(&self, command: &[&str]) {
        let (code, said) = self.engine(command);
        assert_eq!(code, Some(0), "{command:?}: {said}");
    }

    /// The command must be refused as a bad argument, in one line with all `words`, and change no file at all.
    #[track_caller]
    fn refuses(&self, command: &[&str], words: &[&str]) {
        let before = files(self.folder.path());
        let (code, said) = self.engine(command);
        assert_eq!((code, said.lines().count()), (Some(64), 1), "{command:?}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{command:?}: {said} lacks one of {words:?}");
        assert!(files(self.folder.path()) == before, "{command:?}: files have changed");
    }
}

/// Every file below `folder` with what it holds; links as such.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        match fs::symlink_metadata(&path).unwrap().file_type() {
            kind if kind.is_dir() => all.extend(files(&path).into_iter().chain([(path, Vec::new())])),
            kind if kind.is_symlink() => {
                all.push((path.clone(), fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()))
            }
            _ => all.push((path.clone(), fs::read(&path).unwrap())),
        }
    }
    all.sort();
    all
}

#[test]
fn an_overlay_is_no_input_under_any_name() {
    let home = Home::new();
    fs::hard_link(home.path("film.mp4"), home.path("hard.mp4")).unwrap();
    symlink("film.mp4", home.path("soft.mp4")).unwrap();
    symlink("nowhere.mp4", home.path("dangling.mp4")).unwrap();
    symlink(home.folder.path(), home.path("around")).unwrap();
    for command in ["segment", "attention"] {
        for name in ["@film.mp4", "@./frames/../film.mp4", "@hard.mp4", "@soft.mp4", "@around/film.mp4"] {
            let words = [command, "@film.mp4", "--out", "@out", "--overlay", name, "--overwrite"];
            home.refuses(&words, &["--overlay", &name[1..], "the input"]);
        }
        let words = [command, "@film.mp4", "--out", "@out", "--overlay", "@tiny.safetensors"];
        home.refuses(&words, &["--overlay", "is --weights"]);
        let words = [command, "@film.mp4", "--out", "@out", "--overlay", "@dangling.mp4"];
        home.refuses(&words, &["dangling.mp4", "link"]);
        let words = [command, "@frames", "--out", "@out", "--overlay", "@frames/2.png", "--overwrite"];
        home.refuses(&words, &["--overlay", "the input picture"]);
    }
    let words = ["segment", "@film.mp4", "--out", "@out", "-m", "@first.png", "--overlay", "@first.png"];
    home.refuses(&words, &["--overlay", "is --first-mask"]);
}

#[test]
fn masks_do_not_go_where_the_pictures_are() {
    let home = Home::new();
    symlink("frames", home.path("link")).unwrap();
    for out in ["@frames", "@frames/.", "@new/../frames", "@link"] {
        for more in [&[][..], &["--overwrite"]] {
            let words = [&["segment", "@frames", "--out", out][..], more].concat();
            home.refuses(&words, &["--out", "is the input", "give another path"]);
        }
    }
    home.refuses(&["segment", "@frames/2.png", "--out", "@frames", "--overwrite"], &["the mask", "is the input"]);
    // Masks of an earlier run that are frames of this one: they bear maskd's mark, and are read all the same.
    home.works(&["segment", "@frames", "--out", "@out"]);
    fs::create_dir(home.path("again")).unwrap();
    symlink("../out/2.png", home.path("again/2.png")).unwrap();
    home.refuses(&["segment", "@again", "--out", "@out", "--overwrite"], &["out/2.png", "is the input picture"]);
    home.refuses(&["segment", "@film.mp4", "--out", "@out", "-m", "@out/1.png"], &["already holds masks"]);
    // The pictures of attention for frame `1` of the folder `1` would go into that folder.
    fs::create_dir_all(home.path("in/1")).unwrap();
    fs::copy(home.path("frames/1.jpg"), home.path("in/1/1.jpg")).unwrap();
    home.refuses(&["attention", "@in/1", "--out", "@in", "--overwrite"], &["in/1", "is the input"]);
    home.refuses(&["attention", "@in/1", "--out", "@in/1"], &["--out", "is the input"]);
}

#[test]
fn a_first_mask_in_the_output_folder_is_not_replaced() {
    let home = Home::new();
    home.works(&["segment", "@film.mp4", "--out", "@out", "-m", "@first.png"]);
    let words = ["segment", "@film.mp4", "--out", "@out", "-m", "@out/00001.png", "--overwrite"];
    home.refuses(&words, &["out/00001.png", "is --first-mask"]);
}

#[test]
fn masks_replace_maskds_masks_and_nothing_else() {
    let home = Home::new();
    let words = ["segment", "@film.mp4", "--out", "@out", "--overlay", "@look.mp4", "--overwrite"];
    fs::create_dir(home.path("out")).unwrap();
    let theirs = image::RgbImage::new(96, 64);
    // In its place: refused. Elsewhere in the folder: left alone.
    for (name, is_in_the_way) in [("00002.png", true), ("00004711.png", false), ("notes.png", false)] {
        let path = home.path("out").join(name);
        theirs.save(&path).unwrap();
        let before = fs::read(&path).unwrap();
        if is_in_the_way {
            home.refuses(&words, &["out/00002.png", "not known to be made by maskd", "remove it"]);
            fs::remove_file(&path).unwrap();
        } else {
            home.works(&words);
            assert_eq!(fs::read(&path).unwrap(), before);
        }
    }
    // A mask that was edited and saved by another program is theirs from then on.
    image::open(home.path("out/00001.png")).unwrap().save(home.path("out/00001.png")).unwrap();
    home.refuses(&words, &["out/00001.png", "not known to be made by maskd"]);
    fs::remove_file(home.path("out/00001.png")).unwrap();
    symlink("00000.png", home.path("out/00001.png")).unwrap();
    home.refuses(&words, &["out/00001.png", "link"]);
    fs::remove_file(home.path("out/00001.png")).unwrap();
    home.works(&words);
    assert_eq!(LabelMap::read_indexed_png(&home.path("out/00001.png")).unwrap().size, SCENE.size);
}

#[test]
fn an_overlay_replaces_maskds_overlay_where_told_and_no_other_video() {
    let home = Home::new();
    fs::copy(home.path("film.mp4"), home.path("holiday.mp4")).unwrap();
    for command in ["segment", "attention"] {
        let words = [command, "@film.mp4", "--out", "@out", "--overlay", "@holiday.mp4", "--overwrite"];
        home.refuses(&words, &["holiday.mp4", "not known to be made by maskd"]);
        home.works(&[command, "@film.mp4", "--out", "@one", "--overlay", "@look.mp4"]);
        home.refuses(&[command, "@film.mp4", "--out", "@two", "--overlay", "@look.mp4"], &["look.mp4", "--overwrite"]);
        let before = fs::read(home.path("look.mp4")).unwrap();
        home.works(&[command, "@film.mp4", "--out", "@two", "-n", "2", "--overlay", "@look.mp4", "--overwrite"]);
        assert!(fs::read(home.path("look.mp4")).unwrap() != before);
        for name in ["one", "two"] {
            fs::remove_dir_all(home.path(name)).unwrap();
        }
        fs::remove_file(home.path("look.mp4")).unwrap();
    }
}

#[test]
fn pictures_of_attention_replace_their_like_and_nothing_else() {
    let home = Home::new();
    let words = ["attention", "@frames/2.png", "--out", "@looks"];
    home.works(&words);
    home.refuses(&words, &["looks/2/", "it is there already", "--overwrite"]);
    let with = [&words[..], &["--overwrite"]].concat();
    home.works(&with);
    image::RgbImage::new(9, 9).save(home.path("looks/2/sheet.png")).unwrap();
    home.refuses(&with, &["looks/2/sheet.png", "not known to be made by maskd"]);
}

#[test]
fn a_recording_replaces_nothing() {
    let home = Home::new();
    fs::write(home.path("zenoh.json5"), "{}").unwrap();
    let endpoint = format!("tcp/127.0.0.1:{}", free_port());
    for (name, words) in [
        ("@film.mp4", &["film.mp4", "not known to be made by maskd"][..]),
        ("@zenoh.json5", &["--record", "is --zenoh-config"]),
        ("@frames", &["frames", "a folder"]),
    ] {
        let before = files(home.folder.path());
        let command = ["watch", "--connect", &endpoint, "--timeout", "1", "--zenoh-config", "@zenoh.json5", "--record"];
        let (code, said) = home.run(&[&command[..], &[name]].concat());
        assert_eq!((code, said.lines().count()), (Some(64), 1), "{name}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{name}: {said}");
        assert!(files(home.folder.path()) == before, "{name}: files have changed");
    }
}
