//! `[distill]`: what a student starts from and what it is taught.

use maskd_model::backbone::BlockChoice;
use serde::{Deserialize, Serialize};

/// `[distill]`. Where `[model]` says the student's shape, it starts from scratch; else it is made of the teacher.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DistillConfig {
    /// The teacher's blocks (from 1, rising) that a student made of the teacher starts with.
    pub blocks: Vec<usize>,
    /// Side of its patches in pixels; 0: the teacher's. The patch embedding is resampled.
    pub patch: usize,
    /// The student's block whose tokens labels are to be propagated by; `maskd` then takes them without being told.
    pub propagation_block: BlockChoice,
    /// The teacher's block that it is taught.
    pub teacher_block: BlockChoice,
    /// Weight of the tokens by which labels are propagated.
    pub propagation: f64,
    /// Weight of their affinities, within each crop and between both.
    pub affinity: f64,
    /// Weight of what instances are discovered from: the last block's tokens (keys for DINO's own networks).
    pub discovery: f64,
    /// Temperature of the affinities: that of propagation.
    pub temperature: f64,
    /// Attention heads of the teacher, where neither its file nor its width says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher_heads: Option<usize>,
    /// SHA-256 of the teacher's file; written by the run.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub teacher_sha256: String,
}

impl Default for DistillConfig {
    fn default() -> Self {
        Self {
            blocks: vec![1, 2, 3, 4, 11, 12],
            patch: 0,
            propagation_block: BlockChoice::Number(4),
            teacher_block: BlockChoice::Auto,
            propagation: 1.0,
            affinity: 1.0,
            discovery: 0.5,
            temperature: 0.1,
            teacher_heads: None,
            teacher_sha256: String::new(),
        }
    }
}

impl DistillConfig {
    pub(crate) fn validate(&self) -> Result<(), (&'static str, String)> {
        for (key, value) in
            [("propagation", self.propagation), ("affinity", self.affinity), ("discovery", self.discovery)]
        {
            if !(0.0..=1000.0).contains(&value) {
                return Err((key, format!("{value} is not in 0 to 1000")));
            }
        }
        if self.propagation + self.affinity + self.discovery == 0.0 {
            return Err(("propagation", "all three weights are 0: nothing would be taught".to_owned()));
        }
        if !(1e-3..=10.0).contains(&self.temperature) {
            return Err(("temperature", format!("{} is not in 0.001 to 10", self.temperature)));
        }
        if self.patch > 64 {
            return Err(("patch", format!("{} is not in 0 to 64", self.patch)));
        }
        if self.blocks.is_empty() || self.blocks[0] == 0 || !self.blocks.is_sorted_by(|a, b| a < b) {
            return Err(("blocks", format!("{:?}: want the teacher's blocks from 1, rising", self.blocks)));
        }
        Ok(())
    }
}
