//! Which block's tokens labels are propagated by.

use std::str::FromStr;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::{Architecture, Checkpoint};

/// What weights call, in their metadata, the block (from 1) whose tokens labels are propagated by best.
pub const PROPAGATION_BLOCK: &str = "propagation_block";

/// Which block's tokens labels are propagated by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "toml::Value", into = "toml::Value")]
pub enum BlockChoice {
    /// What the weights' metadata name as `propagation_block`, as those do that were distilled. Else what corresponds
    /// best: two thirds of the way for DINOv2's form, which also saves the rest of the network between key frames; the last
    /// block for DINO's.
    #[default]
    Auto,
    /// The last block, as published.
    Last,
    /// This block, 1 to depth.
    Number(usize),
}

impl BlockChoice {
    /// The 0-based block of these weights.
    ///
    /// # Errors
    /// A block that the network has not, whether it was asked for or the metadata name it.
    pub fn of(self, weights: &Checkpoint) -> Result<usize> {
        let arch = &weights.architecture;
        match (self, weights.metadata.get(PROPAGATION_BLOCK)) {
            (Self::Auto, Some(text)) => match text.parse::<usize>() {
                Ok(block) if (1..=arch.depth).contains(&block) => Ok(block - 1),
                _ => {
                    bail!("the weights' metadata {PROPAGATION_BLOCK} = {text:?}: {arch} has blocks 1 to {}", arch.depth)
                }
            },
            _ => self.index(arch),
        }
    }

    /// The 0-based block in `arch`, whatever its weights say.
    ///
    /// # Errors
    /// A block that it has not.
    pub fn index(self, arch: &Architecture) -> Result<usize> {
        match self {
            Self::Auto if arch.family.design().propagates_by_two_thirds => Ok((arch.depth * 2).div_ceil(3) - 1),
            Self::Auto | Self::Last => Ok(arch.depth - 1),
            Self::Number(block) if (1..=arch.depth).contains(&block) => Ok(block - 1),
            Self::Number(block) => bail!("there is no block {block}: {arch} has blocks 1 to {}", arch.depth),
        }
    }
}

impl FromStr for BlockChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("auto", _) => Ok(Self::Auto),
            ("last", _) => Ok(Self::Last),
            (_, Ok(block)) => Ok(Self::Number(block)),
            _ => Err(format!("{text:?} is not auto, last or the number of a block")),
        }
    }
}

impl TryFrom<toml::Value> for BlockChoice {
    type Error = String;

    fn try_from(value: toml::Value) -> Result<Self, String> {
        match value {
            toml::Value::Integer(block) => block.to_string().parse(),
            toml::Value::String(text) => text.parse(),
            other => Err(format!("{other} is not \"auto\", \"last\" or the number of a block")),
        }
    }
}

impl From<BlockChoice> for toml::Value {
    fn from(choice: BlockChoice) -> Self {
        match choice {
            BlockChoice::Auto => "auto".into(),
            BlockChoice::Last => "last".into(),
            BlockChoice::Number(block) => i64::try_from(block).unwrap_or(i64::MAX).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::Family;

    fn weights(family: Family, named: Option<&str>) -> Checkpoint {
        Checkpoint {
            architecture: Architecture {
                family,
                patch: 14,
                dim: 64,
                depth: 12,
                heads: 1,
                hidden: 64,
                grid: 4,
                registers: 0,
                gated: false,
            },
            tensors: HashMap::new(),
            metadata: named.map(|block| (PROPAGATION_BLOCK.to_owned(), block.to_owned())).into_iter().collect(),
            stored: Vec::new(),
            sha256: String::new(),
        }
    }

    #[test]
    fn the_weights_word_counts_where_nothing_is_asked_for() {
        let of = |choice: BlockChoice, family, named| choice.of(&weights(family, named)).ok();
        assert_eq!(of(BlockChoice::Auto, Family::DinoV2, None), Some(7));
        assert_eq!(of(BlockChoice::Auto, Family::Dino, None), Some(11));
        assert_eq!(of(BlockChoice::Auto, Family::Dino, Some("5")), Some(4));
        assert_eq!(of(BlockChoice::Last, Family::DinoV2, Some("5")), Some(11));
        assert_eq!(of(BlockChoice::Number(3), Family::DinoV2, Some("5")), Some(2));
        for wrong in ["0", "13", "-1", "five", "", "99999999999999999999"] {
            let error = BlockChoice::Auto.of(&weights(Family::DinoV2, Some(wrong))).unwrap_err().to_string();
            assert!(error.contains("propagation_block") && error.contains("1 to 12"), "{error}");
        }
    }
}
