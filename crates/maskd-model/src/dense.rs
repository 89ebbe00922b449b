//! Tokens and keys of whole blocks with gradients: what one network is taught to reproduce of another, patch by patch.

use candle_core::{Result, Tensor, bail};

use super::{Output, OutputRequest, Vit};
use maskd_kernels::grad::{self, Checkpointing};

impl Vit {
    /// [`Self::forward`] for training: the same answer, by fused blocks with a backward where there are such
    /// (float32 on the CPU), else by candle's own operators. Attention is not given.
    ///
    /// # Errors
    /// As [`Self::forward`]; attention that is asked for.
    pub fn dense(&self, images: &Tensor, want: &OutputRequest, keep: Checkpointing) -> Result<Output> {
        if want.attention.is_some() || want.cls_attention.is_some() {
            bail!("dense: attention weights are not given in training")
        }
        if !self.trains(images) {
            return self.forward(images, want);
        }
        let stop = self.last_wanted(want)?;
        let (mut x, groups) = self.assemble(std::slice::from_ref(images))?; // (B (1 + N), C)
        let shape = (groups[0].0, groups[0].1, self.arch.dim);
        let mut done = 0;
        // As many blocks at once as have no wanted output between them.
        let mut run_to = |x: Tensor, end: usize| {
            let which = std::mem::replace(&mut done, end)..end;
            if which.is_empty() { Ok(x) } else { self.fused_blocks(&x, which, &groups, None, (false, keep)) }
        };
        let (mut tokens, mut keys) = (Vec::new(), Vec::new());
        for i in 0..=stop {
            if want.keys.contains(&i) {
                x = run_to(x, i)?;
                keys.push(self.keys(&x, i)?.reshape(shape)?);
            }
            if want.tokens.contains(&i) {
                x = run_to(x, i + 1)?;
                tokens.push(self.norm.forward(&x, self.path)?.reshape(shape)?);
            }
        }
        Ok(Output { tokens, keys, attention: None, cls_attention: None })
    }

    /// Keys of block `i`, of its input x `(T, C)`.
    fn keys(&self, x: &Tensor, i: usize) -> Result<Tensor> {
        let (plain, c) = (self.blocks[i].plain()?, self.arch.dim);
        let (weight, bias) = (plain.qkv.weight.narrow(0, c, c)?, plain.qkv.bias.narrow(0, c, c)?);
        grad::linear(&plain.norm1.forward(x, self.path)?, &weight.contiguous()?, &bias.contiguous()?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use candle_core::{DType, Device};

    use super::{
        super::crops::tests::{noise, variables},
        *,
    };
    use crate::{Architecture, Family};
    use maskd_kernels::ComputePath;

    /// Everything that is wanted, side by side, and the gradient of every parameter.
    fn run(arch: Architecture, path: ComputePath, want: &OutputRequest) -> Vec<(String, Tensor)> {
        let vars = variables(&arch);
        let tensors: HashMap<String, Tensor> = vars.iter().map(|(n, v)| (n.clone(), v.as_tensor().clone())).collect();
        let vit = Vit::new(arch, &tensors, &Device::Cpu, DType::F32, path).unwrap();
        let images = noise(&[2, 3, 3 * arch.patch, 2 * arch.patch], 1.0, 91);
        let given = vit.dense(&images, want, Checkpointing::Products).unwrap();
        let all: Vec<Tensor> = given.tokens.into_iter().chain(given.keys).collect();
        assert_eq!(all.len(), want.tokens.len() + want.keys.len());
        assert!(all.iter().all(|t| t.dims() == [2, 7, arch.dim]));
        let out = Tensor::cat(&all, 2).unwrap();
        let weights = noise(out.dims(), 1.0, 93);
        let grads = (&out * weights).unwrap().sum_all().unwrap().backward().unwrap();
        let mut found = vec![("features".to_owned(), out)];
        found.extend(vars.iter().filter_map(|(n, v)| Some((n.clone(), grads.get(v)?.clone()))));
        found
    }

    #[test]
    fn fused_tokens_and_keys_equal_their_plain_twin_in_value_and_gradients() {
        let arch = Architecture {
            family: Family::DinoV2,
            patch: 4,
            dim: 24,
            depth: 4,
            heads: 3,
            hidden: 48,
            grid: 4,
            registers: 0,
            gated: false,
        };
        let v1 = Architecture { family: Family::Dino, ..arch };
        let wants = [(vec![1, 3], vec![]), (vec![3], vec![3]), (vec![0, 1], vec![2]), (vec![], vec![0])];
        for (arch, (tokens, keys)) in [arch, v1].into_iter().flat_map(|a| wants.clone().map(|want| (a, want))) {
            let want = OutputRequest { tokens, keys, ..OutputRequest::default() };
            let (fused, plain) = (run(arch, ComputePath::Train, &want), run(arch, ComputePath::Plain, &want));
            let names = |all: &[(String, Tensor)]| all.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
            assert_eq!(names(&fused), names(&plain), "{want:?}: parameters that have a gradient");
            for ((name, a), (_, b)) in fused.iter().zip(&plain) {
                let most =
                    |t: &Tensor| t.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
                let furthest = most(&(a - b).unwrap());
                assert!(furthest <= 1e-4 * most(b).max(1e-2), "{want:?} {name}: {furthest} of {}", most(b));
            }
        }
    }

    #[test]
    fn blocks_that_are_not_there_and_attention_are_refused() {
        let arch = Architecture {
            family: Family::Dino,
            patch: 4,
            dim: 24,
            depth: 2,
            heads: 3,
            hidden: 48,
            grid: 4,
            registers: 0,
            gated: false,
        };
        let tensors = variables(&arch).into_iter().map(|(n, v)| (n, v.as_tensor().clone())).collect();
        let vit = Vit::new(arch, &tensors, &Device::Cpu, DType::F32, ComputePath::Train).unwrap();
        let images = noise(&[1, 3, 8, 8], 1.0, 1);
        let refused = |want: OutputRequest| vit.dense(&images, &want, Checkpointing::Products).is_err();
        assert!(refused(OutputRequest { tokens: vec![2], ..OutputRequest::default() }));
        assert!(refused(OutputRequest { tokens: vec![1, 0], ..OutputRequest::default() }));
        assert!(refused(OutputRequest { attention: Some(0), ..OutputRequest::default() }));
        assert!(!refused(OutputRequest { tokens: vec![0, 1], ..OutputRequest::default() }));
    }
}
