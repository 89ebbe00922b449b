//! Makes the seeds in `fuzz/corpus`: the smallest sound input of each kind, written by hand or by our own writers.
//! `cargo test --release --test it -- --ignored hostile::corpus` writes them anew.

use std::{collections::BTreeMap, fs};

use maskd::{
    frame::Size,
    instance::{BBox, Prompt},
    mask::{LabelMap, Rle},
    publish::wire::{self, Event, EventMessage, Format, FrameRef, MasksMessage, StatusMessage, VERSION},
};
use safetensors::tensor::{Dtype, TensorView, serialize};

use super::{folder, parsers::archive};
use crate::{
    publish::{frame, site, stream, two_boxes},
    wire::status,
};

type Shapes = Vec<(String, Vec<usize>)>;

/// A vision transformer of one block, two channels and one patch.
fn smallest() -> Shapes {
    let mut shapes: Shapes = [
        ("cls_token", vec![1, 1, 2]),
        ("pos_embed", vec![1, 2, 2]),
        ("patch_embed.proj.weight", vec![2, 3, 1, 1]),
        ("patch_embed.proj.bias", vec![2]),
        ("norm.weight", vec![2]),
        ("norm.bias", vec![2]),
    ]
    .map(|(name, shape)| (name.to_owned(), shape))
    .into();
    for (part, rows) in [("norm1", 0), ("norm2", 0), ("attn.qkv", 6), ("attn.proj", 2), ("mlp.fc1", 3), ("mlp.fc2", 2)]
    {
        let columns = if part == "mlp.fc2" { 3 } else { 2 };
        let (weight, bias) = if rows == 0 { (vec![2], vec![2]) } else { (vec![rows, columns], vec![rows]) };
        shapes.push((format!("blocks.0.{part}.weight"), weight));
        shapes.push((format!("blocks.0.{part}.bias"), bias));
    }
    shapes
}

/// The same in the naming of Hugging Face, as far as names go through our hands.
fn by_other_names() -> Shapes {
    let mut shapes: Shapes =
        vec![("embeddings.cls_token".into(), vec![1, 1, 2]), ("embeddings.position_embeddings".into(), vec![1, 2, 2])];
    for part in ["query", "key", "value"] {
        for (kind, shape) in [("weight", vec![2, 2]), ("bias", vec![2])] {
            shapes.push((format!("encoder.layer.0.attention.attention.{part}.{kind}"), shape));
        }
    }
    shapes
}

fn safetensors(shapes: &Shapes, dtype: Dtype) -> Vec<u8> {
    let data = vec![0_u8; 256];
    let width = if dtype == Dtype::F32 { 4 } else { 2 };
    let views = shapes.iter().map(|(name, shape)| {
        let bytes = shape.iter().product::<usize>() * width;
        (name, TensorView::new(dtype, shape.clone(), &data[..bytes]).unwrap())
    });
    serialize(views, Some([("heads".to_owned(), "1".to_owned())].into())).unwrap()
}

/// The program that PyTorch writes for a dictionary of float tensors which share storage `0`.
fn pickle(shapes: &Shapes) -> Vec<u8> {
    fn text(out: &mut Vec<u8>, text: &str) {
        out.push(b'X');
        out.extend((text.len() as u32).to_le_bytes());
        out.extend(text.bytes());
    }
    fn sizes(out: &mut Vec<u8>, sizes: &[usize]) {
        out.push(b'(');
        sizes.iter().for_each(|size| out.extend([b'K', *size as u8]));
        out.push(b't');
    }
    let mut out = b"\x80\x02}q\x00(".to_vec();
    text(&mut out, "teacher");
    out.extend(b"ccollections\nOrderedDict\n)R(");
    for (name, shape) in shapes {
        text(&mut out, name);
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        out.extend(b"ctorch\nFloatStorage\n");
        text(&mut out, "0");
        text(&mut out, "cpu");
        out.extend(b"K@tQK\x00");
        sizes(&mut out, shape);
        let strides: Vec<usize> = (0..shape.len()).map(|i| shape[i + 1..].iter().product()).collect();
        sizes(&mut out, &strides);
        out.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }
    out.extend(b"uu.");
    out
}

/// Every kind of message and prompt, in both formats.
fn both<T: serde::Serialize>(name: &str, message: &T, out: &mut BTreeMap<String, Vec<u8>>) {
    out.insert(format!("{name}.json"), wire::encode(message, Format::Json).unwrap());
    out.insert(format!("{name}.cbor"), wire::encode(message, Format::Cbor).unwrap());
}

