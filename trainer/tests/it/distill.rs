//! Distillation: what the loss teaches, what a student is made of, and the program.

use std::{collections::HashMap, fs, path::Path};

use candle_core::{DType, Device, Tensor};
use maskd_model::{
    Architecture, Checkpoint, Family,
    backbone::{Backbone, BackboneConfig, BlockChoice},
};
use maskd_trainer::{
    config::Config,
    data::{Batch, CropBatch, Loader},
    distill::{DistillConfig, Distiller, start},
    learner::{NotFinite, StepSchedule},
    method::{Learned, Method},
    network::init,
    optim::{OptimConfig, Rates},
};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::{
    program::{Scene, fails, info, program, succeeds, tensors},
    shared::{SALIENCY_S14, shared},
};

const KNOBS: StepSchedule = StepSchedule {
    rates: Rates { lr: 1e-3, weight_decay: 0.0, frozen_last_layer: false },
    teacher_momentum: 1.0,
    teacher_temperature: 1.0,
};

pub fn architecture(family: Family) -> Architecture {
    Architecture { family, patch: 8, dim: 32, depth: 6, heads: 2, hidden: 64, grid: 4, registers: 0, gated: false }
}

fn teacher(family: Family) -> Checkpoint {
    teacher_of(architecture(family))
}

/// A teacher of chance, but of larger values than a network starts from: its blocks must matter.
pub fn teacher_of(architecture: Architecture) -> Checkpoint {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let values = init::values(architecture.tensors(), architecture.patch, 1, &mut rng).unwrap();
    let larger = |(name, t): (String, Tensor)| {
        let factor = if t.rank() == 2 { 8.0 } else { 1.0 };
        (name, (t * factor).unwrap())
    };
    let tensors = values.into_iter().map(larger).collect();
    Checkpoint { architecture, tensors, metadata: HashMap::new(), stored: Vec::new(), sha256: String::new() }
}

fn distiller(shape: Architecture, tensors: &HashMap<String, Tensor>, of: &Checkpoint, to: &DistillConfig) -> Distiller {
    let optim = OptimConfig { betas: [0.9, 0.99], ..OptimConfig::default() };
    Distiller::new(shape, tensors, of, (to, &optim), (&Device::Cpu, DType::F32)).unwrap()
}

fn of_teacher(of: &Checkpoint, to: &DistillConfig) -> Distiller {
    let shape = start::shape_of_teacher(&of.architecture, to).unwrap();
    distiller(shape, &start::from_teacher(of, to).unwrap(), of, to)
}

/// Two crops of pictures with large shapes in them.
fn batch(seed: u64, side: usize) -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut crop = || {
        let mut pixels = Vec::new();
        for _ in 0..4 {
            let waves: [f32; 4] = std::array::from_fn(|_| rng.random_range(-0.3..0.3));
            for i in 0..3 * side * side {
                let (x, y, c) = ((i % side) as f32, (i / side % side) as f32, (i / (side * side)) as f32);
                pixels.push(2.0 * (waves[0] * x + waves[1] * y + c).sin() * (waves[2] * x - waves[3] * y).cos());
            }
        }
        CropBatch { size: side, pixels }
    };
    Batch { crops: vec![crop(), crop()], images: 4 }
}

fn step(distiller: &mut Distiller, number: u64, side: usize) -> Learned {
    distiller.step(number, 1, &mut || Ok(batch(number, side)), &KNOBS, true).unwrap()
}

fn all_blocks() -> DistillConfig {
    DistillConfig { blocks: (1..=6).collect(), propagation_block: BlockChoice::Auto, ..DistillConfig::default() }
}

#[test]
fn a_student_that_is_the_teacher_has_nothing_to_learn() {
    for family in [Family::DinoV2, Family::Dino] {
        let teacher = teacher(family);
        let found = step(&mut of_teacher(&teacher, &all_blocks()), 0, 32);
        assert!(found.loss.abs() < 1e-4, "{family:?}: {}", found.loss);
        // With a block less it has.
        let less = DistillConfig { blocks: vec![1, 2, 3, 5, 6], ..all_blocks() };
        let found = step(&mut of_teacher(&teacher, &less), 0, 32);
        assert!(found.loss > 1e-2, "{family:?}: {}", found.loss);
    }
}

