//! What a run says of itself while it goes on: quality, pictures, curves.

use std::{fs, path::Path};

use image::{GrayImage, Luma, Rgb, RgbImage};
use serde_json::Value;

use crate::program::{Scene, fails, succeeds};

/// One sequence of a square that moves over a ground of stripes, in DAVIS layout.
fn davis(root: &Path) {
    let folder = |kind: &str| {
        let folder = root.join(kind).join("480p/square");
        fs::create_dir_all(&folder).unwrap();
        folder
    };
    let (frames, masks) = (folder("JPEGImages"), folder("Annotations"));
    for i in 0..5u32 {
        let inside = |x: u32, y: u32| (8 + 6 * i..32 + 6 * i).contains(&x) && (16..40).contains(&y);
        let frame = RgbImage::from_fn(96, 64, |x, y| match inside(x, y) {
            true => Rgb([230, 40, 30]),
            false => Rgb([20, (y % 16 * 12) as u8, 90]),
        });
        frame.save(frames.join(format!("{i:05}.jpg"))).unwrap();
        let mask = GrayImage::from_fn(96, 64, |x, y| Luma([u8::from(inside(x, y))]));
        maskd_types::mask::LabelMap { size: maskd_types::frame::Size::new(96, 64), labels: mask.into_raw() }
            .write_png(&masks.join(format!("{i:05}.png")))
            .unwrap();
    }
    fs::create_dir_all(root.join("ImageSets/2017")).unwrap();
    fs::write(root.join("ImageSets/2017/val.txt"), "square\n").unwrap();
}

/// Red images and blue ones.
fn classes(root: &Path) {
    for (class, colour) in [("red", [220, 20, 20]), ("blue", [20, 20, 220])] {
        fs::create_dir_all(root.join(class)).unwrap();
        for i in 0..3u8 {
            let image = RgbImage::from_fn(40, 40, |x, _| Rgb(colour.map(|c: u8| c.saturating_add((x as u8) % 8 * i))));
            image.save(root.join(class).join(format!("{i}.png"))).unwrap();
        }
    }
}

#[test]
fn quality_is_measured_from_the_first_weights_on_and_drawn() {
    let scene = Scene::new();
    davis(&scene.path("davis"));
    classes(&scene.path("classes"));
    let mut begin = scene.begin("run");
    begin.args(["--steps", "6", "--davis"]).arg(scene.path("davis")).arg("--knn").arg(scene.path("classes"));
    succeeds(&mut begin);

    let log = fs::read_to_string(scene.path("run/log.jsonl")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let judged: Vec<&Value> = lines.iter().filter(|line| line["quality"].is_object()).collect();
    assert_eq!(judged.iter().map(|line| line["step"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 3, 6]);
    for line in &judged {
        let (j, knn) = (line["quality"]["j"].as_f64().unwrap(), line["quality"]["knn"].as_f64().unwrap());
        // A square of one colour is followed in part by any features; what is lost everywhere has 0.
        assert!(j > 0.05 && j <= 1.0, "{j}");
        assert!((knn * 6.0).fract().min(1.0 - (knn * 6.0).fract()) < 1e-9 && knn <= 1.0, "{knn}");
    }

    for (step, width) in [(0, 1), (3, 1), (6, 1)] {
        let probes = image::open(scene.path(&format!("run/probes/step-{step:08}.png"))).unwrap();
        assert!(probes.width() > width);
    }
    let curves = image::open(scene.path("run/curves.png")).unwrap().to_rgb8();
    let coloured = curves.pixels().filter(|p| p[0].abs_diff(p[2]) > 60).count();
    assert!(coloured > 200, "{coloured} pixels of lines");
    let events = fs::read_dir(scene.path("run/tensorboard")).unwrap().next().unwrap().unwrap();
    let bytes = fs::read(events.path()).unwrap();
    for tag in ["loss/of_ln_k", "quality/j", "quality/knn", "probes/attention"] {
        assert!(bytes.windows(tag.len()).any(|w| w == tag.as_bytes()), "{tag}");
    }
}

#[test]
fn what_cannot_be_judged_by_is_an_error_before_the_run_begins() {
    let scene = Scene::new();
    fs::create_dir(scene.path("empty")).unwrap();
    for (flag, key) in [("--davis", "quality.davis"), ("--knn", "quality.knn"), ("--probe", "quality.probes")] {
        let mut begin = scene.begin("run");
        begin.arg(flag).arg(scene.path("empty"));
        let line = fails(&mut begin, 65);
        assert!(line.contains(key), "{line}");
        assert!(!scene.path("run").exists());
    }
}

#[test]
fn curves_are_drawn_again_from_the_log() {
    let scene = Scene::new();
    succeeds(scene.begin("run").args(["--steps", "6"]));
    fs::remove_file(scene.path("run/curves.png")).ok();
    let mut curves = crate::program::program();
    curves.arg("curves").arg(scene.path("run"));
    succeeds(&mut curves);
    assert!(image::open(scene.path("run/curves.png")).is_ok());
    let mut none = crate::program::program();
    none.arg("curves").arg(scene.path("nowhere"));
    assert!(fails(&mut none, 74).contains("nowhere"));
}
