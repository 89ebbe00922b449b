//! Every parser of what comes from outside, as the fuzz targets and `tests/it/hostile.rs` call it: any bytes go in, and
//! being refused is the only thing that may happen to them.
#![allow(dead_code, reason = "each fuzz target uses one of them")]

use std::io::{Cursor, Write as _};

use maskd::{
    config::Config,
    frame::Size,
    instance::Prompt,
    mask::{LabelMap, Rle},
    model::Checkpoint,
    publish::{
        keys,
        wire::{self, EventMessage, Format, MasksMessage, StatusMessage},
    },
};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// A parser.
pub type Parser = fn(&[u8]);

/// `.safetensors`.
pub fn weights(bytes: &[u8]) {
    drop(Checkpoint::parse(bytes, None));
}

/// `.pth`, the archive as a whole.
pub fn pth(bytes: &[u8]) {
    drop(Checkpoint::parse(bytes, Some(1)));
}

/// The pickle in a sound `.pth`: an archive's checksums keep most damage away from it.
pub fn pickle(program: &[u8]) {
    if let Ok(archive) = archive(&[("x/data.pkl", program), ("x/data/0", &[0; 256])]) {
        drop(Checkpoint::parse(&archive, Some(1)));
    }
}

/// A zip archive of these entries, stored.
pub fn archive(entries: &[(&str, &[u8])]) -> zip::result::ZipResult<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, data) in entries {
        zip.start_file(*name, SimpleFileOptions::default().compression_method(CompressionMethod::Stored))?;
        zip.write_all(data)?;
    }
    Ok(zip.finish()?.into_inner())
}

/// The configuration file, and its printed form.
pub fn config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match Config::parse(&text, "x.toml") {
        Ok(config) => {
            drop(config.faults());
            drop(config.redacted());
        }
        Err(error) => drop(error.to_string()),
    }
}

/// A prompt, and the mask in it.
pub fn prompt(bytes: &[u8]) {
    for format in [Format::Json, Format::Cbor] {
        if let Ok(Prompt::Mask { mask }) = wire::decode_prompt(bytes, format) {
            drop(mask.decode(None));
        }
    }
}

/// A message of each kind, and the masks in it.
pub fn message(bytes: &[u8]) {
    for format in [Format::Json, Format::Cbor] {
        drop(wire::decode::<EventMessage>(bytes, format, "event"));
        drop(wire::decode::<StatusMessage>(bytes, format, "status"));
        drop(wire::to_json_line(bytes, format));
        if let Ok(masks) = wire::decode::<MasksMessage>(bytes, format, "masks") {
            for instance in masks.instances.iter().take(4) {
                drop(instance.mask.decode(Some(masks.frame)));
            }
        }
    }
}

/// A PNG of labels.
pub fn png(bytes: &[u8]) {
    for grey in [false, true] {
        if let Ok(map) = LabelMap::parse_png(Cursor::new(bytes), grey) {
            assert_eq!(map.labels.len(), map.size.area());
        }
    }
}

/// A run-length encoded mask: eight bytes of size, and the string.
pub fn rle(bytes: &[u8]) {
    let Some((size, counts)) = bytes.split_first_chunk::<8>() else { return };
    let [a, b, c, d, e, f, g, h] = *size;
    let size = [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])];
    let rle = Rle { size, counts: String::from_utf8_lossy(counts).into_owned() };
    if let Ok(mask) = rle.decode(None) {
        assert_eq!(mask.len(), Size::new(size[1], size[0]).area());
    }
    drop(rle.decode(Some(Size::new(12, 9))));
}

/// A key expression that somebody published on.
pub fn key(bytes: &[u8]) {
    let key = String::from_utf8_lossy(bytes);
    if let Some((site, stream, topic)) = keys::parse(&key) {
        assert_eq!(keys::stream_key(&site, &stream, topic), key);
    }
}
