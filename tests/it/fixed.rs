//! `maskd eval fixed` as its user meets it: both layouts run and judged, figures of the reference, wrong sets refused.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use image::{GrayImage, ImageBuffer, Luma, RgbImage};
use maskd::{frame::Size, ingest::Clip, mask::LabelMap};
use serde_json::Value;

use crate::support::{
    process::{maskd, refused},
    scene::Scene,
    weights::TinyVit,
};

const SCENE: Scene = Scene { size: Size::new(112, 64), frames: 40, fps: 15 };
const FRAMES: u64 = 10;

/// A set of two drawn sequences, `gate` in the plain layout and `baseline/yard` in CDnet's, with perfect results in
/// `results`, and a tiny network.
struct Tree {
    folder: tempfile::TempDir,
}

impl Tree {
    fn new() -> Self {
        let tree = Self { folder: tempfile::tempdir().unwrap() };
        TinyVit::default().write(&tree.path("tiny.safetensors"), 7);
        let folders = ["gate/frames", "gate/truth", "baseline/yard/input", "baseline/yard/groundtruth"];
        let [frames, truths, input, groundtruth] = folders.map(|folder| tree.path("set").join(folder));
        let results = ["gate", "baseline/yard"].map(|name| tree.path("results").join(name));
        for folder in [&frames, &truths, &input, &groundtruth].into_iter().chain(&results) {
            fs::create_dir_all(folder).unwrap();
        }
        for i in 0..FRAMES {
            let picture = RgbImage::from_raw(SCENE.size.width, SCENE.size.height, SCENE.rgb(i)).unwrap();
            let things = SCENE.truth(i);
            picture.save(frames.join(format!("{i:05}.jpg"))).unwrap();
            truth(&things).save(truths.join(format!("{i:05}.png"))).unwrap();
            things.write_png(&results[0].join(format!("{i:05}.png"))).unwrap();
            let number = i + 1;
            picture.save(input.join(format!("in{number:06}.jpg"))).unwrap();
            truth(&things).save(groundtruth.join(format!("gt{number:06}.png"))).unwrap();
            things.write_png(&results[1].join(format!("in{number:06}.png"))).unwrap();
        }
        fs::write(tree.path("set/baseline/yard/temporalROI.txt"), "4 9").unwrap();
        tree.region(|_, _| 255).save(tree.path("set/baseline/yard/ROI.bmp")).unwrap();
        tree
    }

