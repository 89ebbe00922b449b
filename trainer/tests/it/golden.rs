//! The method to the number: six steps of the reference implementation, and its schedules.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor, safetensors};
use maskd_model::{Architecture, Family};
use maskd_trainer::{
    data::{Batch, CropBatch},
    learner::{Learner, StepSchedule},
    loss::LossConfig,
    network::{HeadConfig, Parameters, Shape},
    optim::{OptimConfig, Rates},
    schedule::{Cosine, Ramp},
};
use serde_json::Value;

use crate::shared::shared;

const OPTIM: OptimConfig = OptimConfig {
    lr: 0.02,
    min_lr: 1e-5,
    weight_decay: 0.04,
    weight_decay_end: 0.4,
    clip: 0.3,
    teacher_momentum: 0.9,
    teacher_momentum_end: 1.0,
    drop_path: 0.0,
    betas: [0.9, 0.999],
    eps: 1e-8,
};

struct Reference {
    steps: Vec<Value>,
    tensors: HashMap<String, Tensor>,
    shape: Shape,
}

fn reference(variant: &str) -> Option<Reference> {
    let text = std::fs::read_to_string(shared(&format!("golden/dino_steps_{variant}.json"))?).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    let tensors =
        safetensors::load(shared(&format!("golden/dino_steps_{variant}.safetensors"))?, &Device::Cpu).unwrap();
    let backbone = Architecture {
        family: Family::Dino,
        patch: 8,
        dim: 24,
        depth: 2,
        heads: 2,
        hidden: 96,
        grid: 4,
        registers: 0,
        gated: false,
    };
    let norm_last_layer = json["config"]["norm_last_layer"].as_bool().unwrap();
    let head = HeadConfig { hidden: 40, bottleneck: 16, outputs: 32, norm_last_layer };
    Some(Reference { steps: json["steps"].as_array().unwrap().clone(), tensors, shape: Shape { backbone, head } })
}

impl Reference {
    fn learner(&self) -> Learner {
        let initial = self
            .tensors
            .iter()
            .filter_map(|(n, t)| Some((n.strip_prefix("initial.")?.to_owned(), t.clone())))
            .collect();
        let place = (&Device::Cpu, DType::F32);
        Learner::new(self.shape.clone(), &initial, (&LossConfig::default(), &OPTIM), 1, place).unwrap()
    }

    /// Images `from..from + images` of step `step`'s batch.
    fn batch(&self, step: usize, from: usize, images: usize) -> Batch {
        let crop = |i: usize| {
            let crop = self.tensors[&format!("step{step}.crop{i}")].narrow(0, from, images).unwrap();
            CropBatch { size: crop.dim(3).unwrap(), pixels: crop.flatten_all().unwrap().to_vec1().unwrap() }
        };
        Batch { crops: (0..4).map(crop).collect(), images }
    }
}

fn cosine(start: f64, end: f64, warmup: u64) -> Cosine {
    Cosine { start, end, warmup, total: 6 }
}

fn knobs(step: u64) -> StepSchedule {
    StepSchedule {
        rates: Rates {
            lr: cosine(0.02, 1e-5, 2).at(step),
            weight_decay: cosine(0.04, 0.4, 0).at(step),
            frozen_last_layer: step < 2,
        },
        teacher_momentum: cosine(0.9, 1.0, 0).at(step),
        teacher_temperature: Ramp { start: 0.03, end: 0.06, warmup: 2 }.at(step / 2),
    }
}

/// The largest difference, as a share of the largest value (or of 1, where all are smaller).
fn apart(ours: &Tensor, theirs: &Tensor) -> f32 {
    let top = |t: &Tensor| t.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
    top(&(ours - theirs).unwrap()) / top(theirs).max(1.0)
}

/// [`apart`], without the third of qkv's bias that is the keys'. Adding one vector to all keys changes no attention, so
/// its true gradient is 0, and AdamW scales the rounding noise that is left, which no two machines share, up to steps of
/// its own: they stay under a tenth of the learning rate.
fn apart_but_keys(name: &str, ours: &Tensor, theirs: &Tensor) -> f32 {
    if !name.ends_with("attn.qkv.bias") {
        return apart(ours, theirs);
    }
    let c = ours.dim(0).unwrap() / 3;
    let third = |i: usize| apart(&ours.narrow(0, i * c, c).unwrap(), &theirs.narrow(0, i * c, c).unwrap());
    assert!(third(1) < 2e-3, "{name}: more than rounding noise in the keys' third");
    third(0).max(third(2))
}

/// The order in which PyTorch walks the parameters.
fn torch_order() -> Vec<String> {
    let both = |layer: &str| [format!("{layer}.weight"), format!("{layer}.bias")];
    let mut names: Vec<String> = vec!["backbone.cls_token".into(), "backbone.pos_embed".into()];
    names.extend(both("backbone.patch_embed.proj"));
    for i in 0..2 {
        for layer in ["norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"] {
            names.extend(both(&format!("backbone.blocks.{i}.{layer}")));
        }
    }
    names.extend(["backbone.norm", "head.mlp.0", "head.mlp.2", "head.mlp.4"].map(both).into_iter().flatten());
    names.extend(["head.last_layer.weight_g".into(), "head.last_layer.weight_v".into()]);
    names
}

