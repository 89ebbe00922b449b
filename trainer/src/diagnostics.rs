//! Is it learning, or has it collapsed? Numbers that tell, and words where they are bad.
//!
//! DINO can fail in two ways: all images get the same uniform answer (the loss stays at ln K), or all get the same one
//! output (the teacher's entropy goes to 0). In both the teacher no longer tells images apart.

use candle_core::{D, Result, Tensor};
use serde::{Deserialize, Serialize};

/// What a step's diagnostics read; both views' rows.
pub struct Outputs {
    /// The teacher's features, (2 B, C).
    pub features: Tensor,
    /// The teacher's centred and sharpened distributions, (2 B, K).
    pub targets: Tensor,
    /// The student's outputs by its temperature, (2 B, K).
    pub said: Tensor,
}

/// How the outputs are doing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Mean entropy of the teacher's distributions, nats: 0 (one output) to ln K (uniform).
    pub teacher_entropy: f64,
    /// Entropy of the mean of the teacher's distributions, nats: what of K is in use; 0 means all images look the same.
    pub usage_entropy: f64,
    /// Mean Kullback-Leibler divergence of the student's view from the teacher's, nats.
    pub kl: f64,
    /// Euclidean norm of the centre.
    pub centre_norm: f64,
    /// Effective rank of the teacher's features: the number of directions that they use, 1 to `rank_limit`.
    /// It is (sum of eigenvalues)^2 / sum of their squares, of the covariance.
    pub rank: f64,
    /// The most that `rank` can be with as many rows.
    pub rank_limit: f64,
    /// ln K.
    pub uniform: f64,
}

impl Health {
    /// Reads the numbers off one part of a batch: a few small copies to the host.
    ///
    /// # Errors
    /// No memory left.
    pub fn of(outputs: &Outputs, centre: &Tensor) -> Result<Self> {
        let number = |t: Tensor| Ok::<f64, candle_core::Error>(f64::from(t.to_scalar::<f32>()?));
        let q = &outputs.targets;
        let entropy = |p: &Tensor| ((p + 1e-20)?.log()? * p)?.sum(D::Minus1)?.neg()?.mean(0);
        let teacher_entropy = number(entropy(q)?)?;
        let usage_entropy = number(entropy(&q.mean_keepdim(0)?)?)?;
        // Each of the two views is compared with the teacher's word on the other.
        let rows = q.dim(0)?;
        let other = Tensor::cat(&[q.narrow(0, rows / 2, rows / 2)?, q.narrow(0, 0, rows / 2)?], 0)?;
        let log_p = candle_nn::ops::log_softmax(&outputs.said, D::Minus1)?;
        let cross = number((other * log_p)?.sum(D::Minus1)?.neg()?.mean(0)?)?;
        let centre_norm = number(centre.sqr()?.sum_all()?.sqrt()?)?;

        let features = outputs.features.to_dtype(candle_core::DType::F32)?;
        let centred = features.broadcast_sub(&features.mean_keepdim(0)?)?; // (2 B, C)
        let gram = centred.matmul(&centred.t()?)?; // its eigenvalues are the covariance's
        let (trace, squares) = (number(centred.sqr()?.sum_all()?)?, number(gram.sqr()?.sum_all()?)?);
        Ok(Self {
            teacher_entropy,
            usage_entropy,
            kl: (cross - teacher_entropy).max(0.0),
            centre_norm,
            rank: if squares > 0.0 { trace * trace / squares } else { 0.0 },
            rank_limit: (rows.saturating_sub(1)).min(features.dim(1)?) as f64,
            uniform: (q.dim(1)? as f64).ln(),
        })
    }
}

/// Looks at one observation after the other and says when something is wrong.
#[derive(Debug, Default)]
pub struct Watch {
    bad: u32,
    told: bool,
}

/// Observations in a row that must be bad before a word is said.
const PATIENCE: u32 = 5;

impl Watch {
    /// A warning in words, once, when `health` has been bad for some time. Only what comes after the warm-up is to be
    /// shown to it: at the start every training looks uniform.
    pub fn look(&mut self, health: &Health, loss: f64) -> Option<String> {
        let fault = fault(health, loss);
        self.bad = if fault.is_some() { self.bad + 1 } else { 0 };
        self.told &= fault.is_some();
        if self.bad < PATIENCE || self.told {
            return None;
        }
        self.told = true;
        fault
    }
}

