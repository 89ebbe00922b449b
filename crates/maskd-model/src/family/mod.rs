//! The families of networks: everything in which one differs from another, apart from its size. One file each; whatever
//! runs a network follows its [`Design`].

mod dino;
mod dinov2;
mod dinov2_registers;
mod dinov3;

use std::collections::HashMap;

use candle_core::Tensor;

use crate::fault::WeightsFault;

/// Which paper's network it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// DINO (Caron et al. 2021).
    Dino,
    /// DINOv2 (Oquab et al. 2023).
    DinoV2,
    /// DINOv2 with registers (Darcet et al. 2024).
    DinoV2Registers,
    /// DINOv3 (Siméoni et al. 2025).
    DinoV3,
}

/// How the networks of a family are built, whatever their size, and what of them is used.
#[derive(Debug)]
pub struct Design {
    /// As in the ids of models: `dinov2`.
    pub id: &'static str,
    /// As in texts for people: `DINOv2`.
    pub title: &'static str,
    /// How patches know their place.
    pub positions: Positions,
    /// Whether what attention and MLP add is scaled channel by channel (`ls1.gamma`, `ls2.gamma`).
    pub layer_scale: bool,
    /// Epsilon of every LayerNorm.
    pub eps: f64,
    /// What instances are discovered from.
    pub discovery: Discovery,
    /// Whether labels propagate best by the tokens of the block at two thirds of the depth, and not by the last one's.
    pub propagates_by_two_thirds: bool,
}

/// How patches know their place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Positions {
    /// A learned table, `pos_embed` `(1, 1 + grid * grid, C)`, resized to the patch grid and added once.
    Table(Resize),
    /// Rotary: queries and keys of patches are turned by angles of this base.
    Rotary {
        /// The slowest angle's period is this times the fastest one's.
        base: f64,
    },
}

/// How a table of positions is brought to another grid; always bicubic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Resize {
    /// By the factor (n + offset) / grid, which also gives the coordinates; no antialiasing.
    Factor {
        /// Added to the target size.
        offset: f64,
    },
    /// To the target size, with antialiasing where it shrinks.
    Antialiased,
}

/// What discovery goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// Keys of the last block.
    Keys,
    /// Tokens of the last block.
    Tokens,
}

/// Tensors by name.
type Tensors = HashMap<String, Tensor>;

/// What a family's file says beside its [`Design`].
struct Entry {
    family: Family,
    design: &'static Design,
    /// Whether tensors, by canonical names, are a network of this family.
    recognises: fn(&Tensors) -> bool,
    /// Brings other people's tensors to the canonical names.
    canonical: fn(Tensors) -> Result<Tensors, WeightsFault>,
}

/// All families: the first that recognises a network's tensors is its family.
const FAMILIES: [Entry; 4] = [dinov3::ENTRY, dinov2_registers::ENTRY, dinov2::ENTRY, dino::ENTRY];

impl Family {
    /// How its networks are built.
    pub fn design(self) -> &'static Design {
        // DINO's, the first of them, where the table lacks one: a test keeps it complete.
        FAMILIES.iter().find(|entry| entry.family == self).map_or(&dino::DESIGN, |entry| entry.design)
    }

    /// The family of tensors in canonical names.
    pub(super) fn of(tensors: &Tensors) -> Self {
        FAMILIES.iter().find(|entry| (entry.recognises)(tensors)).map_or(Self::Dino, |entry| entry.family)
    }
}

/// Tensors as each family's publishers name them, in the canonical names.
///
/// # Errors
/// Parts that do not go together.
pub(super) fn canonical(tensors: Tensors) -> Result<Tensors, WeightsFault> {
    FAMILIES.iter().try_fold(tensors, |tensors, entry| (entry.canonical)(tensors))
}

/// For families whose tensors come in names that others' renaming covers.
fn as_they_are(tensors: Tensors) -> Result<Tensors, WeightsFault> {
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_is_in_the_table_once() {
        for family in [Family::Dino, Family::DinoV2, Family::DinoV2Registers, Family::DinoV3] {
            assert_eq!(FAMILIES.iter().filter(|entry| entry.family == family).count(), 1, "{family:?}");
        }
        let mut ids: Vec<&str> = FAMILIES.iter().map(|entry| entry.design.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), FAMILIES.len(), "ids are told apart");
    }
}
