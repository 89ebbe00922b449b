//! DINO's loss: cross-entropy between what the teacher says of one view and the student of another. The teacher's
//! outputs are centred (against one output winning always) and sharpened (against all being equal).

use candle_core::{D, Device, Result, Tensor};
use candle_nn::ops::softmax;
use maskd_kernels::grad;
use serde::{Deserialize, Serialize};

/// The teacher sees these many views; the student sees them first, then its own.
pub const GLOBAL_VIEWS: usize = 2;

/// `[loss]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossConfig {
    /// The student's temperature.
    pub student_temperature: f64,
    /// The teacher's temperature after its ramp.
    pub teacher_temperature: f64,
    /// The teacher's temperature in the first epoch of the ramp.
    pub teacher_temperature_start: f64,
    /// Epochs of the ramp.
    pub teacher_temperature_epochs: u64,
    /// How much of the centre stays at each step.
    pub centre_momentum: f64,
}

impl Default for LossConfig {
    fn default() -> Self {
        Self {
            student_temperature: 0.1,
            teacher_temperature: 0.04,
            teacher_temperature_start: 0.04,
            teacher_temperature_epochs: 0,
            centre_momentum: 0.9,
        }
    }
}

impl LossConfig {
    pub(crate) fn validate(&self) -> std::result::Result<(), (&'static str, String)> {
        for (key, value) in [
            ("student_temperature", self.student_temperature),
            ("teacher_temperature", self.teacher_temperature),
            ("teacher_temperature_start", self.teacher_temperature_start),
        ] {
            if !(1e-3..=10.0).contains(&value) {
                return Err((key, format!("{value} is not in 0.001 to 10")));
            }
        }
        if !(0.0..1.0).contains(&self.centre_momentum) {
            return Err(("centre_momentum", format!("{} is not in 0 to below 1", self.centre_momentum)));
        }
        Ok(())
    }
}

/// What the teacher says of each global view, `(2 B, K)`, views one after the other: centred, sharpened, rows sum to 1.
///
/// # Errors
/// No memory left.
pub fn targets(teacher: &Tensor, centre: &Tensor, temperature: f64) -> Result<Tensor> {
    softmax(&(teacher.broadcast_sub(centre)? / temperature)?, D::Minus1)
}

/// The mean cross-entropy over all pairs of a global view (teacher) and another view (student), and over images.
///
/// `student` `(V B, K)` and `targets` `(2 B, K)` hold views one after the other.
///
/// # Errors
/// Shapes that do not fit; no memory left.
pub fn of_views(student: &Tensor, targets: &Tensor, views: usize, temperature: f64) -> Result<Tensor> {
    match student.device() {
        Device::Cpu => grad::view_loss(student, targets, views, temperature),
        _ => grad::view_loss_plain(student, targets, views, temperature),
    }
}

/// The centre `(1, K)` after a step whose teacher's outputs have the mean `mean` `(1, K)` over all views and images.
///
/// # Errors
/// Shapes that do not fit.
pub fn next_centre(centre: &Tensor, mean: &Tensor, momentum: f64) -> Result<Tensor> {
    (centre * momentum)? + (mean * (1.0 - momentum))?
}
