//! How far a student's features are from a teacher's, by what is done with them: cosines between patches.

use candle_core::{D, Result, Tensor};
use candle_nn::ops::{log_softmax, softmax};

/// Added to the affinity of a patch with itself: it says nothing, and would outweigh all others.
const SELF: f64 = -1e4;

/// Rows of length 1, of features (..., C).
///
/// # Errors
/// No memory left.
pub fn unit(x: &Tensor) -> Result<Tensor> {
    x.broadcast_div(&(x.sqr()?.sum_keepdim(D::Minus1)? + 1e-12)?.sqrt()?)
}

/// The share of the teacher's variance that the student leaves unexplained: mean |s - t|^2 by mean |t - mean t|^2, of
/// rows of length 1 (..., C) each. 0 where both are equal, 1 where the student says no more than the mean.
///
/// All tokens of a network share a large part; by this measure it does not hide what tells them apart.
///
/// # Errors
/// Shapes that differ.
pub fn unexplained(student: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    let c = teacher.dim(D::Minus1)?;
    let mean = teacher.reshape(((), c))?.mean(0)?;
    let variance = (1.0 - mean.sqr()?.sum_all()?)?.maximum(1e-6)?;
    (student - teacher)?.sqr()?.sum(D::Minus1)?.mean_all()? / variance
}

/// Mean divergence KL(teacher || student), nats, of the affinities from each patch in `from` to all in `to`: softmax of
/// cosine by `temperature`. Student and teacher (from, to), each (B, N, C) of length 1; `same`: both are one picture.
///
/// A crop is smaller than the window of propagation, so no window is needed.
///
/// # Errors
/// Shapes that do not fit.
pub fn affinity(
    student: (&Tensor, &Tensor),
    teacher: (&Tensor, &Tensor),
    temperature: f64,
    same: bool,
) -> Result<Tensor> {
    let logits = |(from, to): (&Tensor, &Tensor)| -> Result<Tensor> {
        let logits = (from.contiguous()?.matmul(&to.t()?.contiguous()?)? / temperature)?; // (B, N, N)
        if !same {
            return Ok(logits);
        }
        let own = (Tensor::eye(logits.dim(1)?, logits.dtype(), logits.device())? * SELF)?;
        logits.broadcast_add(&own)
    };
    let targets = logits(teacher)?;
    let p = softmax(&targets, D::Minus1)?;
    let log_p = log_softmax(&targets, D::Minus1)?;
    let log_q = log_softmax(&logits(student)?, D::Minus1)?;
    (p * (log_p - log_q)?)?.sum(D::Minus1)?.mean_all()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn rows(seed: f32, common: f32) -> Tensor {
        let value = |i: usize| ((i as f32 * 12.9898 + seed).sin() * 43_758.547).fract() + common;
        let values: Vec<f32> = (0..2 * 6 * 5).map(value).collect();
        unit(&Tensor::from_vec(values, (2, 6, 5), &Device::Cpu).unwrap()).unwrap()
    }

    fn number(t: Result<Tensor>) -> f32 {
        t.unwrap().to_scalar().unwrap()
    }

    #[test]
    fn equal_features_have_no_loss_and_the_mean_explains_nothing() {
        for common in [0.0, 3.0] {
            let teacher = rows(1.0, common);
            assert!(number(unexplained(&teacher, &teacher)) < 1e-6);
            assert!(number(affinity((&teacher, &teacher), (&teacher, &teacher), 0.1, true)).abs() < 1e-5);
            let mean = teacher.reshape((12, 5)).unwrap().mean_keepdim(0).unwrap().broadcast_as((12, 5)).unwrap();
            let mean = mean.reshape((2, 6, 5)).unwrap();
            assert!((number(unexplained(&mean, &teacher)) - 1.0).abs() < 1e-3);
        }
    }

    #[test]
    fn affinities_are_those_between_patches_and_turn_with_them() {
        let (a, b, other) = (rows(1.0, 0.0), rows(2.0, 0.0), rows(3.0, 0.0));
        // Reversed channels keep every cosine.
        let turned = |t: &Tensor| {
            let order = Tensor::new(&[4u32, 3, 2, 1, 0], &Device::Cpu).unwrap();
            t.contiguous().unwrap().index_select(&order, 2).unwrap()
        };
        assert!(number(affinity((&turned(&a), &turned(&b)), (&a, &b), 0.1, false)).abs() < 1e-5);
        assert!(number(affinity((&a, &other), (&a, &b), 0.1, false)) > 0.1);
        let own = number(affinity((&other, &other), (&a, &a), 0.1, true));
        assert!(own.is_finite() && own > 0.1, "{own}");
    }
}
