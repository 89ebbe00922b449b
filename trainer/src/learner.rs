//! One step of the method: the teacher says what it sees in the global crops, the student learns to say the same of all
//! crops, the teacher follows. Everything that a step changes is here, and nothing else is.

use anyhow::{Context as _, Result, bail};
use candle_core::{DType, Device, Tensor};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use crate::{
    data::{Batch, CropBatch},
    diagnostics::Outputs,
    loss::{self, GLOBAL_VIEWS, LossConfig},
    network::{DropPath, Network, Parameters, Shape, ema},
    optim::{AdamW, OptimConfig, Rates},
};

/// A loss that is infinite or not a number.
#[derive(Debug, thiserror::Error)]
#[error(
    "step {step}: the loss is {loss}, so nothing more can be learned from here: lower optim.lr, lengthen \
     schedule.warmup_epochs or lower optim.clip, and start again"
)]
pub struct NotFinite {
    /// The step.
    pub step: u64,
    /// Its loss.
    pub loss: f64,
}

/// What the schedules say about one step.
#[derive(Clone, Copy, Debug)]
pub struct StepSchedule {
    /// For the optimiser.
    pub rates: Rates,
    /// How much of the teacher stays.
    pub teacher_momentum: f64,
    /// The teacher's temperature.
    pub teacher_temperature: f64,
}

/// What a step leaves behind besides the changed state.
pub struct Outcome {
    /// The loss, mean over all pairs of views and all images.
    pub loss: f64,
    /// Norm of each parameter's gradient before clipping, where it was asked for.
    pub gradient_norms: Vec<(String, f32)>,
    /// What diagnostics read, where it was asked for: of the batch's last part.
    pub outputs: Option<Outputs>,
}

/// Student, teacher, centre and optimiser: the whole state of a training.
pub struct Learner {
    /// What both networks are made of.
    pub shape: Shape,
    /// The one that is trained.
    pub student: Parameters,
    /// The one that is kept.
    pub teacher: Parameters,
    /// Running mean of the teacher's outputs, (1, K).
    pub centre: Tensor,
    /// The student's optimiser.
    pub optimizer: AdamW,
    loss: LossConfig,
    drop_path: DropPath,
    seed: u64,
    device: Device,
    dtype: DType,
}

impl Learner {
    /// Student and teacher start from the same `tensors`, by full name.
    ///
    /// # Errors
    /// Tensors that do not fit the shape.
    pub fn new(
        shape: Shape,
        tensors: &std::collections::HashMap<String, Tensor>,
        (loss, optim): (&LossConfig, &OptimConfig),
        seed: u64,
        (device, dtype): (&Device, DType),
    ) -> Result<Self> {
        let student = Parameters::new(&shape, tensors, device)?;
        Ok(Self {
            teacher: Parameters::new(&shape, tensors, device)?,
            centre: Tensor::zeros((1, shape.head.outputs), DType::F32, device)?,
            optimizer: AdamW::new(&student, optim, shape.head.norm_last_layer)?,
            loss: loss.clone(),
            drop_path: DropPath { rate: optim.drop_path, depth: shape.backbone.depth },
            student,
            shape,
            seed,
            device: device.clone(),
            dtype,
        })
    }

    /// The teacher as it is now.
    ///
    /// # Errors
    /// No memory left.
    pub fn teacher_network(&self) -> Result<Network> {
        Ok(Network::new(&self.shape, &self.teacher.detached(), &self.device, self.dtype)?)
    }

