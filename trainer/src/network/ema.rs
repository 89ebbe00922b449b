//! The teacher follows the student: an exponential moving average, tensor by tensor, paired by name.

use candle_core::{Device, Result, bail};
use maskd_kernels::grad;

use super::Parameters;

/// teacher = momentum * teacher + (1 - momentum) * student.
///
/// # Errors
/// Networks of different shapes.
pub fn follow(teacher: &Parameters, student: &Parameters, momentum: f64) -> Result<()> {
    if teacher.0.len() != student.0.len() {
        bail!("This is a bug: a teacher of {} tensors, a student of {}", teacher.0.len(), student.0.len());
    }
    for (t, s) in teacher.0.iter().zip(&student.0) {
        if t.name != s.name {
            bail!("This is a bug: the teacher's {} stands beside the student's {}", t.name, s.name);
        }
        let from = s.var.as_detached_tensor();
        match t.var.device() {
            Device::Cpu => grad::ema(&t.var.as_detached_tensor(), &from, momentum)?,
            _ => t.var.set(&((t.var.as_detached_tensor() * momentum)? + (from * (1.0 - momentum))?)?)?,
        }
    }
    Ok(())
}
