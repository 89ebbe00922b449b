//! The real program: interrupted, resumed, out of space, mistreated.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use image::RgbImage;
use maskd_model::Checkpoint;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const CONFIG: &str = r#"
[run]
batch = 2
accumulate = 2
seed = 7
device = "cpu"
checkpoint_steps = 3
keep = 2
log_steps = 2
[model]
patch = 8
dim = 16
depth = 2
heads = 2
hidden = 32
image = 32
[head]
hidden = 32
bottleneck = 16
outputs = 64
norm_last_layer = false
[schedule]
epoch_steps = 4
steps = 40
warmup_epochs = 1.0
[optim]
lr = 0.1
drop_path = 0.2
[data]
workers = 1
[crops]
global_size = 32
local_size = 16
local_count = 2
"#;

/// A place with pictures and a configuration.
pub struct Scene(tempfile::TempDir);

impl Scene {
    pub fn new() -> Self {
        let scene = Self(tempfile::tempdir().unwrap());
        fs::create_dir(scene.path("data")).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for i in 0..6 {
            let picture = RgbImage::from_fn(48, 40, |_, _| image::Rgb(rng.random()));
            picture.save(scene.path("data").join(format!("{i}.png"))).unwrap();
        }
        fs::write(scene.path("train.toml"), CONFIG).unwrap();
        scene
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `maskd-train pretrain --out NAME` and what else it takes to begin a run.
    pub fn begin(&self, name: &str) -> Command {
        let mut command = program();
        command.args(["pretrain", "--out"]).arg(self.path(name));
        command.arg("--data").arg(self.path("data")).arg("--config").arg(self.path("train.toml"));
        command
    }

    pub fn resume(&self, name: &str) -> Command {
        let mut command = program();
        command.args(["pretrain", "--resume", "--out"]).arg(self.path(name));
        command
    }

    pub fn export(&self, run: &str, out: &str) -> Command {
        let mut command = program();
        command.arg("export").arg(self.path(run)).arg("--out").arg(self.path(out));
        command
    }

    pub fn steps(&self, name: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path(name).join("checkpoints"))
            .map(|all| all.map(|e| e.unwrap().file_name().into_string().unwrap()).collect())
            .unwrap_or_default();
        names.sort();
        names
    }
}

pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_maskd-train"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env("RAYON_NUM_THREADS", "1");
    command
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

#[track_caller]
pub fn succeeds(command: &mut Command) -> String {
    let output = run(command);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

/// Runs what must fail with `code`, and gives its one line.
#[track_caller]
pub fn fails(command: &mut Command, code: i32) -> String {
    let output = run(command);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{command:?}: {text}");
    let errors: Vec<&str> = text.lines().filter(|l| l.starts_with("maskd-train: error: ")).collect();
    assert_eq!(errors.len(), 1, "{text}");
    assert!(!text.contains("panicked"), "{text}");
    errors[0].to_owned()
}

pub fn tensors(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    file.iter().map(|(name, view)| (name.to_owned(), view.data().to_vec())).collect()
}

/// What `maskd weights info` says.
pub fn info(weights: &Path) -> String {
    #[derive(clap::Parser)]
    struct Weights {
        #[command(flatten)]
        args: maskd::cli::weights::Args,
    }
    let line = [OsStr::new("weights"), OsStr::new("info"), weights.as_os_str()];
    maskd::cli::weights::answer(<Weights as clap::Parser>::parse_from(line).args).unwrap()
}

/// Tensors of weights as float32 bytes.
fn weights_of(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let bytes = |t: &candle_core::Tensor| -> Vec<u8> {
        t.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().flat_map(f32::to_le_bytes).collect()
    };
    Checkpoint::read(path, None).unwrap().tensors.iter().map(|(name, t)| (name.clone(), bytes(t))).collect()
}

const LAST: &str = "checkpoints/step-0000000040.safetensors";

#[test]
fn a_killed_run_goes_on_to_the_same_bytes() {
    let scene = Scene::new();
    succeeds(&mut scene.begin("whole"));
    let whole = tensors(&scene.path("whole").join(LAST));
    let log = |name: &str| -> Vec<(u64, String)> {
        let text = fs::read_to_string(scene.path(name).join("log.jsonl")).unwrap();
        let lines = text.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
        lines.map(|l| (l["step"].as_u64().unwrap(), format!("{} {}", l["loss"], l["health"]))).collect()
    };

    // Killed when the log has so many bytes: at points that fall as they fall.
    let mut rng = ChaCha8Rng::seed_from_u64(std::process::id().into());
    let mut kills = 0;
    for _ in 0..12 {
        let begun = !scene.steps("cut").is_empty();
        let mut child = if begun { scene.resume("cut") } else { scene.begin("cut") }.spawn().unwrap();
        let log = scene.path("cut").join("log.jsonl");
        let bytes = || fs::metadata(&log).map_or(0, |m| m.len());
        let (until, mut spins) = (bytes() + rng.random_range(1..1500), rng.random_range(0..400u32));
        let ended = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if bytes() >= until {
                spins = spins.saturating_sub(1);
                if spins == 0 {
                    break None;
                }
            }
            std::thread::yield_now();
        };
        match ended {
            Some(status) => {
                assert!(status.success(), "{status}");
                if kills > 0 {
                    break;
                }
                // It was faster than this thread.
                fs::remove_dir_all(scene.path("cut")).unwrap();
            }
            None => {
                child.kill().unwrap();
                child.wait().unwrap();
                kills += 1;
            }
        }
    }
    succeeds(&mut scene.resume("cut"));
    assert!(kills > 0, "it was never killed");
    let cut = tensors(&scene.path("cut").join(LAST));
    assert_eq!(cut.keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>());
    for (name, bytes) in &whole {
        assert!(cut[name] == *bytes, "{name} differs after {kills} kills");
    }
    assert_eq!(log("cut"), log("whole"));
    assert_eq!(scene.steps("cut").len(), 2, "keep = 2: {:?}", scene.steps("cut"));
    let left: Vec<_> = fs::read_dir(scene.path("cut").join("checkpoints")).unwrap().flatten().collect();
    assert!(left.iter().all(|e| e.file_name().to_string_lossy().starts_with("step-")), "{left:?}");
}

