//! Other people's names for the same tensors, turned into the original ones.

use std::collections::HashMap;

use candle_core::Tensor;

use crate::{family, fault::WeightsFault, qkv::join_qkv};

/// Parts of a checkpoint that are no part of the backbone and are left out silently: the
/// pre-training head, and tokens and poolers that feature extraction never uses.
const NOT_BACKBONE: [&str; 5] = ["head.", "mask_token", "pooler.", "embeddings.mask_token", "fc."];

/// Strips `module.` and `backbone.` prefixes, drops what is no part of the backbone, and renames the
/// Hugging Face naming (`facebook/dino-vits8`, `facebook/dinov2-small`) to the original one.
pub(super) fn canonical(tensors: HashMap<String, Tensor>) -> Result<HashMap<String, Tensor>, WeightsFault> {
    let mut kept = HashMap::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let mut short = name.as_str();
        for prefix in ["module.", "_orig_mod.", "backbone.", "dinov2.", "vit."] {
            short = short.strip_prefix(prefix).unwrap_or(short);
        }
        let backbone = !NOT_BACKBONE.iter().any(|prefix| short.starts_with(prefix));
        // Which of two is meant would be a matter of chance.
        if backbone && kept.insert(short.to_owned(), tensor).is_some() {
            return Err(WeightsFault::Extra(format!("{short}, there a second time under another prefix,")));
        }
    }
    let mut kept = family::canonical(kept)?;
    if kept.keys().any(|name| name.starts_with("embeddings.")) {
        let parts = ["attention.attention.query", "attention.attention.key", "attention.attention.value"];
        join_qkv(&mut kept, parts, false)?;
        kept = kept.into_iter().map(|(name, tensor)| (from_hugging_face(&name), tensor)).collect();
    }
    Ok(kept)
}

fn from_hugging_face(name: &str) -> String {
    const WHOLE: [(&str, &str); 7] = [
        ("embeddings.cls_token", "cls_token"),
        ("embeddings.register_tokens", "register_tokens"),
        ("embeddings.position_embeddings", "pos_embed"),
        ("embeddings.patch_embeddings.projection.weight", "patch_embed.proj.weight"),
        ("embeddings.patch_embeddings.projection.bias", "patch_embed.proj.bias"),
        ("layernorm.weight", "norm.weight"),
        ("layernorm.bias", "norm.bias"),
    ];
    const WITHIN: [(&str, &str); 7] = [
        ("attention.output.dense.", "attn.proj."),
        ("intermediate.dense.", "mlp.fc1."),
        ("output.dense.", "mlp.fc2."),
        ("layernorm_before.", "norm1."),
        ("layernorm_after.", "norm2."),
        ("layer_scale1.lambda1", "ls1.gamma"),
        ("layer_scale2.lambda1", "ls2.gamma"),
    ];
    if let Some((_, ours)) = WHOLE.iter().find(|(theirs, _)| *theirs == name) {
        return (*ours).to_owned();
    }
    let Some((layer, rest)) = name.strip_prefix("encoder.layer.").and_then(|n| n.split_once('.')) else {
        return name.to_owned();
    };
    for (theirs, ours) in WITHIN {
        if let Some(tail) = rest.strip_prefix(theirs) {
            return format!("blocks.{layer}.{ours}{tail}");
        }
    }
    format!("blocks.{layer}.{rest}")
}
