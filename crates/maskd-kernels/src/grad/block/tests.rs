use proptest::prelude::*;

use super::{
    super::{check, stack},
    *,
};
use crate::{ComputePath, attention_plain, bias_gelu_plain};

fn shape(dim: usize, heads: usize, groups: &[(usize, usize)]) -> BlockShape {
    BlockShape {
        dim,
        hidden: 2 * dim + 1,
        heads,
        eps: 1e-3,
        groups: groups.to_vec(),
        branches: None,
        cls_only: false,
        keep: Checkpointing::Products,
    }
}

/// Tokens, and the parameters of a block.
fn given(shape: &BlockShape) -> Vec<Tensor> {
    let (c, h) = (shape.dim, shape.hidden);
    let mut all = vec![check::noise((shape.tokens(), c), 1.0, 1)];
    for (i, (output, input)) in [(c, 0), (3 * c, c), (c, c), (c, 0), (h, c), (c, h)].into_iter().enumerate() {
        let seed = 2 + 2 * i as u32;
        all.push(match input {
            0 => check::noise(output, 1.0, seed),
            input => check::noise((output, input), 1.0 / (input as f32).sqrt(), seed),
        });
        all.push(check::noise(output, 0.5, seed + 1));
    }
    all
}

fn fused(x: &[Tensor], shape: &BlockShape) -> Result<Tensor> {
    let parts: Vec<&Tensor> = x[1..].iter().collect();
    stack(&x[0], &block_parameters(parts.try_into().unwrap())?, vec![shape.clone()])
}

/// The same, image by image, of candle's own operators.
fn plain(x: &[Tensor], shape: &BlockShape) -> Result<Tensor> {
    let linear = |y: &Tensor, at: usize| y.matmul(&x[at].t()?)?.broadcast_add(&x[at + 1]);
    let norm = |y: &Tensor, at: usize| candle_nn::ops::layer_norm_slow(y, &x[at], &x[at + 1], shape.eps);
    let (mut images, mut first) = (Vec::new(), 0);
    let lengths = shape.groups.iter().flat_map(|&(n, tokens)| std::iter::repeat_n(tokens, n));
    for (i, tokens) in lengths.enumerate() {
        let factor = |branch: usize| shape.branches.as_ref().map_or(1.0, |b| f64::from(b[branch][i]));
        let y = x[0].narrow(0, first, tokens)?;
        let qkv = linear(&norm(&y, 1)?, 3)?.unsqueeze(0)?;
        let attended = attention_plain(&qkv, shape.heads, ComputePath::Plain)?.0.squeeze(0)?;
        let y = (y + (linear(&attended, 5)? * factor(0))?)?;
        let hidden = bias_gelu_plain(&norm(&y, 7)?.matmul(&x[9].t()?)?, &x[10])?;
        let y = (&y + (linear(&hidden, 11)? * factor(1))?)?;
        images.push(if shape.cls_only { y.narrow(0, 0, 1)? } else { y });
        first += tokens;
    }
    Tensor::cat(&images, 0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn gradients_equal_the_plain_twins(
        head_dim in 1usize..7, heads in 1usize..4, groups in prop::collection::vec((1usize..4, 1usize..40), 1..3),
        dropped in any::<bool>(), cls_only in any::<bool>(), recompute in any::<bool>(),
    ) {
        prop_assume!(head_dim * heads > 1);
        let mut shape = shape(head_dim * heads, heads, &groups);
        if dropped {
            let factors = |skip: usize| (0..shape.images()).map(|i| if i % 3 == skip { 0.0 } else { 1.25 }).collect();
            shape.branches = Some([factors(0), factors(1)]);
        }
        shape.cls_only = cls_only;
        shape.keep = if recompute { Checkpointing::Input } else { Checkpointing::Products };
        check::same_gradients(&given(&shape), |x| fused(x, &shape), |x| plain(x, &shape));
    }
}

#[test]
fn gradients_equal_finite_differences() {
    let shape = shape(4, 2, &[(2, 3), (1, 2)]);
    check::finite_differences(&given(&shape), |x| fused(x, &shape));
}

#[test]
fn keeping_and_computing_again_give_the_same_bits_and_a_second_backward_too() {
    let run = |keep: Checkpointing| {
        let shape = BlockShape { keep, ..shape(8, 2, &[(3, 70)]) };
        let x = candle_core::Var::from_tensor(&given(&shape)[0]).unwrap();
        let mut all = given(&shape);
        all[0] = x.as_tensor().clone();
        let y = fused(&all, &shape).unwrap().sqr().unwrap().sum_all().unwrap();
        let bits = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        [bits(y.backward().unwrap().get(&x).unwrap()), bits(y.backward().unwrap().get(&x).unwrap())]
    };
    let [first, second] = run(Checkpointing::Products);
    assert_eq!(first, second);
    assert_eq!(first, run(Checkpointing::Input)[0]);
}

#[test]
fn blocks_one_after_the_other_equal_the_plain_twins() {
    let first = shape(6, 2, &[(2, 5), (3, 2)]);
    let last = BlockShape { cls_only: true, keep: Checkpointing::Input, ..first.clone() };
    let split = |x: &[Tensor]| (x[..13].to_vec(), x[13..].to_vec());
    let mut all = given(&first);
    all.extend(given(&last)[1..].iter().map(|t| (t * 0.7).unwrap()));
    check::same_gradients(
        &all,
        |x| {
            let parts = |x: &[Tensor]| block_parameters(x.iter().collect::<Vec<_>>().try_into().unwrap());
            let parameters = [parts(&x[1..13])?, parts(&x[13..])?].concat();
            stack(&x[0], &parameters, vec![first.clone(), last.clone()])
        },
        |x| {
            let (mut one, two) = split(x);
            one[0] = plain(&one, &first)?;
            plain(&[vec![one[0].clone()], two].concat(), &last)
        },
    );
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let good = shape(8, 2, &[(3, 7)]);
    let all = given(&good);
    for bad in [
        shape(8, 3, &[(3, 7)]),
        shape(8, 2, &[(3, 8)]),
        shape(8, 2, &[(21, 1), (1, 0)]),
        shape(16, 2, &[(3, 7)]),
        BlockShape { branches: Some([vec![1.0; 3], vec![1.0; 2]]), ..good.clone() },
    ] {
        assert!(fused(&all, &bad).is_err(), "{bad:?}");
    }
}
