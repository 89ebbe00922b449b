//! The optimiser's step as one pass over a tensor: clipping, AdamW, and the teacher's moving average.

use std::cell::RefCell;

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Tensor, bail};
use rayon::prelude::*;

use super::{math::dispatch, with_values};

/// Values handled together by one thread.
const CHUNK: usize = 1 << 15;

/// Lends out the values of a tensor for writing.
struct Lend<F>(RefCell<Option<F>>);

impl<F: FnOnce(&mut [f32]) -> Result<()>> InplaceOp1 for Lend<F> {
    fn name(&self) -> &'static str {
        "update"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let CpuStorage::F32(all) = storage else { bail!("a fused update takes float32 tensors") };
        let Some((start, end)) = layout.contiguous_offsets() else { bail!("a fused update takes contiguous tensors") };
        match self.0.take() {
            Some(f) => f(&mut all[start..end]),
            None => Ok(()),
        }
    }
}

fn lend(tensor: &Tensor, f: impl FnOnce(&mut [f32]) -> Result<()>) -> Result<()> {
    tensor.inplace_op1(&Lend(RefCell::new(Some(f))))
}

/// One step of AdamW (Loshchilov and Hutter 2019, in the order of PyTorch's arithmetic).
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    /// Learning rate.
    pub lr: f64,
    /// Decoupled weight decay; 0 for biases and vectors.
    pub weight_decay: f64,
    /// Decay of the two moments.
    pub betas: (f64, f64),
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Steps that this parameter has taken, this one included: 1 at its first.
    pub step: u64,
    /// The norm that the gradient is scaled down to if it is longer, each parameter on its own.
    pub clip: Option<f64>,
}

struct Factors {
    clip: f32,
    decay: f32,
    betas: (f32, f32),
    rests: (f32, f32),
    rate: f32,
    root: f32,
    eps: f32,
}

dispatch! {
    fn adamw(p: &mut [f32], g: &[f32], first: &mut [f32], second: &mut [f32], f: &Factors) = adamw_body
}

#[inline(always)]
fn adamw_body(p: &mut [f32], g: &[f32], first: &mut [f32], second: &mut [f32], f: &Factors) {
    for (((p, g), m), v) in p.iter_mut().zip(g).zip(first).zip(second) {
        let g = g * f.clip;
        *m += (g - *m) * f.rests.0;
        *v = *v * f.betas.1 + f.rests.1 * g * g;
        *p = *p * f.decay - f.rate * (*m / (v.sqrt() / f.root + f.eps));
    }
}

dispatch! {
    fn average(teacher: &mut [f32], student: &[f32], momentum: f32, rest: f32) = average_body
}

#[inline(always)]
fn average_body(teacher: &mut [f32], student: &[f32], momentum: f32, rest: f32) {
    for (t, s) in teacher.iter_mut().zip(student) {
        *t = *t * momentum + rest * s;
    }
}

dispatch! {
    fn squares(g: &[f32]) -> f64 = squares_body
}

#[inline(always)]
fn squares_body(g: &[f32]) -> f64 {
    const LANES: usize = 16;
    let mut sums = [0f64; LANES];
    for chunk in g.chunks(LANES) {
        sums.iter_mut().zip(chunk).for_each(|(s, x)| *s += f64::from(*x) * f64::from(*x));
    }
    sums.iter().sum()
}

impl AdamW {
    /// Steps `param` and its moments in place, then draws `teacher` (with its momentum) towards it.
    /// Returns the norm of the gradient before clipping. Float32 on the CPU; no two may share their memory.
    ///
    /// # Errors
    /// Tensors that differ in size, are on another device or of another type.
    pub fn apply(
        &self,
        param: &Tensor,
        grad: &Tensor,
        (first, second): (&Tensor, &Tensor),
        teacher: Option<(&Tensor, f64)>,
    ) -> Result<f64> {
        let n = param.elem_count();
        let others = [Some(grad), Some(first), Some(second), teacher.map(|t| t.0)];
        if others.into_iter().flatten().any(|t| t.elem_count() != n) {
            bail!("update: parameter {:?}, gradient {:?}, moments {:?}", param.dims(), grad.dims(), first.dims())
        }
        let mut norm = 0.0;
        with_values([grad], |[g]| -> Result<()> {
            // The same blocks in the same order, whatever the threads.
            norm = g.par_chunks(CHUNK).map(squares).collect::<Vec<_>>().iter().sum::<f64>().sqrt();
            let f = self.factors(norm);
            lend(param, |p| {
                lend(first, |m| {
                    lend(second, |v| {
                        let chunks = p.par_chunks_mut(CHUNK).zip(g.par_chunks(CHUNK));
                        let moments = m.par_chunks_mut(CHUNK).zip(v.par_chunks_mut(CHUNK));
                        match teacher {
                            None => chunks.zip(moments).for_each(|((p, g), (m, v))| adamw(p, g, m, v, &f)),
                            Some((teacher, momentum)) => lend(teacher, |t| {
                                let all = chunks.zip(moments).zip(t.par_chunks_mut(CHUNK));
                                all.for_each(|(((p, g), (m, v)), t)| {
                                    adamw(p, g, m, v, &f);
                                    average(t, p, momentum as f32, (1.0 - momentum) as f32);
                                });
                                Ok(())
                            })?,
                        }
                        Ok(())
                    })
                })
            })
        })??;
        Ok(norm)
    }

