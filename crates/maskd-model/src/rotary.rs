//! Rotary positions (Su et al. 2021) as DINOv3 has them: queries and keys of patches are turned by angles that grow with
//! the patch's row and column.

use candle_core::{Device, Result, Tensor};

/// Cosines and sines for one patch grid.
#[derive(Clone, Debug)]
pub(super) struct Rotary {
    /// `(N, d)`, d channels of a head.
    cos: Tensor,
    sin: Tensor,
    /// Tokens before the patches, which are not turned.
    prefix: usize,
}

impl Rotary {
    /// Angles for `(rows, cols)` patches and heads of `head_dim` channels, after `prefix` tokens.
    ///
    /// The centres of patches lie at 2 (i + 0.5) / n - 1 along each axis; the angle of channel j is
    /// 2 pi c base^(-4 j / d) for j below d / 4, first by row, then by column, and the same again for the second half.
    pub(super) fn new(
        (rows, cols): (usize, usize),
        head_dim: usize,
        base: f64,
        prefix: usize,
        device: &Device,
    ) -> Result<Self> {
        let quarter = head_dim / 4;
        let centre = |i: usize, n: usize| 2.0 * (i as f64 + 0.5) / n as f64 - 1.0;
        let mut angles: Vec<f32> = Vec::with_capacity(rows * cols * head_dim);
        for (row, col) in (0..rows).flat_map(|row| (0..cols).map(move |col| (row, col))) {
            let turn = |at: f64| {
                let period = move |j: usize| base.powf(j as f64 / quarter as f64);
                (0..quarter).map(move |j| (std::f64::consts::TAU * at / period(j)) as f32)
            };
            let half: Vec<f32> = turn(centre(row, rows)).chain(turn(centre(col, cols))).collect();
            angles.extend(half.iter().chain(&half));
        }
        let angles = Tensor::from_vec(angles, (rows * cols, head_dim), device)?;
        Ok(Self { cos: angles.cos()?, sin: angles.sin()?, prefix })
    }

    /// Turns queries and keys in `qkv` `(B, T, 3C)` with T = prefix + N; values stay as they are.
    pub(super) fn turn(&self, qkv: &Tensor, heads: usize) -> Result<Tensor> {
        let (batch, tokens, width) = qkv.dims3()?;
        let (patches, d) = self.cos.dims2()?;
        let parts = qkv.reshape((batch, tokens, 3, heads, d))?;
        let turned = parts.narrow(1, self.prefix, patches)?.narrow(2, 0, 2)?.contiguous()?; // (B, N, 2, heads, d)
        let (low, high) = (turned.narrow(4, 0, d / 2)?, turned.narrow(4, d / 2, d / 2)?);
        let crossed = Tensor::cat(&[&high.neg()?, &low], 4)?;
        let shape = (1, patches, 1, 1, d);
        let by = |table: &Tensor| table.to_dtype(qkv.dtype())?.reshape(shape);
        let turned = (turned.broadcast_mul(&by(&self.cos)?)? + crossed.broadcast_mul(&by(&self.sin)?)?)?;
        let values = parts.narrow(1, self.prefix, patches)?.narrow(2, 2, 1)?;
        let patches = Tensor::cat(&[&turned, &values], 2)?;
        Tensor::cat(&[&parts.narrow(1, 0, self.prefix)?, &patches], 1)?.reshape((batch, tokens, width))
    }
}
