//! Multi-head self-attention straight from the fused qkv product, without ever storing N x N.

use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Result, Shape, Tensor, bail};

use super::{
    ComputePath,
    buffer::Pooled,
    flash_attention::Piece,
    heads::{Head, Heads},
    parallel::{Shared, parallel_for},
    scaling::ScaleOperands,
    simd::Isa,
};

/// Queries of a piece of work: as many as share a block of keys and values in the second-level cache, or half as many
/// where there would be too few pieces for all threads to end together.
fn queries_of_a_piece(group: usize, queries: usize) -> usize {
    if queries > 4096 { 4 * group } else { 2 * group }
}

struct Attention {
    heads: usize,
    isa: Isa,
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, tokens, width) = layout.shape().dims3()?;
        let CpuStorage::F32(qkv) = qkv else { bail!("attention takes f32") };
        let Some((start, end)) = layout.contiguous_offsets() else { bail!("attention takes a contiguous tensor") };
        if !width.is_multiple_of(3 * self.heads) {
            bail!("attention: qkv width {width} does not hold {} heads", self.heads)
        }
        let heads = Heads::new(self.isa, tokens, self.heads, width / 3 / self.heads);
        let mut out = vec![0f32; batch * tokens * width / 3];
        if !out.is_empty() {
            let mut packed = Pooled::of(batch * heads.image_len());
            let to = Shared::new(&mut packed);
            let qkv = &qkv[start..end];
            parallel_for(batch * tokens, |row| {
                for (channel, value) in qkv[row * width..(row + 1) * width].iter().enumerate() {
                    // SAFETY: every value has its own place.
                    unsafe { heads.put(to.at(0), heads.channel(channel), heads.token(row), &[*value]) }
                }
            });
            all_heads(self.isa, &mut packed, batch, heads, &mut out);
        }
        Ok((CpuStorage::F32(out), Shape::from((batch, tokens, width / 3))))
    }
}

/// Attention of all heads of `batch` images, to `out` (B, N, C).
pub(super) fn all_heads(isa: Isa, packed: &mut [f32], batch: usize, layout: Heads, out: &mut [f32]) {
    let Heads { tokens, heads, head_dim, .. } = layout;
    let dim = heads * head_dim;
    let queries = queries_of_a_piece(layout.group, batch * heads * tokens);
    let pieces = tokens.div_ceil(queries);
    assert!(packed.len() >= batch * layout.image_len() && out.len() >= batch * tokens * dim);
    let heads_of_all = Shared::new(packed);
    // SAFETY: each head is one thread's own, as long as it is written.
    let head = |which: usize| unsafe {
        std::slice::from_raw_parts_mut(heads_of_all.at(which * layout.head_len()), layout.head_len())
    };
    if layout.pairs {
        parallel_for(batch * heads, |which| isa.run(ScaleOperands { head: head(which), layout }));
    }
    let packed: Vec<Head> =
        packed.chunks_exact_mut(layout.head_len()).take(batch * heads).map(|head| layout.split(head)).collect();
    let to = Shared::new(out);
    parallel_for(batch * heads * pieces, |i| {
        let (which, piece) = (i / pieces, i % pieces);
        let (image, head) = (which / heads, which % heads);
        isa.run(Piece {
            head: &packed[which],
            queries: piece * queries..tokens.min((piece + 1) * queries),
            out: to.at(image * tokens * dim + head * head_dim),
            dim,
            layout,
        });
    });
}

/// Self-attention of `qkv` (B, N, 3C), laid out as (3, heads, C / heads), giving (B, N, C).
pub fn attention(qkv: &Tensor, heads: usize, path: ComputePath) -> Result<Tensor> {
    if path.fuses(qkv) {
        qkv.contiguous()?.apply_op1_no_bwd(&Attention { heads, isa: Isa::best() })
    } else if path.trains(qkv) {
        super::grad::attention(qkv, heads)
    } else {
        let (out, _) = attention_plain(qkv, heads, path)?;
        Ok(out)
    }
}

