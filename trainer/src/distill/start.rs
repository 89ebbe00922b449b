//! The student's first values: parts of the teacher, or chance.

use std::collections::HashMap;

use anyhow::{Result, bail};
use candle_core::Tensor;
use maskd_model::{Architecture, Checkpoint};
use rand_chacha::ChaCha8Rng;

use super::{DistillConfig, resize};
use crate::network::init;

/// The shape of a student that is made of `teacher`.
///
/// # Errors
/// A block that the teacher has not.
pub fn shape_of_teacher(teacher: &Architecture, config: &DistillConfig) -> Result<Architecture> {
    if let Some(block) = config.blocks.iter().find(|block| **block > teacher.depth) {
        bail!("distill.blocks: {block}: the teacher, {teacher}, has blocks 1 to {}", teacher.depth);
    }
    let patch = if config.patch == 0 { teacher.patch } else { config.patch };
    Ok(Architecture { patch, depth: config.blocks.len(), ..*teacher })
}

/// Tensors `backbone.*` of that student: the teacher's own, the patch embedding resampled. Position embeddings stay
/// those of the teacher's grid: they are resized for each picture.
///
/// # Errors
/// No memory left.
pub fn from_teacher(teacher: &Checkpoint, config: &DistillConfig) -> Result<HashMap<String, Tensor>> {
    let shape = shape_of_teacher(&teacher.architecture, config)?;
    let mut all = HashMap::new();
    for (name, _) in shape.tensors() {
        let theirs = match name.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
            Some((block, rest)) => {
                let block: usize = block.parse()?;
                format!("blocks.{}.{rest}", config.blocks[block] - 1)
            }
            None => name.clone(),
        };
        let Some(tensor) = teacher.tensors.get(&theirs) else { bail!("tensor {theirs} of the teacher is missing") };
        let own = if name == "patch_embed.proj.weight" {
            resize::patch_embedding(tensor, shape.patch)?
        } else {
            tensor.clone()
        };
        all.insert(format!("backbone.{name}"), own);
    }
    Ok(all)
}

/// Every tensor of the student's training by name and shape: its network, and where it is not as wide as the teacher, a
/// map of its features to the teacher's, which is not kept.
pub fn tensors(student: &Architecture, teacher: &Architecture) -> Vec<(String, Vec<usize>)> {
    let backbone = student.tensors().into_iter().map(|(name, shape)| (format!("backbone.{name}"), shape));
    let (from, to) = (student.dim, teacher.dim);
    let map = |of: &str| [(format!("map.{of}.weight"), vec![to, from]), (format!("map.{of}.bias"), vec![to])];
    let maps = ["propagation", "discovery"].into_iter().flat_map(map).filter(|_| from != to);
    backbone.chain(maps).collect()
}

/// First values of all of them by chance.
///
/// # Errors
/// No memory left.
pub fn fresh(student: &Architecture, teacher: &Architecture, rng: &mut ChaCha8Rng) -> Result<HashMap<String, Tensor>> {
    // There is no head.
    Ok(init::values(tensors(student, teacher), student.patch, 1, rng)?)
}
