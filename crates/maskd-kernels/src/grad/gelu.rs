//! Bias and GELU with their backward; the pre-activation is all that is kept.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::{
    rows::{self, ROWS},
    scratch::buffer,
    values, with_values,
};

/// out = gelu(x + bias) times each row's scale.
pub(super) fn forward(x: &[f32], bias: &[f32], scales: Option<&[f32]>) -> Vec<f32> {
    let width = bias.len();
    let mut out = buffer(x.len());
    rows::for_rows(&mut out, width, |first, out| {
        let n = out.len() / width;
        rows::gelu_rows(&x[first * width..][..out.len()], bias, scales.map(|s| &s[first..][..n]), out);
    });
    out
}

/// Replaces x by the derivative of `gelu(x + bias)` and returns the value, both times each row's scale.
pub(super) fn differentiate(x: &mut [f32], bias: &[f32], scales: Option<&[f32]>) -> Vec<f32> {
    let width = bias.len();
    let mut out = buffer(x.len());
    x.par_chunks_mut(ROWS * width).zip(out.par_chunks_mut(ROWS * width)).enumerate().for_each(|(i, (x, out))| {
        let n = out.len() / width;
        rows::gelu_back_rows(x, bias, scales.map(|s| &s[i * ROWS..][..n]), out);
    });
    out
}

/// y *= x on all threads.
pub(super) fn multiply_by(y: &mut [f32], x: &[f32]) {
    const CHUNK: usize = 1 << 14;
    y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| rows::multiply_by(y, x));
}

struct BiasGelu;

impl CustomOp2 for BiasGelu {
    fn name(&self) -> &'static str {
        "bias-gelu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, x_at: &Layout, b: &CpuStorage, b_at: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, bias) = (values(x, x_at)?, values(b, b_at)?);
        if bias.is_empty() || x_at.dims().last() != Some(&bias.len()) {
            bail!("bias-gelu: rows of {:?} do not take {} biases", x_at.dims(), bias.len())
        }
        Ok((CpuStorage::F32(forward(x, bias, None)), x_at.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, b: &Tensor, _: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (dx, db) = with_values([x, b, dy], |[x, bias, dy]| {
            let mut dx = x.to_vec();
            let _ = differentiate(&mut dx, bias, None);
            multiply_by(&mut dx, dy);
            let db = rows::column_sums(&dx, bias.len(), None);
            (dx, db)
        })?;
        let dx = Tensor::from_vec(dx, x.shape(), x.device())?;
        Ok((Some(dx), Some(Tensor::from_vec(db, b.shape(), b.device())?)))
    }
}

/// gelu(x + bias) with the exact GELU, x `(..., C)`, bias `(C)`; differentiable.
pub fn bias_gelu(x: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op2(&bias.contiguous()?, BiasGelu)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::check, *};
    use crate::bias_gelu_plain;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn gradients_equal_the_plain_twins(batch in 1usize..3, n in 1usize..150, dim in 1usize..40, scale in 0.1f32..6.0) {
            check::same_gradients(
                &[check::noise((batch, n, dim), scale, 1), check::noise(dim, 1.0, 2)],
                |x| bias_gelu(&x[0], &x[1]),
                |x| bias_gelu_plain(&x[0], &x[1]),
            );
        }
    }

    #[test]
    fn gradients_equal_finite_differences() {
        check::finite_differences(&[check::noise((3, 7), 2.0, 3), check::noise(7, 1.0, 4)], |x| {
            bias_gelu(&x[0], &x[1])
        });
    }
}
