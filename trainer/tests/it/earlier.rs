//! What users of an earlier version have is still read: configurations and a checkpoint, as they were at commit 33484f5.

use std::{fs, path::PathBuf};

use maskd_trainer::config::Config;

use crate::program::{info, program, succeeds};

fn fixtures() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/33484f5"))
}

#[test]
fn configurations_are_read() {
    for name in ["train-vits8", "train-vits8-boosted", "train-footage", "train-tiny", "distill-vits14"] {
        let config = Config::load(&fixtures().join(name).with_extension("toml")).unwrap();
        assert!(config.schedule.plan(100).is_ok(), "{name}");
    }
}

#[test]
fn a_checkpoint_is_exported() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run/checkpoints");
    fs::create_dir_all(&run).unwrap();
    let name = "step-0000000003.safetensors";
    fs::copy(fixtures().join(name), run.join(name)).unwrap();
    let out = folder.path().join("weights.safetensors");
    succeeds(program().arg("export").arg(folder.path().join("run")).arg("--out").arg(&out));
    let told = info(&out);
    assert!(told.contains("dino-vitw16d2-8"), "{told}");
}
