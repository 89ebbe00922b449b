//! DINOv2 (Oquab et al. 2023): LayerScale, patch 14.
//!
//! Its published code resizes the position table by the factor (n + 0.1) / grid, as DINO's does
//! (`interpolate_offset=0.1`, `interpolate_antialias=False` in facebookresearch/dinov2, `hub/backbones.py`). This program
//! uses n / grid: the weights that it carries were taught so, and every figure was measured so. How far the two are apart
//! is in `tests/it/families.rs`.

use super::{Design, Discovery, Entry, Family, Positions, Resize, as_they_are};

const DESIGN: Design = Design {
    id: "dinov2",
    title: "DINOv2",
    positions: Positions::Table(Resize::Factor { offset: 0.0 }),
    layer_scale: true,
    eps: 1e-6,
    discovery: Discovery::Tokens,
    propagates_by_two_thirds: true,
};

pub(super) const ENTRY: Entry = Entry {
    family: Family::DinoV2,
    design: &DESIGN,
    recognises: |tensors| tensors.contains_key("blocks.0.ls1.gamma"),
    canonical: as_they_are,
};
