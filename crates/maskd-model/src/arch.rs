//! The shape of a network, inferred from its tensors.

use std::{collections::HashMap, fmt};

use candle_core::Tensor;

use crate::{
    family::{Family, Positions},
    fault::WeightsFault,
};

/// The shape of a vision transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Architecture {
    /// Which paper's.
    pub family: Family,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Channels of a token, C.
    pub dim: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads.
    pub heads: usize,
    /// Channels inside the MLP.
    pub hidden: usize,
    /// Side of the square grid that the position embeddings were trained on; 0 where there is no table of them.
    pub grid: usize,
    /// Tokens between `[CLS]` and the patches that no patch belongs to, R.
    pub registers: usize,
    /// Whether the MLP is gated: fc2(silu(gate(x)) * fc1(x)) in place of fc2(gelu(fc1(x))).
    pub gated: bool,
}

impl Architecture {
    /// Reads the architecture off tensors in canonical names. Heads leave no trace in the tensors:
    /// `heads`, where it is known, or 64 channels a head as all published networks have.
    ///
    /// # Errors
    /// Names the tensor that is missing or whose shape fits no network.
    pub fn infer(tensors: &HashMap<String, Tensor>, heads: Option<usize>) -> Result<Self, WeightsFault> {
        let get = |name: &str| tensors.get(name).ok_or_else(|| WeightsFault::Missing(name.to_owned()));
        let odd = |name: &str, t: &Tensor, expected: &str| WeightsFault::Shape {
            name: name.to_owned(),
            found: format!("{:?}", t.dims()),
            expected: expected.to_owned(),
        };

        let proj = get("patch_embed.proj.weight")?;
        let &[dim, 3, patch, patch_w] = proj.dims() else {
            return Err(odd("patch_embed.proj.weight", proj, "[dim, 3, patch, patch]"));
        };
        if dim == 0 || patch == 0 || patch != patch_w {
            return Err(odd("patch_embed.proj.weight", proj, "[dim, 3, patch, patch]"));
        }

        let family = Family::of(tensors);
        let grid = match family.design().positions {
            Positions::Table(_) => {
                let pos = get("pos_embed")?;
                let side = match pos.dims() {
                    &[1, n, _] if n > 1 => (n - 1).isqrt(),
                    _ => 0,
                };
                if side == 0 || pos.dims() != [1, side * side + 1, dim] {
                    return Err(odd("pos_embed", pos, &format!("[1, 1 + side * side, {dim}]")));
                }
                side
            }
            Positions::Rotary { .. } => 0,
        };
        let registers = match tensors.get("register_tokens").map(|t| (t, t.dims())) {
            None => 0,
            Some((_, &[1, count @ 1..=64, c])) if c == dim => count,
            Some((t, _)) => return Err(odd("register_tokens", t, &format!("[1, 1 to 64, {dim}]"))),
        };

        let depth = tensors
            .keys()
            .filter_map(|name| name.strip_prefix("blocks.")?.split('.').next()?.parse::<usize>().ok())
            .max()
            .map_or(0, |last| last.saturating_add(1));
        if depth == 0 {
            return Err(WeightsFault::Missing("blocks.0.norm1.weight".to_owned()));
        }
        if depth > 1000 {
            return Err(WeightsFault::Extra(format!("blocks.{}", depth - 1)));
        }
        let fc1 = get("blocks.0.mlp.fc1.weight")?;
        let hidden = *fc1.dims().first().ok_or_else(|| odd("blocks.0.mlp.fc1.weight", fc1, "[hidden, dim]"))?;

        let heads = match heads {
            Some(heads) if heads > 0 && dim.is_multiple_of(heads) => heads,
            Some(heads) => return Err(WeightsFault::Heads { dim, given: Some(heads) }),
            None if dim.is_multiple_of(64) => dim / 64,
            None => return Err(WeightsFault::Heads { dim, given: None }),
        };
        let rotary = matches!(family.design().positions, Positions::Rotary { .. });
        if rotary && !(dim / heads).is_multiple_of(4) {
            return Err(WeightsFault::Heads { dim, given: Some(heads) });
        }
        let gated = tensors.contains_key("blocks.0.mlp.gate.weight");
        Ok(Self { family, patch, dim, depth, heads, hidden, grid, registers, gated })
    }

    /// Every tensor of this architecture with its shape, in the original naming.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (c, h) = (self.dim, self.hidden);
        let mut all = vec![
            ("cls_token".to_owned(), vec![1, 1, c]),
            ("patch_embed.proj.weight".to_owned(), vec![c, 3, self.patch, self.patch]),
            ("patch_embed.proj.bias".to_owned(), vec![c]),
            ("norm.weight".to_owned(), vec![c]),
            ("norm.bias".to_owned(), vec![c]),
        ];
        if self.grid > 0 {
            all.insert(1, ("pos_embed".to_owned(), vec![1, 1 + self.grid * self.grid, c]));
        }
        if self.registers > 0 {
            all.push(("register_tokens".to_owned(), vec![1, self.registers, c]));
        }
        let gate = self.gated.then_some(("mlp.gate", h, c));
        for i in 0..self.depth {
            let mut add = |name: &str, shape: &[usize]| all.push((format!("blocks.{i}.{name}"), shape.to_vec()));
            for norm in ["norm1", "norm2"] {
                add(&format!("{norm}.weight"), &[c]);
                add(&format!("{norm}.bias"), &[c]);
            }
            for (linear, output, input) in
                [("attn.qkv", 3 * c, c), ("attn.proj", c, c), ("mlp.fc1", h, c), ("mlp.fc2", c, h)]
                    .into_iter()
                    .chain(gate)
            {
                add(&format!("{linear}.weight"), &[output, input]);
                add(&format!("{linear}.bias"), &[output]);
            }
            if self.family.design().layer_scale {
                add("ls1.gamma", &[c]);
                add("ls2.gamma", &[c]);
            }
        }
        all
    }

    /// Tokens before the patches: `[CLS]` and the registers, P = 1 + R.
    pub const fn prefix(&self) -> usize {
        1 + self.registers
    }

    /// Whether the packed kernels and the training operators know its blocks: a plain MLP, and places that are added to the
    /// tokens. Other networks run on candle's own operators.
    pub fn has_packed_blocks(&self) -> bool {
        !self.gated && matches!(self.family.design().positions, Positions::Table(_))
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.tensors().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = self.family.design().id;
        let size = match (self.dim, self.depth) {
            (192, 12) => "ti".to_owned(),
            (384, 12) => "s".to_owned(),
            (768, 12) => "b".to_owned(),
            (dim, depth) => format!("w{dim}d{depth}-"),
        };
        write!(f, "{family}-vit{size}{}", self.patch)
    }
}
