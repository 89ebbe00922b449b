//! The network against numbers of the public reference implementations.

use std::{collections::HashMap, path::Path};

use candle_core::{DType, Device, Tensor};
use maskd::{
    kernels,
    model::{Architecture, Checkpoint, OutputRequest, Vit},
};

use crate::{
    shared::{SALIENCY_S14, shared},
    skip::skip,
};

fn load(path: &Path) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

fn furthest(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
}

fn vit(checkpoint: &Checkpoint, path: kernels::ComputePath) -> Vit {
    Vit::new(checkpoint.architecture, &checkpoint.tensors, &Device::Cpu, DType::F32, path).unwrap()
}

/// The seeded network of the golden file: three heads of 16 channels, which no tensor tells.
fn golden_vit(golden: &HashMap<String, Tensor>, path: kernels::ComputePath) -> Vit {
    let tensors: HashMap<_, _> =
        golden.iter().filter_map(|(k, v)| Some((k.strip_prefix("weights.")?.to_owned(), v.clone()))).collect();
    let arch = Architecture::infer(&tensors, Some(3)).unwrap();
    Vit::new(arch, &tensors, &Device::Cpu, DType::F32, path).unwrap()
}

#[test]
fn dino_forward_equals_the_reference_on_square_and_oblong_inputs() {
    let Some(path) = shared("golden/vit_forward.safetensors") else { return };
    let golden = load(&path);
    for ops in [kernels::ComputePath::Plain, kernels::ComputePath::Fused] {
        let vit = golden_vit(&golden, ops);
        let want = OutputRequest { tokens: vec![1, 2], keys: vec![2], attention: Some(2), cls_attention: Some(2) };
        for case in ["square", "wide", "tall"] {
            let get = |what: &str| &golden[&format!("{case}.{what}")];
            let input = get("input");
            let (_, _, h, w) = input.dims4().unwrap();
            let pos = vit.pos_embed(h / 8, w / 8).unwrap();
            assert!(furthest(&pos, get("pos_embed")) < 1e-5, "{case} position embeddings");
            let out = vit.forward(input, &want).unwrap();
            for (got, what) in out.tokens.iter().zip(["tokens_block_1", "tokens_block_2"]) {
                let off = furthest(got, get(what));
                assert!(off < 1e-4, "{ops:?} {case} {what}: {off:e}");
            }
            let cls = out.tokens[1].narrow(1, 0, 1).unwrap().squeeze(1).unwrap();
            assert!(furthest(&cls, get("cls")) < 1e-4, "{case} cls");
            assert!(furthest(&out.attention.unwrap(), get("attention")) < 1e-4, "{case} attention");
        }
    }
}

#[test]
fn a_forward_in_dinov2s_form_equals_the_reference_on_a_real_image() {
    let Some(weights) = shared(SALIENCY_S14) else { return };
    let Some(golden) = shared("golden/dinov2_forward.safetensors") else { return };
    let golden = load(&golden);
    let checkpoint = Checkpoint::read(&weights, None).unwrap();
    assert_eq!(checkpoint.architecture.to_string(), "dinov2-vits14");
    let want = OutputRequest { tokens: vec![11], ..OutputRequest::default() };
    for ops in [kernels::ComputePath::Plain, kernels::ComputePath::Fused] {
        let tokens = vit(&checkpoint, ops).forward(&golden["input"], &want).unwrap().tokens.remove(0);
        let (a, b) = (tokens.squeeze(0).unwrap(), golden["tokens"].squeeze(0).unwrap());
        let (a, b): (Vec<Vec<f32>>, Vec<Vec<f32>>) = (a.to_vec2().unwrap(), b.to_vec2().unwrap());
        assert_eq!((a.len(), b.len()), (1 + 8 * 14, 1 + 8 * 14));
        for (i, (a, b)) in a.iter().zip(&b).enumerate() {
            let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(x * y)).sum::<f64>();
            let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
            assert!(cosine > 0.9999, "{ops:?} token {i}: {cosine}");
        }
    }
}

