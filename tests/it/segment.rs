//! `maskd segment` as its user meets it: masks against the drawn truth, file names, and refusals that leave nothing behind.

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::Output,
};

use maskd::{davis::region, frame::Size, ingest::Clip, mask::LabelMap, model::WeightsSource};
use png::{BitDepth, ColorType};

use crate::{
    shared::shared,
    support::{
        process::{maskd, signal, spawn},
        scene::{SHAPES, Scene},
        until,
        weights::TinyVit,
    },
};

const SCENE: Scene = Scene { size: Size::new(320, 240), frames: 150, fps: 15 };

/// How many of its frames are used: the shapes go a third of their way.
const FRAMES: u64 = 24;

/// A folder with the film, its first mask, a tiny network, and where the masks are to go.
struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        let home = Self { folder: tempfile::tempdir().unwrap() };
        TinyVit::default().write(&home.path("tiny.safetensors"), 7);
        SCENE.truth(0).write_png(&home.path("first.png")).unwrap();
        home
    }

    fn film(&self) -> PathBuf {
        let path = self.path("film.mp4");
        SCENE.write_video(&path);
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `maskd segment INPUT` to this folder's `out`, at the film's own size, with `more`; words that begin with
    /// `@` are files of this folder.
    fn segment(&self, input: &Path, more: &[&str]) -> Output {
        maskd(&self.words(input, more).iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The words of that command.
    fn words(&self, input: &Path, more: &[&str]) -> Vec<String> {
        let own = |word: &str| match word.strip_prefix('@') {
            Some(name) => self.path(name).to_str().unwrap().to_owned(),
            None => word.to_owned(),
        };
        let defaults: &[&str] = if more.contains(&"--weights") { &[] } else { &["--weights", "@tiny.safetensors"] };
        let fixed = ["--out", "@out", "--short-side", "240", "--device", "cpu"];
        let words = fixed.iter().chain(defaults).chain(more).map(|word| own(word));
        ["segment".to_owned(), input.to_str().unwrap().to_owned()].into_iter().chain(words).collect()
    }

    /// As [`Home::segment`], which must work; the names of what it wrote.
    fn written(&self, input: &Path, more: &[&str]) -> Vec<String> {
        let output = self.segment(input, more);
        assert!(output.status.success(), "{more:?}: {}", String::from_utf8_lossy(&output.stderr));
        self.names()
    }

    /// What is in `out`, sorted; nothing where there is no such folder.
    fn names(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path("out")) else { return Vec::new() };
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn mask(&self, name: &str) -> LabelMap {
        LabelMap::read_png(&self.path("out").join(name)).unwrap()
    }

    /// Mean IoU of each shape with the drawn truth over `frames`, whose masks are called `name`.
    fn scores(&self, frames: std::ops::Range<u64>, name: impl Fn(u64) -> String) -> [f64; SHAPES as usize] {
        let mut sums = [0.0; SHAPES as usize];
        let count = (frames.end - frames.start) as f64;
        for i in frames {
            let (mask, truth) = (self.mask(&name(i)), SCENE.truth(i));
            assert_eq!(mask.size, SCENE.size);
            assert!(mask.labels.iter().all(|label| *label <= SHAPES), "frame {i} has labels that nobody gave");
            for (label, sum) in (1..=SHAPES).zip(&mut sums) {
                let of = |map: &LabelMap| map.labels.iter().map(|l| *l == label).collect::<Vec<_>>();
                *sum += region(&of(&mask), &of(&truth), None);
            }
        }
        sums.map(|sum| sum / count)
    }
}

fn number(i: u64) -> String {
    format!("{i:05}.png")
}

#[test]
fn a_film_becomes_indexed_masks_that_follow_its_shapes() {
    let home = Home::new();
    let film = home.film();
    let frames = FRAMES.to_string();
    let names = home.written(&film, &["--first-mask", "@first.png", "--overlay", "@look.mp4", "--max-frames", &frames]);
    assert_eq!(names, (0..FRAMES).map(number).collect::<Vec<_>>());
    let means = home.scores(1..FRAMES, number);
    eprintln!("IoU with the drawn truth over {} frames: {means:.3?}", FRAMES - 1);
    assert!(means.iter().all(|mean| *mean > 0.6), "{means:?}");

    let file = fs::File::open(home.path("out/00007.png")).unwrap();
    let reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().unwrap();
    let info = reader.info();
    assert_eq!((info.color_type, info.bit_depth), (ColorType::Indexed, BitDepth::Eight));
    assert_eq!(info.palette.as_ref().unwrap()[..9], [0, 0, 0, 128, 0, 0, 0, 128, 0], "the DAVIS palette");

    let look = Clip::open(&home.path("look.mp4")).unwrap();
    assert_eq!((look.size(), look.fps()), (SCENE.size, Some((SCENE.fps, 1))));
    let drawn: Vec<_> = look.map(Result::unwrap).collect();
    assert_eq!(drawn.len() as u64, FRAMES);
    // The masks are drawn: what differs from the film lies in them.
    let (drawn, film) = (&drawn[10].rgb, SCENE.rgb(10));
    let off = |on: bool| {
        let of = |label: &u8| (*label != 0) == on;
        let pixels = drawn
            .chunks(3)
            .zip(film.chunks(3))
            .zip(&home.mask(&number(10)).labels)
            .filter(|(_, l)| of(l))
            .map(|((a, b), _)| f64::from(a.iter().zip(b).map(|(a, b)| u32::from(a.abs_diff(*b))).sum::<u32>()))
            .collect::<Vec<_>>();
        pixels.iter().sum::<f64>() / pixels.len() as f64
    };
    assert!(off(true) > 2.0 * off(false), "inside {} levels, outside {}", off(true), off(false));
}

#[test]
fn frames_of_a_folder_keep_their_names_and_a_full_folder_is_not_written_over() {
    let home = Home::new();
    let frames = home.path("frames");
    fs::create_dir(&frames).unwrap();
    for i in 0..5_u64 {
        let picture = image::RgbImage::from_raw(SCENE.size.width, SCENE.size.height, SCENE.rgb(i)).unwrap();
        picture.save(frames.join(format!("shot-{}.png", i + 8))).unwrap();
    }
    let name = |i: u64| format!("shot-{}.png", i + 8);
    let first = ["--first-mask", "@first.png"];
    // In the order of the numbers, so -10 after -9; as bytes sort the names, it comes first.
    let mut two = [name(0), name(1)];
    two.sort();
    assert_eq!(home.written(&frames, &[&first[..], &["--max-frames", "2"]].concat()), two);

    let before = fs::read(home.path("out").join(name(1))).unwrap();
    let output = home.segment(&frames, &first);
    refused("a full folder", &output, 64, &["out", "already holds masks", "--overwrite"]);
    assert_eq!(home.names(), two);
    assert_eq!(fs::read(home.path("out").join(name(1))).unwrap(), before);

    let mut all: Vec<_> = (0..5).map(name).collect();
    all.sort();
    assert_eq!(home.written(&frames, &[&first[..], &["--overwrite"]].concat()), all);
    let means = home.scores(1..5, name);
    assert!(means.iter().all(|mean| *mean > 0.6), "{means:?}");

    // How much time lies between two pictures is for whoever calls to say.
    for (more, fps) in [(&[][..], 25), (&["--fps", "10"], 10)] {
        home.written(&frames, &[&first[..], &["--overwrite", "--overlay", "@look.mp4"], more].concat());
        assert_eq!(Clip::open(&home.path("look.mp4")).unwrap().fps(), Some((fps, 1)));
    }
    assert_eq!(home.segment(&frames, &["--overwrite", "--fps", "0"]).status.code(), Some(2));
}

#[test]
fn a_grey_mask_of_0_and_255_is_one_instance() {
    let home = Home::new();
    let film = home.film();
    let disc: Vec<u8> = SCENE.truth(0).labels.iter().map(|label| if *label == 1 { 255 } else { 0 }).collect();
    let grey = image::GrayImage::from_raw(SCENE.size.width, SCENE.size.height, disc).unwrap();
    grey.save(home.path("grey.png")).unwrap();
    home.written(&film, &["--first-mask", "@grey.png", "--max-frames", "4"]);
    assert!((0..4).all(|i| home.mask(&number(i)).labels.iter().all(|label| *label <= 1)));
    assert!(home.scores(0..4, number)[0] > 0.6);

    let Some(case) = shared("cases/08-first-mask-0-255") else { return };
    let mask = case.join("gray255.png");
    fs::remove_dir_all(home.path("out")).unwrap();
    home.written(&case.join("plain.mp4"), &["--first-mask", mask.to_str().unwrap(), "--max-frames", "3"]);
    assert!(home.names().iter().all(|name| home.mask(name).labels.contains(&1)));
}

/// The output is one line on standard error that holds every word, and the exit code is `code`.
fn refused(what: &str, output: &Output, code: i32, words: &[&str]) {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{what}: {text}");
    assert_eq!(text.lines().count(), 1, "{what}: {text}");
    assert!(text.starts_with("maskd: error: "), "{what}: {text}");
    for word in words {
        assert!(text.contains(word), "{what}: {text} lacks {word:?}");
    }
}

#[test]
fn what_is_wrong_is_named_and_nothing_is_written() {
    let home = Home::new();
    let film = home.film();
    let write = |name: &str, bytes: &[u8]| {
        fs::write(home.path(name), bytes).unwrap();
        home.path(name)
    };
    let noise: Vec<u8> = (0..40_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let empty = home.path("empty");
    fs::create_dir(&empty).unwrap();

    for (what, input, code, words) in [
        ("no input", home.path("gone.mp4"), 74, &["gone.mp4", "No such file"][..]),
        ("an empty folder", empty, 65, &["empty", "no .jpg or .png"]),
        ("no video", write("noise.mp4", &noise), 65, &["noise.mp4"]),
        ("half a video", write("half.mp4", &fs::read(&film).unwrap()[..9000]), 65, &["half.mp4"]),
        ("text", write("notes.txt", b"no video at all\n"), 65, &["notes.txt"]),
    ] {
        refused(what, &home.segment(&input, &[]), code, words);
        assert!(home.names().is_empty() && !home.path("out").exists(), "{what}: {:?}", home.names());
    }

    let whole = fs::read(home.path("tiny.safetensors")).unwrap();
    write("cut.safetensors", &whole[..whole.len() / 2]);
    write("noise.safetensors", &noise);
    write("noise.pth", &noise);
    write("none.safetensors", b"");
    write("grey.png", b"");
    let small = Size::new(160, 120);
    LabelMap { size: small, labels: vec![1; small.area()] }.write_png(&home.path("small.png")).unwrap();
    LabelMap::new(SCENE.size).write_png(&home.path("blank.png")).unwrap();
    let void = vec![255; SCENE.size.area()];
    LabelMap { size: SCENE.size, labels: void }.write_png(&home.path("void.png")).unwrap();
    let picture = image::RgbImage::from_raw(SCENE.size.width, SCENE.size.height, SCENE.rgb(0)).unwrap();
    picture.save(home.path("photo.png")).unwrap();
    picture.save(home.path("photo.jpg")).unwrap();

    for (what, more, code, words) in [
        ("no weights", &["--weights", "@gone.safetensors"][..], 74, &["gone.safetensors"][..]),
        ("cut weights", &["--weights", "@cut.safetensors"], 65, &["cut.safetensors"]),
        ("noise for weights", &["--weights", "@noise.safetensors"], 65, &["noise.safetensors"]),
        ("noise for a checkpoint", &["--weights", "@noise.pth"], 65, &["noise.pth"]),
        ("empty weights", &["--weights", "@none.safetensors"], 65, &["none.safetensors"]),
        ("no first mask", &["--first-mask", "@gone.png"], 74, &["gone.png"]),
        ("a small first mask", &["--first-mask", "@small.png"], 65, &["small.png", "160x120", "320x240"]),
        ("a photo for a mask", &["--first-mask", "@photo.png"], 65, &["photo.png", "indexed", "Rgb"]),
        ("a JPEG for a mask", &["--first-mask", "@photo.jpg"], 65, &["photo.jpg", "indexed"]),
        ("an empty file for a mask", &["--first-mask", "@grey.png"], 65, &["grey.png"]),
        ("a blank first mask", &["--first-mask", "@blank.png"], 65, &["blank.png", "marks nothing"]),
        ("a first mask of void", &["--first-mask", "@void.png"], 65, &["void.png", "marks nothing", "void (255)"]),
    ] {
        refused(what, &home.segment(&film, more), code, words);
        assert!(!home.path("out").exists(), "{what}: {:?}", home.names());
    }
    // Two lines here: the network was loaded and said so.
    let output = home.segment(&film, &["--overlay", "@nowhere/look.mp4"]);
    let text = String::from_utf8(output.stderr).unwrap();
    let errors: Vec<_> = text.lines().filter(|line| line.starts_with("maskd: error: ")).collect();
    assert_eq!((output.status.code(), errors.len()), (Some(74), 1), "{text}");
    assert!(errors[0].contains("nowhere/look.mp4"), "{text}");
    assert!(home.names().is_empty(), "an overlay that cannot be written: {:?}", home.names());
}

#[test]
fn without_a_word_about_weights_those_that_maskd_carries_are_used() {
    let home = Home::new();
    let film = home.film();
    let (film, out) = (film.to_str().unwrap(), home.path("out"));
    let seen =
        maskd(&["segment", film, "--out", out.to_str().unwrap(), "--short-side", "112", "-n", "2", "--device", "cpu"]);
    let said = String::from_utf8_lossy(&seen.stderr);
    assert!(seen.status.success() && said.contains(&WeightsSource::Shipped.read(None).unwrap().model_id()), "{said}");
    assert_eq!(home.names().len(), 2);
}

#[test]
fn ctrl_c_keeps_what_is_done_and_leaves_no_half_video() {
    let home = Home::new();
    let words = home.words(&home.film(), &["--overlay", "@look.mp4"]);
    for (name, number) in [("INT", 2), ("TERM", 15)] {
        let child = spawn(&words.iter().map(String::as_str).chain(["--overwrite"]).collect::<Vec<_>>());
        until("the first mask", || home.path("out").join("00000.png").exists().then_some(()));
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        // As the signal would have ended it, for whoever started it.
        assert_eq!(output.status.signal(), Some(number), "{said}{}", String::from_utf8_lossy(&output.stderr));
        let masks = home.names().len();
        assert!((1..SCENE.frames as usize).contains(&masks) && said.contains(&format!("{masks} frames in")), "{said}");
        assert_eq!(Clip::open(&home.path("look.mp4")).unwrap().map(Result::unwrap).count(), masks);
        let left = fs::read_dir(home.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with('.')).collect();
        assert!(left.is_empty(), "{left:?}");
        fs::remove_dir_all(home.path("out")).unwrap();
    }
}

#[test]
fn bfloat16_is_asked_for_by_name_and_said_with_the_model() {
    let home = Home::new();
    let film = home.film();
    let (film, out) = (film.to_str().unwrap(), home.path("out"));
    let run = |precision: &str| {
        let fixed = ["segment", film, "--out", out.to_str().unwrap(), "--short-side", "112", "-n", "2"];
        maskd(&[&fixed[..], &["--device", "cpu", "--precision", precision]].concat())
    };
    let seen = run("bf16");
    let said = String::from_utf8_lossy(&seen.stderr);
    if maskd::kernels::bf16::is_available() {
        let model = WeightsSource::Shipped.read(None).unwrap().model_id() + "+bf16 on CPU";
        assert!(seen.status.success() && said.contains(&model) && said.contains("threads, bf16"), "{said}");
        assert_eq!(home.names().len(), 2);
    } else {
        assert!(!seen.status.success() && said.contains("model.precision: \"bf16\""), "{said}");
    }
    let (seen, what) = (run("f16"), "model.precision: \"f16\"");
    assert!(!seen.status.success() && String::from_utf8_lossy(&seen.stderr).contains(what), "{seen:?}");
}
