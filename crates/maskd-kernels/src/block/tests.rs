use candle_core::{Device, Tensor};
use proptest::prelude::*;

use super::*;
use crate::{ComputePath, Isa, attention_plain, bias_gelu_plain, layer_norm};

/// Plain tensors of a block; see [`BlockWeights::new`].
struct Layers {
    norms: [(Tensor, Tensor); 2],
    /// qkv, proj, fc1, fc2: (outputs, inputs) and (outputs).
    linears: [(Tensor, Tensor); 4],
    /// LayerScale of both branches.
    scales: [Tensor; 2],
    heads: usize,
}

const EPS: f64 = 1e-6;

/// As for the golden vectors. Most cases stay under a tenth of it; norms of few channels and attention that is nearly all
/// on one token enlarge what any two orders of summation differ by.
const BOUND: f32 = 1e-4;

fn noise(shape: &[usize], scale: f32, seed: usize) -> Tensor {
    let n: usize = shape.iter().product();
    let value = |i: usize| (((i + 977 * seed) as f32 * 12.9898).sin() * 43_758.547).fract() * scale;
    Tensor::from_vec((0..n).map(value).collect::<Vec<f32>>(), shape, &Device::Cpu).unwrap()
}

impl Layers {
    fn new(dim: usize, hidden: usize, heads: usize) -> Self {
        let linear =
            |o: usize, i: usize, seed| (noise(&[o, i], 1.0 / (i as f32).sqrt(), seed), noise(&[o], 0.3, seed + 1));
        let norm = |seed| ((noise(&[dim], 0.2, seed) + 1.0).unwrap(), noise(&[dim], 0.2, seed + 1));
        Self {
            norms: [norm(1), norm(3)],
            linears: [linear(3 * dim, dim, 5), linear(dim, dim, 7), linear(hidden, dim, 9), linear(dim, hidden, 11)],
            scales: [noise(&[dim], 1.0, 13), noise(&[dim], 1.0, 14)],
            heads,
        }
    }

    fn packed(&self, isa: Isa) -> BlockWeights {
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let norm = |i: usize| Norm { weight: flat(&self.norms[i].0), bias: flat(&self.norms[i].1), eps: EPS as f32 };
        let dim = self.scales[0].elem_count();
        let packed = |i: usize, scale: Option<usize>| {
            let scale = scale.map(|s| flat(&self.scales[s]));
            let (weight, bias) = &self.linears[i];
            PackedB::new(isa, &flat(weight), &flat(bias), scale.as_deref(), (dim, dim))
        };
        let fcs = (packed(2, None), packed(3, Some(1)));
        BlockWeights::new((norm(0), packed(0, None)), self.heads, packed(1, Some(0)), norm(1), fcs).unwrap()
    }

    /// The plain twin of [`BlockWeights::forward`].
    fn plain(&self, x: &Tensor) -> Tensor {
        let linear = |x: &Tensor, i: usize| {
            let (weight, bias) = &self.linears[i];
            x.broadcast_matmul(&weight.t().unwrap()).unwrap().broadcast_add(bias).unwrap()
        };
        let norm =
            |x: &Tensor, i: usize| layer_norm(x, &self.norms[i].0, &self.norms[i].1, EPS, ComputePath::Plain).unwrap();
        let (attended, _) = attention_plain(&linear(&norm(x, 0), 0), self.heads, ComputePath::Plain).unwrap();
        let x = (x + linear(&attended, 1).broadcast_mul(&self.scales[0]).unwrap()).unwrap();
        let (fc1, bias) = &self.linears[2];
        let hidden = norm(&x, 1).broadcast_matmul(&fc1.t().unwrap()).unwrap();
        let hidden = bias_gelu_plain(&hidden, bias).unwrap();
        (&x + linear(&hidden, 3).broadcast_mul(&self.scales[1]).unwrap()).unwrap()
    }
}

