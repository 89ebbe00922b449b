//! What `maskd` reads off a network, whichever it is: tokens for propagation, and what instances are discovered from.

use anyhow::{Context as _, Result};
use candle_core::{DType, Tensor};
use maskd_model::{Architecture, Discovery, Output, OutputRequest};

/// Where in a network they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureSelector {
    /// The block of the propagation tokens, from 0.
    pub block: usize,
    /// Its last block.
    last: usize,
    /// Whether discovery goes by keys, as with DINO's own networks, or by tokens.
    keys: bool,
    /// Tokens before the patches.
    prefix: usize,
}

/// What was read, in float32.
pub struct Features {
    /// Propagation tokens without `[CLS]`, (B, N, C).
    pub propagation: Tensor,
    /// What discovery goes by, `[CLS]` first, (B, 1 + N, C).
    pub discovery: Tensor,
}

impl FeatureSelector {
    /// Of a network whose propagation block is `block`, from 0.
    pub fn new(architecture: &Architecture, block: usize) -> Self {
        Self {
            block,
            last: architecture.depth - 1,
            keys: architecture.family.design().discovery == Discovery::Keys,
            prefix: architecture.prefix(),
        }
    }

    /// What to ask the network for.
    pub fn want(&self) -> OutputRequest {
        let mut tokens = vec![self.block];
        if !self.keys && self.block != self.last {
            tokens.push(self.last);
        }
        OutputRequest { tokens, keys: if self.keys { vec![self.last] } else { Vec::new() }, ..OutputRequest::default() }
    }

    /// What it has given.
    ///
    /// # Errors
    /// No memory left.
    pub fn of(&self, output: &Output) -> Result<Features> {
        let tokens = output.tokens.first().context("This is a bug: no tokens were given")?;
        let discovery = output.keys.first().or(output.tokens.get(1)).unwrap_or(tokens);
        let patches = tokens.dim(1)? - self.prefix;
        let discovery = match self.prefix {
            1 => discovery.clone(),
            // Registers are no part of what a student without them can learn.
            prefix => Tensor::cat(&[&discovery.narrow(1, 0, 1)?, &discovery.narrow(1, prefix, patches)?], 1)?,
        };
        Ok(Features {
            propagation: tokens.narrow(1, self.prefix, patches)?.to_dtype(DType::F32)?,
            discovery: discovery.to_dtype(DType::F32)?,
        })
    }
}
