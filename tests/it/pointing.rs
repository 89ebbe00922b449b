//! What a box or a point means is one thing, whoever asks: `maskd segment`, `maskd eval davis` and the engine of the daemon.

use std::fs;

use maskd::{
    backbone::{Backbone, BackboneConfig, DeviceChoice},
    davis::tight_box,
    engine::Engine,
    frame::{Size, StreamId},
    ingest::Clip,
    instance::{BBox, Prompt},
    mask::LabelMap,
    preset::{Preset, Start},
};
use serde_json::Value;

use crate::support::{
    process::{maskd, refused},
    scene::Scene,
    weights::TinyVit,
};

const SCENE: Scene = Scene { size: Size::new(160, 112), frames: 40, fps: 15 };
const FRAMES: u64 = 4;

/// A DAVIS tree of one drawn sequence whose annotations hold its first shape alone, and a tiny network.
struct Tree {
    folder: tempfile::TempDir,
}

impl Tree {
    fn new() -> Self {
        let tree = Self { folder: tempfile::tempdir().unwrap() };
        TinyVit::default().write(tree.path("tiny.safetensors").as_ref(), 7);
        for kind in ["JPEGImages/480p/one", "Annotations/480p/one", "ImageSets/2017"] {
            fs::create_dir_all(tree.path(kind)).unwrap();
        }
        fs::write(tree.path("ImageSets/2017/val.txt"), "one\n").unwrap();
        for i in 0..FRAMES {
            let picture = image::RgbImage::from_raw(SCENE.size.width, SCENE.size.height, SCENE.rgb(i)).unwrap();
            picture.save(tree.path(&format!("JPEGImages/480p/one/{i:05}.jpg"))).unwrap();
            tree.truth(i).write_png(tree.path(&format!("Annotations/480p/one/{i:05}.png")).as_ref()).unwrap();
        }
        tree
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn truth(&self, frame: u64) -> LabelMap {
        let map = SCENE.truth(frame);
        LabelMap { size: map.size, labels: map.labels.iter().map(|l| u8::from(*l == 1)).collect() }
    }

    /// Runs maskd with the tiny network; words that begin with `@` are in this folder.
    fn maskd(&self, words: &[&str]) -> std::process::Output {
        let network = ["--weights", "@tiny.safetensors", "--short-side", "112", "--device", "cpu"];
        let own = |word: &&str| word.strip_prefix('@').map_or_else(|| (*word).to_owned(), |name| self.path(name));
        let words: Vec<String> = words.iter().chain(&network).map(own).collect();
        maskd(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn works(&self, words: &[&str]) {
        let output = self.maskd(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn masks(&self, folder: &str) -> Vec<LabelMap> {
        let read = |i| LabelMap::read_png(format!("{}/{i:05}.png", self.path(folder)).as_ref()).unwrap();
        (0..FRAMES).map(read).collect()
    }

    /// What the daemon's engine makes of a prompt that comes before the first frame.
    fn live(&self, prompt: Prompt) -> Vec<LabelMap> {
        let config = BackboneConfig {
            weights: Some(self.path("tiny.safetensors").into()),
            device: DeviceChoice::Cpu,
            short_side: 112,
            ..BackboneConfig::default()
        };
        let mut engine = Engine::new(Backbone::load(&config).unwrap(), Preset::Best.tracker(Start::FirstMask));
        let stream: StreamId = "live".parse().unwrap();
        engine.add_stream(&stream);
        engine.prompt(&stream, prompt).unwrap();
        let clip = Clip::open(self.path("JPEGImages/480p/one").as_ref()).unwrap();
        let frames = clip.enumerate().map(|(i, frame)| frame.unwrap().to_frame(&stream, i as u64));
        frames.map(|frame| engine.step(vec![frame], &()).remove(0).unwrap().labels).collect()
    }
}

#[test]
fn a_box_and_points_mean_the_same_to_segment_eval_and_the_engine() {
    let tree = Tree::new();
    let truth: Vec<bool> = tree.truth(0).labels.iter().map(|l| *l == 1).collect();
    let BBox { x, y, width, height } = tight_box(&truth, SCENE.size).unwrap();
    let bbox = format!("{x},{y},{width},{height}");
    tree.works(&["segment", "@JPEGImages/480p/one", "--out", "@boxed", "--box", &bbox]);
    tree.works(&["eval", "davis", "--root", "@.", "--out", "@eval", "--prompt", "box"]);
    let boxed = tree.masks("boxed");
    assert!(boxed[0].labels.contains(&1), "the box found nothing");
    assert!(boxed == tree.masks("eval/one"), "eval found something else than segment");
    assert!(boxed == tree.live(Prompt::Box { bbox: BBox { x, y, width, height } }), "live finds something else");

    let click = maskd::davis::centre_most(&truth, SCENE.size).unwrap();
    let point = format!("{},{}", click[0], click[1]);
    tree.works(&["segment", "@JPEGImages/480p/one", "--out", "@clicked", "--point", &point, "--not-point", "1,1"]);
    let live = tree.live(Prompt::Points { positive: vec![click], negative: vec![[1, 1]] });
    assert!(tree.masks("clicked") == live, "live finds something else");
    assert_eq!(live[0].labels[(click[1] * SCENE.size.width + click[0]) as usize], 1);
}

#[test]
fn an_evaluation_from_prompts_says_so_and_its_masks_are_not_those_of_another() {
    let tree = Tree::new();
    fn eval<'a>(more: &[&'a str]) -> Vec<&'a str> {
        [&["eval", "davis", "--root", "@.", "--out", "@out"], more].concat()
    }
    tree.works(&eval(&["--prompt", "clicks:2"]));
    let report: Value = serde_json::from_str(&fs::read_to_string(tree.path("out/report.json")).unwrap()).unwrap();
    assert_eq!(report["settings"]["prompt"], "clicks:2");
    let (mean, own) = (report["first_frame_iou"].as_f64().unwrap(), &report["sequences"][0]["first_frame_iou"]);
    assert!(mean > 0.0 && own[0].as_f64() == Some(mean), "{report}");
    // The masks of the first frame are what was found, not what was given.
    let found = &tree.masks("out/one")[0];
    let held = |map: &LabelMap| map.labels.iter().map(|l| *l != 0).collect::<Vec<_>>();
    assert_eq!(maskd::davis::region(&held(found), &held(&tree.truth(0)), None), mean);
    for (more, words) in [
        (&["--prompt", "box"][..], &["one.json", "other settings", "clicks:2", "now \"box\""][..]),
        (&[], &["one.json", "clicks:2", "now unset"]),
    ] {
        refused(&tree.maskd(&eval(more)), 64, words);
    }
    refused(
        &tree.maskd(&["eval", "davis", "--root", "@.", "--out", "@no", "--prompt", "box", "--task", "unsupervised"]),
        64,
        &["--prompt", "semi-supervised"],
    );
    assert_eq!(tree.maskd(&eval(&["--prompt", "clicks:0"])).status.code(), Some(2));
}

#[test]
fn what_cannot_be_pointed_at_is_refused_before_anything_is_written() {
    let tree = Tree::new();
    tree.truth(0).write_png(tree.path("first.png").as_ref()).unwrap();
    let segment = |more: &[&str]| tree.maskd(&[&["segment", "@JPEGImages/480p/one", "--out", "@out"], more].concat());
    for (more, words) in [
        (&["--box", "160,0,9,9"][..], &["(160, 0) is outside the 160x112 frame"][..]),
        (&["--box", "9,9,0,9"], &["the box is 0x9"]),
        (&["--point", "3,3", "--point", "3,112"], &["a point at (3, 112)"]),
        (&["--point", "3,3", "--not-point", "999,3"], &["a point at (999, 3)"]),
    ] {
        refused(&segment(more), 65, words);
    }
    for more in [
        &["--box", "1,1,9,9", "--point", "3,3"][..],
        &["--box", "1,1,9,9", "--first-mask", "@first.png"],
        &["--point", "3,3", "--first-mask", "@first.png"],
        &["--not-point", "3,3"],
        &["--box", "1,1,9"],
    ] {
        assert_eq!(segment(more).status.code(), Some(2), "{more:?}");
    }
    assert!(!std::path::Path::new(&tree.path("out")).exists());
}
