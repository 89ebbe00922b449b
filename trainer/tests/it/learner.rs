//! What a step must do besides the reference's numbers: other networks, other numbers, bad data.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use maskd_model::{Architecture, Checkpoint, Family};
use maskd_trainer::{
    data::{Batch, CropBatch},
    learner::{Learner, NotFinite, Outcome, StepSchedule},
    loss::LossConfig,
    network::{HeadConfig, Shape, init},
    optim::{OptimConfig, Rates},
};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::shared::{SALIENCY_S14, shared};

const KNOBS: StepSchedule = StepSchedule {
    rates: Rates { lr: 1e-3, weight_decay: 0.04, frozen_last_layer: false },
    teacher_momentum: 0.9,
    teacher_temperature: 0.04,
};

fn small() -> Shape {
    let backbone = Architecture {
        family: Family::DinoV2,
        patch: 8,
        dim: 32,
        depth: 2,
        heads: 2,
        hidden: 64,
        grid: 4,
        registers: 0,
        gated: false,
    };
    Shape { backbone, head: HeadConfig { hidden: 32, bottleneck: 16, outputs: 48, norm_last_layer: false } }
}

fn fresh(shape: &Shape, seed: u64) -> HashMap<String, Tensor> {
    init::fresh(shape, &mut ChaCha8Rng::seed_from_u64(seed)).unwrap()
}

fn learner(shape: Shape, tensors: &HashMap<String, Tensor>, drop_path: f64, dtype: DType) -> Learner {
    let optim = OptimConfig { drop_path, ..OptimConfig::default() };
    Learner::new(shape, tensors, (&LossConfig::default(), &optim), 5, (&Device::Cpu, dtype)).unwrap()
}

fn batch(seed: u64, sizes: &[usize], images: usize) -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut crop = |size: usize| CropBatch {
        size,
        pixels: (0..images * 3 * size * size).map(|_| rng.random_range(-2.0..2.0)).collect(),
    };
    Batch { crops: sizes.iter().map(|s| crop(*s)).collect(), images }
}

fn step(learner: &mut Learner, number: u64, sizes: &[usize]) -> anyhow::Result<Outcome> {
    learner.step(number, 1, &mut || Ok(batch(number, sizes, 3)), &KNOBS, true)
}

fn values(learner: &Learner) -> Vec<(String, Vec<f32>)> {
    let all = learner.student.0.iter().chain(&learner.teacher.0);
    all.map(|p| (p.name.clone(), p.var.flatten_all().unwrap().to_vec1().unwrap())).collect()
}

#[test]
fn layer_scale_and_drop_path_train_every_tensor_too() {
    let shape = small();
    let mut learner = learner(shape.clone(), &fresh(&shape, 1), 0.1, DType::F32);
    let outcome = step(&mut learner, 0, &[32, 32, 16, 16, 24]).unwrap();
    assert_eq!(outcome.gradient_norms.len(), shape.tensors().len());
    for (name, norm) in outcome.gradient_norms {
        assert!(norm > 0.0 && norm.is_finite(), "{name}: {norm}");
    }
}

#[test]
fn bf16_computes_nearly_the_same_on_f32_parameters() {
    let shape = small();
    let tensors = fresh(&shape, 1);
    let losses = [DType::F32, DType::BF16].map(|dtype| {
        let mut learner = learner(shape.clone(), &tensors, 0.1, dtype);
        let outcome = step(&mut learner, 0, &[32, 32, 16]).unwrap();
        assert!(outcome.gradient_norms.iter().all(|(_, norm)| *norm > 0.0));
        assert!(learner.student.0.iter().all(|p| p.var.dtype() == DType::F32));
        outcome.loss
    });
    assert!((losses[0] / losses[1] - 1.0).abs() < 3e-2 && losses[0] != losses[1], "{losses:?}");
}

#[test]
fn a_loss_that_is_not_finite_stops_before_anything_is_changed() {
    let shape = small();
    let mut learner = learner(shape.clone(), &fresh(&shape, 1), 0.0, DType::F32);
    step(&mut learner, 0, &[32, 32, 16]).unwrap();
    let before = values(&learner);
    let mut bad = batch(1, &[32, 32, 16], 3);
    bad.crops[2].pixels[7] = f32::NAN;
    let mut bad = Some(bad);
    let error = learner.step(1, 1, &mut || Ok(bad.take().unwrap()), &KNOBS, false).map(|_| ()).unwrap_err();
    assert!(error.downcast_ref::<NotFinite>().is_some(), "{error}");
    assert!(error.to_string().contains("optim.lr"), "{error}");
    assert!(values(&learner) == before);
}

#[test]
fn the_seed_fixes_weights_and_drop_path_and_nothing_else_does() {
    let shape = small();
    let after = |seed: u64| {
        let mut learner = learner(shape.clone(), &fresh(&shape, seed), 0.3, DType::F32);
        for number in 0..3 {
            step(&mut learner, number, &[32, 32, 16]).unwrap();
        }
        values(&learner)
    };
    let one = after(1);
    assert!(one == after(1));
    assert!(one != after(2));
}

#[test]
fn a_fixed_last_layer_keeps_its_lengths_and_a_frozen_one_its_values() {
    let shape = Shape { head: HeadConfig { norm_last_layer: true, ..small().head }, ..small() };
    let mut learner = learner(shape.clone(), &fresh(&shape, 1), 0.0, DType::F32);
    let last = |learner: &Learner| -> Vec<_> {
        let student = values(learner).into_iter().take(learner.student.0.len());
        student.filter(|(name, _)| name.contains("last_layer")).collect()
    };
    let before = last(&learner);
    let frozen = StepSchedule { rates: Rates { frozen_last_layer: true, ..KNOBS.rates }, ..KNOBS };
    learner.step(0, 1, &mut || Ok(batch(0, &[32, 32, 16], 3)), &frozen, false).unwrap();
    assert!(last(&learner) == before);
    learner.step(1, 1, &mut || Ok(batch(1, &[32, 32, 16], 3)), &KNOBS, false).unwrap();
    for ((name, was), (_, is)) in before.iter().zip(last(&learner)) {
        assert_eq!(*was == is, name.ends_with("weight_g"), "{name}");
    }
}

#[test]
fn trained_weights_can_be_gone_on_from() {
    let Some(path) = shared(SALIENCY_S14) else { return };
    let weights = Checkpoint::read(&path, None).unwrap();
    let shape = Shape { backbone: weights.architecture, head: small().head };
    let mut tensors = fresh(&shape, 1);
    for (name, tensor) in weights.tensors {
        assert!(tensors.insert(format!("backbone.{name}"), tensor).is_some(), "{name}");
    }
    let mut learner = learner(shape, &tensors, 0.0, DType::F32);
    let outcome = step(&mut learner, 0, &[56, 56, 28]).unwrap();
    for (name, norm) in outcome.gradient_norms {
        assert!(norm > 0.0 && norm.is_finite(), "{name}: {norm}");
    }
}
