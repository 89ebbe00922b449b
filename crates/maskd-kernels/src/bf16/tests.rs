use candle_core::Device;
use proptest::prelude::*;

use super::*;

#[path = "../../../../tests/it/skip.rs"]
mod skip;

use skip::skip;

/// In parts of the largest value. Where the order of summation decides which way a value is rounded, it moves by the 256th
/// part of itself, which few channels do not average out.
const BOUND: f32 = 1e-2;

/// Whether there is anything to test here.
fn here() -> bool {
    let here = is_available();
    if !here {
        skip("this CPU has no AVX512_BF16");
    }
    here
}

fn noise(n: usize, scale: f32, seed: usize) -> Vec<f32> {
    (0..n).map(|i| (((i + 977 * seed) as f32 * 12.9898).sin() * 43_758.547).fract() * scale).collect()
}

fn rounded(values: impl IntoIterator<Item = f32>) -> Vec<f32> {
    values.into_iter().map(|x| half::bf16::from_f32(x).to_f32()).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A block's weights in float32; see [`BlockWeights::new`].
struct Layers {
    norms: [Norm; 2],
    /// qkv, proj, fc1, fc2: (outputs, inputs) and (outputs).
    linears: [(Vec<f32>, Vec<f32>); 4],
    /// LayerScale of both branches.
    scales: [Vec<f32>; 2],
    dim: usize,
    heads: usize,
}

impl Layers {
    fn new(dim: usize, hidden: usize, heads: usize) -> Self {
        let linear = |o: usize, i: usize, seed| (noise(o * i, 1.0 / (i as f32).sqrt(), seed), noise(o, 0.3, seed + 1));
        let norm = |seed| Norm {
            weight: noise(dim, 0.2, seed).into_iter().map(|x| x + 1.0).collect(),
            bias: noise(dim, 0.2, seed + 1),
            eps: 1e-6,
        };
        Self {
            norms: [norm(1), norm(3)],
            linears: [linear(3 * dim, dim, 5), linear(dim, dim, 7), linear(hidden, dim, 9), linear(dim, hidden, 11)],
            scales: [noise(dim, 1.0, 13), noise(dim, 1.0, 14)],
            dim,
            heads,
        }
    }

    fn packed(&self) -> BlockWeights {
        let Self { norms, linears, scales, dim, heads } = self;
        let packed = |i: usize, scale: Option<usize>, group: usize| {
            PackedB::new(&linears[i].0, &linears[i].1, scale.map(|s| scales[s].as_slice()), group)
        };
        let fcs = (packed(2, None, linears[2].1.len()), packed(3, Some(1), *dim));
        let qkv = packed(0, None, dim / heads);
        BlockWeights::new((norms[0].clone(), qkv), *heads, packed(1, Some(0), *dim), norms[1].clone(), fcs).unwrap()
    }

    /// Layer `i` of rows that are rounded.
    fn linear(&self, rows: &[f32], i: usize, scale: Option<usize>) -> Vec<f32> {
        let (weight, bias) = &self.linears[i];
        let inputs = weight.len() / bias.len();
        let scale = |n: usize| scale.map_or(1.0, |s| self.scales[s][n]);
        let weights: Vec<Vec<f32>> =
            weight.chunks(inputs).enumerate().map(|(n, w)| rounded(w.iter().map(|w| w * scale(n)))).collect();
        let of = |row: &[f32]| -> Vec<f32> {
            weights.iter().enumerate().map(|(n, w)| dot(row, w) + bias[n] * scale(n)).collect()
        };
        rows.chunks(inputs).flat_map(of).collect()
    }

    fn norm(&self, x: &[f32], i: usize) -> Vec<f32> {
        let Norm { weight, bias, eps } = &self.norms[i];
        let of = |row: &[f32]| {
            let mean = row.iter().sum::<f32>() / row.len() as f32;
            let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / row.len() as f32;
            let scale = 1.0 / (variance + eps).sqrt();
            rounded(row.iter().enumerate().map(|(c, x)| (x - mean) * scale * weight[c] + bias[c]))
        };
        x.chunks(self.dim).flat_map(of).collect()
    }

    fn qkv(&self, x: &[f32]) -> Vec<f32> {
        self.linear(&self.norm(x, 0), 0, None)
    }

    /// softmax(q k^T / sqrt d) v of one image's (N, 3C), rounded.
    fn attention(&self, qkv: &[f32]) -> Vec<f32> {
        let (dim, head_dim) = (self.dim, self.dim / self.heads);
        let scale = std::f32::consts::LOG2_E / (head_dim as f32).sqrt();
        let tokens = qkv.len() / (3 * dim);
        let mut out = vec![0.0; tokens * dim];
        for head in 0..self.heads {
            let part = |part: usize, token: usize, scale: f32| {
                let from = token * 3 * dim + part * dim + head * head_dim;
                rounded(qkv[from..from + head_dim].iter().map(|x| x * scale))
            };
            let all = |which: usize| (0..tokens).map(|t| part(which, t, 1.0)).collect::<Vec<_>>();
            let (keys, values) = (all(1), all(2));
            for token in 0..tokens {
                let q = part(0, token, scale);
                let scores: Vec<f32> = keys.iter().map(|k| dot(&q, k)).collect();
                let high = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let weights: Vec<f32> = scores.iter().map(|s| (s - high).exp2()).collect();
                let total: f32 = weights.iter().sum();
                let weights = rounded(weights);
                for c in 0..head_dim {
                    let sum: f32 = weights.iter().zip(&values).map(|(w, v)| w * v[c]).sum();
                    out[token * dim + head * head_dim + c] = sum / total;
                }
            }
        }
        rounded(out)
    }

    /// The plain twin of [`BlockWeights::forward`], of (B, N, C).
    fn plain(&self, x: &[f32], tokens: usize) -> Vec<f32> {
        let add = |x: &[f32], y: Vec<f32>| x.iter().zip(y).map(|(x, y)| x + y).collect::<Vec<f32>>();
        let attended: Vec<f32> =
            self.qkv(x).chunks(tokens * 3 * self.dim).flat_map(|image| self.attention(image)).collect();
        let x = add(x, self.linear(&attended, 1, Some(0)));
        let hidden = self.linear(&self.norm(&x, 1), 2, None);
        let hidden = Tensor::new(hidden, &Device::Cpu).unwrap().gelu_erf().unwrap().to_vec1::<f32>().unwrap();
        let more = self.linear(&rounded(hidden), 3, Some(1));
        add(&x, more)
    }
}

fn furthest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    // Not f32::max, which would pass over what is not a number.
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, |most, x| if x <= most { most } else { x })
}

