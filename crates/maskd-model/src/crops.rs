//! `[CLS]` features of crops of several sizes at once, as DINO's training asks for.
//!
//! In float32 on the CPU all crops run as one ragged batch through fused blocks; the last block computes no more
//! than `[CLS]` needs. Elsewhere each size is one batch of candle's own operators.

use std::ops::Range;

use candle_core::{Result, Tensor, bail};

use super::{Vit, layers::Plain};
use maskd_kernels::grad::{self, BlockShape, Checkpointing};

/// What each image's branches are multiplied by, block by block: attention, then MLP; 0 or 1 / keep (drop path).
pub type Branches = Vec<[Vec<f32>; 2]>;

impl Vit {
    /// `[CLS]` after the final norm, `(images, C)`, of crops `(B, 3, H, W)` of several sizes, one group after the other.
    ///
    /// `branches` holds a factor for every image (over all groups, in order) in every block.
    ///
    /// # Errors
    /// Sides that are no multiples of the patch; `branches` of another size.
    pub fn crops(&self, groups: &[Tensor], branches: Option<&Branches>, keep: Checkpointing) -> Result<Tensor> {
        let images = groups.iter().map(|g| g.dim(0)).sum::<Result<usize>>()?;
        let fits = |b: &Branches| b.len() == self.blocks.len() && b.iter().flatten().all(|f| f.len() == images);
        if groups.is_empty() || !branches.is_none_or(fits) {
            bail!("crops: {} groups; branch factors want {} blocks of {images} images", groups.len(), self.blocks.len())
        }
        let cls = if groups.iter().all(|g| self.trains(g)) {
            self.crops_fused(groups, branches, keep)?
        } else {
            self.crops_plain(groups, branches)?
        };
        self.norm.forward(&cls, self.path)
    }

    /// Whether the training operators take these images: not where there are registers, or blocks that they do not know.
    pub(super) fn trains(&self, images: &Tensor) -> bool {
        let known = self.arch.has_packed_blocks() && self.arch.registers == 0;
        known && self.path.trains(images) && self.path.trains(&self.cls_token)
    }

    /// The tokens that enter the first block, of all images one after the other, `(T, C)`, and each group's
    /// (images, tokens of each).
    pub(super) fn assemble(&self, groups: &[Tensor]) -> Result<(Tensor, Vec<(usize, usize)>)> {
        let p = self.arch.patch;
        let (mut sizes, mut positions) = (Vec::new(), Vec::new());
        for group in groups {
            let (rows, cols) = self.grid(group)?;
            positions.push(self.pos_embed(rows, cols)?.squeeze(0)?);
            sizes.push((group.dim(0)?, rows * cols));
        }
        let patches = grad::patches(groups, p)?;
        let embedded = grad::linear(&patches, &self.patch_embed.weight, &self.patch_embed.bias)?; // (sum of B N, C)
        let positions = Tensor::cat(&positions, 0)?;
        let x = grad::assemble(&embedded, &self.cls_token.flatten_all()?, &positions, &sizes)?;
        Ok((x, sizes.into_iter().map(|(b, n)| (b, n + 1)).collect()))
    }

    /// Some of the blocks as one operator; `branches` of all blocks. `cls_only` is for the last of them.
    pub(super) fn fused_blocks(
        &self,
        x: &Tensor,
        which: Range<usize>,
        groups: &[(usize, usize)],
        branches: Option<&Branches>,
        (cls_only, keep): (bool, Checkpointing),
    ) -> Result<Tensor> {
        let (mut parameters, mut shapes) = (Vec::new(), Vec::new());
        for i in which.clone() {
            parameters.extend(self.blocks[i].plain()?.parameters()?);
            shapes.push(BlockShape {
                dim: self.arch.dim,
                hidden: self.arch.hidden,
                heads: self.arch.heads,
                eps: self.arch.family.design().eps as f32,
                groups: groups.to_vec(),
                branches: branches.map(|b| b[i].clone()),
                cls_only: cls_only && i + 1 == which.end,
                keep,
            });
        }
        grad::stack(x, &parameters, shapes)
    }

    fn crops_fused(&self, groups: &[Tensor], branches: Option<&Branches>, keep: Checkpointing) -> Result<Tensor> {
        let (x, sizes) = self.assemble(groups)?;
        self.fused_blocks(&x, 0..self.blocks.len(), &sizes, branches, (true, keep))
    }

    fn crops_plain(&self, groups: &[Tensor], branches: Option<&Branches>) -> Result<Tensor> {
        let (mut all, mut first) = (Vec::new(), 0);
        for group in groups {
            let mut x = self.embed(group)?;
            let images = x.dim(0)?;
            let (rows, cols) = self.grid(group)?;
            let rotary = self.rotary(rows, cols)?;
            for (i, block) in self.blocks.iter().enumerate() {
                let factor = |branch: &Vec<f32>| {
                    let factors = Tensor::new(&branch[first..first + images], x.device())?;
                    factors.to_dtype(x.dtype())?.reshape((images, 1, 1))
                };
                x = match branches.map(|b| &b[i]) {
                    None => block.forward(x, self.path, rotary.as_ref())?,
                    Some([attention, mlp]) => block.forward_scaled(
                        &x,
                        self.path,
                        rotary.as_ref(),
                        Some(&[factor(attention)?, factor(mlp)?]),
                    )?,
                };
            }
            all.push(x.narrow(1, 0, 1)?.squeeze(1)?);
            first += images;
        }
        Tensor::cat(&all, 0)
    }
}