    /// Step number `step` on a batch that comes in `parts` from `next`: all parts together count as one batch, whose size
    /// and loss they share. `observe` asks for gradient norms and outputs, which cost copies.
    ///
    /// # Errors
    /// A loss that is not finite; a batch that cannot be had or does not fit. The state is then as it was.
    pub fn step(
        &mut self,
        step: u64,
        parts: usize,
        next: &mut dyn FnMut() -> Result<Batch>,
        knobs: &StepSchedule,
        observe: bool,
    ) -> Result<Outcome> {
        let teacher = self.teacher_network()?;
        let student = Network::new(&self.shape, &self.student.tracked(), &self.device, self.dtype)?;
        let mut rng = self.drops(step);
        let mut gradients = self.optimizer.no_gradients();
        let mut total = Tensor::zeros((), DType::F32, &self.device)?;
        let mut seen = Tensor::zeros_like(&self.centre)?; // (1, K)
        let mut outputs = None;

        for part in 0..parts {
            let Batch { crops, images } = next()?;
            let views = crops.len();
            let groups = self.groups(crops, images)?;
            let globals = groups[0].narrow(0, 0, GLOBAL_VIEWS * images)?; // (2 B, 3, S, S)
            let features = teacher.features(&[globals], None)?; // (2 B, C)
            let logits = teacher.logits(&features)?; // (2 B, K)
            let targets = loss::targets(&logits, &self.centre, knobs.teacher_temperature)?; // (2 B, K)
            seen = (seen + (logits.mean_keepdim(0)? / parts as f64)?)?;

            let branches = self.drop_path.draw(views * images, &mut rng);
            let said = student.logits(&student.features(&groups, branches.as_ref())?)?; // (V B, K)
            let temperature = self.loss.student_temperature;
            let loss = (loss::of_views(&said, &targets, views, temperature)? / parts as f64)?;
            if observe && part + 1 == parts {
                outputs = Some(Outputs {
                    features: features.detach(),
                    targets: targets.detach(),
                    said: (said.narrow(0, 0, targets.dim(0)?)?.detach() / temperature)?,
                });
            }
            total = (total + loss.detach())?;
            drop(said);
            self.optimizer.add(&mut gradients, &mut loss.backward()?)?;
        }

        // The step's only number that leaves the device.
        let loss = f64::from(total.to_scalar::<f32>()?);
        if !loss.is_finite() {
            return Err(NotFinite { step, loss }.into());
        }
        let gradient_norms = if observe { self.optimizer.norms(&gradients)? } else { Vec::new() };
        self.optimizer.step(gradients, knobs.rates)?;
        ema::follow(&self.teacher, &self.student, knobs.teacher_momentum)?;
        self.centre = loss::next_centre(&self.centre, &seen, self.loss.centre_momentum)?.detach();
        Ok(Outcome { loss, gradient_norms, outputs })
    }

    /// Which blocks are dropped is a function of the seed and the step alone: a resumed run drops the same.
    fn drops(&self, step: u64) -> ChaCha8Rng {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..16].copy_from_slice(&step.to_le_bytes());
        key[16..25].copy_from_slice(b"drop path");
        ChaCha8Rng::from_seed(key)
    }

    /// Views of one size side by side, `(n B, 3, S, S)` in the order of views, on the device.
    fn groups(&self, crops: Vec<CropBatch>, images: usize) -> Result<Vec<Tensor>> {
        if crops.len() < GLOBAL_VIEWS || crops[0].size != crops[1].size {
            bail!("This is a bug: a batch starts with two global crops of one size");
        }
        let mut groups: Vec<(usize, Vec<f32>)> = Vec::new(); // (S, pixels)
        for CropBatch { size, pixels } in crops {
            match groups.last_mut() {
                Some((s, together)) if *s == size => together.extend_from_slice(&pixels),
                _ => groups.push((size, pixels)),
            }
        }
        let upload = |(size, pixels): (usize, Vec<f32>)| {
            let rows = pixels.len() / (3 * size * size).max(1);
            let whole = images > 0 && rows.is_multiple_of(images);
            let images = Tensor::from_vec(pixels, (rows, 3, size, size), &Device::Cpu).context("crops")?;
            if !whole {
                bail!("This is a bug: a batch whose crops do not hold the same images");
            }
            Ok(images.to_device(&self.device)?)
        };
        groups.into_iter().map(upload).collect()
    }
}
