//! Query, key and value as one product.

use std::collections::HashMap;

use candle_core::Tensor;

use crate::fault::WeightsFault;

/// Query, key and value are three products in Hugging Face's files and one here, (3C, C) in this order: `LAYER.attn.qkv`.
/// `parts` are the names of the three within a layer. Where a family has `no_key_bias`, zeros stand for it, which is the same.
///
/// # Errors
/// A part that is missing, or three that do not go together.
pub(super) fn join_qkv(
    tensors: &mut HashMap<String, Tensor>,
    parts: [&str; 3],
    no_key_bias: bool,
) -> Result<(), WeightsFault> {
    let query = format!("{}.weight", parts[0]);
    let layers: Vec<String> = tensors.keys().filter_map(|name| name.strip_suffix(&query).map(str::to_owned)).collect();
    for layer in layers {
        for kind in ["weight", "bias"] {
            let mut found: Vec<Tensor> = Vec::with_capacity(3);
            for part in parts {
                let name = format!("{layer}{part}.{kind}");
                let zeros =
                    || found.first().filter(|_| no_key_bias && (part, kind) == (parts[1], "bias"))?.zeros_like().ok();
                let tensor = tensors.remove(&name).or_else(zeros).ok_or(WeightsFault::Missing(name))?;
                found.push(tensor);
            }
            let joined = Tensor::cat(&found, 0).map_err(|_| WeightsFault::Shape {
                name: format!("{layer}{}.*.{kind}", parts[0].rsplit_once('.').map_or("", |(base, _)| base)),
                found: found.iter().map(|p| format!("{:?}", p.dims())).collect::<Vec<_>>().join(" "),
                expected: "three equal shapes".to_owned(),
            })?;
            tensors.insert(format!("{layer}attn.qkv.{kind}"), joined);
        }
    }
    Ok(())
}