#[test]
fn every_tensor_of_a_student_is_reached_and_it_comes_nearer() {
    // Of a network that is read for keys, what follows them in the last block is for propagation alone.
    let with = |family| DistillConfig {
        blocks: vec![1, 2, 5, 6],
        patch: 16,
        propagation_block: if family == Family::Dino { BlockChoice::Last } else { BlockChoice::Number(2) },
        ..DistillConfig::default()
    };
    for family in [Family::DinoV2, Family::Dino] {
        let teacher = teacher(family);
        // Of the teacher; and from scratch, narrower, of the other family.
        let other = if family == Family::Dino { Family::DinoV2 } else { Family::Dino };
        let narrow = Architecture { dim: 16, hidden: 32, depth: 4, ..architecture(other) };
        // From scratch, of the same family: as wide, with patches that the teacher has not.
        let coarse = Architecture { patch: 16, depth: 3, ..architecture(family) };
        let fresh = |shape: Architecture| {
            let values = start::fresh(&shape, &teacher.architecture, &mut ChaCha8Rng::seed_from_u64(2)).unwrap();
            distiller(shape, &values, &teacher, &with(shape.family))
        };
        for mut student in [of_teacher(&teacher, &with(family)), fresh(narrow), fresh(coarse)] {
            let first = step(&mut student, 0, 32);
            assert_eq!(first.gradient_norms.len(), student.student.0.len());
            for (name, norm) in &first.gradient_norms {
                assert!(*norm > 0.0 && norm.is_finite(), "{name}: {norm}");
            }
            let mut losses = vec![first.loss];
            losses.extend((1..40).map(|number| step(&mut student, number % 4, 32).loss));
            let late = losses[36..].iter().sum::<f64>() / 4.0;
            let early = losses[..4].iter().sum::<f64>() / 4.0;
            assert!(late < 0.8 * early, "{family:?}: {early} to {late}");
        }
    }
}

#[test]
fn what_weighs_nothing_is_not_learned() {
    let teacher = teacher(Family::DinoV2);
    let to = DistillConfig {
        blocks: vec![1, 2, 6],
        propagation_block: BlockChoice::Number(2),
        discovery: 0.0,
        ..all_blocks()
    };
    let found = step(&mut of_teacher(&teacher, &to), 0, 32);
    for (name, norm) in &found.gradient_norms {
        assert_eq!(*norm > 0.0, !name.starts_with("backbone.blocks.2."), "{name}: {norm}");
    }
    assert!(found.agreement.unwrap().discovery > 0.0);
}

#[test]
fn parts_count_as_one_batch_and_a_loss_that_is_not_finite_changes_nothing() {
    let (teacher, to) = (teacher(Family::DinoV2), DistillConfig { blocks: vec![1, 2, 6], ..all_blocks() });
    let mut student = of_teacher(&teacher, &to);
    let values = |student: &Distiller| -> Vec<Vec<f32>> {
        student.state().values().map(|t| t.flatten_all().unwrap().to_vec1().unwrap()).collect()
    };
    let mut seeds = [0, 0].into_iter();
    let twice = student.step(0, 2, &mut || Ok(batch(seeds.next().unwrap(), 32)), &KNOBS, false).unwrap();
    let once = step(&mut of_teacher(&teacher, &to), 0, 32);
    assert!((twice.loss / once.loss - 1.0).abs() < 1e-5, "{} {}", twice.loss, once.loss);

    let before = values(&student);
    let mut bad = batch(1, 32);
    bad.crops[1].pixels[9] = f32::NAN;
    let mut bad = Some(bad);
    let error = student.step(1, 1, &mut || Ok(bad.take().unwrap()), &KNOBS, false).map(|_| ()).unwrap_err();
    assert!(error.downcast_ref::<NotFinite>().is_some(), "{error}");
    assert!(values(&student) == before);
}

/// A teacher's file, and a configuration for a student of it.
fn scene() -> Scene {
    let scene = Scene::new();
    write(&teacher(Family::DinoV2), &scene.path("teacher.safetensors"));
    let text = "[distill]\nblocks = [1, 2, 3, 6]\npropagation_block = 3\n[run]\nbatch = 2\naccumulate = 2\nseed = 7\n\
                device = \"cpu\"\ncheckpoint_steps = 3\nkeep = 9\nlog_steps = 2\n[schedule]\nepoch_steps = 4\nsteps = 8\n\
                warmup_epochs = 0.5\n[data]\nworkers = 1\n[crops]\nglobal_size = 32\nlocal_count = 0\n";
    fs::write(scene.path("distill.toml"), text).unwrap();
    scene
}

pub fn write(weights: &Checkpoint, path: &Path) {
    let about = HashMap::from([("heads".to_owned(), weights.architecture.heads.to_string())]);
    safetensors::serialize_to_file(&weights.tensors, Some(about), path).unwrap();
}

