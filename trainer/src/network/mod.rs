//! Student and teacher: the vision transformer that `maskd` runs, and DINO's head on its `[CLS]` token.
//!
//! The ViT is [`maskd_model::Vit`]: there is no second definition of it. A [`Network`] is a view of the parameters as they
//! are now, made anew for each step; the parameters themselves are float32 whatever it computes in.

pub mod drop_path;
pub mod ema;
pub mod head;
pub mod init;
pub mod parameters;

use std::collections::HashMap;

use candle_core::{DType, Device, Result, Tensor};
use maskd_kernels::{ComputePath, grad::Checkpointing};
use maskd_model::{Architecture, Branches, Vit};

pub use self::{
    drop_path::DropPath,
    head::{Head, HeadConfig},
    parameters::{Parameter, Parameters},
};

/// What a network is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// The backbone.
    pub backbone: Architecture,
    /// The head.
    pub head: HeadConfig,
}

impl Shape {
    /// Every tensor's name and shape, `backbone.*` then `head.*`.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let backbone = self.backbone.tensors().into_iter().map(|(name, shape)| (format!("backbone.{name}"), shape));
        let head = self.head.tensors(self.backbone.dim);
        backbone.chain(head.into_iter().map(|(name, shape)| (format!("head.{name}"), shape))).collect()
    }
}

/// Backbone and head on tensors as they are now.
pub struct Network {
    vit: Vit,
    head: Head,
    device: Device,
    dtype: DType,
}

impl Network {
    /// `tensors` by full name (`backbone.*`, `head.*`); computes in `dtype`.
    ///
    /// # Errors
    /// A tensor that is missing.
    pub fn new(shape: &Shape, tensors: &HashMap<String, Tensor>, device: &Device, dtype: DType) -> Result<Self> {
        let part = |prefix: &str| -> HashMap<String, Tensor> {
            let strip = |(name, t): (&String, &Tensor)| Some((name.strip_prefix(prefix)?.to_owned(), t.clone()));
            tensors.iter().filter_map(strip).collect()
        };
        Ok(Self {
            vit: Vit::new(shape.backbone, &part("backbone."), device, dtype, ComputePath::Train)?,
            head: Head::new(&part("head."), dtype)?,
            device: device.clone(),
            dtype,
        })
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The backbone.
    pub fn vit(&self) -> &Vit {
        &self.vit
    }

    /// `[CLS]` after the final norm, `(sum of B, C)`, of groups of crops `(B, 3, S, S)`, one size each; `branches` as
    /// [`DropPath::draw`] gives them, for the images of all groups.
    ///
    /// # Errors
    /// S no multiple of the patch; no memory left.
    pub fn features(&self, groups: &[Tensor], branches: Option<&Branches>) -> Result<Tensor> {
        let groups = groups.iter().map(|g| g.to_dtype(self.dtype)).collect::<Result<Vec<_>>>()?;
        // Contiguous: GPU products take no rows with gaps between them.
        self.vit.crops(&groups, branches, Checkpointing::Products)?.contiguous()
    }

    /// The head's outputs, `(B, K)` in float32, of features `(B, C)`.
    ///
    /// # Errors
    /// No memory left.
    pub fn logits(&self, features: &Tensor) -> Result<Tensor> {
        self.head.forward(features)
    }
}