fn six_steps(variant: &str) {
    let Some(reference) = reference(variant) else { return };
    let mut learner = reference.learner();
    for (i, expected) in reference.steps.iter().enumerate() {
        let number = |key: &str| expected[key].as_f64().unwrap();
        let knobs = knobs(i as u64);
        assert_eq!(knobs.teacher_temperature, number("teacher_temp"));
        for (ours, key) in
            [(knobs.rates.lr, "lr"), (knobs.rates.weight_decay, "weight_decay"), (knobs.teacher_momentum, "momentum")]
        {
            assert!((ours - number(key)).abs() <= 1e-16 + 1e-15 * number(key), "step {i}: {key} {ours}");
        }
        let mut batch = Some(reference.batch(i, 0, 4));
        let outcome = learner.step(i as u64, 1, &mut || Ok(batch.take().unwrap()), &knobs, true).unwrap();

        let off = (outcome.loss / number("loss") - 1.0).abs();
        assert!(off < 1e-5, "step {i}: loss {} instead of {}", outcome.loss, number("loss"));
        let norms: HashMap<_, _> = outcome.gradient_norms.into_iter().collect();
        let order: Vec<String> = torch_order().into_iter().filter(|name| norms.contains_key(name)).collect();
        let theirs = expected["gradient_norms_before_clipping"].as_array().unwrap();
        assert_eq!((order.len(), norms.len()), (theirs.len(), theirs.len()));
        for (name, norm) in order.iter().zip(theirs) {
            let (ours, norm) = (f64::from(norms[name]), norm.as_f64().unwrap());
            assert!((ours - norm).abs() < 2e-3 * norm + 1e-6, "step {i}: gradient of {name} {ours} instead of {norm}");
        }
        let (mut worst, mut of) = (0f32, String::new());
        for (who, parameters) in [("student", &learner.student), ("teacher", &learner.teacher)] {
            for parameter in &parameters.0 {
                let name = format!("step{i}.{who}.{}", parameter.name);
                let d = apart_but_keys(&name, &parameter.var.as_detached_tensor(), &reference.tensors[&name]);
                if d > worst {
                    (worst, of) = (d, name);
                }
            }
        }
        let centre = apart(&learner.centre, &reference.tensors[&format!("step{i}.center")]);
        println!("{variant} step {i}: loss off by {off:.1e}, centre {centre:.1e}, worst tensor {worst:.1e} ({of})");
        assert!(worst < 1e-4 && centre < 1e-4, "step {i}: {of} is off by {worst}, the centre by {centre}");
    }
}

#[test]
fn six_steps_with_a_fixed_last_layer_are_the_references() {
    six_steps("fixed_g");
}

#[test]
fn six_steps_with_a_trained_last_layer_are_the_references() {
    six_steps("trained_g");
}

#[test]
fn every_trained_tensor_gets_a_gradient() {
    let Some(reference) = reference("trained_g") else { return };
    let mut learner = reference.learner();
    let mut batch = Some(reference.batch(0, 0, 4));
    let outcome = learner.step(0, 1, &mut || Ok(batch.take().unwrap()), &knobs(0), true).unwrap();
    assert_eq!(outcome.gradient_norms.len(), reference.shape.tensors().len());
    for (name, norm) in outcome.gradient_norms {
        assert!(norm > 0.0 && norm.is_finite(), "{name} has a gradient of {norm}");
    }
}

#[test]
fn parts_of_a_batch_are_the_batch_to_rounding() {
    let Some(reference) = reference("trained_g") else { return };
    let mut outcomes = [1, 2, 4].map(|parts| {
        let mut learner = reference.learner();
        let mut losses = Vec::new();
        for step in 0..3 {
            let mut part = 0;
            let mut next = || {
                part += 1;
                Ok(reference.batch(step, (part - 1) * 4 / parts, 4 / parts))
            };
            losses.push(learner.step(step as u64, parts, &mut next, &knobs(step as u64), false).unwrap().loss);
        }
        (losses, learner.student, learner.teacher, learner.centre)
    });
    let values = |p: &Parameters| p.detached();
    let (whole, parts) = outcomes.split_first_mut().unwrap();
    for (losses, student, teacher, centre) in parts {
        for (a, b) in losses.iter().zip(&whole.0) {
            assert!((a / b - 1.0).abs() < 1e-5, "losses {losses:?} and {:?}", whole.0);
        }
        for (ours, theirs) in [(values(student), values(&whole.1)), (values(teacher), values(&whole.2))] {
            for (name, tensor) in &ours {
                assert!(apart_but_keys(name, tensor, &theirs[name]) < 1e-4, "{name}");
            }
        }
        assert!(apart(centre, &whole.3) < 1e-5);
    }
}

#[test]
fn schedules_are_the_references() {
    let Some(path) = shared("golden/schedules.json") else { return };
    // Read as text: the JSON reader may miss the nearest number by its last bit.
    let text = std::fs::read_to_string(path).unwrap();
    let values = |key: &str| -> Vec<f64> {
        let (_, after) = text.split_once(&format!("\"{key}\": [")).unwrap();
        after.split(']').next().unwrap().split(',').map(|x| x.trim().parse().unwrap()).collect()
    };
    let schedules = [
        ("lr", Cosine { start: 0.0005, end: 1e-6, warmup: 14, total: 70 }),
        ("weight_decay", Cosine { start: 0.04, end: 0.4, warmup: 0, total: 70 }),
        ("momentum", Cosine { start: 0.996, end: 1.0, warmup: 0, total: 70 }),
    ];
    for (key, schedule) in schedules {
        let theirs = values(key);
        assert_eq!(theirs.len(), 70);
        for (step, value) in theirs.into_iter().enumerate() {
            assert_eq!(schedule.at(step as u64), value, "{key} at step {step}");
        }
    }
}