    fn region(&self, value: impl Fn(u32, u32) -> u8) -> GrayImage {
        GrayImage::from_fn(SCENE.size.width, SCENE.size.height, |x, y| Luma([value(x, y)]))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn eval(&self, root: &str, more: &[&str]) -> Output {
        let own = |word: &&str| match word.strip_prefix('@') {
            Some(name) => self.path(name).to_str().unwrap().to_owned(),
            None => (*word).to_owned(),
        };
        let words: Vec<String> = ["eval", "fixed", "--root", root].iter().chain(more).map(own).collect();
        maskd(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Runs the network; what was printed, standard error first.
    fn run(&self, more: &[&str]) -> String {
        let output = self.network(more);
        let text = [output.stderr, output.stdout].map(|text| String::from_utf8(text).unwrap()).concat();
        assert!(output.status.success(), "{more:?}: {text}");
        text
    }

    fn network(&self, more: &[&str]) -> Output {
        let fixed = ["--weights", "@tiny.safetensors", "--short-side", "64", "--device", "cpu"];
        self.eval("@set", &[&fixed[..], more].concat())
    }

    /// Judges what is in `results`; the report.
    fn judged(&self, more: &[&str]) -> Value {
        let output = self.eval("@set", &[&["--results", "@results"], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        report(&self.path("results"))
    }
}

/// What moves where things are.
fn truth(things: &LabelMap) -> GrayImage {
    let values = things.labels.iter().map(|label| if *label > 0 { 255 } else { 0 }).collect();
    GrayImage::from_raw(things.size.width, things.size.height, values).unwrap()
}

fn report(folder: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(folder.join("report.json")).unwrap()).unwrap()
}

/// The report of a sequence.
fn of<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["sequences"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap()
}

#[test]
fn a_set_in_both_layouts_is_run_judged_and_not_run_again() {
    let tree = Tree::new();
    let text = tree.run(&["--out", "@out", "--overlay"]);
    assert!(text.contains("2 of 2 sequences to run") && text.contains("backbone ms"), "{text}");
    for word in ["gate", "baseline/yard", "mean", "PQ", "overlays in"] {
        assert!(text.contains(word), "{text}");
    }
    // CDnet's frames behind the last one that is judged are not run.
    for (name, frames) in
        [("gate/00009.png", true), ("baseline/yard/in000009.png", true), ("baseline/yard/in000010.png", false)]
    {
        let path = tree.path("out").join(name);
        assert_eq!(path.exists(), frames, "{name}");
        assert!(!frames || LabelMap::read_indexed_png(&path).unwrap().size == SCENE.size);
    }
    let told = report(&tree.path("out"));
    assert_eq!((of(&told, "gate")["judged"].as_u64(), of(&told, "gate")["frames"].as_u64()), (Some(8), Some(10)));
    let yard = of(&told, "baseline/yard");
    assert_eq!((yard["judged"].as_u64(), yard["frames"].as_u64()), (Some(6), Some(9)));
    assert!(told["settings"]["fps"] == 25 && told["settings"]["tracker"].is_object(), "{told}");
    let csv = fs::read_to_string(tree.path("out/fixed_results.csv")).unwrap();
    assert_eq!(
        csv.lines().map(|line| line.split(',').next().unwrap()).collect::<Vec<_>>(),
        ["sequence", "baseline/yard", "gate", "mean"]
    );
    let look = Clip::open(&tree.path("out/gate.mp4")).unwrap();
    assert_eq!((look.size(), look.fps(), look.count()), (SCENE.size, Some((25, 1)), 10));
    assert_eq!(Clip::open(&tree.path("out/baseline/yard.mp4")).unwrap().count(), 9);

    // Again: nothing is run, and the same is told; other settings are another evaluation.
    assert!(tree.run(&["--out", "@out", "--part", "second"]).contains("0 of 2 sequences to run, 2 finished"));
    assert_eq!(report(&tree.path("out"))["part"], "second");
    for (more, key) in [(["--fps", "10"], "fps"), (["--every", "2"], "every")] {
        refused(&tree.network(&[&["--out", "@out"], &more[..]].concat()), 64, &["yard.json", key, "--again"]);
    }
    // Every third frame, and no mask of the others is left.
    tree.run(&["--out", "@out", "--every", "3", "--again", "--sequences", "gate", "--overlay"]);
    let masks = fs::read_dir(tree.path("out/gate")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut masks: Vec<String> = masks.map(|name| name.into_string().unwrap()).collect();
    masks.sort();
    assert_eq!(masks, ["00000.png", "00003.png", "00006.png", "00009.png"]);
    assert_eq!(of(&report(&tree.path("out")), "gate")["judged"], 3);
    assert_eq!(Clip::open(&tree.path("out/gate.mp4")).unwrap().count(), 4);
}

#[test]
fn parts_are_left_out_and_what_the_evidence_is_fitted_on_is_written() {
    let tree = Tree::new();
    tree.run(&["--out", "@out", "--cues", "@cues"]);
    let cues = |name: &str| fs::read(tree.path("cues").join(name)).unwrap();
    let (gate, yard) = (cues("gate.npy"), cues("baseline/yard.npy"));
    for bytes in [&gate, &yard] {
        let header = String::from_utf8_lossy(&bytes[..128]).into_owned();
        assert!(bytes.starts_with(b"\x93NUMPY") && header.contains(", 20)"), "{header}");
        let rows = (bytes.len() - 128) / 80;
        assert!(rows > 0 && header.contains(&format!("({rows}, 20)")), "{rows} rows: {header}");
        // Moves, stands for pixels, with features.
        let row: Vec<f32> = bytes[128..140].chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        assert!([0.0, 1.0].contains(&row[0]) && row[1] >= 1.0 && row[2] == 1.0, "{row:?}");
    }
    // What is left out is another setting, and told.
    refused(&tree.network(&["--out", "@out", "--without", "hold"]), 64, &["without", "--again"]);
    let wrong = tree.network(&["--out", "@out", "--without", "walls"]);
    let text = String::from_utf8_lossy(&wrong.stderr);
    assert!(wrong.status.code() == Some(2) && text.contains("walls") && text.contains("registration"), "{text}");
    tree.run(&["--out", "@bare", "--without", "features,hold", "--cues", "@cues"]);
    assert_eq!(report(&tree.path("bare"))["settings"]["without"], serde_json::json!(["features", "hold"]));
    assert_eq!(cues("gate.npy")[136..140], 0f32.to_le_bytes(), "no features were looked at");
    // Neither the set nor others' files are replaced.
    refused(&tree.network(&["--out", "@more", "--cues", "@set"]), 64, &["--cues", "within the set"]);
    fs::write(tree.path("cues/gate.npy"), "theirs").unwrap();
    refused(&tree.network(&["--out", "@more", "--cues", "@cues"]), 64, &["gate.npy", "not known to be made by maskd"]);
    assert_eq!(cues("gate.npy"), b"theirs");
    assert!(!tree.path("more").exists(), "refused before anything is run");
}

#[test]
fn nothing_of_the_set_and_nothing_of_others_is_replaced() {
    let tree = Tree::new();
    fs::create_dir_all(tree.path("link")).unwrap();
    std::os::unix::fs::symlink(tree.path("set/gate"), tree.path("link/gate")).unwrap();
    for (out, words) in [
        ("@set", &["--out", "is the set"][..]),
        ("@set/gate/truth", &["--out", "the truth"]),
        ("@set/masks", &["--out", "within the set"]),
        ("@link", &["link/gate", "is the sequence"]),
    ] {
        refused(&tree.network(&["--out", out]), 64, words);
    }
    refused(&tree.eval("@set", &["--results", "@set"]), 64, &["--results", "is the set"]);
    fs::create_dir_all(tree.path("out/gate")).unwrap();
    for (file, more) in [
        ("results/report.json", &["--results", "@results"][..]),
        ("results/fixed_results.csv", &["--results", "@results"]),
        ("results/gate.mp4", &["--results", "@results", "--overlay"]),
    ] {
        fs::write(tree.path(file), "theirs").unwrap();
        refused(&tree.eval("@set", more), 64, &[file, "not known to be made by maskd"]);
        assert_eq!(fs::read_to_string(tree.path(file)).unwrap(), "theirs");
        fs::remove_file(tree.path(file)).unwrap();
    }
    fs::write(tree.path("out/gate/00003.png"), "theirs").unwrap();
    refused(&tree.network(&["--out", "@out"]), 64, &["out/gate", "not known to be made"]);
    refused(&tree.network(&["--out", "@out", "--again"]), 64, &["00003.png", "not known to be made by maskd"]);
    assert_eq!(fs::read_to_string(tree.path("out/gate/00003.png")).unwrap(), "theirs");
}

#[test]
fn masks_of_any_method_are_judged_and_what_is_wrong_is_named() {
    let tree = Tree::new();
    let perfect = tree.judged(&[]);
    for figure in ["precision", "recall", "f1", "iou"] {
        assert_eq!(perfect["mean"][figure], 100.0, "{perfect}");
    }
    assert!(perfect["settings"].is_null() && perfect["mean_identities"].is_null(), "{perfect}");
    // What lies outside of CDnet's region is not judged: a false instance in its right half.
    let size = SCENE.size;
    for i in 4..=9 {
        let path = tree.path(&format!("results/baseline/yard/in{i:06}.png"));
        let mut map = LabelMap::read_png(&path).unwrap();
        let right = (0..size.area()).filter(|at| at % size.width as usize >= 56);
        right.for_each(|at| map.labels[at] = 9);
        map.write_png(&path).unwrap();
    }
    assert!(of(&tree.judged(&[]), "baseline/yard")["figures"]["precision"].as_f64().unwrap() < 60.0);
    let region = tree.path("set/baseline/yard/ROI.bmp");
    tree.region(|x, _| if x < 56 { 255 } else { 0 }).save(&region).unwrap();
    assert_eq!(of(&tree.judged(&[]), "baseline/yard")["figures"]["f1"], 100.0);
    GrayImage::new(8, 8).save(&region).unwrap();
    refused(&tree.eval("@set", &["--results", "@results"]), 65, &["ROI.bmp", "8x8"]);
    fs::remove_file(&region).unwrap();

    // More instances than 8 bits have names for, by another program.
    let path = tree.path("results/gate/00005.png");
    let many: Vec<u16> = SCENE.truth(5).labels.iter().map(|label| u16::from(*label) * 300).collect();
    ImageBuffer::<Luma<u16>, _>::from_raw(size.width, size.height, many).unwrap().save(&path).unwrap();
    let figures = &of(&tree.judged(&[]), "gate")["figures"].clone();
    assert_eq!((&figures["f1"], &figures["ids"]), (&100.0.into(), &6.0.into()), "{figures}");

    let refuses = |more: &[&str], code, words: &[&str]| {
        refused(&tree.eval("@set", &[&["--results", "@results"], more].concat()), code, words);
    };
    refuses(&["--sequences", "street"], 64, &["\"street\"", "baseline/yard, gate"]);
    refused(&tree.eval("@gone", &["--results", "@results"]), 74, &["gone"]);
    refused(&tree.eval("@results", &["--results", "@results"]), 65, &["results", "no sequence is in it"]);
    refused(&tree.eval("@set/gate", &["--results", "@results"]), 65, &["set/gate", "--sequences gate"]);
    refused(&tree.eval("@set", &["--results", "@nowhere"]), 65, &["nowhere", "no such folder of results"]);
    LabelMap::new(Size::new(64, 112)).write_png(&tree.path("results/gate/00004.png")).unwrap();
    refuses(&[], 65, &["00004.png", "64x112"]);
    fs::remove_file(tree.path("results/gate/00004.png")).unwrap();
    refuses(&[], 65, &["00004.png", "not complete"]);
    // Of frames that are not judged there need be none.
    for i in 0..2 {
        fs::remove_file(tree.path(&format!("results/gate/{i:05}.png"))).unwrap();
    }
    tree.judged(&["--every", "5", "--overlay"]);
    GrayImage::new(8, 8).save(tree.path("set/gate/truth/00005.png")).unwrap();
    refuses(&[], 65, &["truth/00005.png", "8x8", "112x64"]);
}

#[test]
fn names_are_judged_where_the_set_says_which_thing_is_where() {
    let tree = Tree::new();
    let named = tree.path("set/gate/identities");
    fs::create_dir(&named).unwrap();
    for i in 0..FRAMES {
        SCENE.truth(i).write_png(&named.join(format!("{i:05}.png"))).unwrap();
    }
    let told = tree.judged(&["--sequences", "gate"]);
    assert_eq!((&told["mean_identities"]["idf1"], &told["mean_identities"]["switches"]), (&100.0.into(), &0.0.into()));
    // Two swap their names in the last three of the eight frames that are judged.
    for i in FRAMES - 3..FRAMES {
        let path = tree.path(&format!("results/gate/{i:05}.png"));
        let mut map = LabelMap::read_png(&path).unwrap();
        map.labels.iter_mut().filter(|label| [1, 2].contains(*label)).for_each(|label| *label = 3 - *label);
        map.write_png(&path).unwrap();
    }
    let told = tree.judged(&["--sequences", "gate"]);
    assert_eq!(told["mean_identities"]["switches"], 2.0);
    let idf1 = told["mean_identities"]["idf1"].as_f64().unwrap();
    assert!((idf1 - 100.0 * 18.0 / 24.0).abs() < 1e-9, "{told}");
}