fn fault(h: &Health, loss: f64) -> Option<String> {
    if h.teacher_entropy > 0.98 * h.uniform && loss > 0.98 * h.uniform {
        return Some(format!(
            "collapse to uniform: the loss {loss:.3} is still near ln K = {:.3} and the teacher says the same of every \
             image. Lower loss.teacher_temperature, raise optim.lr, and with small batches take fewer head.outputs (4096)",
            h.uniform
        ));
    }
    if h.usage_entropy < 0.05 {
        return Some(format!(
            "collapse to one output: the teacher's entropy is {:.3} and all images get the same answer. Raise \
             loss.teacher_temperature, lower loss.centre_momentum (the centre follows faster) and lower optim.lr",
            h.teacher_entropy
        ));
    }
    (h.rank < 1.2 && h.rank_limit > 3.0).then(|| {
        format!(
            "features have shrunk to {:.1} direction(s): images are hardly told apart. Lower optim.lr, lengthen \
             schedule.warmup_epochs, and look whether the data are all alike",
            h.rank
        )
    })
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// 8 rows of K = 16 outputs from `logit(row, output)`, the student agreeing; features likewise.
    fn outputs(logit: impl Fn(usize, usize) -> f32) -> Outputs {
        let values = (0..8 * 16).map(|i| logit(i / 16, i % 16)).collect();
        let said = Tensor::from_vec(values, (8, 16), &Device::Cpu).unwrap();
        let targets = candle_nn::ops::softmax(&said, D::Minus1).unwrap();
        Outputs { features: said.clone(), targets, said }
    }

    fn health(logit: impl Fn(usize, usize) -> f32) -> Health {
        Health::of(&outputs(logit), &Tensor::zeros((1, 16), candle_core::DType::F32, &Device::Cpu).unwrap()).unwrap()
    }

    /// Two views of four images, each image with an output of its own.
    fn sound(row: usize, output: usize) -> f32 {
        if output == row % 4 { 8.0 } else { 0.0 }
    }

    #[test]
    fn numbers_tell_sound_from_collapsed() {
        let ln_k = 16f64.ln();
        let good = health(sound);
        assert!(good.teacher_entropy < 0.1 && good.usage_entropy > 1.3 && good.kl < 1e-6, "{good:?}");
        assert!((good.rank - 3.0).abs() < 0.01 && good.rank_limit == 7.0, "{good:?}");
        let uniform = health(|_, _| 1.0);
        assert!((uniform.teacher_entropy - ln_k).abs() < 1e-5 && uniform.rank == 0.0, "{uniform:?}");
        let single = health(|_, output| if output == 3 { 20.0 } else { 0.0 });
        assert!(single.teacher_entropy < 1e-4 && single.usage_entropy < 1e-4, "{single:?}");
        // The student disagrees: views of different images stand across from each other.
        let apart = health(|row, output| if output == row { 8.0 } else { 0.0 });
        assert!(apart.kl > 5.0, "{apart:?}");
    }

    #[test]
    fn a_collapse_is_told_once_after_some_time_and_names_what_to_change() {
        let ln_k = 16f64.ln();
        let mut watch = Watch::default();
        let mut look = |health: &Health, loss: f64| (0..8).filter_map(|_| watch.look(health, loss)).collect::<Vec<_>>();
        assert!(look(&health(sound), 1.0).is_empty());
        let told = look(&health(|_, _| 1.0), ln_k);
        assert!(
            told.len() == 1 && told[0].contains("uniform") && told[0].contains("loss.teacher_temperature"),
            "{told:?}"
        );
        assert!(look(&health(sound), 1.0).is_empty());
        let told = look(&health(|_, output| if output == 3 { 20.0 } else { 0.0 }), 0.0);
        assert!(told.len() == 1 && told[0].contains("one output"), "{told:?}");
        look(&health(sound), 1.0);
        let told = look(&health(|row, output| if row % 2 == output { 4.0 } else { 0.0 }), 1.0);
        assert!(told.len() == 1 && told[0].contains("1.0 direction"), "{told:?}");
    }
}
