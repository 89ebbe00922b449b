//! Students of every kind of teacher: DINO's own networks and DINOv2's, patches as theirs and others, made of the teacher
//! and from scratch; through the program, as far as what the daemon reads.

use std::fs;

use candle_core::{D, DType, Device, Tensor};
use maskd_ingest::Clip;
use maskd_kernels::ComputePath;
use maskd_model::{
    Architecture, Checkpoint, Family, OutputRequest, Vit,
    backbone::{Backbone, BackboneConfig},
};
use maskd_types::frame::Size;

use crate::{
    distill::{architecture, begin, teacher_of, write},
    program::{Scene, succeeds},
};

const RUN: &str = r#"
[run]
batch = 2
accumulate = 1
seed = 7
device = "cpu"
log_steps = 1
[schedule]
epoch_steps = 30
steps = 30
warmup_epochs = 0.1
[optim]
lr = 0.3
[data]
workers = 1
[crops]
global_size = 64
local_count = 0
"#;

/// What the student is made of: the teacher's blocks 1, 2, 5 and 6, or chance, half as wide.
#[derive(Clone, Copy, Debug, PartialEq)]
enum From {
    Teacher,
    Scratch,
}

/// Distils a small network of `family` with patches of `patch` into one with patches of `to`; the loss of the first and the
/// last steps, and the weights.
fn distilled(family: Family, patch: usize, to: usize, from: From) -> (f64, f64, Scene) {
    let scene = Scene::new();
    let teacher = Architecture { patch, ..architecture(family) };
    write(&teacher_of(teacher), &scene.path("teacher.safetensors"));
    let student = match from {
        From::Teacher => format!("[distill]\nblocks = [1, 2, 5, 6]\npatch = {to}\npropagation_block = 3\n"),
        From::Scratch => format!(
            "[distill]\npropagation_block = 3\n[model]\npatch = {to}\ndim = 16\ndepth = 4\nheads = 2\nhidden = 32\n\
             image = {}\nlayer_scale = {}\n",
            4 * to,
            family == Family::DinoV2
        ),
    };
    fs::write(scene.path("distill.toml"), student + RUN).unwrap();
    succeeds(&mut begin(&scene, "run"));
    succeeds(scene.export("run", "w.safetensors").arg("--half"));
    let log = fs::read_to_string(scene.path("run/log.jsonl")).unwrap();
    let loss = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["loss"].as_f64().unwrap();
    let losses: Vec<f64> = log.lines().map(loss).collect();
    assert_eq!(losses.len(), 30, "{log}");
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    (mean(&losses[..3]), mean(&losses[27..]), scene)
}

#[test]
fn any_teacher_teaches_a_student_of_any_patch_that_maskd_reads() {
    for (family, patch, to, from) in [
        (Family::Dino, 8, 16, From::Teacher),
        (Family::Dino, 8, 16, From::Scratch),
        (Family::Dino, 16, 16, From::Teacher),
        (Family::Dino, 16, 8, From::Teacher),
        (Family::DinoV2, 14, 16, From::Teacher),
        (Family::DinoV2, 14, 16, From::Scratch),
    ] {
        let what = format!("{family:?}, patch {patch} to {to}, from {from:?}");
        let (early, late, scene) = distilled(family, patch, to, from);
        eprintln!("{what}: loss {early:.3} to {late:.3}");
        assert!(late < 0.9 * early, "{what}: loss {early:.3} to {late:.3}");

        let path = scene.path("w.safetensors");
        let weights = Checkpoint::read(&path, None).unwrap();
        let shape = weights.architecture;
        assert_eq!((shape.family, shape.patch, shape.depth), (family, to, 4), "{what}");
        assert_eq!(weights.metadata["propagation_block"], "3", "{what}");

        // The daemon propagates by block 3, and discovers by the last block: by its keys where the teacher is DINO's own.
        let config = BackboneConfig { weights: Some(path), short_side: 64, ..BackboneConfig::default() };
        let backbone = Backbone::load(&config).unwrap();
        let frame = Clip::open(&scene.path("data/0.png")).unwrap().next().unwrap().unwrap();
        let frame = frame.to_frame(&"one".parse().unwrap(), 0);
        let input = backbone.prepare(&[&frame], Size::new(64, 64)).unwrap();
        let found = backbone.run(&input, true).unwrap().remove(0);
        let want = OutputRequest { tokens: vec![2, 3], keys: vec![3], ..OutputRequest::default() };
        let plain = Vit::new(shape, &weights.tensors, &Device::Cpu, DType::F32, ComputePath::Plain).unwrap();
        let output = plain.forward(&input, &want).unwrap();
        let last = if family == Family::Dino { &output.keys[0] } else { &output.tokens[1] };
        assert!(apart(found.tokens(), &output.tokens[0]) < 1e-3, "{what}");
        assert!(apart(found.discovery().unwrap(), last) < 1e-3, "{what}");
    }
}

/// The largest difference between rows of length 1 without `[CLS]` and what they should be of, (1, 1 + N, C).
fn apart(found: &[f32], of: &Tensor) -> f32 {
    let patches = of.narrow(1, 1, of.dim(1).unwrap() - 1).unwrap();
    let length = patches.sqr().unwrap().sum_keepdim(D::Minus1).unwrap().sqrt().unwrap();
    let expected: Vec<f32> = patches.broadcast_div(&length).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    assert_eq!(found.len(), expected.len());
    found.iter().zip(&expected).fold(0f32, |most, (a, b)| most.max((a - b).abs()))
}