#[test]
fn a_signal_ends_it_with_a_checkpoint() {
    let scene = Scene::new();
    let text = fs::read_to_string(scene.path("train.toml")).unwrap().replace("steps = 40", "steps = 1000000");
    fs::write(scene.path("train.toml"), text.replace("checkpoint_steps = 3", "checkpoint_steps = 100000000")).unwrap();
    for (name, signal) in [("term", "TERM"), ("int", "INT")] {
        let child = scene.begin(name).spawn().unwrap();
        let log = scene.path(name).join("log.jsonl");
        while fs::metadata(&log).map_or(0, |m| m.len()) < 500 {
            std::thread::yield_now();
        }
        let sent = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{text}");
        let said: u64 = text.split("stopped after step ").nth(1).unwrap().split(':').next().unwrap().parse().unwrap();
        assert!(said > 0);
        assert_eq!(*scene.steps(name).last().unwrap(), format!("step-{said:010}.safetensors"));
    }
}

#[test]
fn a_full_disk_leaves_the_last_checkpoint() {
    let scene = Scene::new();
    succeeds(scene.begin("run").args(["--steps", "5"]));
    let before = scene.steps("run");
    let newest = scene.path("run").join("checkpoints").join(before.last().unwrap());
    let bytes = fs::read(&newest).unwrap();
    assert!(bytes.len() > 100 << 10);
    // As a run that was cut off: two steps to do again, into files that may not grow beyond 64 KiB.
    let (_, earlier) = (fs::remove_file(&newest).unwrap(), scene.steps("run"));
    assert_eq!(earlier, ["step-0000000003.safetensors"]);
    let kept = fs::read(scene.path("run/checkpoints/step-0000000003.safetensors")).unwrap();
    let mut limited = Command::new("bash");
    let script = "trap '' XFSZ; ulimit -f 64; exec \"$@\"";
    limited.args(["-c", script, "-"]).arg(env!("CARGO_BIN_EXE_maskd-train"));
    limited.args(["pretrain", "--resume", "--out"]).arg(scene.path("run"));
    let error = fails(&mut limited, 70);
    assert!(error.contains("step-0000000005.safetensors could not be written"), "{error}");
    assert_eq!(scene.steps("run"), earlier);
    assert_eq!(fs::read(scene.path("run/checkpoints/step-0000000003.safetensors")).unwrap(), kept);
    // With room again it goes on, to the same end.
    succeeds(&mut scene.resume("run"));
    let again = tensors(&newest);
    fs::write(scene.path("before"), bytes).unwrap();
    assert!(again == tensors(&scene.path("before")));
}

#[test]
fn a_run_is_not_overwritten_and_not_shared() {
    let scene = Scene::new();
    succeeds(scene.begin("run").args(["--steps", "5"]));
    let before = tensors(&scene.path("run/checkpoints/step-0000000005.safetensors"));
    let error = fails(&mut scene.begin("run"), 74);
    assert!(error.contains("--resume"), "{error}");
    // A finished run that is resumed has nothing to do.
    succeeds(&mut scene.resume("run"));
    assert!(tensors(&scene.path("run/checkpoints/step-0000000005.safetensors")) == before);
    let lock = fs::File::open(scene.path("run/lock")).unwrap();
    lock.lock().unwrap();
    let error = fails(&mut scene.resume("run"), 74);
    assert!(error.contains("another maskd-train"), "{error}");
    let error = fails(&mut scene.resume("nothing"), 74);
    assert!(error.contains("no run that could be resumed"), "{error}");
}

