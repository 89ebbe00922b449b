//! DINOv2 with registers (Darcet et al. 2024): tokens without a place between `[CLS]` and the patches, put in after the
//! position table was added. The table is resized to the target size with antialiasing (`interpolate_offset=0.0`,
//! `interpolate_antialias=True` in facebookresearch/dinov2, `hub/backbones.py`).

use std::collections::HashMap;

use candle_core::Tensor;

use super::{Design, Discovery, Entry, Family, Positions, Resize};
use crate::fault::WeightsFault;

const DESIGN: Design = Design {
    id: "dinov2-reg",
    title: "DINOv2 with registers",
    positions: Positions::Table(Resize::Antialiased),
    layer_scale: true,
    eps: 1e-6,
    discovery: Discovery::Tokens,
    propagates_by_two_thirds: true,
};

pub(super) const ENTRY: Entry = Entry {
    family: Family::DinoV2Registers,
    design: &DESIGN,
    recognises: |tensors| tensors.contains_key("register_tokens") && tensors.contains_key("pos_embed"),
    canonical,
};

/// timm's names: `reg_token`, and a position table of the patches alone, `[CLS]`'s place being part of its token.
fn canonical(mut tensors: HashMap<String, Tensor>) -> Result<HashMap<String, Tensor>, WeightsFault> {
    let Some(registers) = tensors.remove("reg_token") else { return Ok(tensors) };
    tensors.insert("register_tokens".to_owned(), registers);
    if let Some(table) = tensors.get("pos_embed") {
        let with_cls = table.narrow(1, 0, 1).and_then(|first| Tensor::cat(&[&first.zeros_like()?, table], 1));
        let odd = |_| WeightsFault::Shape {
            name: "pos_embed".to_owned(),
            found: format!("{:?}", table.dims()),
            expected: "[1, side * side, dim]".to_owned(),
        };
        let with_cls = with_cls.map_err(odd)?;
        tensors.insert("pos_embed".to_owned(), with_cls);
    }
    Ok(tensors)
}
