//! Packing of B in bfloat16: weights, rounded once at load, in the order in which the tiles read them.

use half::bf16;

use super::{
    super::buffer::Buffer,
    dot::{LANES, PANEL},
};

/// Pairs of a row of `values`: rounded up, so that rows are whole vectors of pairs.
pub(super) fn pairs(values: usize) -> usize {
    values.div_ceil(2).next_multiple_of(LANES)
}

/// W^T of a linear layer, `(inputs, outputs)`, in bfloat16.
#[derive(Clone)]
pub struct PackedB {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Pairs of the depth, zeros beyond the inputs.
    pub(super) pairs: usize,
    /// Outputs that share panels with nobody else: those of a head, or all.
    pub(super) group: usize,
    /// Panel by panel, (pairs, PANEL); a pair is in a u32, which a float's place holds.
    panels: Buffer,
    /// Of each panel, zeros where it has no output.
    bias: Buffer,
}

impl PackedB {
    /// Rounds `weight` (outputs, inputs), row by row, with `bias` (outputs), each row and its bias times `scale` (outputs)
    /// where there is one: LayerScale. Panels begin anew with each `group` of outputs.
    pub fn new(weight: &[f32], bias: &[f32], scale: Option<&[f32]>, group: usize) -> Self {
        let outputs = bias.len();
        let inputs = weight.len() / outputs.max(1);
        assert!(inputs * outputs == weight.len() && group > 0 && outputs.is_multiple_of(group), "packing: sizes");
        let mut packed =
            Self { inputs, outputs, pairs: pairs(inputs), group, panels: Buffer::zeros(0), bias: Buffer::zeros(0) };
        packed.panels = Buffer::zeros(packed.panels() * packed.pairs * PANEL);
        packed.bias = Buffer::zeros(packed.panels() * PANEL);
        for panel in 0..packed.panels() {
            let (first, count) = packed.columns(panel);
            for lane in 0..count {
                let n = first + lane;
                let scale = scale.map_or(1.0, |s| s[n]);
                packed.bias[panel * PANEL + lane] = bias[n] * scale;
                for (k, two) in weight[n * inputs..(n + 1) * inputs].chunks(2).enumerate() {
                    let half = |i: usize| two.get(i).map_or(0, |w| u32::from(bf16::from_f32(w * scale).to_bits()));
                    packed.panels[(panel * packed.pairs + k) * PANEL + lane] = f32::from_bits(half(0) | half(1) << 16);
                }
            }
        }
        packed
    }

    /// How many panels there are.
    pub(super) fn panels(&self) -> usize {
        self.outputs / self.group * self.group.div_ceil(PANEL)
    }

    /// The first output of a panel, and how many it has.
    pub(super) fn columns(&self, panel: usize) -> (usize, usize) {
        let in_group = self.group.div_ceil(PANEL);
        let from = panel % in_group * PANEL;
        (panel / in_group * self.group + from, PANEL.min(self.group - from))
    }

    /// A panel's pairs.
    pub(super) fn panel(&self, panel: usize) -> *const u32 {
        self.panels[panel * self.pairs * PANEL..].as_ptr().cast()
    }

    /// A panel's bias.
    pub(super) fn bias(&self, panel: usize) -> &[f32] {
        &self.bias[panel * PANEL..(panel + 1) * PANEL]
    }
}
