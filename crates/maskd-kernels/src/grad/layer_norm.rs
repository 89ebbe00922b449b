//! Layer normalisation with its backward; mean and deviation are computed again rather than kept.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::{
    rows::{self, ROWS},
    scratch::buffer,
    values, with_values,
};

/// Rows of `weight.len()` values, normalised.
pub(super) fn forward(x: &[f32], weight: &[f32], bias: &[f32], eps: f32) -> Vec<f32> {
    let width = weight.len();
    let mut out = buffer(x.len());
    rows::for_rows(&mut out, width, |first, out| {
        rows::layer_norm_rows(&x[first * width..][..out.len()], out, weight, bias, eps);
    });
    out
}

/// Adds the gradient of x to `dx`; returns those of weight and bias, one after the other (2C).
pub(super) fn backward(x: &[f32], dy: &[f32], weight: &[f32], eps: f32, dx: &mut [f32]) -> Vec<f32> {
    let width = weight.len();
    let block = ROWS * width;
    let partial: Vec<Vec<f32>> = x
        .par_chunks(block)
        .zip(dy.par_chunks(block))
        .zip(dx.par_chunks_mut(block))
        .map(|((x, dy), dx)| {
            let mut sums = vec![0f32; 2 * width];
            rows::layer_norm_back_rows(x, dy, weight, eps, dx, &mut sums);
            sums
        })
        .collect();
    let mut total = vec![0f32; 2 * width];
    for sums in &partial {
        total.iter_mut().zip(sums).for_each(|(t, s)| *t += s);
    }
    total
}

struct LayerNorm(f32);

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_at: &Layout,
        w: &CpuStorage,
        w_at: &Layout,
        b: &CpuStorage,
        b_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight, bias) = (values(x, x_at)?, values(w, w_at)?, values(b, b_at)?);
        if weight.is_empty() || weight.len() != bias.len() || x_at.dims().last() != Some(&weight.len()) {
            bail!("layer norm: rows of {:?}, {} weights, {} biases", x_at.dims(), weight.len(), bias.len())
        }
        Ok((CpuStorage::F32(forward(x, weight, bias, self.0)), x_at.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, dw, db) = with_values([x, w, dy], |[x, weight, dy]| {
            let mut dx = vec![0f32; x.len()];
            let mut dw = backward(x, dy, weight, self.0, &mut dx);
            let db = dw.split_off(weight.len());
            (dx, dw, db)
        })?;
        let dx = Tensor::from_vec(dx, x.shape(), x.device())?;
        let dw = Tensor::from_vec(dw, w.shape(), w.device())?;
        Ok((Some(dx), Some(dw), Some(Tensor::from_vec(db, b.shape(), b.device())?)))
    }
}

/// Layer normalisation over the last dimension, `(..., C)`; differentiable.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, LayerNorm(eps as f32))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::check, *};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn gradients_equal_the_plain_twins(batch in 1usize..3, n in 1usize..150, dim in 2usize..50, scale in 0.1f32..4.0) {
            check::same_gradients(
                &[check::noise((batch, n, dim), scale, 1), check::noise(dim, 1.0, 2), check::noise(dim, 1.0, 3)],
                |x| layer_norm(&x[0], &x[1], &x[2], 1e-3),
                |x| candle_nn::ops::layer_norm_slow(&x[0], &x[1], &x[2], 1e-3),
            );
        }
    }

    #[test]
    fn gradients_equal_finite_differences() {
        let given = [check::noise((3, 9), 1.0, 4), check::noise(9, 1.0, 5), check::noise(9, 1.0, 6)];
        check::finite_differences(&given, |x| layer_norm(&x[0], &x[1], &x[2], 1e-6));
    }
}
