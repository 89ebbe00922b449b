//! A student, its teacher and their step, of the library's fused operators.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result};
use candle_core::{D, DType, Device, Tensor, Var};
use maskd::{
    kernels::{
        Path,
        grad::{self, AdamW, Keep},
    },
    model::{Architecture, Branches, Family, Vit},
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub const BATCH: usize = 8;
const OUT: usize = 4096;
const GLOBALS: usize = 2;
const LOCALS: usize = 6;
const DROP: f64 = 0.1;
const ARCH: Architecture =
    Architecture { family: Family::Dino, patch: 16, dim: 192, depth: 12, heads: 3, hidden: 768, grid: 14 };

type Vars = BTreeMap<String, Var>;

struct Network {
    vars: Vars,
    vit: Vit,
}

fn noise(rng: &mut ChaCha8Rng, shape: &[usize], scale: f32) -> Result<Tensor> {
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| (rng.random::<f32>() - 0.5) * 2.0 * scale).collect();
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

impl Network {
    fn new(trainable: bool) -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut shapes = ARCH.tensors();
        for (i, (output, input)) in [(0usize, (2048, 192)), (2, (2048, 2048)), (4, (256, 2048))] {
            shapes.push((format!("head.mlp.{i}.weight"), vec![output, input]));
            shapes.push((format!("head.mlp.{i}.bias"), vec![output]));
        }
        shapes.push(("head.last.weight_v".to_owned(), vec![OUT, 256]));
        let mut vars = Vars::new();
        for (name, shape) in shapes {
            let tensor = match () {
                () if name.ends_with("bias") => Tensor::zeros(shape, DType::F32, &Device::Cpu)?,
                () if shape.len() == 1 => Tensor::ones(shape, DType::F32, &Device::Cpu)?,
                () => noise(&mut rng, &shape, 0.035)?,
            };
            vars.insert(name, Var::from_tensor(&tensor)?);
        }
        let of = |v: &Var| if trainable { v.as_tensor().clone() } else { v.as_detached_tensor() };
        let tensors: HashMap<String, Tensor> = vars.iter().map(|(n, v)| (n.clone(), of(v))).collect();
        let vit = Vit::new(ARCH, &tensors, &Device::Cpu, DType::F32, Path::Train)?;
        Ok(Self { vars, vit })
    }

    fn forward(&self, groups: &[Tensor], branches: Option<&Branches>, trainable: bool) -> Result<Tensor> {
        let get = |name: &str| -> Result<Tensor> {
            let var = self.vars.get(name).context("a parameter is missing")?;
            Ok(if trainable { var.as_tensor().clone() } else { var.as_detached_tensor() })
        };
        let mut x = self.vit.crops(groups, branches, keep())?;
        for i in [0, 2] {
            let zero = Tensor::zeros(2048, DType::F32, &Device::Cpu)?;
            x = grad::linear(&x, &get(&format!("head.mlp.{i}.weight"))?, &zero)?;
            x = grad::bias_gelu(&x, &get(&format!("head.mlp.{i}.bias"))?)?;
        }
        x = grad::linear(&x, &get("head.mlp.4.weight")?, &get("head.mlp.4.bias")?)?;
        let unit = |t: &Tensor| t.broadcast_div(&t.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?);
        let last = unit(&get("head.last.weight_v")?)?;
        Ok(grad::linear(&unit(&x)?, &last, &Tensor::zeros(OUT, DType::F32, &Device::Cpu)?)?)
    }
}

fn keep() -> Keep {
    if std::env::var_os("MASKD_BENCH_RECOMPUTE").is_some() { Keep::Input } else { Keep::Products }
}

/// All that a run holds.
pub struct Training {
    student: Network,
    teacher: Network,
    moments: BTreeMap<String, (Tensor, Tensor)>,
    center: Tensor,
    large: Tensor,
    small: Tensor,
    rng: ChaCha8Rng,
    step: u64,
}

impl Training {
    pub fn new() -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let student = Network::new(true)?;
        let zeros = |v: &Var| v.as_detached_tensor().zeros_like();
        let moments = student
            .vars
            .iter()
            .map(|(n, v)| Ok((n.clone(), (zeros(v)?, zeros(v)?))))
            .collect::<Result<BTreeMap<_, _>>>()?;
        Ok(Self {
            student,
            teacher: Network::new(false)?,
            moments,
            center: Tensor::zeros((1, OUT), DType::F32, &Device::Cpu)?,
            large: noise(&mut rng, &[GLOBALS * BATCH, 3, 224, 224], 1.7)?,
            small: noise(&mut rng, &[LOCALS * BATCH, 3, 96, 96], 1.7)?,
            rng,
            step: 0,
        })
    }

    fn branches(&mut self) -> Branches {
        let mut factors = |i: usize| {
            let keep = 1.0 - DROP * i as f64 / (ARCH.depth - 1) as f64;
            (0..(GLOBALS + LOCALS) * BATCH)
                .map(|_| if self.rng.random::<f64>() < keep { (1.0 / keep) as f32 } else { 0.0 })
                .collect::<Vec<f32>>()
        };
        (0..ARCH.depth).map(|i| [factors(i), factors(i)]).collect()
    }

    /// One step; gives the loss.
    pub fn step(&mut self) -> Result<f32> {
        let watch = Watch::start();
        let branches = self.branches();
        let of_teacher = self.teacher.forward(std::slice::from_ref(&self.large), None, false)?;
        let watch = watch.lap("teacher");
        let targets = candle_nn::ops::softmax(&(of_teacher.broadcast_sub(&self.center)? / 0.04)?, D::Minus1)?;
        let logits = self.student.forward(&[self.large.clone(), self.small.clone()], Some(&branches), true)?;
        let loss = grad::view_loss(&logits, &targets, GLOBALS + LOCALS, 0.1)?;
        self.center = ((&self.center * 0.9)? + (of_teacher.mean_keepdim(0)? * 0.1)?)?;
        let value = loss.to_scalar::<f32>()?;
        let watch = watch.lap("student");
        let grads = loss.backward()?;
        drop((loss, logits));
        let watch = watch.lap("backward");
        self.step += 1;
        for (name, var) in &self.student.vars {
            let grad = grads.get(var).with_context(|| format!("{name} has no gradient"))?;
            let (first, second) = self.moments.get(name).context("a moment is missing")?;
            let adamw = AdamW {
                lr: 1e-5,
                weight_decay: if var.rank() == 1 { 0.0 } else { 0.04 },
                betas: (0.9, 0.999),
                eps: 1e-8,
                step: self.step,
                clip: Some(3.0),
            };
            let teacher = self.teacher.vars.get(name).context("the teacher lacks a tensor")?;
            adamw.apply(var, grad, (first, second), Some((teacher, 0.996)))?;
        }
        watch.lap("update");
        Ok(value)
    }
}

/// Prints where the time of a step goes, if asked by `MASKD_BENCH_TIMES`.
struct Watch(std::time::Instant);

impl Watch {
    fn start() -> Self {
        Self(std::time::Instant::now())
    }

    fn lap(self, what: &str) -> Self {
        if std::env::var_os("MASKD_BENCH_TIMES").is_some() {
            println!("  {what:9} {:6.1} ms", self.0.elapsed().as_secs_f64() * 1e3);
        }
        Self::start()
    }
}
