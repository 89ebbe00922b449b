//! One parameter's update by candle's operators, with the clipping factor left on the device: what a GPU runs, and the
//! plain twin of the library's pass over a tensor on the CPU.

use candle_core::{Result, Tensor, Var};
use maskd_kernels::grad::AdamW;

pub(super) fn plain(step: &AdamW, var: &Var, mean: &Var, square: &Var, gradient: &Tensor) -> Result<()> {
    let gradient = match step.clip {
        Some(clip) => {
            let norm = gradient.sqr()?.sum_all()?.sqrt()?;
            let factor = ((norm + 1e-6)?.recip()? * clip)?.minimum(1.0)?;
            gradient.broadcast_mul(&factor)?
        }
        None => gradient.clone(),
    };
    let (b1, b2) = step.betas;
    let t = step.step as f64;
    let next_mean = ((mean.as_detached_tensor() * b1)? + (&gradient * (1.0 - b1))?)?;
    let next_square = ((square.as_detached_tensor() * b2)? + (gradient.sqr()? * (1.0 - b2))?)?;
    let divisor = ((next_square.sqrt()? / (1.0 - b2.powf(t)).sqrt())? + step.eps)?;
    let shrunk = (var.as_detached_tensor() * (1.0 - step.lr * step.weight_decay))?;
    let next = (shrunk - (next_mean.div(&divisor)? * (step.lr / (1.0 - b1.powf(t))))?)?;
    mean.set(&next_mean)?;
    square.set(&next_square)?;
    var.set(&next)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn wave(n: usize, phase: f32) -> Tensor {
        Tensor::from_vec((0..n).map(|i| (i as f32 * 0.37 + phase).sin()).collect(), n, &Device::Cpu).unwrap()
    }

    #[test]
    fn the_pass_over_a_tensor_equals_the_plain_twin() {
        for clip in [None, Some(0.5), Some(1e6)] {
            let step = AdamW { lr: 0.01, weight_decay: 0.3, betas: (0.9, 0.999), eps: 1e-8, step: 3, clip };
            let [a, b] = [(); 2].map(|()| {
                [wave(70_001, 0.0), wave(70_001, 1.0), wave(70_001, 2.0).abs().unwrap()]
                    .map(|t| Var::from_tensor(&t).unwrap())
            });
            let gradient = wave(70_001, 3.0);
            plain(&step, &a[0], &a[1], &a[2], &gradient).unwrap();
            step.apply(&b[0].as_detached_tensor(), &gradient, (&b[1], &b[2]), None).unwrap();
            for (a, b) in a.iter().zip(&b) {
                let furthest = (a.as_tensor() - b.as_tensor()).unwrap().abs().unwrap().max(0).unwrap();
                assert!(furthest.to_scalar::<f32>().unwrap() < 1e-6, "clip {clip:?}");
            }
        }
    }
}