#[test]
fn bfloat16_stays_close_to_float32() {
    if !kernels::bf16::is_available() {
        return skip("this CPU has no AVX512_BF16");
    }
    let Some(weights) = shared(SALIENCY_S14) else { return };
    let Some(golden) = shared("golden/dinov2_forward.safetensors") else { return };
    let input = &load(&golden)["input"];
    let checkpoint = Checkpoint::read(&weights, None).unwrap();
    let want =
        OutputRequest { tokens: vec![7, 11], keys: vec![11], cls_attention: Some(11), ..OutputRequest::default() };
    let [full, half] = [kernels::ComputePath::Fused, kernels::ComputePath::Bf16].map(|path| {
        let out = vit(&checkpoint, path).forward(input, &want).unwrap();
        let looks = out.cls_attention.unwrap();
        out.tokens.into_iter().chain(out.keys).chain([looks]).map(|t| t.squeeze(0).unwrap()).collect::<Vec<_>>()
    });
    assert_ne!(full[0].to_vec2::<f32>().unwrap(), half[0].to_vec2::<f32>().unwrap(), "it computed in float32");
    for (full, half) in full.iter().zip(&half) {
        let rows = full.to_vec2::<f32>().unwrap().into_iter().zip(half.to_vec2::<f32>().unwrap());
        for (i, (a, b)) in rows.enumerate() {
            let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(x * y)).sum::<f64>();
            let cosine = dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt();
            assert!(cosine > 0.999, "{:?}, row {i}: {cosine}", full.dims());
        }
    }
}

#[test]
fn the_three_forms_of_a_checkpoint_give_the_same_network() {
    let Some(golden) = shared("golden/vit_forward.safetensors") else { return };
    let golden = load(&golden);
    for form in ["backbone.pth", "full_checkpoint.pth", "hugging_face.safetensors"] {
        let Some(path) = shared(&format!("golden/checkpoints/{form}")) else { return };
        let checkpoint = Checkpoint::read(&path, Some(3)).unwrap();
        let want = OutputRequest { tokens: vec![2], ..OutputRequest::default() };
        let out = vit(&checkpoint, kernels::ComputePath::Fused).forward(&golden["wide.input"], &want).unwrap();
        let off = furthest(&out.tokens[0], &golden["wide.tokens_block_2"]);
        assert!(off < 1e-4, "{form}: {off:e}");
    }
}

#[test]
fn broken_checkpoints_are_refused_by_name() {
    for (file, fault) in [
        ("refuse_code.pth", "posix.system"),
        ("refuse_misshapen.safetensors", "blocks.0.mlp.fc1.weight has shape [192, 47], expected [192, 48]"),
        ("refuse_missing_tensor.safetensors", "blocks.1.norm2.bias is missing"),
        ("refuse_not_finite.safetensors", "not finite"),
        ("refuse_truncated.pth", "not a readable"),
    ] {
        let Some(path) = shared(&format!("golden/checkpoints/{file}")) else { return };
        let error = Checkpoint::read(&path, Some(3)).unwrap_err().to_string();
        assert!(error.contains(fault) && error.contains(file), "{file}: {error}");
        assert!(!error.contains('\n'), "{file}: {error}");
    }
}

#[test]
fn an_extra_tensor_and_unknown_heads_are_named() {
    let Some(path) = shared("golden/checkpoints/hugging_face.safetensors") else { return };
    let error = Checkpoint::read(&path, None).unwrap_err().to_string();
    assert!(error.contains("48 channels") && error.contains("model.heads"), "{error}");

    let mut tensors = load(&path);
    tensors.insert("encoder.layer.1.surprise".to_owned(), Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap());
    let dir = tempfile::tempdir().unwrap();
    let extra = dir.path().join("extra.safetensors");
    candle_core::safetensors::save(&tensors, &extra).unwrap();
    let error = Checkpoint::read(&extra, Some(3)).unwrap_err().to_string();
    assert!(error.contains("blocks.1.surprise is not part"), "{error}");
}

#[test]
fn any_cut_or_flip_of_a_pth_is_an_error_or_a_network_but_never_a_panic() {
    let Some(path) = shared("golden/checkpoints/full_checkpoint.pth") else { return };
    let bytes = std::fs::read(path).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mangled.pth");
    // The pickle comes first in the archive: that is where a reader can be led astray.
    for i in 0..400 {
        let mut mangled = bytes.clone();
        mangled[64 + i * 26] ^= 1 << (i % 8);
        std::fs::write(&file, &mangled).unwrap();
        let _ = Checkpoint::read(&file, Some(3));
    }
    for cut in [0, 1, 4, 30, 100, 10_000, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&file, &bytes[..cut]).unwrap();
        assert!(Checkpoint::read(&file, Some(3)).is_err(), "cut at {cut}");
    }
}
