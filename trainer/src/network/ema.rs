//! The teacher follows the student: an exponential moving average, tensor by tensor, paired by name.

use candle_core::{CpuStorage, Device, InplaceOp2, Layout, Result, bail};
use rayon::prelude::*;

use super::Parameters;

/// Elements that one thread takes at a time.
const CHUNK: usize = 1 << 15;

struct Follow {
    keep: f64,
}

impl InplaceOp2 for Follow {
    fn name(&self) -> &'static str {
        "follow"
    }

    fn cpu_fwd(&self, to: &mut CpuStorage, to_at: &Layout, from: &CpuStorage, from_at: &Layout) -> Result<()> {
        let (CpuStorage::F32(to), CpuStorage::F32(from)) = (to, from) else { bail!("parameters are f32") };
        let (Some((t0, t1)), Some((f0, f1))) = (to_at.contiguous_offsets(), from_at.contiguous_offsets()) else {
            bail!("parameters are contiguous")
        };
        let (keep, take) = (self.keep as f32, (1.0 - self.keep) as f32);
        to[t0..t1].par_chunks_mut(CHUNK).zip(from[f0..f1].par_chunks(CHUNK)).for_each(|(to, from)| {
            to.iter_mut().zip(from).for_each(|(t, f)| *t = *t * keep + f * take);
        });
        Ok(())
    }
}

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
            Device::Cpu => t.var.as_detached_tensor().inplace_op2(&from, &Follow { keep: momentum })?,
            _ => t.var.set(&((t.var.as_detached_tensor() * momentum)? + (from * (1.0 - momentum))?)?)?,
        }
    }
    Ok(())
}
