//! Packing of B, the right side of a product: weights, packed once at load, in the order in which the tiles read them.
//!
//! A weight matrix is a grid of blocks about as wide as the network. Where sizes allow, a block is multiplied by
//! Strassen's method in Winograd's form, one level deep: seven products of halves instead of eight, so that the same
//! product takes an eighth fewer multiplications. The sums of the weights' quarters are made here, those of the left
//! side by `pack_a.rs`, and those of the products in the tile's registers (`product.rs`). One level costs less
//! than a digit of float32; the golden vectors hold as before.

use super::{buffer::Buffer, simd::Isa, tile::rows_before, winograd::pairs};

/// How a block is multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Row by column.
    Direct,
    /// Seven products of quarters.
    Strassen,
}

/// W^T of a linear layer, `(inputs, outputs)`, packed.
#[derive(Clone)]
pub struct PackedB {
    pub(super) isa: Isa,
    pub(super) form: Form,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Inputs of a block, a divisor of `inputs`.
    pub(super) depth: usize,
    /// Outputs of a block, a divisor of `outputs`.
    pub(super) width: usize,
    /// A power of two that left sides are multiplied by, and the weights were divided by: in pairs both are to be about
    /// equally large. Left sides are taken to be about 1, as norms leave them. Without pairs it is 1.
    pub(super) factor: f32,
    panels: Buffer,
    /// One for each output, and zeros for what the last panel has beyond.
    pub(super) bias: Buffer,
}

impl PackedB {
    /// Packs `weight` (outputs, inputs), row by row, and `bias` (outputs) for `isa`, each row and its bias times
    /// `scale` (outputs) where there is one: LayerScale. In blocks of `depth` inputs x `width` outputs, divisors of
    /// both sides; whole sides where they are none.
    pub fn new(isa: Isa, weight: &[f32], bias: &[f32], scale: Option<&[f32]>, (depth, width): (usize, usize)) -> Self {
        let outputs = bias.len();
        let inputs = weight.len() / outputs;
        assert_eq!(inputs * outputs, weight.len(), "packing: the weight has no (outputs, inputs)");
        let divisor = |side: usize, block: usize| if side.is_multiple_of(block) { block } else { side };
        let (depth, width) = (divisor(inputs, depth), divisor(outputs, width));
        let panel = isa.vectors() * isa.lanes();
        let halves = depth.is_multiple_of(2) && width.is_multiple_of(2 * panel);
        let form = if halves && depth >= 128 { Form::Strassen } else { Form::Direct };
        let scale_of = |n: usize| scale.map_or(1.0, |s| s[n]);
        let squares = weight
            .chunks(inputs)
            .enumerate()
            .map(|(n, row)| row.iter().map(|w| f64::from(w * scale_of(n)).powi(2)).sum::<f64>());
        let size = (squares.sum::<f64>() / weight.len() as f64).sqrt();
        let factor = if isa.pairs() { operand_scale(1.0, size as f32) } else { 1.0 };

        let mut packed = Self {
            isa,
            form,
            inputs,
            outputs,
            depth,
            width,
            factor,
            panels: Buffer::zeros(0),
            bias: Buffer::zeros(outputs.next_multiple_of(panel)),
        };
        for (n, b) in bias.iter().enumerate() {
            packed.bias[n] = b * scale_of(n);
        }
        packed.panels = Buffer::zeros(packed.block_len() * (inputs / depth) * (outputs / width));
        let (block_len, before) = (packed.block_len(), rows_before(isa.vectors()));
        for (i, block) in packed.panels.chunks_mut(block_len).take((inputs / depth) * (outputs / width)).enumerate() {
            let (first_k, first_n) = (i % (inputs / depth) * depth, i / (inputs / depth) * width);
            // W^T at (k, n) of this block, zero beyond its width.
            let at = |k: usize, n: usize| {
                let (k, n) = (first_k + k, first_n + n);
                weight[n * inputs + k] * scale_of(n) / factor
            };
            match form {
                Form::Direct => {
                    pack_panels(block, depth, (panel, before), |_, k, n| if n < width { at(k, n) } else { 0.0 }, 1);
                }
                Form::Strassen => {
                    let (dk, dn) = (depth / 2, width / 2);
                    pack_panels(
                        block,
                        dk,
                        (panel, before),
                        |which, k, n| {
                            let (b11, b12, b21, b22) = (at(k, n), at(k, dn + n), at(dk + k, n), at(dk + k, dn + n));
                            // In the order in which product.rs takes them.
                            match which {
                                0 => b11,
                                1 => b21,
                                2 => b22 - (b12 - b11),
                                3 => b22 - b12,
                                4 => b21 - (b22 - (b12 - b11)),
                                5 => b12 - b11,
                                _ => b22,
                            }
                        },
                        7,
                    );
                }
            }
        }
        packed
    }

    /// Values of a packed block.
    fn block_len(&self) -> usize {
        let (panel, before) = (self.isa.vectors() * self.isa.lanes(), rows_before(self.isa.vectors()));
        match self.form {
            Form::Direct => (before + self.depth) * self.width.next_multiple_of(panel),
            Form::Strassen => 7 * (before + self.depth / 2) * (self.width / 2),
        }
    }

    /// The packed block that takes inputs from `k * depth` and gives outputs from `n * width`.
    pub(super) fn block(&self, k: usize, n: usize) -> &[f32] {
        let len = self.block_len();
        let i = n * (self.inputs / self.depth) + k;
        &self.panels[i * len..(i + 1) * len]
    }
}

/// Fills `block` with panels of `panel` outputs; in each, `count` matrices of `depth` rows one after the other, each with
/// `before` rows before it: what the pairs of its columns subtract.
fn pack_panels(
    block: &mut [f32],
    depth: usize,
    (panel, before): (usize, usize),
    value: impl Fn(usize, usize, usize) -> f32,
    count: usize,
) {
    let len = (before + depth) * panel;
    for (j, values) in block.chunks_mut(count * len).enumerate() {
        for (which, values) in values.chunks_mut(len).enumerate() {
            let (correction, values) = values.split_at_mut(before * panel);
            for (i, v) in values.iter_mut().enumerate() {
                *v = value(which, i / panel, j * panel + i % panel);
            }
            for (n, correction) in correction.iter_mut().enumerate() {
                *correction = -pairs(depth).map(|(a, b)| values[a * panel + n] * values[b * panel + n]).sum::<f32>();
            }
        }
    }
}

/// The power of two that brings `left`, multiplied by it, and `right`, divided by it, nearest to each other.
pub(super) fn operand_scale(left: f32, right: f32) -> f32 {
    nearest_power((right / left).sqrt())
}

/// The power of two nearest to `x`; 1 for what is no usual positive number.
pub(super) fn nearest_power(x: f32) -> f32 {
    if x.is_normal() { x.log2().round().clamp(-40.0, 40.0).exp2() } else { 1.0 }
}
