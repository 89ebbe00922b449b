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
             image. Lower loss.teacher_temperature, raise optim.lr or lower head.outputs; for small batches raise \
             optim.teacher_momentum less and use fewer outputs (4096)",
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