/// `maskd-train distill` by the scene's teacher and configuration.
pub fn begin(scene: &Scene, name: &str) -> std::process::Command {
    let mut command = program();
    command.args(["distill", "--teacher"]).arg(scene.path("teacher.safetensors")).arg("--out").arg(scene.path(name));
    command.arg("--data").arg(scene.path("data")).arg("--config").arg(scene.path("distill.toml"));
    command
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_bytes_without_the_teachers_file() {
    let scene = scene();
    succeeds(&mut begin(&scene, "whole"));
    succeeds(&mut begin(&scene, "cut"));
    // As one that was cut off after its third step.
    for name in scene.steps("cut").into_iter().filter(|name| !name.contains("03.")) {
        fs::remove_file(scene.path("cut/checkpoints").join(name)).unwrap();
    }
    fs::remove_file(scene.path("teacher.safetensors")).unwrap();
    succeeds(program().args(["distill", "--resume", "--out"]).arg(scene.path("cut")));
    let last = "checkpoints/step-0000000008.safetensors";
    assert!(tensors(&scene.path("cut").join(last)) == tensors(&scene.path("whole").join(last)));

    // Another teacher than the run began with is noticed.
    let path = scene.path("cut/teacher.weights");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = fails(program().args(["distill", "--resume", "--out"]).arg(scene.path("cut")), 65);
    assert!(error.contains("is not the teacher that the run began with"), "{error}");
}

#[test]
fn what_is_exported_is_the_student_and_says_its_block() {
    let scene = scene();
    succeeds(&mut begin(&scene, "run"));
    succeeds(scene.export("run", "w.safetensors").arg("--half"));
    let weights = Checkpoint::read(&scene.path("w.safetensors"), None).unwrap();
    assert_eq!((weights.architecture.depth, weights.architecture.heads, weights.architecture.patch), (4, 2, 8));
    // Auto would be block 3 of 4 as well; the file's word is read.
    assert_eq!(weights.metadata["propagation_block"], "3");
    assert_eq!(BlockChoice::Auto.of(&weights).unwrap(), 2);
    let said = info(&scene.path("w.safetensors"));
    assert!(said.contains("propagation_block = 3") && said.contains("teacher_sha256 = "), "{said}");

    let log = fs::read_to_string(scene.path("run/log.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4);
    assert!(lines.iter().all(|line| line["agreement"]["propagation"].is_f64() && line.get("health").is_none()));
    assert!(scene.path("run/curves.png").exists());

    // The network that segments takes them, and finds what it propagates and discovers by.
    let config =
        BackboneConfig { weights: Some(scene.path("w.safetensors")), short_side: 32, ..BackboneConfig::default() };
    let backbone = Backbone::load(&config).unwrap();
    let side = maskd_types::frame::Size::new(32, 32);
    let frame = maskd_ingest::Clip::open(&scene.path("data/0.png")).unwrap().next().unwrap().unwrap();
    let frame = frame.to_frame(&"one".parse().unwrap(), 0);
    let found = backbone.run(&backbone.prepare(&[&frame], side).unwrap(), true).unwrap();
    assert_eq!((found[0].tokens().len(), found[0].discovery().map(<[f32]>::len)), (16 * 32, Some(16 * 32)));
    assert!(found[0].discovery() != Some(found[0].tokens()));
}

#[test]
fn faults_are_named() {
    let scene = scene();
    let text = fs::read_to_string(scene.path("distill.toml")).unwrap();
    let refused = |from: &str, to: &str, expected: &str| {
        assert!(text.contains(from), "{from}");
        fs::write(scene.path("distill.toml"), text.replace(from, to)).unwrap();
        let error = fails(&mut begin(&scene, "refused"), 64);
        assert!(error.contains(expected), "{error}");
        assert!(!scene.path("refused").exists());
    };
    refused("[1, 2, 3, 6]", "[1, 2, 7]", "distill.blocks: 7: the teacher");
    refused("[1, 2, 3, 6]", "[2, 1]", "distill.blocks: [2, 1]: want the teacher's blocks from 1, rising");
    refused("propagation_block = 3", "propagation_block = 5", "distill.propagation_block");
    refused("propagation_block = 3", "teacher_block = 9", "distill.teacher_block");
    refused("local_count = 0", "local_count = 2", "crops.local_count: 2");
    refused("global_size = 32", "global_size = 36", "crops.global_size: 36 is no multiple of the patch, 8");
    // What is for one command is not for the other.
    fs::write(scene.path("train.toml"), text).unwrap();
    let error = fails(&mut scene.begin("refused"), 64);
    assert!(error.contains("[distill] is for maskd-train distill"), "{error}");
    fs::write(scene.path("teacher.safetensors"), b"none").unwrap();
    fs::write(scene.path("distill.toml"), "[crops]\nlocal_count = 0\n").unwrap();
    let error = fails(&mut begin(&scene, "refused"), 65);
    assert!(error.contains("teacher.safetensors"), "{error}");
}

#[test]
fn half_the_blocks_of_trained_weights_start_closer_than_chance_on_real_frames() {
    let Some(path) = shared(SALIENCY_S14) else { return };
    let Some(frames) = shared("data/davis/JPEGImages/480p/dog") else { return };
    let teacher = Checkpoint::read(&path, None).unwrap();
    let config = Config::distillation();
    let mut loader = Loader::open(&[frames], &config.data, &config.crops, 4, 0, 0).unwrap();
    let batch = loader.next_batch().unwrap();
    let agreement = |mut student: Distiller| {
        student.step(0, 1, &mut || Ok(batch.clone()), &KNOBS, true).unwrap().agreement.unwrap()
    };
    for patch in [14, 16] {
        let to = DistillConfig { patch, ..DistillConfig::default() };
        let shape = start::shape_of_teacher(&teacher.architecture, &to).unwrap();
        let fresh = start::fresh(&shape, &teacher.architecture, &mut ChaCha8Rng::seed_from_u64(3)).unwrap();
        let chance = agreement(distiller(shape, &fresh, &teacher, &to));
        let made = agreement(of_teacher(&teacher, &to));
        assert!(made.affinity < 0.6 * chance.affinity, "{patch}: {made:?} {chance:?}");
    }
}