fn largest(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |most, x| most.max(x.abs()))
}

fn flat(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

/// The worst difference from the plain twin, in parts of the largest value.
fn worst((batch, tokens): (usize, usize), (dim, hidden, heads): (usize, usize, usize), scale: f32) -> f32 {
    let layers = Layers::new(dim, hidden, heads);
    let x = noise(batch * tokens * dim, scale, 20);
    let block = layers.packed();
    let y = Tensor::from_slice(&x, (batch, tokens, dim), &Device::Cpu).unwrap();
    let (qkv, plain) = (flat(&block.qkv(&y).unwrap()), layers.qkv(&x));
    let looked_at = furthest(&qkv, &plain) / largest(&plain);
    block.forward(&y).unwrap();
    let plain = layers.plain(&x, tokens);
    looked_at.max(furthest(&flat(&y), &plain) / largest(&plain))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn a_block_equals_its_plain_twin_at_odd_sizes(
        batch in 1usize..3, tokens in 1usize..150, heads in 1usize..4, head_dim in 8usize..80, hidden in 1usize..400,
        scale in 0.01f32..30.0,
    ) {
        if here() {
            let worst = worst((batch, tokens), (heads * head_dim, hidden, heads), scale);
            prop_assert!(worst < BOUND, "{worst}");
        }
    }

    #[test]
    fn values_are_rounded_to_the_nearest(mantissas in prop::array::uniform32(0u32..1 << 24), exponent in 1u32..255) {
        if here() {
            let values = mantissas.map(|m| f32::from_bits((m << 31) | exponent << 23 | m >> 1));
            let truth = values.map(|x| half::bf16::from_f32(x).to_bits());
            // SAFETY: the instructions are here; vectors are plain values.
            let (beside, across) = unsafe {
                let [low, high]: [_; 2] = std::mem::transmute(values);
                (dot::round(low, high), dot::round_across(low, high))
            };
            // SAFETY: as above.
            let (beside, across): ([u16; 32], [[u16; 2]; 16]) =
                unsafe { (
                        std::mem::transmute::<std::arch::x86_64::__m512i, [u16; 32]>(beside),
                        std::mem::transmute::<std::arch::x86_64::__m512i, [[u16; 2]; 16]>(across),
                    ) };
            prop_assert_eq!(beside, truth);
            prop_assert!(across.iter().enumerate().all(|(i, pair)| *pair == [truth[i], truth[16 + i]]));
        }
    }
}

#[test]
fn many_tokens_go_through_several_blocks_of_keys() {
    if here() {
        let worst = worst((1, 1100), (128, 128, 2), 1.0);
        assert!(worst < BOUND, "{worst}");
    }
}

#[test]
fn huge_and_tiny_activations_are_as_in_the_twin() {
    if here() {
        for scale in [0.0, 1e-30, 1e-6, 1e6, 1e15] {
            let worst = worst((1, 77), (192, 384, 3), scale);
            assert!(worst < BOUND, "{scale}: {worst}");
        }
    }
}

#[test]
fn attention_that_is_all_on_one_token_stays_finite() {
    if here() {
        let mut layers = Layers::new(128, 128, 2);
        layers.linears[0].0.iter_mut().for_each(|w| *w *= 1e4);
        let x = Tensor::new(noise(300 * 128, 1.0, 4), &Device::Cpu).unwrap().reshape((1, 300, 128)).unwrap();
        layers.packed().forward(&x).unwrap();
        assert!(flat(&x).iter().all(|x| x.is_finite()));
    }
}

#[test]
fn an_image_in_a_batch_is_as_alone() {
    if here() {
        let block = Layers::new(192, 768, 3).packed();
        let batch = Tensor::from_vec(noise(3 * 51 * 192, 1.0, 6), (3, 51, 192), &Device::Cpu).unwrap();
        let alone = batch.narrow(0, 1, 1).unwrap().copy().unwrap();
        block.forward(&batch).unwrap();
        block.forward(&alone).unwrap();
        assert_eq!(flat(&batch.narrow(0, 1, 1).unwrap()), flat(&alone));
    }
}

#[test]
fn layers_that_do_not_fit_are_refused() {
    if here() {
        let block = Layers::new(48, 96, 3).packed();
        let x = Tensor::zeros((1, 5, 60), candle_core::DType::F32, &Device::Cpu).unwrap();
        let error = block.forward(&x).unwrap_err().to_string();
        assert!(error.contains("a block of 48 channels got 60"), "{error}");
        let Block { qkv, rest, .. } = &*block.0;
        let fcs = (rest.fc1.clone(), rest.fc2.clone());
        // Queries, keys and values of two heads in the place of three.
        assert!(
            BlockWeights::new((qkv.norm.clone(), qkv.weight.clone()), 2, rest.proj.clone(), rest.norm.clone(), fcs)
                .is_err()
        );
    }
}