    fn factors(&self, norm: f64) -> Factors {
        let (beta1, beta2) = self.betas;
        let steps = self.step.max(1) as f64;
        Factors {
            clip: self.clip.map_or(1.0, |clip| (clip / (norm + 1e-6)).min(1.0)) as f32,
            decay: (1.0 - self.lr * self.weight_decay) as f32,
            betas: (beta1 as f32, beta2 as f32),
            rests: ((1.0 - beta1) as f32, (1.0 - beta2) as f32),
            rate: (self.lr / (1.0 - beta1.powf(steps))) as f32,
            root: (1.0 - beta2.powf(steps)).sqrt() as f32,
            eps: self.eps as f32,
        }
    }
}

/// teacher = momentum teacher + (1 - momentum) student, in place: for what the optimiser does not step.
pub fn ema(teacher: &Tensor, student: &Tensor, momentum: f64) -> Result<()> {
    if teacher.elem_count() != student.elem_count() {
        bail!("average: teacher {:?}, student {:?}", teacher.dims(), student.dims())
    }
    with_values([student], |[s]| {
        lend(teacher, |t| {
            let chunks = t.par_chunks_mut(CHUNK).zip(s.par_chunks(CHUNK));
            chunks.for_each(|(t, s)| average(t, s, momentum as f32, (1.0 - momentum) as f32));
            Ok(())
        })
    })?
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    #[test]
    fn three_steps_equal_the_formulas_in_double_precision() {
        let n = CHUNK + 37;
        let (param, teacher) = (check::noise(n, 1.0, 1), check::noise(n, 1.0, 2));
        let moments = (check::noise(n, 0.0, 1), check::noise(n, 0.0, 1));
        let values = |t: &Tensor| -> Vec<f64> { t.to_vec1::<f32>().unwrap().into_iter().map(f64::from).collect() };
        let (mut p, mut t) = (values(&param), values(&teacher));
        let (mut m, mut v) = (vec![0.0; n], vec![0.0; n]);
        for step in 1..4u64 {
            let grad = check::noise(n, step as f32, 10 + step as u32);
            let g = values(&grad);
            let norm = g.iter().map(|g| g * g).sum::<f64>().sqrt();
            let adamw = AdamW { lr: 1e-2, weight_decay: 0.3, betas: (0.9, 0.999), eps: 1e-8, step, clip: Some(3.0) };
            let found = adamw.apply(&param, &grad, (&moments.0, &moments.1), Some((&teacher, 0.9))).unwrap();
            assert!((found / norm - 1.0).abs() < 1e-6);
            for i in 0..n {
                let g = g[i] * (3.0 / norm).min(1.0);
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                let (mh, vh) = (m[i] / (1.0 - 0.9f64.powf(step as f64)), v[i] / (1.0 - 0.999f64.powf(step as f64)));
                p[i] = p[i] * (1.0 - 1e-2 * 0.3) - 1e-2 * mh / (vh.sqrt() + 1e-8);
                t[i] = 0.9 * t[i] + 0.1 * p[i];
            }
        }
        for (what, found, expected) in [("parameter", &param, &p), ("teacher", &teacher, &t)] {
            let furthest = values(found).iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(furthest < 2e-6, "{what}: {furthest}");
        }
    }

    #[test]
    fn an_average_goes_the_rest_of_the_way_and_sizes_must_fit() {
        let (teacher, student) = (check::noise(5, 1.0, 1), check::noise(5, 1.0, 2));
        let expected = ((&teacher * 0.75).unwrap() + (&student * 0.25).unwrap()).unwrap().to_vec1::<f32>().unwrap();
        ema(&teacher, &student, 0.75).unwrap();
        assert_eq!(teacher.to_vec1::<f32>().unwrap(), expected);
        assert!(ema(&teacher, &check::noise(4, 1.0, 2), 0.75).is_err());
    }
}
