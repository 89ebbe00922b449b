//! Transformer blocks one after the other as one operator.
//!
//! One operator for all of them saves what a graph does at each of its edges: zero a gradient, then add to it.

use std::sync::Mutex;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::{
    block::{self, BlockShape, Checkpointing, Kept},
    scratch::recycle,
    tracked, values, with_values,
};

/// What a block leaves for the backward: its output, which is the next one's input, and its products.
type Trace = Vec<(Vec<f32>, Option<Kept>)>;

struct Stack {
    shapes: Vec<BlockShape>,
    /// Whether a backward will come at all.
    tracked: bool,
    trace: Mutex<Option<Trace>>,
}

impl Stack {
    /// Each block's shape with its parameters.
    fn parts<'a>(&self, mut flat: &'a [f32]) -> Vec<(&BlockShape, &'a [f32])> {
        let cut = |shape| {
            let (own, rest) = flat.split_at(BlockShape::parameters(shape));
            flat = rest;
            (shape, own)
        };
        self.shapes.iter().map(cut).collect()
    }

    /// The output of all blocks, and what they leave if it is wanted.
    fn run(&self, x: &[f32], flat: &[f32], trace: bool) -> (Vec<f32>, Trace) {
        let (mut left, mut y) = (Trace::new(), Vec::new());
        for (i, (shape, flat)) in self.parts(flat).into_iter().enumerate() {
            let (next, kept) = block::forward(shape, if i == 0 { x } else { &y }, flat);
            let kept = match shape.keep {
                Checkpointing::Products if trace => Some(kept),
                _ => {
                    kept.recycle();
                    None
                }
            };
            // Blocks after the first keep their input.
            let before = std::mem::replace(&mut y, next);
            if trace {
                left.push((before, kept));
            } else {
                recycle([before]);
            }
        }
        (y, left)
    }

    fn fits(&self, x: usize, parameters: usize) -> Result<()> {
        let mut values = x;
        for shape in &self.shapes {
            shape.fits(values)?;
            values = shape.rows() * shape.dim;
        }
        if self.shapes.is_empty() || parameters != self.shapes.iter().map(BlockShape::parameters).sum::<usize>() {
            bail!("blocks: {} blocks do not have {parameters} parameters", self.shapes.len())
        }
        Ok(())
    }
}

impl CustomOp2 for Stack {
    fn name(&self) -> &'static str {
        "transformer-blocks"
    }

    fn cpu_fwd(&self, x: &CpuStorage, x_at: &Layout, p: &CpuStorage, p_at: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, flat) = (values(x, x_at)?, values(p, p_at)?);
        self.fits(x.len(), flat.len())?;
        let (y, left) = self.run(x, flat, self.tracked);
        if self.tracked
            && let Ok(mut place) = self.trace.lock()
        {
            *place = Some(left);
        }
        let dim = self.shapes[0].dim;
        let rows = y.len() / dim;
        Ok((CpuStorage::F32(y), Shape::from((rows, dim))))
    }

    fn bwd(&self, x: &Tensor, p: &Tensor, _: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        // Taken, so that its memory goes block by block; a second backward computes it again.
        let trace = self.trace.lock().ok().and_then(|mut place| place.take());
        let (dx, dp) = with_values([x, p, dy], |[x, flat, dy]| {
            let mut trace = trace.unwrap_or_else(|| {
                let (y, trace) = self.run(x, flat, true);
                recycle([y]);
                trace
            });
            let mut dp = vec![0f32; flat.len()];
            let (mut d, mut end) = (Vec::new(), flat.len());
            for (i, (shape, flat)) in self.parts(flat).into_iter().enumerate().rev() {
                let (input, kept) = trace.pop().unwrap_or_default();
                let x = if i == 0 { x } else { &input };
                let kept = kept.unwrap_or_else(|| {
                    let (y, kept) = block::forward(shape, x, flat);
                    recycle([y]);
                    kept
                });
                let above = if i + 1 == self.shapes.len() { dy } else { &d };
                let (dx, own) = block::backward(shape, x, flat, kept, above);
                dp[end - own.len()..end].copy_from_slice(&own);
                end -= own.len();
                recycle([std::mem::replace(&mut d, dx)]);
                recycle([input]);
            }
            (d, dp)
        })?;
        let dx = Tensor::from_vec(dx, x.shape(), x.device())?;
        Ok((Some(dx), Some(Tensor::from_vec(dp, p.shape(), p.device())?)))
    }
}

/// Transformer blocks on the tokens of all images one after the other, x (T, C): (T, C), or (images, C) after a block
/// with `cls_only`. `parameters` holds those of [`super::block_parameters`], block after block. Differentiable.
///
/// # Errors
/// Sizes that do not fit `shapes`.
pub fn stack(x: &Tensor, parameters: &[Tensor], shapes: Vec<BlockShape>) -> Result<Tensor> {
    let flat = Tensor::cat(parameters, 0)?;
    let tracked = tracked(x) || tracked(&flat);
    x.contiguous()?.apply_op2(&flat, Stack { shapes, tracked, trace: Mutex::new(None) })
}
