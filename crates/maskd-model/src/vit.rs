//! The vision transformer.

use std::collections::HashMap;

use candle_core::{DType, Device, Result, Tensor, bail};
use parking_lot::Mutex;

use super::{
    Architecture, Positions,
    layers::{Block, LayerNorm, Linear, NamedTensors},
    resize_pos_embed,
    rotary::Rotary,
};
use maskd_kernels::{self as kernels, ComputePath, Isa, PatchEmbed};

/// What a forward pass is asked for; what is not asked for is not computed.
#[derive(Clone, Debug, Default)]
pub struct OutputRequest {
    /// Tokens after these blocks (0-based, rising), each through the final norm.
    pub tokens: Vec<usize>,
    /// Keys of these blocks (0-based, rising).
    pub keys: Vec<usize>,
    /// Attention of this block (0-based), all of it.
    pub attention: Option<usize>,
    /// Attention of `[CLS]` alone to all tokens, in this block (0-based).
    pub cls_attention: Option<usize>,
}

/// What a forward pass gives.
#[derive(Clone, Debug)]
pub struct Output {
    /// For each asked block, `(B, P + N, C)`: `[CLS]` and registers, then the patches row by row.
    pub tokens: Vec<Tensor>,
    /// For each asked block, `(B, P + N, C)`, heads side by side.
    pub keys: Vec<Tensor>,
    /// `(B, heads, P + N, P + N)`; rows are queries. It is large: for people to look at.
    pub attention: Option<Tensor>,
    /// `(B, heads, P + N)`.
    pub cls_attention: Option<Tensor>,
}

/// A ViT: patch embedding, `[CLS]`, registers, positions, blocks, final norm.
pub struct Vit {
    pub(super) arch: Architecture,
    pub(super) patch_embed: Linear,
    pub(super) cls_token: Tensor,
    /// `(1, R, C)`.
    registers: Option<Tensor>,
    /// As given: resized before it is rounded to `dtype`. None where places are not added.
    pos_embed: Option<Tensor>,
    /// For the CPU's kernels.
    packed_embed: Option<PatchEmbed>,
    /// What the tokens of the last grid start from: cameras do not change their size often.
    last_positions: Mutex<Option<((usize, usize), Tensor)>>,
    /// The angles of the last grid.
    last_rotary: Mutex<Option<((usize, usize), Rotary)>>,
    dtype: DType,
    pub(super) blocks: Vec<Block>,
    pub(super) norm: LayerNorm,
    pub(super) path: ComputePath,
}

impl Vit {
    /// Builds the network on tensors in the original naming (the trainer's variables, or a
    /// [`super::Checkpoint`]'s), moved to `device` and `dtype`.
    ///
    /// # Errors
    /// A missing tensor; a checkpoint's tensors are complete by construction.
    pub fn new(
        arch: Architecture,
        tensors: &HashMap<String, Tensor>,
        device: &Device,
        dtype: DType,
        path: ComputePath,
    ) -> Result<Self> {
        let moved: HashMap<String, Tensor> = tensors
            .iter()
            .map(|(name, t)| Ok((name.clone(), t.to_device(device)?.to_dtype(dtype)?)))
            .collect::<Result<_>>()?;
        let source = NamedTensors(&moved);
        let patch_embed = Linear::new(&source, "patch_embed.proj")?;
        // A convolution whose stride is its kernel is a product of flattened patches.
        let weight = patch_embed.weight.reshape((arch.dim, 3 * arch.patch * arch.patch))?;
        let patch_embed = Linear { weight, bias: patch_embed.bias };
        let packed_embed = match path.fuses(&patch_embed.weight) {
            true => {
                let block = (3 * arch.patch * arch.patch, arch.dim);
                Some(PatchEmbed::new(patch_embed.packed(Isa::best().without_pairs(), None, block)?, arch.patch)?)
            }
            false => None,
        };
        Ok(Self {
            arch,
            patch_embed,
            packed_embed,
            last_positions: Mutex::default(),
            last_rotary: Mutex::default(),
            cls_token: source.get("cls_token")?,
            registers: (arch.registers > 0).then(|| source.get("register_tokens")).transpose()?,
            pos_embed: match arch.family.design().positions {
                Positions::Table(_) => Some(NamedTensors(tensors).get("pos_embed")?.to_device(device)?),
                Positions::Rotary { .. } => None,
            },
            dtype,
            blocks: (0..arch.depth).map(|i| Block::new(&source, i, &arch, path)).collect::<Result<_>>()?,
            norm: LayerNorm::new(&source, "norm", arch.family.design().eps)?,
            path,
        })
    }

