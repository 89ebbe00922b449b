//! The cross-entropy of DINO over all pairs of views, in one pass over the student's logits.

use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::{
    math::{self, dispatch},
    values, with_values,
};

/// The pairs of a student's view and a teacher's, equal views left out.
fn pairs(views: usize, targets: usize) -> usize {
    views * targets - views.min(targets)
}

dispatch! {
    /// One row of logits against the sum of its targets: the loss, and in `d` its gradient times `factor`.
    fn one_row(logits: &[f32], target: &[f32], inverse: f32, factor: f32, d: &mut [f32]) -> f64 = one_row_body
}

/// With z = s / T and targets t of sum n: n log(sum(exp z)) - sum(t z), and (n softmax(z) - t) / T.
#[inline(always)]
fn one_row_body(logits: &[f32], target: &[f32], inverse: f32, factor: f32, d: &mut [f32]) -> f64 {
    const LANES: usize = 16;
    let n = logits.len().min(target.len()).min(d.len());
    let (logits, target, d) = (&logits[..n], &target[..n], &mut d[..n]);
    let mut highest = [f32::NEG_INFINITY; LANES];
    for chunk in logits.chunks(LANES) {
        highest.iter_mut().zip(chunk).for_each(|(h, &x)| *h = if x > *h { x } else { *h });
    }
    let highest = highest.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b)) * inverse;
    let (mut sum, mut weight, mut dot) = ([0f32; LANES], [0f32; LANES], [0f32; LANES]);
    for ((x, t), d) in logits.chunks(LANES).zip(target.chunks(LANES)).zip(d.chunks_mut(LANES)) {
        for i in 0..x.len() {
            let z = x[i].mul_add(inverse, -highest);
            d[i] = math::exp(z);
            sum[i] += d[i];
            weight[i] += t[i];
            dot[i] = t[i].mul_add(z, dot[i]);
        }
    }
    let total = |lanes: [f32; LANES]| lanes.iter().map(|x| f64::from(*x)).sum::<f64>();
    let (sum, weight, dot) = (total(sum), total(weight), total(dot));
    let (each, scale) = ((weight / sum) as f32, factor * inverse);
    for (d, t) in d.iter_mut().zip(target) {
        *d = (*d * each - t) * scale;
    }
    weight * sum.ln() - dot
}

struct ViewLoss {
    targets: Tensor,
    temperature: f64,
}

impl ViewLoss {
    /// The views of student and teacher, images in a view, outputs.
    fn sizes(&self, logits: &[usize], views: usize) -> Result<(usize, usize, usize, usize)> {
        let (&[rows, outputs], (targets, width)) = (logits, self.targets.dims2()?) else {
            bail!("loss: logits {logits:?}, want (views x images, outputs)")
        };
        let images = rows / views.max(1);
        if images == 0 || outputs == 0 || rows != views * images || width != outputs || !targets.is_multiple_of(images)
        {
            bail!("loss: logits {logits:?} of {views} views do not fit targets {:?}", self.targets.dims())
        }
        let of_teacher = targets / images;
        if pairs(views, of_teacher) == 0 {
            bail!("loss: no pair of different views")
        }
        Ok((views, of_teacher, images, outputs))
    }

    /// The loss, and its gradient times `factor`.
    fn run(&self, logits: &[f32], sizes: (usize, usize, usize, usize), factor: f32) -> Result<(f32, Vec<f32>)> {
        let (views, of_teacher, images, outputs) = sizes;
        let terms = (pairs(views, of_teacher) * images) as f64;
        let inverse = (1.0 / self.temperature) as f32;
        with_values([&self.targets], |[targets]| {
            let mut d = vec![0f32; logits.len()];
            let losses: Vec<f64> = d
                .par_chunks_mut(outputs)
                .zip(logits.par_chunks(outputs))
                .enumerate()
                .map_init(Vec::new, |sum: &mut Vec<f32>, (row, (d, logits))| {
                    let (view, image) = (row / images, row % images);
                    sum.clear();
                    sum.resize(outputs, 0.0);
                    for other in (0..of_teacher).filter(|&other| other != view) {
                        let target = &targets[(other * images + image) * outputs..][..outputs];
                        sum.iter_mut().zip(target).for_each(|(s, t)| *s += t);
                    }
                    one_row(logits, sum, inverse, factor / terms as f32, d)
                })
                .collect();
            ((losses.iter().sum::<f64>() / terms) as f32, d)
        })
    }
}

