//! From images to the tokens that enter the first block, for groups of images of several sizes at once.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::{rows, values, with_values};

/// Images `(B, 3, H, W)` of each group as flattened patches, one after the other: `(sum of B N, 3 p p)`.
///
/// No gradient goes back to the images.
///
/// # Errors
/// Sides that are no multiples of `patch`, tensors that are not float32 on the CPU.
pub fn patches(groups: &[Tensor], patch: usize) -> Result<Tensor> {
    let width = 3 * patch * patch;
    let mut all = Vec::new();
    for images in groups {
        let (b, c, h, w) = images.dims4()?;
        if patch == 0 || c != 3 || h == 0 || w == 0 || !h.is_multiple_of(patch) || !w.is_multiple_of(patch) {
            bail!("input ({b}, {c}, {h}, {w}): want 3 channels and sides that are multiples of the patch, {patch}")
        }
        let start = all.len();
        all.resize(start + b * c * h * w, 0.0);
        with_values([images], |[images]| {
            let image = images.par_chunks(c * h * w).zip(all[start..].par_chunks_mut(c * h * w));
            image.for_each(|(image, out)| {
                // Source rows in order: each gives one run of `patch` values to every patch of its row of patches.
                for (i, row) in image.chunks_exact(w).enumerate() {
                    let (channel, y) = (i / h, i % h);
                    let at = channel * patch * patch + y % patch * patch;
                    let line = &mut out[y / patch * (w / patch) * width..];
                    for (run, patch_out) in row.chunks_exact(patch).zip(line.chunks_exact_mut(width)) {
                        patch_out[at..at + patch].copy_from_slice(run);
                    }
                }
            });
        })?;
    }
    let device = groups.first().map_or(&candle_core::Device::Cpu, Tensor::device);
    let rows = all.len() / width;
    Tensor::from_vec(all, (rows, width), device)
}

/// Images of each group and the patches of each image.
struct Assemble(Vec<(usize, usize)>);

impl Assemble {
    fn fits(&self, embedded: &[usize], cls: &[usize], positions: &[usize]) -> Result<usize> {
        let patches: usize = self.0.iter().map(|(b, n)| b * n).sum();
        let rows: usize = self.0.iter().map(|(_, n)| n + 1).sum();
        match (embedded, cls, positions) {
            (&[p, c], &[d], &[r, e]) if c > 0 && p == patches && r == rows && c == d && c == e => Ok(c),
            _ => bail!("tokens: {embedded:?}, [CLS] {cls:?} and positions {positions:?} do not fit {:?}", self.0),
        }
    }
}

impl CustomOp3 for Assemble {
    fn name(&self) -> &'static str {
        "assemble-tokens"
    }

    fn cpu_fwd(
        &self,
        e: &CpuStorage,
        e_at: &Layout,
        cls: &CpuStorage,
        cls_at: &Layout,
        p: &CpuStorage,
        p_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let c = self.fits(e_at.dims(), cls_at.dims(), p_at.dims())?;
        let (mut embedded, cls, mut positions) = (values(e, e_at)?, values(cls, cls_at)?, values(p, p_at)?);
        let tokens: usize = self.0.iter().map(|(b, n)| b * (n + 1)).sum();
        let mut out = vec![0f32; tokens * c];
        let mut rest = out.as_mut_slice();
        for &(b, n) in &self.0 {
            let (own, later) = rest.split_at_mut(b * (n + 1) * c);
            let (patches, later_patches) = embedded.split_at(b * n * c);
            let (at, later_at) = positions.split_at((n + 1) * c);
            own.par_chunks_mut((n + 1) * c).enumerate().for_each(|(i, image)| {
                let values = cls.iter().chain(&patches[i * n * c..][..n * c]);
                image.iter_mut().zip(values.zip(at)).for_each(|(o, (x, p))| *o = x + p);
            });
            (rest, embedded, positions) = (later, later_patches, later_at);
        }
        Ok((CpuStorage::F32(out), Shape::from((tokens, c))))
    }

    fn bwd(
        &self,
        e: &Tensor,
        cls: &Tensor,
        p: &Tensor,
        _: &Tensor,
        d: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let c = cls.dim(0)?;
        let (de, dcls, dp) = with_values([d], |[mut d]| {
            let mut de = Vec::with_capacity(e.elem_count());
            let (mut dcls, mut dp) = (vec![0f32; c], Vec::with_capacity(p.elem_count()));
            for &(b, n) in &self.0 {
                let (own, later) = d.split_at(b * (n + 1) * c);
                own.chunks_exact((n + 1) * c).for_each(|image| de.extend_from_slice(&image[c..]));
                let sums = rows::column_sums(own, (n + 1) * c, None);
                dcls.iter_mut().zip(&sums).for_each(|(t, s)| *t += s);
                dp.extend(sums);
                d = later;
            }
            (de, dcls, dp)
        })?;
        let tensor = |values, like: &Tensor| Tensor::from_vec(values, like.shape(), like.device()).map(Some);
        Ok((tensor(de, e)?, tensor(dcls, cls)?, tensor(dp, p)?))
    }
}

/// The tokens of all images, one image after the other: `[CLS]`, then its patches, plus its group's positions.
///
/// `embedded` (sum of B N, C), `cls` (C), `positions` (sum over groups of 1 + N, C); `groups` holds (B, N).
/// Gives (sum of B (1 + N), C); differentiable.
pub fn assemble(embedded: &Tensor, cls: &Tensor, positions: &Tensor, groups: &[(usize, usize)]) -> Result<Tensor> {
    embedded.contiguous()?.apply_op3(&cls.contiguous()?, &positions.contiguous()?, Assemble(groups.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    #[test]
    fn patches_are_those_of_a_permutation() {
        let groups = [check::noise((2, 3, 4, 8), 1.0, 1), check::noise((1, 3, 6, 2), 1.0, 2)];
        let plain = |x: &Tensor| {
            let (b, c, h, w) = x.dims4().unwrap();
            let x = x.reshape(&[b, c, h / 2, 2, w / 2, 2]).unwrap().permute([0, 2, 4, 1, 3, 5]).unwrap();
            x.reshape((b * h / 2 * w / 2, 12)).unwrap()
        };
        let expected = Tensor::cat(&[plain(&groups[0]), plain(&groups[1])], 0).unwrap();
        let found = patches(&groups, 2).unwrap();
        assert_eq!(found.to_vec2::<f32>().unwrap(), expected.to_vec2::<f32>().unwrap());
        assert!(patches(&groups, 4).is_err());
    }

    #[test]
    fn assembling_equals_its_plain_twin() {
        let given = [check::noise((2 * 3 + 4, 5), 1.0, 1), check::noise(5, 1.0, 2), check::noise((4 + 5, 5), 1.0, 3)];
        check::same_gradients(
            &given,
            |x| assemble(&x[0], &x[1], &x[2], &[(2, 3), (1, 4)]),
            |x| {
                let cls = x[1].unsqueeze(0)?;
                let image = |from: usize, n: usize, at: usize| {
                    Tensor::cat(&[&cls, &x[0].narrow(0, from, n)?], 0)? + x[2].narrow(0, at, n + 1)?
                };
                Tensor::cat(&[image(0, 3, 0)?, image(3, 3, 0)?, image(6, 4, 4)?], 0)
            },
        );
    }
}
