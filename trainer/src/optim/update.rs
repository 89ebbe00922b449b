//! One parameter's update: on the CPU in place, each number read and written once; elsewhere by candle's operators, with
//! the clipping factor left on the device.

use candle_core::{CpuStorage, InplaceOp2, InplaceOp3, Layout, Result, Tensor, Var, bail};
use rayon::prelude::*;

/// Elements that one thread takes at a time. Sums are made of chunks, so that they do not depend on the threads.
const CHUNK: usize = 1 << 15;

/// The numbers of one update.
#[derive(Clone, Copy, Debug)]
pub(super) struct Update {
    pub(super) betas: [f64; 2],
    pub(super) eps: f64,
    /// Largest norm of the gradient; 0: no limit.
    pub(super) clip: f64,
    /// 1 - lr * weight decay.
    pub(super) shrink: f64,
    /// lr / (1 - beta1^t).
    pub(super) pace: f64,
    /// sqrt(1 - beta2^t).
    pub(super) square_scale: f64,
}

impl Update {
    /// With candle's operators, on any device.
    pub(super) fn plain(&self, var: &Var, mean: &Var, square: &Var, gradient: &Tensor) -> Result<()> {
        let gradient = if self.clip > 0.0 {
            let norm = gradient.sqr()?.sum_all()?.sqrt()?;
            let factor = ((norm + 1e-6)?.recip()? * self.clip)?.minimum(1.0)?;
            gradient.broadcast_mul(&factor)?
        } else {
            gradient.clone()
        };
        let [b1, b2] = self.betas;
        let next_mean = ((mean.as_detached_tensor() * b1)? + (&gradient * (1.0 - b1))?)?;
        let next_square = ((square.as_detached_tensor() * b2)? + (gradient.sqr()? * (1.0 - b2))?)?;
        let divisor = ((next_square.sqrt()? / self.square_scale)? + self.eps)?;
        let next = ((var.as_detached_tensor() * self.shrink)? - (next_mean.div(&divisor)? * self.pace)?)?;
        mean.set(&next_mean)?;
        square.set(&next_square)?;
        var.set(&next)
    }

    /// The same on the CPU without a copy.
    pub(super) fn in_place(&self, var: &Var, mean: &Var, square: &Var, gradient: &Tensor) -> Result<()> {
        let factor = if self.clip > 0.0 { (self.clip / (norm(gradient)? + 1e-6)).min(1.0) } else { 1.0 };
        let [b1, b2] = self.betas;
        mean.as_detached_tensor().inplace_op2(gradient, &Blend { keep: b1, factor, squared: false })?;
        square.as_detached_tensor().inplace_op2(gradient, &Blend { keep: b2, factor, squared: true })?;
        var.as_detached_tensor().inplace_op3(&mean.as_detached_tensor(), &square.as_detached_tensor(), &Pace(*self))
    }
}

fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&values[start..end]),
        _ => bail!("the optimiser takes contiguous f32 tensors"),
    }
}

fn values_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&mut values[start..end]),
        _ => bail!("the optimiser takes contiguous f32 tensors"),
    }
}

/// The Euclidean norm of a tensor on the CPU.
fn norm(tensor: &Tensor) -> Result<f64> {
    let (storage, layout) = tensor.storage_and_layout();
    let candle_core::Storage::Cpu(storage) = &*storage else { bail!("the tensor is not on the CPU") };
    let of = |chunk: &[f32]| chunk.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>();
    let sums: Vec<f64> = values(storage, layout)?.par_chunks(CHUNK).map(of).collect();
    Ok(sums.iter().sum::<f64>().sqrt())
}

/// state = keep * state + (1 - keep) * g, or g * g, with g = factor * gradient.
struct Blend {
    keep: f64,
    factor: f64,
    squared: bool,
}

impl InplaceOp2 for Blend {
    fn name(&self) -> &'static str {
        "blend"
    }

    fn cpu_fwd(&self, state: &mut CpuStorage, state_at: &Layout, from: &CpuStorage, from_at: &Layout) -> Result<()> {
        let (state, from) = (values_mut(state, state_at)?, values(from, from_at)?);
        let (keep, take, factor, squared) =
            (self.keep as f32, (1.0 - self.keep) as f32, self.factor as f32, self.squared);
        state.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK)).for_each(|(state, from)| {
            for (s, g) in state.iter_mut().zip(from) {
                let g = g * factor;
                *s = *s * keep + if squared { g * g } else { g } * take;
            }
        });
        Ok(())
    }
}

/// The last line of the update, out of both states.
struct Pace(Update);

impl InplaceOp3 for Pace {
    fn name(&self) -> &'static str {
        "pace"
    }

    fn cpu_fwd(
        &self,
        var: &mut CpuStorage,
        var_at: &Layout,
        mean: &CpuStorage,
        mean_at: &Layout,
        square: &CpuStorage,
        square_at: &Layout,
    ) -> Result<()> {
        let (var, mean, square) = (values_mut(var, var_at)?, values(mean, mean_at)?, values(square, square_at)?);
        let Update { eps, shrink, pace, square_scale, .. } = self.0;
        let (eps, shrink, pace, scale) = (eps as f32, shrink as f32, pace as f32, (1.0 / square_scale) as f32);
        var.par_chunks_mut(CHUNK).zip(mean.par_chunks(CHUNK)).zip(square.par_chunks(CHUNK)).for_each(
            |((var, mean), square)| {
                for ((x, m), v) in var.iter_mut().zip(mean).zip(square) {
                    *x = *x * shrink - pace * (m / (v.sqrt() * scale + eps));
                }
            },
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn wave(n: usize, phase: f32) -> Tensor {
        Tensor::from_vec((0..n).map(|i| (i as f32 * 0.37 + phase).sin()).collect(), n, &Device::Cpu).unwrap()
    }

    #[test]
    fn in_place_equals_the_plain_twin() {
        for clip in [0.0, 0.5, 1e6] {
            let update = Update { betas: [0.9, 0.999], eps: 1e-8, clip, shrink: 0.99, pace: 0.01, square_scale: 0.05 };
            let [a, b] = [(); 2].map(|()| {
                [wave(70_001, 0.0), wave(70_001, 1.0), wave(70_001, 2.0).abs().unwrap()]
                    .map(|t| Var::from_tensor(&t).unwrap())
            });
            let gradient = wave(70_001, 3.0);
            update.plain(&a[0], &a[1], &a[2], &gradient).unwrap();
            update.in_place(&b[0], &b[1], &b[2], &gradient).unwrap();
            for (a, b) in a.iter().zip(&b) {
                let furthest = (a.as_tensor() - b.as_tensor()).unwrap().abs().unwrap().max(0).unwrap();
                assert!(furthest.to_scalar::<f32>().unwrap() < 1e-6, "clip {clip}");
            }
        }
    }
}