struct Loss(ViewLoss, usize);

impl CustomOp1 for Loss {
    fn name(&self) -> &'static str {
        "view-loss"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let sizes = self.0.sizes(layout.dims(), self.1)?;
        let (loss, _) = self.0.run(values(logits, layout)?, sizes, 1.0)?;
        Ok((CpuStorage::F32(vec![loss]), Shape::from(())))
    }

    fn bwd(&self, logits: &Tensor, _: &Tensor, d: &Tensor) -> Result<Option<Tensor>> {
        let sizes = self.0.sizes(logits.dims(), self.1)?;
        let factor = d.to_scalar::<f32>()?;
        let (_, d) = with_values([logits], |[x]| self.0.run(x, sizes, factor))??;
        Ok(Some(Tensor::from_vec(d, logits.shape(), logits.device())?))
    }
}

/// The mean cross-entropy over pairs of different views, as a scalar.
///
/// `logits` (V B, K): the student's, view by view; `targets` (V' B, K): the teacher's probabilities for the first V'
/// of those views, without a gradient. Differentiable in the logits. Float32 on the CPU; else [`view_loss_plain`].
pub fn view_loss(logits: &Tensor, targets: &Tensor, views: usize, temperature: f64) -> Result<Tensor> {
    logits.contiguous()?.apply_op1(Loss(ViewLoss { targets: targets.detach(), temperature }, views))
}

/// The plain twin of [`view_loss`], on every device.
pub fn view_loss_plain(logits: &Tensor, targets: &Tensor, views: usize, temperature: f64) -> Result<Tensor> {
    let images = logits.dim(0)? / views;
    let of_teacher = targets.dim(0)? / images;
    let scaled = (logits * (1.0 / temperature))?;
    let mut total = Tensor::zeros((), logits.dtype(), logits.device())?;
    for view in 0..views {
        let student = candle_nn::ops::log_softmax(&scaled.narrow(0, view * images, images)?, D::Minus1)?;
        for other in (0..of_teacher).filter(|&other| other != view) {
            let target = targets.narrow(0, other * images, images)?;
            total = (total - target.mul(&student)?.sum(D::Minus1)?.mean_all()?)?;
        }
    }
    total / pairs(views, of_teacher) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::check, *};

    fn targets(rows: usize, outputs: usize) -> Tensor {
        candle_nn::ops::softmax(&check::noise((rows, outputs), 3.0, 7), 1).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn gradients_equal_the_plain_twins(
            views in 2usize..6, of_teacher in 1usize..3, images in 1usize..4, outputs in 1usize..90, temperature in 0.05f64..2.0,
        ) {
            let targets = targets(of_teacher * images, outputs);
            check::same_gradients(
                &[check::noise((views * images, outputs), 1.0, 1)],
                |x| view_loss(&x[0], &targets, views, temperature),
                |x| view_loss_plain(&x[0], &targets, views, temperature),
            );
        }
    }

    #[test]
    fn gradients_equal_finite_differences() {
        let targets = targets(4, 9);
        check::finite_differences(&[check::noise((6, 9), 1.0, 1)], |x| view_loss(&x[0], &targets, 3, 0.5));
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let x = check::noise((6, 9), 1.0, 1);
        assert!(view_loss(&x, &targets(4, 8), 3, 0.1).is_err());
        assert!(view_loss(&x, &targets(3, 9), 3, 0.1).is_err());
        assert!(view_loss(&x, &targets(4, 9), 4, 0.1).is_err());
    }
}
