//! Named float32 variables in a fixed order: what is trained, averaged and saved.

use std::collections::{BTreeMap, HashMap};

use anyhow::Context as _;
use candle_core::{DType, Device, Result, Tensor, Var, bail};

use super::Shape;

/// One tensor of a network.
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its full name, e.g. `backbone.norm.bias`.
    pub name: String,
    /// Its values.
    pub var: Var,
}

/// All tensors of a network, in a fixed order: that of [`Shape::tensors`], or the one given.
#[derive(Clone, Debug)]
pub struct Parameters(pub Vec<Parameter>);

impl Parameters {
    /// Copies of `tensors`, which must be those of `shape`, on `device`.
    ///
    /// # Errors
    /// One that is missing or has another shape.
    pub fn new(shape: &Shape, tensors: &HashMap<String, Tensor>, device: &Device) -> Result<Self> {
        Self::of(shape.tensors(), tensors, device)
    }

    /// Copies of `tensors`, which must have these `names` and shapes, on `device`.
    ///
    /// # Errors
    /// One that is missing or has another shape.
    pub fn of(names: Vec<(String, Vec<usize>)>, tensors: &HashMap<String, Tensor>, device: &Device) -> Result<Self> {
        let parameter = |(name, dims): (String, Vec<usize>)| {
            let Some(tensor) = tensors.get(&name) else { bail!("tensor {name} is missing") };
            if tensor.dims() != dims {
                bail!("tensor {name} has shape {:?}, expected {dims:?}", tensor.dims());
            }
            // A copy: student and teacher start from the same tensors and must not share them.
            let own = tensor.to_device(device)?.to_dtype(DType::F32)?.copy()?;
            Ok(Parameter { name, var: Var::from_tensor(&own)? })
        };
        Ok(Self(names.into_iter().map(parameter).collect::<Result<_>>()?))
    }

    /// Takes the values that `all` has for them under `prefix` and their names.
    ///
    /// # Errors
    /// One that is missing or has another shape.
    pub fn set(&self, prefix: &str, all: &BTreeMap<String, Tensor>) -> anyhow::Result<()> {
        for p in &self.0 {
            let name = format!("{prefix}{}", p.name);
            p.var.set(all.get(&name).with_context(|| format!("tensor {name} is missing"))?)?;
        }
        Ok(())
    }

    /// The variables by name: what is computed from them has gradients.
    pub fn tracked(&self) -> HashMap<String, Tensor> {
        self.0.iter().map(|p| (p.name.clone(), p.var.as_tensor().clone())).collect()
    }

    /// The same values by name, without gradients.
    pub fn detached(&self) -> HashMap<String, Tensor> {
        self.0.iter().map(|p| (p.name.clone(), p.var.as_detached_tensor())).collect()
    }
}
