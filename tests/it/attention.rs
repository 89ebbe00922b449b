//! `maskd attention` as its user meets it: pictures of the right kinds and sizes, and refusals that leave nothing behind.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use maskd::{frame::Size, ingest::Clip, mask::LabelMap};

use crate::support::{process::maskd, scene::Scene, weights::TinyVit};

const SCENE: Scene = Scene { size: Size::new(160, 120), frames: 6, fps: 15 };

/// Heads of the network: 128 channels, 64 each.
const HEADS: u32 = 2;

struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let home = Self { folder: tempfile::tempdir().unwrap() };
        TinyVit { dim: 128, ..TinyVit::default() }.write(&home.path("tiny.safetensors"), 3);
        let picture = image::RgbImage::from_raw(SCENE.size.width, SCENE.size.height, SCENE.rgb(2)).unwrap();
        picture.save(home.path("photo.png")).unwrap();
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn attention(&self, input: &str, more: &[&str]) -> Output {
        let text = |name: &str| self.path(name).to_str().unwrap().to_owned();
        let (input, out, tiny) = (text(input), text("out"), text("tiny.safetensors"));
        let fixed = ["attention", &input, "--out", &out, "--weights", &tiny, "--short-side", "120", "--device", "cpu"];
        maskd(&[&fixed[..], more].concat())
    }

    fn works(&self, input: &str, more: &[&str]) {
        let output = self.attention(input, more);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn size(path: &Path) -> Size {
    let (width, height) = image::image_dimensions(path).unwrap();
    Size::new(width, height)
}

#[test]
fn a_picture_becomes_heat_maps_masks_and_a_sheet() {
    let home = Home::new();
    home.works("photo.png", &[]);
    let names = ["head-01.png", "head-02.png", "mask-01.png", "mask-02.png", "mask-mean.png", "mean.png", "sheet.png"];
    assert_eq!(home.names("out"), ["photo"]);
    assert_eq!(home.names("out/photo"), names);
    for name in &names[..6] {
        assert_eq!(size(&home.path("out/photo").join(name)), SCENE.size, "{name}");
    }
    // Frame and heads above, mean and masks below, four pixels between.
    let sheet = size(&home.path("out/photo/sheet.png"));
    assert_eq!(sheet, Size::new((HEADS + 1) * (160 + 4) - 4, 2 * 120 + 4));
    let area = |name: &str| {
        let map = LabelMap::read_indexed_png(&home.path("out/photo").join(name)).unwrap();
        assert!(map.labels.iter().all(|label| *label <= 1));
        map.labels.iter().filter(|label| **label == 1).count()
    };
    let (small, all) = (area("mask-mean.png"), SCENE.size.area());
    assert!(small > 0 && small < all * 6 / 10 + 1, "the strongest patches, so at most 60 %: {small} of {all}");
    let (before, first) = (fs::read(home.path("out/photo/mean.png")).unwrap(), small);
    home.works("photo.png", &["--block", "1", "--mass", "0.95", "--overwrite"]);
    assert_ne!(fs::read(home.path("out/photo/mean.png")).unwrap(), before, "another block looks elsewhere");
    assert!(area("mask-mean.png") > first);
}

#[test]
fn a_film_becomes_a_film_too() {
    let home = Home::new();
    SCENE.write_video(&home.path("film.mp4"));
    home.works("film.mp4", &["--max-frames", "3"]);
    assert_eq!(home.names("out"), ["00000", "00001", "00002", "attention.mp4"]);
    let film = Clip::open(&home.path("out/attention.mp4")).unwrap();
    assert_eq!((film.size(), film.fps()), (Size::new(320, 120), Some((SCENE.fps, 1))));
    let frames: Vec<_> = film.map(Result::unwrap).collect();
    assert_eq!(frames.len(), 3);
    // The left half is the film.
    let (drawn, scene) = (&frames[1].rgb, SCENE.rgb(1));
    let off: u32 = (0..120 * 480).map(|i| u32::from(drawn[i / 480 * 960 + i % 480].abs_diff(scene[i]))).sum();
    assert!(off / (120 * 480) < 16, "{} levels apart", off / (120 * 480));
}

#[test]
fn what_is_wrong_is_named_and_nothing_is_written() {
    let home = Home::new();
    fs::write(home.path("noise.png"), b"no picture").unwrap();
    fs::write(home.path("noise.mp4"), [7; 4000]).unwrap();
    fs::create_dir(home.path("empty")).unwrap();
    for (input, more, code, words) in [
        ("noise.png", &[][..], 65, &["noise.png"][..]),
        ("noise.mp4", &[], 65, &["noise.mp4"]),
        ("empty", &[], 65, &["empty", "no .jpg or .png"]),
        ("gone.png", &[], 74, &["gone.png"]),
        ("photo.png", &["--weights", "noise.png"], 2, &["--weights"]),
        ("photo.png", &["--block", "3"], 64, &["--block 3", "1 to 2"]),
        ("photo.png", &["--block", "0"], 64, &["--block 0"]),
        ("photo.png", &["--mass", "1.5"], 2, &["1.5"]),
    ] {
        let output = home.attention(input, more);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{input} {more:?}: {text}");
        assert!(words.iter().all(|word| text.contains(word)), "{input} {more:?}: {text}");
        assert!(!home.path("out").exists(), "{input} {more:?}");
    }
    fs::write(home.path("tiny.safetensors"), b"no weights").unwrap();
    let output = home.attention("photo.png", &[]);
    assert!(output.status.code() == Some(65) && !home.path("out").exists());
}
