//! One step of distillation. Everything that a step changes is here: the student and its optimiser. The teacher stays.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, Result, ensure};
use candle_core::{DType, Device, Tensor};
use maskd_kernels::{ComputePath, grad::Checkpointing};
use maskd_model::{Architecture, Checkpoint, Vit};
use maskd_tracking::preset::Preset;

use super::{
    DistillConfig,
    loss::{affinity, unexplained, unit},
    resize,
    selector::{FeatureSelector, Features},
    start,
};
use crate::{
    data::Batch,
    learner::{NotFinite, StepSchedule},
    loss::GLOBAL_VIEWS,
    method::{Agreement, ExportedModel, Learned, Method},
    network::Parameters,
    optim::{AdamW, OptimConfig},
};

/// A student, and the teacher that it is distilled from.
pub struct Distiller {
    /// The student's shape.
    pub shape: Architecture,
    /// The student, and what maps its features to the teacher's.
    pub student: Parameters,
    optimizer: AdamW,
    teacher: Vit,
    selectors: Selectors,
    config: DistillConfig,
    device: Device,
    dtype: DType,
}

/// Where each network is read.
#[derive(Clone, Copy)]
struct Selectors {
    student: FeatureSelector,
    teacher: FeatureSelector,
}

/// The three parts of the loss, each a number on the device: propagation, affinity, discovery.
struct Parts([Tensor; 3]);

impl Distiller {
    /// A student of shape `shape` on `tensors` (see [`start::tensors`]), to be taught by `teacher`.
    ///
    /// # Errors
    /// Tensors that do not fit, blocks that a network has not.
    pub fn new(
        shape: Architecture,
        tensors: &HashMap<String, Tensor>,
        teacher: &Checkpoint,
        (config, optim): (&DistillConfig, &OptimConfig),
        (device, dtype): (&Device, DType),
    ) -> Result<Self> {
        let theirs = teacher.architecture;
        let blocks = (config.propagation_block.index(&shape), config.teacher_block.of(teacher));
        let selectors = Selectors {
            student: FeatureSelector::new(&shape, blocks.0.context("distill.propagation_block")?),
            teacher: FeatureSelector::new(&theirs, blocks.1.context("distill.teacher_block")?),
        };
        let student = Parameters::of(start::tensors(&shape, &theirs), tensors, device)?;
        Ok(Self {
            optimizer: AdamW::new(&student, optim, false)?,
            // No gradient is asked of it.
            teacher: Vit::new(theirs, &teacher.tensors, device, dtype, ComputePath::Fused)?,
            student,
            shape,
            selectors,
            config: config.clone(),
            device: device.clone(),
            dtype,
        })
    }

    fn network(&self, tensors: HashMap<String, Tensor>) -> Result<Vit> {
        Ok(Vit::new(self.shape, &backbone(tensors), &self.device, self.dtype, ComputePath::Train)?)
    }

    /// What the teacher says of the patches that the student sees in `images` (2 B, 3, S, S).
    fn target(&self, images: &Tensor) -> Result<Features> {
        let side = images.dim(3)? / self.shape.patch * self.teacher.architecture().patch;
        let images = resize::pictures(images, side)?;
        let output = self.teacher.forward(&images, &self.selectors.teacher.want())?;
        let Features { propagation, discovery } = self.selectors.teacher.of(&output)?;
        Ok(Features { propagation: unit(&propagation)?.detach(), discovery: unit(&discovery)?.detach() })
    }

    /// The parts of the loss for two crops of each picture, (2 B, 3, S, S).
    fn parts(&self, student: &Vit, tracked: &HashMap<String, Tensor>, images: &Tensor) -> Result<Parts> {
        let target = self.target(images)?;
        let output = student.dense(images, &self.selectors.student.want(), Checkpointing::Products)?;
        let said = self.selectors.student.of(&output)?;
        // As wide as the teacher's, and of length 1.
        let mapped = |x: &Tensor, which: &str| -> Result<Tensor> {
            let part = |part: &str| tracked.get(&format!("map.{which}.{part}"));
            let (Some(weight), Some(bias)) = (part("weight"), part("bias")) else { return Ok(unit(x)?) };
            let (b, n, c) = x.dims3()?;
            let y = x.reshape((b * n, c))?.matmul(&weight.t()?)?.broadcast_add(bias)?;
            Ok(unit(&y.reshape((b, n, ()))?)?)
        };
        let propagation = unexplained(&mapped(&said.propagation, "propagation")?, &target.propagation)?;
        let discovery = unexplained(&mapped(&said.discovery, "discovery")?, &target.discovery)?;

        let own = unit(&said.propagation)?;
        let pictures = own.dim(0)? / GLOBAL_VIEWS;
        let views =
            |x: &Tensor| Ok::<_, candle_core::Error>((x.narrow(0, 0, pictures)?, x.narrow(0, pictures, pictures)?));
        let ((s1, s2), (t1, t2)) = (views(&own)?, views(&target.propagation)?);
        let temperature = self.config.temperature;
        let within = affinity((&own, &own), (&target.propagation, &target.propagation), temperature, true)?;
        let there = affinity((&s1, &s2), (&t1, &t2), temperature, false)?;
        let back = affinity((&s2, &s1), (&t2, &t1), temperature, false)?;
        let affinity = ((within / 2.0)? + ((there + back)? / 4.0)?)?;
        Ok(Parts([propagation, affinity, discovery]))
    }