fn corpora() -> Vec<(&'static str, BTreeMap<String, Vec<u8>>)> {
    let named = |name: &str, bytes: Vec<u8>| BTreeMap::from([(name.to_owned(), bytes)]);
    let mut weights = named("smallest.safetensors", safetensors(&smallest(), Dtype::F32));
    weights.insert("names.safetensors".into(), safetensors(&by_other_names(), Dtype::F16));
    let program = pickle(&smallest());
    let pth = archive(&[("x/data.pkl", &program), ("x/byteorder", b"little"), ("x/data/0", &[0; 256])]).unwrap();

    let mask = Rle::from_mask(Size::new(12, 9), &[true; 40]);
    let mut prompts = BTreeMap::new();
    both("reset", &Prompt::Reset, &mut prompts);
    both("box", &Prompt::Box { bbox: BBox { x: 1, y: 2, width: 30, height: 40 } }, &mut prompts);
    both("points", &Prompt::Points { positive: vec![[1, 2], [3, 4]], negative: vec![[5, 6]] }, &mut prompts);
    both("mask", &Prompt::Mask { mask: mask.clone() }, &mut prompts);

    let at = frame(5, Size::new(20, 10));
    let mut messages = BTreeMap::new();
    let mut masks = MasksMessage::new(&site(), "tiny", 3, &at, true, two_boxes());
    masks.published_unix_ns = 1;
    both("masks", &masks, &mut messages);
    let event = EventMessage {
        version: VERSION,
        site: site(),
        stream: stream("gate"),
        sequence: 4,
        epoch: 2,
        published_unix_ns: 1,
        frame: Some(FrameRef::from(&at)),
        event: Event::StreamDown { cause: "stall".to_owned() },
    };
    both("event", &event, &mut messages);
    let (site, stream) = (site(), stream("gate"));
    both(
        "status",
        &StatusMessage { version: VERSION, site, stream, sequence: 1, published_unix_ns: 1, status: status() },
        &mut messages,
    );

    let folder = tempfile::tempdir().unwrap();
    let png = folder.path().join("labels.png");
    LabelMap { size: Size::new(8, 4), labels: (0..32).collect() }.write_png(&png).unwrap();
    let size = [9_u32.to_le_bytes(), 12_u32.to_le_bytes()].concat();
    let config = "log.format = 'json'\n[publish]\nlisten = ['tcp/127.0.0.1:0']\nmax_message_bytes = 60000\n\
                  [streams.gate]\nkind = 'rtsp'\nlocation = 'rtsp://u:p@cam/1?token=x'\nlatency_ms = 50\nweight = 2\n\
                  [streams.gate.properties.source]\nuser-pw = 'p'\n[runtime]\ngrace_seconds = 1.5\n";
    vec![
        ("weights", weights),
        ("pth", named("smallest.pth", pth)),
        ("pickle", named("smallest.pkl", program)),
        ("config", named("rtsp.toml", config.into())),
        ("prompt", prompts),
        ("message", messages),
        ("png", named("labels.png", fs::read(png).unwrap())),
        ("rle", named("stripe", [size, mask.counts.into_bytes()].concat())),
        ("key", named("masks", b"maskd/v1/yard/gate/masks".to_vec())),
    ]
}

#[test]
#[ignore = "writes into the project"]
fn write() {
    for (parser, seeds) in corpora() {
        fs::create_dir_all(folder(parser)).unwrap();
        seeds.iter().for_each(|(name, seed)| fs::write(folder(parser).join(name), seed).unwrap());
    }
}

#[test]
fn the_seeds_are_sound() {
    let read = |parser: &str, name: &str| fs::read(folder(parser).join(name)).unwrap();
    let weights = maskd::model::Checkpoint::parse(&read("weights", "smallest.safetensors"), None).unwrap();
    assert_eq!((weights.architecture.dim, weights.architecture.depth), (2, 1));
    let same = maskd::model::Checkpoint::parse(&read("pth", "smallest.pth"), Some(1)).unwrap();
    assert_eq!(same.architecture, weights.architecture);
    for (parser, seeds) in corpora() {
        let bytes: usize = seeds.values().map(Vec::len).sum();
        assert!(bytes < 8192, "{parser}: {bytes} bytes are no small corpus");
        assert!(seeds.keys().all(|name| folder(parser).join(name).exists()), "{parser}: run hostile::corpus::write");
    }
}
