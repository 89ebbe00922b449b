//! What a command reads is never written over, and neither is a file that maskd-train did not make: through the real
//! program.

use std::{fs, os::unix::fs::symlink, process::Command};

use image::RgbImage;

use crate::program::{Scene, fails, program, succeeds};

/// A scene with a run of five steps in `run`.
fn scene() -> Scene {
    let scene = Scene::new();
    succeeds(scene.begin("run").args(["--steps", "5"]));
    scene
}

fn curves(scene: &Scene, out: &str) -> Command {
    let mut command = program();
    command.arg("curves").arg(scene.path("run")).arg("--out").arg(scene.path(out));
    command
}

#[test]
fn an_export_replaces_an_earlier_export_and_nothing_else() {
    let scene = scene();
    let newest = scene.path("run/checkpoints/step-0000000005.safetensors");
    fs::hard_link(&newest, scene.path("hard.safetensors")).unwrap();
    symlink(&newest, scene.path("soft.safetensors")).unwrap();
    fs::write(scene.path("thesis.txt"), "years of work").unwrap();
    fs::copy(scene.path("run/checkpoints/step-0000000003.safetensors"), scene.path("older.safetensors")).unwrap();
    let before = fs::read(&newest).unwrap();
    for (name, word) in [
        ("run/checkpoints/step-0000000005.safetensors", "is the checkpoint"),
        ("run/../run/checkpoints/step-0000000005.safetensors", "is the checkpoint"),
        ("hard.safetensors", "is the checkpoint"),
        ("soft.safetensors", "is the checkpoint"),
        ("thesis.txt", "not known to be made by maskd"),
        ("older.safetensors", "not known to be made by maskd"),
        ("data/0.png", "not known to be made by maskd"),
    ] {
        let held = fs::read(scene.path(name)).unwrap();
        let error = fails(scene.export("run", name).arg("--force"), 64);
        assert!(error.contains(word) && error.contains(name), "{name}: {error}");
        assert_eq!(fs::read(scene.path(name)).unwrap(), held, "{name}");
    }
    assert_eq!(fs::read(&newest).unwrap(), before);
    for _ in 0..2 {
        succeeds(scene.export("run", "w.safetensors").arg("--force"));
    }
}

#[test]
fn curves_replace_no_log_and_no_picture_but_their_own() {
    let scene = scene();
    RgbImage::new(9, 9).save(scene.path("photo.png")).unwrap();
    for (name, word) in [
        ("run/log.jsonl", "is the log"),
        ("photo.png", "not known to be made by maskd"),
        ("run/curves.png", "it is there already"),
    ] {
        let before = fs::read(scene.path(name)).unwrap();
        let error = fails(&mut curves(&scene, name), 64);
        assert!(error.contains(word) && error.contains(name), "{name}: {error}");
        assert_eq!(fs::read(scene.path(name)).unwrap(), before, "{name}");
    }
    // Those of the run are drawn anew, unless somebody put another picture there.
    let mut own = program();
    own.arg("curves").arg(scene.path("run"));
    succeeds(&mut own);
    fs::copy(scene.path("photo.png"), scene.path("run/curves.png")).unwrap();
    assert!(fails(&mut own, 64).contains("run/curves.png"));
}

#[test]
fn a_run_does_not_begin_within_its_data() {
    let scene = Scene::new();
    symlink(scene.path("data"), scene.path("link")).unwrap();
    for name in ["data/run", "link/far/run", "data"] {
        let error = fails(&mut scene.begin(name), 64);
        assert!(error.contains("--out") && error.contains("--data"), "{name}: {error}");
    }
    assert_eq!(fs::read_dir(scene.path("data")).unwrap().count(), 6);
}

#[test]
fn what_others_put_into_a_runs_folder_stays() {
    let scene = scene();
    // Another program's project: a folder of that name makes no run.
    fs::create_dir_all(scene.path("project/checkpoints")).unwrap();
    fs::create_dir(scene.path("project/.part-of-it")).unwrap();
    fs::write(scene.path("project/lock"), "1234").unwrap();
    fails(&mut scene.resume("project"), 74);
    assert_eq!(fs::read(scene.path("project/lock")).unwrap(), b"1234");
    assert!(scene.path("project/.part-of-it").exists());

    fs::write(scene.path("run/log.jsonl"), "my own notes\n").unwrap();
    let error = fails(&mut scene.resume("run"), 64);
    assert!(error.contains("log.jsonl"), "{error}");
    assert_eq!(fs::read(scene.path("run/log.jsonl")).unwrap(), b"my own notes\n");
    // A log that was cut off in its first line is gone on with.
    for begun in ["", "{\"step\":"] {
        fs::write(scene.path("run/log.jsonl"), begun).unwrap();
        succeeds(&mut scene.resume("run"));
    }
}