/// The plain twin of [`attention`]: the output (B, N, C), and the attention (B, heads, N, N) it came from.
///
/// Differentiable with [`ComputePath::Plain`].
pub fn attention_plain(qkv: &Tensor, heads: usize, path: ComputePath) -> Result<(Tensor, Tensor)> {
    let (batch, tokens, width) = qkv.dims3()?;
    let head_dim = width / 3 / heads;
    let qkv = qkv.reshape((batch, tokens, 3, heads, head_dim))?.permute((2, 0, 3, 1, 4))?; // (3, B, heads, N, d)
    let part = |i: usize| qkv.get(i)?.contiguous();
    let (q, k, v) = (part(0)?, part(1)?, part(2)?);
    let scores = (q.matmul(&k.transpose(2, 3)?)? * (head_dim as f64).powf(-0.5))?; // (B, heads, N, N)
    let attention = match path {
        ComputePath::Plain | ComputePath::Train => candle_nn::ops::softmax(&scores, D::Minus1)?,
        ComputePath::Fused | ComputePath::Bf16 =>
        {
            #[expect(clippy::disallowed_methods, reason = "inference only: no gradient is asked of it")]
            candle_nn::ops::softmax_last_dim(&scores)?
        }
    };
    let out = attention.matmul(&v)?.transpose(1, 2)?.reshape((batch, tokens, heads * head_dim))?;
    Ok((out, attention))
}

/// The first query's row of the attention alone, (B, heads, N) in float32, from `qkv` (B, N, 3C).
pub fn cls_attention(qkv: &Tensor, heads: usize) -> Result<Tensor> {
    let (batch, tokens, width) = qkv.dims3()?;
    let head_dim = width / 3 / heads;
    let qkv = qkv.reshape((batch, tokens, 3, heads, head_dim))?;
    let q = qkv.narrow(1, 0, 1)?.narrow(2, 0, 1)?.reshape((batch, heads, 1, head_dim))?;
    let k = qkv.narrow(2, 1, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous()?; // (B, heads, N, d)
    let scores = (q.matmul(&k.transpose(2, 3)?.contiguous()?)? * (head_dim as f64).powf(-0.5))?;
    // In float32: a sum over a thousand patches is too much for sixteen bits.
    let scores = scores.to_dtype(DType::F32)?;
    candle_nn::ops::softmax(&scores, D::Minus1)?.squeeze(2)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use proptest::prelude::*;

    use super::*;

    fn noise(shape: (usize, usize, usize), scale: f32) -> Tensor {
        let n = shape.0 * shape.1 * shape.2;
        let values: Vec<f32> = (0..n).map(|i| ((i as f32 * 12.9898).sin() * 43_758.547).fract() * scale).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn furthest(a: &Tensor, b: &Tensor) -> f32 {
        (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn fused_attention_equals_its_plain_twin(
            batch in 1usize..3, tokens in 1usize..150, heads in 1usize..4, head_dim in 1usize..40, scale in 0.01f32..4.0,
        ) {
            let qkv = noise((batch, tokens, 3 * heads * head_dim), scale);
            let fused = attention(&qkv, heads, ComputePath::Fused).unwrap();
            let plain = attention(&qkv, heads, ComputePath::Plain).unwrap();
            // Rounding of the scores, which grow with the square, is what the two may differ by.
            prop_assert!(furthest(&fused, &plain) < 1e-5 * scale.powi(3).max(1.0));
        }

        #[test]
        fn fused_gelu_equals_its_plain_twin(rows in 1usize..40, dim in 1usize..70, scale in 0.01f32..20.0) {
            let x = noise((1, rows, dim), scale);
            let bias = noise((1, 1, dim), 1.0).flatten_all().unwrap();
            let plain = super::super::bias_gelu_plain(&x, &bias).unwrap();
            let fused = super::super::bias_gelu(x, &bias, ComputePath::Fused).unwrap();
            prop_assert!(furthest(&fused, &plain) < 2e-6 * scale.max(1.0));
        }
    }

    #[test]
    fn extreme_scores_still_give_a_mean_of_the_values() {
        let out = attention(&noise((1, 70, 48), 1e4), 2, ComputePath::Fused).unwrap();
        let values = out.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(values.iter().all(|x| x.abs() <= 1.001e4));
    }

    #[test]
    fn the_cls_row_is_the_first_row_of_the_attention() {
        let qkv = noise((2, 11, 36), 2.0);
        let (_, whole) = attention_plain(&qkv, 3, ComputePath::Plain).unwrap();
        let first = whole.narrow(2, 0, 1).unwrap().squeeze(2).unwrap();
        assert!(furthest(&cls_attention(&qkv, 3).unwrap(), &first) < 1e-6);
    }

    #[test]
    fn attention_reads_a_view_correctly() {
        let qkv = noise((2, 9, 24), 1.0);
        let view = qkv.narrow(0, 1, 1).unwrap();
        let fused = attention(&view, 2, ComputePath::Fused).unwrap();
        let plain = attention(&view, 2, ComputePath::Plain).unwrap();
        assert!(furthest(&fused, &plain) < 1e-6);
    }
}
