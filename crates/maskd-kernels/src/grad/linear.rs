//! y = x W^T + b with its backward: no transposed copies, and no gradient of an input where it is not wanted.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::{
    matrix::{Matrix, Threads::All, multiply, product},
    rows, tracked, values, with_values,
};

/// Rows of x (rows, input) through weight (output, input) and bias.
pub(super) fn forward(x: Matrix, weight: Matrix, bias: &[f32], rows: usize) -> Vec<f32> {
    let mut y = rows::repeated(bias, rows);
    multiply(&mut y, bias.len(), x, weight.t(), true, All);
    y
}

struct Linear;

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
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
        let (output, input) = w_at.shape().dims2()?;
        let mut dims = x_at.dims().to_vec();
        let Some(last) = dims.last_mut().filter(|last| **last == input && input > 0 && bias.len() == output) else {
            bail!("linear: input {:?}, weight {:?}, bias {:?}", x_at.dims(), w_at.dims(), b_at.dims())
        };
        *last = output;
        let rows = x.len() / input;
        let y = forward(Matrix::new(x, rows, input), Matrix::new(weight, output, input), bias, rows);
        Ok((CpuStorage::F32(y), Shape::from(dims)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (output, input) = w.dims2()?;
        let wants_input = tracked(x);
        let (dx, dw, db) = with_values([x, w, dy], |[x, weight, dy]| {
            let rows = x.len() / input;
            let d = Matrix::new(dy, rows, output);
            let dx = wants_input.then(|| product(d, Matrix::new(weight, output, input)));
            (dx, product(d.t(), Matrix::new(x, rows, input)), rows::column_sums(dy, output, None))
        })?;
        let dx = dx.map(|dx| Tensor::from_vec(dx, x.shape(), x.device())).transpose()?;
        let dw = Tensor::from_vec(dw, w.shape(), w.device())?;
        Ok((dx, Some(dw), Some(Tensor::from_vec(db, b.shape(), b.device())?)))
    }
}

/// x W^T + b for x `(..., input)`, weight `(output, input)`, bias `(output)`; differentiable.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, Linear)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::check, *};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn gradients_equal_the_plain_twins(rows in 1usize..300, input in 1usize..40, output in 1usize..40) {
            check::same_gradients(
                &[
                    check::noise((rows, input), 1.0, 1),
                    check::noise((output, input), 1.0, 2),
                    check::noise(output, 1.0, 3),
                ],
                |x| linear(&x[0], &x[1], &x[2]),
                |x| x[0].matmul(&x[1].t()?)?.broadcast_add(&x[2]),
            );
        }
    }

    #[test]
    fn gradients_equal_finite_differences() {
        let given = [check::noise((2, 3, 5), 1.0, 4), check::noise((4, 5), 1.0, 5), check::noise(4, 1.0, 6)];
        check::finite_differences(&given, |x| linear(&x[0], &x[1], &x[2]));
    }

    #[test]
    fn an_input_without_a_graph_gets_no_gradient() {
        let x = check::noise((4, 3), 1.0, 1);
        let w = candle_core::Var::from_tensor(&check::noise((2, 3), 1.0, 2)).unwrap();
        let b = candle_core::Var::from_tensor(&check::noise(2, 1.0, 3)).unwrap();
        let grads = linear(&x, &w, &b).unwrap().sum_all().unwrap().backward().unwrap();
        assert!(grads.get(&x).is_none() && grads.get(&w).is_some() && grads.get(&b).is_some());
    }
}
