//! DINOv3 (Siméoni et al. 2025): rotary positions, registers, no bias on keys, and in some sizes a gated MLP.
//!
//! Names of facebookresearch/dinov3 (`storage_tokens`, `qkv.bias_mask`, `w1` to `w3`) and of Hugging Face's files
//! (`layer.0.attention.q_proj`) become the canonical ones. A missing bias of keys becomes zeros, which is the same.

use std::collections::HashMap;

use candle_core::Tensor;

use super::{Design, Discovery, Entry, Family, Positions};
use crate::{fault::WeightsFault, qkv::join_qkv};

const DESIGN: Design = Design {
    id: "dinov3",
    title: "DINOv3",
    positions: Positions::Rotary { base: 100.0 },
    layer_scale: true,
    eps: 1e-5,
    discovery: Discovery::Tokens,
    propagates_by_two_thirds: true,
};

pub(super) const ENTRY: Entry = Entry {
    family: Family::DinoV3,
    design: &DESIGN,
    recognises: |tensors| !tensors.contains_key("pos_embed") && tensors.contains_key("register_tokens"),
    canonical,
};

/// Whole names, then the parts of a block's: theirs and ours.
const WHOLE: [(&str, &str); 6] = [
    ("storage_tokens", "register_tokens"),
    ("embeddings.cls_token", "cls_token"),
    ("embeddings.register_tokens", "register_tokens"),
    ("embeddings.patch_embeddings.weight", "patch_embed.proj.weight"),
    ("embeddings.patch_embeddings.bias", "patch_embed.proj.bias"),
    ("rope_embed.periods", ""),
];
const WITHIN: [(&str, &str); 9] = [
    ("attention.o_proj.", "attn.proj."),
    ("layer_scale1.lambda1", "ls1.gamma"),
    ("layer_scale2.lambda1", "ls2.gamma"),
    ("mlp.gate_proj.", "mlp.gate."),
    ("mlp.up_proj.", "mlp.fc1."),
    ("mlp.down_proj.", "mlp.fc2."),
    ("mlp.w1.", "mlp.gate."),
    ("mlp.w2.", "mlp.fc1."),
    ("mlp.w3.", "mlp.fc2."),
];

fn canonical(tensors: HashMap<String, Tensor>) -> Result<HashMap<String, Tensor>, WeightsFault> {
    let hugging_face = tensors.keys().any(|name| name.starts_with("layer.0.attention.q_proj."));
    let official = tensors.contains_key("storage_tokens");
    if !hugging_face && !official {
        return Ok(tensors);
    }
    let mut renamed = HashMap::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let name = rename(&name);
        // Angles are computed, not read.
        if !name.is_empty() {
            renamed.insert(name, tensor);
        }
    }
    let parts = ["attention.q_proj", "attention.k_proj", "attention.v_proj"];
    join_qkv(&mut renamed, parts, true)?;
    silence_key_bias(&mut renamed)?;
    Ok(renamed)
}

fn rename(name: &str) -> String {
    if let Some((_, ours)) = WHOLE.iter().find(|(theirs, _)| *theirs == name) {
        return (*ours).to_owned();
    }
    let within = name.strip_prefix("layer.").or_else(|| name.strip_prefix("blocks.")).and_then(|n| n.split_once('.'));
    let Some((layer, rest)) = within else { return name.to_owned() };
    let part = WITHIN.iter().find_map(|(theirs, ours)| rest.strip_prefix(theirs).map(|tail| format!("{ours}{tail}")));
    format!("blocks.{layer}.{}", part.unwrap_or_else(|| rest.to_owned()))
}

/// The official files hold a bias of keys and a mask that takes it away.
fn silence_key_bias(tensors: &mut HashMap<String, Tensor>) -> Result<(), WeightsFault> {
    let mask = ".attn.qkv.bias_mask";
    let layers: Vec<String> = tensors.keys().filter_map(|name| name.strip_suffix(mask).map(str::to_owned)).collect();
    for layer in layers {
        tensors.remove(&format!("{layer}{mask}"));
        let name = format!("{layer}.attn.qkv.bias");
        let bias = tensors.get(&name).ok_or_else(|| WeightsFault::Missing(name.clone()))?;
        let silenced = || {
            let dim = bias.dim(0)? / 3;
            let (query, value) = (bias.narrow(0, 0, dim)?, bias.narrow(0, 2 * dim, dim)?);
            Tensor::cat(&[&query, &query.zeros_like()?, &value], 0)
        };
        let silenced = silenced().map_err(|e| WeightsFault::Format(format!("tensor {name}: {e}")))?;
        tensors.insert(name, silenced);
    }
    Ok(())
}
