//! Families of networks against numbers of the public reference implementations, in every naming that files come in.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor, safetensors};
use maskd::{
    kernels::ComputePath,
    model::{Checkpoint, Family, OutputRequest, Vit},
};

use crate::shared::shared;

type Tensors = HashMap<String, Tensor>;

fn furthest(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    let (a, b) = (a.to_dtype(DType::F32).unwrap(), b.to_dtype(DType::F32).unwrap());
    (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
}

/// The golden numbers of a family, and its weights as they are published.
fn golden(name: &str) -> Option<(Tensors, Tensors)> {
    let load = |file: String| Some(safetensors::load(shared(&file)?, &Device::Cpu).unwrap());
    Some((load(format!("golden/evals/{name}.safetensors"))?, load(format!("golden/evals/{name}_model.safetensors"))?))
}

/// Reads weights from a file, as users do. Three heads of 16 channels are what no tensor tells.
fn read(tensors: &Tensors) -> Checkpoint {
    let file = tempfile::NamedTempFile::new().unwrap();
    safetensors::save(tensors, file.path()).unwrap();
    Checkpoint::read(file.path(), Some(3)).unwrap()
}

/// Checks the family, and the last tokens of the plain operators and of the kernels.
fn equals(family: Family, weights: &Tensors, golden: &Tensors) {
    let checkpoint = read(weights);
    assert_eq!(checkpoint.architecture.family, family);
    assert_eq!(checkpoint.architecture.registers, 4);
    let input = golden["pixel_values"].to_dtype(DType::F32).unwrap();
    for path in [ComputePath::Plain, ComputePath::Fused] {
        let vit = Vit::new(checkpoint.architecture, &checkpoint.tensors, &Device::Cpu, DType::F32, path).unwrap();
        let output = vit.forward(&input, &OutputRequest { tokens: vec![1], ..OutputRequest::default() }).unwrap();
        let off = furthest(&output.tokens[0], &golden["last_hidden_state"]);
        eprintln!("{family:?} by {path:?}: at most {off:e} from the reference");
        assert!(off < 5e-5, "{family:?} {path:?}: {off:e}");
    }
}

#[test]
fn dinov2_with_registers_equals_the_reference_in_three_namings() {
    let Some((golden, hugging_face)) = golden("dinov2_reg") else { return };
    equals(Family::DinoV2Registers, &hugging_face, &golden);

    let checkpoint = read(&hugging_face);
    let vit =
        Vit::new(checkpoint.architecture, &checkpoint.tensors, &Device::Cpu, DType::F32, ComputePath::Plain).unwrap();
    let positions = vit.pos_embed(6, 8).unwrap();
    assert!(furthest(&positions, &golden["pos_interpolated"]) < 1e-5, "the position table");

    // Ours are the official names.
    let mut official = checkpoint.tensors;
    official.insert("mask_token".to_owned(), Tensor::zeros((1, 48), DType::F32, &Device::Cpu).unwrap());
    equals(Family::DinoV2Registers, &official, &golden);

    // timm adds the place of [CLS] to its token, and has none in the table.
    let mut timm = official;
    timm.remove("mask_token");
    let (table, cls) = (timm.remove("pos_embed").unwrap(), timm.remove("cls_token").unwrap());
    let places = table.dim(1).unwrap() - 1;
    timm.insert("pos_embed".to_owned(), table.narrow(1, 1, places).unwrap().contiguous().unwrap());
    timm.insert("cls_token".to_owned(), (cls + table.narrow(1, 0, 1).unwrap()).unwrap());
    let registers = timm.remove("register_tokens").unwrap();
    timm.insert("reg_token".to_owned(), registers);
    equals(Family::DinoV2Registers, &timm, &golden);
}

/// Weights of DINOv3 as its own repository names them: a bias of keys that is not zero, and a mask that takes it away.
fn officially(ours: &Tensors) -> Tensors {
    let mut theirs = Tensors::new();
    for (name, tensor) in ours {
        let gated = ours.contains_key("blocks.0.mlp.gate.weight");
        let mlp = [("mlp.gate.", "mlp.w1."), ("mlp.fc1.", "mlp.w2."), ("mlp.fc2.", "mlp.w3.")];
        let mut name = name.replace("register_tokens", "storage_tokens");
        for (ours, theirs) in mlp.iter().filter(|_| gated) {
            name = name.replace(ours, theirs);
        }
        if let Some(layer) = name.strip_suffix("attn.qkv.bias") {
            let keys = Tensor::ones(48, DType::F32, &Device::Cpu).unwrap();
            let parts = [&tensor.narrow(0, 0, 48).unwrap(), &keys, &tensor.narrow(0, 96, 48).unwrap()];
            theirs.insert(format!("{layer}attn.qkv.bias_mask"), tensor.ones_like().unwrap());
            theirs.insert(name, Tensor::cat(&parts, 0).unwrap());
        } else {
            theirs.insert(name, tensor.clone());
        }
    }
    theirs.insert("rope_embed.periods".to_owned(), Tensor::ones(4, DType::F32, &Device::Cpu).unwrap());
    theirs
}

#[test]
fn dinov3_equals_the_reference_with_a_plain_and_with_a_gated_mlp() {
    for name in ["dinov3_mlp", "dinov3_gated"] {
        let Some((golden, hugging_face)) = golden(name) else { return };
        equals(Family::DinoV3, &hugging_face, &golden);
        let checkpoint = read(&hugging_face);
        assert_eq!(checkpoint.architecture.gated, name == "dinov3_gated");
        equals(Family::DinoV3, &officially(&checkpoint.tensors), &golden);
    }
}