    /// Both crops of each picture, views one after the other, on the device: (2 B, 3, S, S).
    fn images(&self, Batch { crops, images }: Batch) -> Result<Tensor> {
        let [first, second] = crops.try_into().ok().context("This is a bug: a batch is not of two crops")?;
        let size = first.size;
        ensure!(size == second.size, "This is a bug: two crops of a picture differ in size");
        let pixels = [first.pixels, second.pixels].concat();
        let images = Tensor::from_vec(pixels, (GLOBAL_VIEWS * images, 3, size, size), &Device::Cpu)?;
        Ok(images.to_device(&self.device)?.to_dtype(self.dtype)?)
    }
}

/// The network's own tensors, in the original naming.
fn backbone(tensors: HashMap<String, Tensor>) -> HashMap<String, Tensor> {
    let strip = |(name, t): (String, Tensor)| Some((name.strip_prefix("backbone.")?.to_owned(), t));
    tensors.into_iter().filter_map(strip).collect()
}

impl Method for Distiller {
    fn step(
        &mut self,
        step: u64,
        parts: usize,
        next: &mut dyn FnMut() -> Result<Batch>,
        knobs: &StepSchedule,
        observe: bool,
    ) -> Result<Learned> {
        let tracked = self.student.tracked();
        let student = self.network(tracked.clone())?;
        let weights = [self.config.propagation, self.config.affinity, self.config.discovery];
        let mut gradients = self.optimizer.no_gradients();
        let mut total = Tensor::zeros((), DType::F32, &self.device)?;
        let mut sums = [total.clone(), total.clone(), total.clone()];
        for _ in 0..parts {
            let Parts(of_part) = self.parts(&student, &tracked, &self.images(next()?)?)?;
            let mut loss = Tensor::zeros((), DType::F32, &self.device)?;
            for ((part, sum), weight) in of_part.into_iter().zip(&mut sums).zip(weights) {
                let part = (part / parts as f64)?;
                *sum = (&*sum + part.detach())?;
                // What does not count leaves no trace: parameters that only it reaches stay as they are.
                if weight > 0.0 {
                    loss = (loss + (part * weight)?)?;
                }
            }
            total = (total + loss.detach())?;
            self.optimizer.add(&mut gradients, &mut loss.backward()?)?;
        }

        let number = |t: &Tensor| Ok::<_, candle_core::Error>(f64::from(t.to_scalar::<f32>()?));
        let loss = number(&total)?;
        if !loss.is_finite() {
            return Err(NotFinite { step, loss }.into());
        }
        let gradient_norms = if observe { self.optimizer.norms(&gradients)? } else { Vec::new() };
        let [propagation, affinity, discovery] = &sums;
        let agreement = match observe {
            true => Some(Agreement {
                propagation: number(propagation)?,
                affinity: number(affinity)?,
                discovery: number(discovery)?,
            }),
            false => None,
        };
        self.optimizer.step(gradients, knobs.rates)?;
        Ok(Learned { loss, gradient_norms, health: None, agreement })
    }

    fn state(&self) -> BTreeMap<String, Tensor> {
        self.student.detached().into_iter().map(|(name, t)| (format!("student.{name}"), t)).collect()
    }

    fn set_state(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        self.student.set("student.", state)
    }

    fn optimizer(&self) -> &AdamW {
        &self.optimizer
    }

    fn optimizer_mut(&mut self) -> &mut AdamW {
        &mut self.optimizer
    }

    fn product(&self) -> ExportedModel {
        ExportedModel {
            architecture: self.shape,
            tensors: backbone(self.student.detached()),
            propagation_block: Some(self.selectors.student.block + 1),
        }
    }

    fn cls(&self, images: &Tensor) -> Result<Tensor> {
        let images = images.to_device(&self.device)?.to_dtype(self.dtype)?;
        Ok(self.network(self.student.detached())?.crops(&[images], None, Checkpointing::Products)?.contiguous()?)
    }

    fn preset(&self) -> Preset {
        Preset::Best
    }

    fn about(&self) -> String {
        let Selectors { student, teacher } = self.selectors;
        format!(
            "{}, {:.1} M parameters, block {} is taught block {} of {}",
            self.shape,
            self.shape.parameters() as f64 / 1e6,
            student.block + 1,
            teacher.block + 1,
            self.teacher.architecture()
        )
    }
}