    /// The network's shape.
    pub fn architecture(&self) -> &Architecture {
        &self.arch
    }

    /// Position embeddings for an input of `(rows, cols)` patches, `(1, 1 + rows * cols, C)`: `[CLS]`'s first. Zeros where
    /// places are not added.
    pub fn pos_embed(&self, rows: usize, cols: usize) -> Result<Tensor> {
        match (&self.pos_embed, self.arch.family.design().positions) {
            (Some(table), Positions::Table(resize)) => {
                resize_pos_embed(table, self.arch.grid, rows, cols, resize)?.to_dtype(self.dtype)
            }
            _ => Tensor::zeros((1, 1 + rows * cols, self.arch.dim), self.dtype, self.cls_token.device()),
        }
    }

    /// The angles for `(rows, cols)` patches, where places are told by them.
    pub(super) fn rotary(&self, rows: usize, cols: usize) -> Result<Option<Rotary>> {
        let Positions::Rotary { base } = self.arch.family.design().positions else { return Ok(None) };
        let mut last = self.last_rotary.lock();
        if let Some((_, rotary)) = last.as_ref().filter(|(grid, _)| *grid == (rows, cols)) {
            return Ok(Some(rotary.clone()));
        }
        let (head_dim, device) = (self.arch.dim / self.arch.heads, self.cls_token.device());
        let rotary = Rotary::new((rows, cols), head_dim, base, self.arch.prefix(), device)?;
        *last = Some(((rows, cols), rotary.clone()));
        Ok(Some(rotary))
    }

    /// Images `(B, 3, H, W)`, normalised, H and W multiples of the patch, to flattened patches `(B, N, 3 p p)`.
    fn patches(&self, images: &Tensor) -> Result<(Tensor, usize, usize)> {
        let (b, c, ..) = images.dims4()?;
        let p = self.arch.patch;
        let (rows, cols) = self.grid(images)?;
        let patches = images
            .reshape(&[b, c, rows, p, cols, p])?
            .permute([0, 2, 4, 1, 3, 5])? // (B, rows, cols, 3, p, p)
            .reshape((b, rows * cols, c * p * p))?;
        Ok((patches, rows, cols))
    }

    /// The patch grid of images `(B, 3, H, W)`.
    pub(super) fn grid(&self, images: &Tensor) -> Result<(usize, usize)> {
        let (b, c, h, w) = images.dims4()?;
        let p = self.arch.patch;
        if c != 3 || h == 0 || w == 0 || !h.is_multiple_of(p) || !w.is_multiple_of(p) {
            bail!("input ({b}, {c}, {h}, {w}): want 3 channels and sides that are multiples of the patch, {p}");
        }
        Ok((h / p, w / p))
    }

    /// What each token starts from, `(P + N, C)`: `[CLS]` at its place, registers, and the places of patches.
    fn positions(&self, rows: usize, cols: usize) -> Result<Tensor> {
        let mut last = self.last_positions.lock();
        if let Some((grid, positions)) = &*last
            && *grid == (rows, cols)
        {
            return Ok(positions.clone());
        }
        let positions = self.pos_embed(rows, cols)?.squeeze(0)?;
        let cls = (self.cls_token.reshape((1, self.arch.dim))? + positions.narrow(0, 0, 1)?)?;
        let patches = positions.narrow(0, 1, rows * cols)?;
        let positions = match &self.registers {
            Some(registers) => Tensor::cat(&[&cls, &registers.squeeze(0)?, &patches], 0)?,
            None => Tensor::cat(&[&cls, &patches], 0)?,
        };
        *last = Some(((rows, cols), positions.clone()));
        Ok(positions)
    }

