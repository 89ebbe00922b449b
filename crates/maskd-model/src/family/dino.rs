//! DINO (Caron et al. 2021): the first vision transformer, patches of 8 or 16.
//!
//! Its code resizes the position table by the factor (n + 0.1) / grid: `interpolate_pos_encoding` in
//! facebookresearch/dino, `vision_transformer.py`.

use super::{Design, Discovery, Entry, Family, Positions, Resize, as_they_are};

pub(super) const DESIGN: Design = Design {
    id: "dino",
    title: "DINO",
    positions: Positions::Table(Resize::Factor { offset: 0.1 }),
    layer_scale: false,
    eps: 1e-6,
    discovery: Discovery::Keys,
    propagates_by_two_thirds: false,
};

pub(super) const ENTRY: Entry =
    Entry { family: Family::Dino, design: &DESIGN, recognises: |_| true, canonical: as_they_are };