#[test]
fn a_damaged_checkpoint_is_refused() {
    let scene = Scene::new();
    succeeds(scene.begin("run").args(["--steps", "5"]));
    let path = scene.path("run/checkpoints/step-0000000005.safetensors");
    let sound = fs::read(&path).unwrap();
    let mut flipped = sound.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut long_header = sound.clone();
    long_header[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let weights = scene.path("weights.safetensors");
    succeeds(&mut scene.export("run", "weights.safetensors"));
    let damages: [(Vec<u8>, &str); 6] = [
        (flipped, "damaged: its tensors are not those that were written"),
        (sound[..sound.len() - 100].to_vec(), "cut off"),
        (long_header, "not a checkpoint, or cut off"),
        (Vec::new(), "not a checkpoint, or cut off"),
        (b"PK\x03\x04 not this one".to_vec(), "not a checkpoint, or cut off"),
        (fs::read(&weights).unwrap(), "no checkpoint of maskd-train"),
    ];
    for (bytes, expected) in damages {
        fs::write(&path, bytes).unwrap();
        for error in [fails(&mut scene.resume("run"), 65), fails(&mut scene.export("run", "other"), 65)] {
            assert!(error.contains(expected) && error.contains("step-0000000005.safetensors"), "{error}");
        }
    }
}

#[test]
fn exported_weights_are_the_teachers_and_can_be_gone_on_from() {
    let scene = Scene::new();
    succeeds(scene.begin("run").args(["--steps", "5"]));
    succeeds(&mut scene.export("run", "w.safetensors"));
    let weights = Checkpoint::read(&scene.path("w.safetensors"), None).unwrap();
    assert_eq!((weights.architecture.heads, weights.architecture.dim, weights.architecture.patch), (2, 16, 8));
    let teacher = tensors(&scene.path("run/checkpoints/step-0000000005.safetensors"));
    for (name, bytes) in tensors(&scene.path("w.safetensors")) {
        assert!(teacher[&format!("teacher.backbone.{name}")] == bytes, "{name}");
    }
    for key in ["architecture", "step", "data", "config_sha256"] {
        assert!(weights.metadata.contains_key(key), "{key}");
    }
    assert_eq!(weights.metadata["step"], "5");
    // Readable by whom the umask lets read: the daemon is another user.
    fs::write(scene.path("like"), "").unwrap();
    let mode = |name: &str| fs::metadata(scene.path(name)).unwrap().permissions().mode();
    assert_eq!(mode("w.safetensors"), mode("like"));
    let said = info(&scene.path("w.safetensors"));
    let step = said.lines().any(|l| l.starts_with("metadata") && l.ends_with("step = 5"));
    assert!(step && said.contains("config_sha256 = ") && said.contains("data = "), "{said}");

    let error = fails(&mut scene.export("run", "w.safetensors"), 74);
    assert!(error.contains("--force"), "{error}");
    succeeds(scene.export("run", "w.safetensors").args(["--half", "--force"]));
    assert_eq!(Checkpoint::read(&scene.path("w.safetensors"), None).unwrap().stored, ["F16"]);

    // On from these weights: student and teacher start from them, the head is new.
    let text = fs::read_to_string(scene.path("train.toml")).unwrap();
    let (before, after) = text.split_once("[model]").unwrap();
    let without = format!("{before}[head]{}", after.split_once("[head]").unwrap().1);
    fs::write(scene.path("train.toml"), without.replace("keep = 2", "keep = 9")).unwrap();
    succeeds(scene.begin("on").arg("--init").arg(scene.path("w.safetensors")).args(["--steps", "5"]));
    assert!(fs::read_to_string(scene.path("on/config.toml")).unwrap().contains("dim = 16"));
    let start = tensors(&scene.path("on/checkpoints/step-0000000000.safetensors"));
    for (name, tensor) in &weights_of(&scene.path("w.safetensors")) {
        assert!(start[&format!("student.backbone.{name}")] == *tensor, "{name}");
        assert!(start[&format!("teacher.backbone.{name}")] == *tensor, "{name}");
    }

    fs::write(scene.path("train.toml"), text.replace("dim = 16", "dim = 32")).unwrap();
    let error = fails(scene.begin("other").arg("--init").arg(scene.path("w.safetensors")), 64);
    assert!(error.contains("[model] is not the"), "{error}");
    fs::write(scene.path("train.toml"), without.replace("local_size = 16", "local_size = 20")).unwrap();
    let error = fails(scene.begin("other").arg("--init").arg(scene.path("w.safetensors")), 64);
    assert!(error.contains("crops.local_size: 20 is no multiple of the patch, 8; take 24"), "{error}");
}