    /// The tokens that enter the first block, `(B, P + N, C)`.
    pub(super) fn embed(&self, images: &Tensor) -> Result<Tensor> {
        if let Some(packed) = &self.packed_embed {
            let (rows, cols) = self.grid(images)?;
            return packed.forward(images, &self.positions(rows, cols)?);
        }
        let (patches, rows, cols) = self.patches(images)?;
        let embedded = self.patch_embed.forward(&patches)?; // (B, N, C)
        let (b, dim) = (embedded.dim(0)?, self.arch.dim);
        let cls = self.cls_token.broadcast_as((b, 1, dim))?;
        let placed = Tensor::cat(&[&cls, &embedded], 1)?.broadcast_add(&self.pos_embed(rows, cols)?)?;
        // Registers have no place.
        let Some(registers) = &self.registers else { return Ok(placed) };
        let registers = registers.broadcast_as((b, self.arch.registers, dim))?;
        Tensor::cat(&[&placed.narrow(1, 0, 1)?, &registers, &placed.narrow(1, 1, rows * cols)?], 1)
    }

    /// Runs the network on normalised images `(B, 3, H, W)` as far as the last block that is wanted.
    ///
    /// # Errors
    /// Sides that are no multiples of the patch, blocks that do not exist.
    pub fn forward(&self, images: &Tensor, want: &OutputRequest) -> Result<Output> {
        if self.packed_embed.is_none() {
            return self.pass(images, want);
        }
        // From inside the pool: each of a pass's many pieces of work would otherwise wake it and be waited for.
        rayon::scope(|_| self.pass(images, want))
    }

    /// The last block that is run for `want`.
    pub(super) fn last_wanted(&self, want: &OutputRequest) -> Result<usize> {
        let last = self.arch.depth - 1;
        let looks = [want.attention, want.cls_attention];
        let wanted = || want.tokens.iter().chain(&want.keys).copied().chain(looks.into_iter().flatten());
        if wanted().any(|block| block > last) || !want.tokens.is_sorted() || !want.keys.is_sorted() {
            bail!("{want:?}: the network has blocks 0 to {last}, asked in rising order");
        }
        Ok(wanted().max().unwrap_or(last))
    }

    fn pass(&self, images: &Tensor, want: &OutputRequest) -> Result<Output> {
        let stop = self.last_wanted(want)?;
        let mut x = self.embed(images)?;
        let (rows, cols) = self.grid(images)?;
        let rotary = self.rotary(rows, cols)?;

        let mut tokens = Vec::with_capacity(want.tokens.len());
        let mut keys = Vec::with_capacity(want.keys.len());
        let (mut attention, mut cls_attention) = (None, None);
        for (i, block) in self.blocks.iter().enumerate().take(stop + 1) {
            let looked_at = want.keys.contains(&i) || want.attention == Some(i) || want.cls_attention == Some(i);
            if looked_at {
                let qkv = block.qkv(&x, self.path, rotary.as_ref())?;
                if want.keys.contains(&i) {
                    keys.push(qkv.narrow(2, self.arch.dim, self.arch.dim)?.contiguous()?);
                }
                if want.attention == Some(i) {
                    attention = Some(kernels::attention_plain(&qkv, self.arch.heads, self.path)?.1);
                }
                if want.cls_attention == Some(i) {
                    cls_attention = Some(kernels::cls_attention(&qkv, self.arch.heads)?);
                }
            }
            if i == stop && !want.tokens.contains(&i) {
                break; // its queries, keys and values were all that was asked of it
            }
            x = block.forward(x, self.path, rotary.as_ref())?;
            if want.tokens.contains(&i) {
                tokens.push(self.norm.forward(&x, self.path)?);
            }
        }
        Ok(Output { tokens, keys, attention, cls_attention })
    }
}