fn furthest(a: &Tensor, b: &Tensor) -> f32 {
    (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
}

fn largest(x: &Tensor) -> f32 {
    furthest(x, &x.zeros_like().unwrap())
}

/// The worst difference from the plain twin, over every instruction set that the machine has, in parts of the largest
/// value: seven products instead of eight round by the largest of the values that they add up.
fn worst((batch, tokens): (usize, usize), (dim, hidden, heads): (usize, usize, usize), scale: f32) -> f32 {
    let layers = Layers::new(dim, hidden, heads);
    let x = noise(&[batch, tokens, dim], scale, 20);
    let plain = layers.plain(&x);
    let of = |isa: Isa| {
        let block = layers.packed(isa);
        let y = x.copy().unwrap();
        block.forward(&y).unwrap();
        // What is looked at on the side must be what the block itself computed with.
        let (weight, bias) = &layers.linears[0];
        let normed = layer_norm(&x, &layers.norms[0].0, &layers.norms[0].1, EPS, ComputePath::Plain).unwrap();
        let qkv = normed.broadcast_matmul(&weight.t().unwrap()).unwrap().broadcast_add(bias).unwrap();
        furthest(&y, &plain).max(furthest(&block.qkv(&x).unwrap(), &qkv))
    };
    Isa::available().into_iter().map(of).fold(0.0, f32::max) / largest(&plain)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_block_equals_its_plain_twin_at_odd_sizes(
        batch in 1usize..3, tokens in 1usize..120, heads in 1usize..4, head_dim in 8usize..40, times in 1usize..5,
    ) {
        let dim = heads * head_dim;
        prop_assert!(worst((batch, tokens), (dim, times * dim, heads), 1.0) < BOUND);
    }

    #[test]
    fn a_block_of_seven_products_equals_its_plain_twin(
        batch in 1usize..3, tokens in 1usize..300, heads in 1usize..4, scale in 0.01f32..30.0,
    ) {
        // 192 channels split in halves for every instruction set.
        prop_assert!(worst((batch, tokens), (192, 768, heads), scale) < BOUND);
    }
}

#[test]
fn many_tokens_go_through_several_blocks_of_keys() {
    assert!(worst((1, 1100), (192, 192, 3), 1.0) < BOUND);
}

#[test]
fn huge_activations_stay_finite() {
    let layers = Layers::new(192, 384, 3);
    let x = noise(&[1, 77, 192], 1e6, 3);
    for isa in Isa::available() {
        let y = x.copy().unwrap();
        layers.packed(isa).forward(&y).unwrap();
        let worst = furthest(&y, &layers.plain(&x)) / largest(&x);
        assert!(worst < BOUND, "{}: {worst}", isa.name());
    }
}

#[test]
fn an_image_in_a_batch_is_as_alone() {
    let block = Layers::new(192, 768, 3).packed(Isa::best());
    let batch = noise(&[3, 50, 192], 1.0, 6);
    let alone = batch.narrow(0, 1, 1).unwrap().copy().unwrap();
    block.forward(&batch).unwrap();
    block.forward(&alone).unwrap();
    assert!(furthest(&batch.narrow(0, 1, 1).unwrap(), &alone) < BOUND * largest(&alone));
}

#[test]
fn layers_that_do_not_fit_are_refused() {
    let (a, b) = (Layers::new(48, 96, 3), Layers::new(60, 120, 3));
    let (a, b) = (a.packed(Isa::best()), b.packed(Isa::best()));
    let error = a.forward(&noise(&[1, 5, 60], 1.0, 1)).unwrap_err().to_string();
    assert!(error.contains("a block of 48 channels got 60"), "{error}");
    let mixed = BlockWeights::new(
        (a.0.qkv.norm.clone(), a.0.qkv.weight.clone()),
        3,
        b.0.rest.proj.clone(),
        a.0.rest.norm.clone(),
        (a.0.rest.fc1.clone(), a.0.rest.fc2.clone()),
    );
    assert!(mixed.is_err());
}