impl Plain {
    /// Everything as [`grad::stack`] takes it. A LayerScale goes into the layer it follows.
    fn parameters(&self) -> Result<Vec<Tensor>> {
        let scaled = |linear: &super::layers::Linear, gamma: Option<&Tensor>| match gamma {
            None => Ok((linear.weight.clone(), linear.bias.clone())),
            Some(gamma) => Ok::<_, candle_core::Error>((
                linear.weight.broadcast_mul(&gamma.unsqueeze(1)?)?,
                (&linear.bias * gamma)?,
            )),
        };
        let gammas = self.scales.as_ref();
        let (proj, proj_bias) = scaled(&self.proj, gammas.map(|s| &s.0))?;
        let (fc2, fc2_bias) = scaled(&self.fc2, gammas.map(|s| &s.1))?;
        grad::block_parameters([
            &self.norm1.weight,
            &self.norm1.bias,
            &self.qkv.weight,
            &self.qkv.bias,
            &proj,
            &proj_bias,
            &self.norm2.weight,
            &self.norm2.bias,
            &self.fc1.weight,
            &self.fc1.bias,
            &fc2,
            &fc2_bias,
        ])
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashMap;

    use candle_core::{DType, Device, Var};

    use super::*;
    use crate::{Architecture, Family};
    use maskd_kernels::ComputePath;

    pub(crate) fn noise(shape: &[usize], scale: f32, seed: usize) -> Tensor {
        let n = shape.iter().product::<usize>();
        let value = |i: usize| (((i + 1) as f32 * 12.9898 + seed as f32 * 78.233).sin() * 43_758.547).fract() * scale;
        Tensor::from_vec((0..n).map(value).collect::<Vec<f32>>(), shape, &Device::Cpu).unwrap()
    }

    /// Every tensor of a network, with values that leave no part of it idle.
    pub(crate) fn variables(arch: &Architecture) -> Vec<(String, Var)> {
        let of = |(i, (name, shape)): (usize, (String, Vec<usize>))| {
            let about = if shape.len() == 1 && !name.ends_with("bias") { 0.7 } else { 0.0 };
            let values = (noise(&shape, 0.2, i) + about).unwrap();
            (name, Var::from_tensor(&values).unwrap())
        };
        arch.tensors().into_iter().enumerate().map(of).collect()
    }

    /// Features of two sizes of crops, and the gradient of every parameter.
    fn run(arch: Architecture, path: ComputePath, branches: Option<&Branches>) -> (Tensor, Vec<(String, Tensor)>) {
        let vars = variables(&arch);
        let tensors: HashMap<String, Tensor> = vars.iter().map(|(n, v)| (n.clone(), v.as_tensor().clone())).collect();
        let vit = Vit::new(arch, &tensors, &Device::Cpu, DType::F32, path).unwrap();
        let p = arch.patch;
        let groups = [noise(&[2, 3, 3 * p, 3 * p], 1.0, 91), noise(&[3, 3, 2 * p, 2 * p], 1.0, 92)];
        let out = vit.crops(&groups, branches, Checkpointing::Products).unwrap();
        let weights = noise(&[5, arch.dim], 1.0, 93);
        let grads = (&out * weights).unwrap().sum_all().unwrap().backward().unwrap();
        let found = vars.iter().filter_map(|(n, v)| Some((n.clone(), grads.get(v)?.clone())));
        (out, found.collect())
    }

    #[test]
    fn fused_crops_equal_their_plain_twin_with_layer_scale_and_dropped_branches() {
        let factors = |seed: usize| (0..5).map(|i| if (i + seed).is_multiple_of(3) { 0.0 } else { 1.5 }).collect();
        let branches: Branches = (0..3).map(|block| [factors(block), factors(block + 1)]).collect();
        for (family, drops) in [(Family::Dino, None), (Family::DinoV2, None), (Family::DinoV2, Some(&branches))] {
            let arch = Architecture {
                family,
                patch: 4,
                dim: 24,
                depth: 3,
                heads: 3,
                hidden: 48,
                grid: 4,
                registers: 0,
                gated: false,
            };
            let (fused, plain) = (run(arch, ComputePath::Train, drops), run(arch, ComputePath::Plain, drops));
            assert_eq!(plain.1.len(), fused.1.len(), "{family:?}: parameters that have a gradient");
            let both = fused.1.iter().zip(&plain.1).map(|(a, b)| (a.0.as_str(), &a.1, &b.1));
            for (name, a, b) in both.chain([("features", &fused.0, &plain.0)]) {
                let most =
                    |t: &Tensor| t.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
                let furthest = most(&(a - b).unwrap());
                assert!(furthest <= 1e-4 * most(b).max(1e-2), "{family:?} {name}: {furthest} of {}", most(b));
            }
        }
    }
}
