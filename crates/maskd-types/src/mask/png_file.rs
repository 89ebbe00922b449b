//! Label maps as PNG files with a palette, the form that DAVIS and its tools use.

use std::{
    io::{BufRead, BufReader, BufWriter, Seek, Write},
    path::Path,
};

use png::{BitDepth, ColorType, Limits, Transformations};

use super::{LabelMap, MAX_AREA, MaskError, is_own_png, palette, sign_png};
use crate::{files, frame::Size};

/// Most bytes of a mask's file: more than the largest one takes uncompressed.
const MAX_FILE: u64 = 4 * MAX_AREA as u64;

impl LabelMap {
    /// Reads an indexed PNG (its indices, whatever its palette) or a grey one of up to 8 bits (its values).
    /// 255, which DAVIS uses for void, becomes background.
    ///
    /// # Errors
    /// Every other kind of picture, one above [`MAX_AREA`] and a damaged file are refused by name.
    pub fn read_png(path: &Path) -> Result<Self, MaskError> {
        let mut map = Self::read_png_with_void(path)?;
        map.labels.iter_mut().filter(|label| **label == 255).for_each(|label| *label = 0);
        Ok(map)
    }

    /// [`LabelMap::read_png`] with 255 left as it is.
    ///
    /// # Errors
    /// As [`LabelMap::read_png`].
    pub fn read_png_with_void(path: &Path) -> Result<Self, MaskError> {
        decode(path, true).map(|(map, _)| map)
    }

    /// Reads an indexed PNG, 255 left as it is, and nothing else: what a method hands in to be judged.
    ///
    /// # Errors
    /// As [`LabelMap::read_png`], and grey pictures.
    pub fn read_indexed_png(path: &Path) -> Result<Self, MaskError> {
        decode(path, false).map(|(map, _)| map)
    }

    /// An indexed PNG, or where `grey` says so a grey one of up to 8 bits, from anywhere; 255 is left as it is.
    ///
    /// # Errors
    /// Why it cannot be used, in words.
    pub fn parse_png(png: impl BufRead + Seek, grey: bool) -> Result<Self, String> {
        Self::parse(png, grey).map(|(map, _)| map)
    }

    /// As [`LabelMap::parse_png`], with the value of white where the picture is grey.
    fn parse(png: impl BufRead + Seek, grey: bool) -> Result<(Self, Option<u8>), String> {
        let mut decoder = png::Decoder::new_with_limits(png, Limits { bytes: 2 * MAX_AREA });
        decoder.set_transformations(Transformations::IDENTITY);
        let mut reader = decoder.read_info().map_err(|e| e.to_string())?;
        let info = reader.info();
        let (size, colour, depth) = (Size::new(info.width, info.height), info.color_type, info.bit_depth);
        if size.area() > MAX_AREA {
            return Err(format!("{size} pixels are too many"));
        }
        let white = match (colour, depth) {
            (ColorType::Indexed, _) => None,
            (ColorType::Grayscale, BitDepth::Sixteen) => return Err(strange(colour, depth)),
            (ColorType::Grayscale, _) if grey => Some((0xff_u16 >> (8 - depth as u8)) as u8),
            _ => return Err(strange(colour, depth)),
        };
        let length = reader.output_buffer_size().ok_or("it is too large")?;
        let mut packed = vec![0; length];
        let frame = reader.next_frame(&mut packed).map_err(|e| e.to_string())?;
        let whole = depth == BitDepth::Eight && packed.len() == size.area();
        let labels = if whole { packed } else { unpack(&packed, frame.line_size, size, depth as usize) };
        Ok((Self { size, labels }, white))
    }

    /// Writes an indexed PNG with the DAVIS palette and maskd's mark. The file appears whole or not at all, and replaces
    /// nothing but a PNG with that mark.
    ///
    /// # Errors
    /// [`MaskError::Output`]: something else is there, or the folder cannot be written to.
    pub fn write_png(&self, path: &Path) -> Result<(), MaskError> {
        files::write(path, &is_own_png, |file| self.encode_png(BufWriter::new(file))).map_err(MaskError::Output)
    }

    fn encode_png(&self, out: impl Write) -> std::io::Result<()> {
        let mut encoder = png::Encoder::new(out, self.size.width, self.size.height);
        encoder.set_color(ColorType::Indexed);
        encoder.set_depth(BitDepth::Eight);
        encoder.set_palette(palette().as_flattened().to_vec());
        sign_png(&mut encoder)?;
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.labels)?;
        writer.finish()?;
        Ok(())
    }
}

/// The labels of a PNG, 255 left as it is, and the value of white where the picture is grey.
pub(super) fn decode(path: &Path, grey: bool) -> Result<(LabelMap, Option<u8>), MaskError> {
    let file = files::open(path, MAX_FILE).map_err(|source| MaskError::Io { path: path.into(), source })?;
    LabelMap::parse(BufReader::new(file), grey).map_err(|reason| MaskError::BadPng { path: path.into(), reason, grey })
}

fn strange(colour: ColorType, depth: BitDepth) -> String {
    format!("its colours are {colour:?} with {} bits", depth as u8)
}

/// A PNG of any kind, from `data` as the format packs it.
#[cfg(test)]
pub(super) fn write_for_test(path: &Path, colour: ColorType, depth: BitDepth, size: Size, data: &[u8]) {
    let mut encoder = png::Encoder::new(std::fs::File::create(path).unwrap(), size.width, size.height);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    if colour == ColorType::Indexed {
        encoder.set_palette(
            palette().as_flattened()[..if depth == BitDepth::Eight { 768 } else { 3 << depth as u8 }].to_vec(),
        );
    }
    encoder.write_header().unwrap().write_image_data(data).unwrap();
}

/// One byte per pixel from rows of `bits` per pixel, highest bits first, each row from a new byte.
fn unpack(packed: &[u8], line: usize, size: Size, bits: usize) -> Vec<u8> {
    let (width, per_byte) = (size.width as usize, 8 / bits);
    let mask = (0xff_u16 >> (8 - bits)) as u8;
    let mut labels = Vec::with_capacity(size.area());
    for row in packed.chunks_exact(line.max(1)).take(size.height as usize) {
        labels.extend((0..width).map(|x| (row[x / per_byte] >> (8 - bits - bits * (x % per_byte))) & mask));
    }
    labels
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{write_for_test as write, *};

    #[test]
    fn a_written_map_is_read_back_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("00000.png");
        let map = LabelMap { size: Size::new(3, 2), labels: vec![0, 1, 2, 3, 254, 7] };
        map.write_png(&path).unwrap();
        map.write_png(&path).unwrap();
        assert_eq!(LabelMap::read_png(&path).unwrap(), map);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(map.write_png(&folder.path().join("no/such/folder.png")).unwrap_err().to_string().contains("no/such"));
        image::RgbImage::new(3, 2).save(&path).unwrap();
        let before = std::fs::read(&path).unwrap();
        assert!(matches!(map.write_png(&path), Err(MaskError::Output(_))), "somebody else's picture");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn few_bits_grey_and_void_are_read_and_the_rest_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.png");
        let size = Size::new(3, 2);
        write(&path, ColorType::Indexed, BitDepth::Two, size, &[0b0001_1000, 0b1100_0100]);
        assert_eq!(LabelMap::read_png(&path).unwrap().labels, [0, 1, 2, 3, 0, 1]);
        write(&path, ColorType::Indexed, BitDepth::One, size, &[0b0100_0000, 0b1010_0000]);
        assert_eq!(LabelMap::read_png(&path).unwrap().labels, [0, 1, 0, 1, 0, 1]);
        write(&path, ColorType::Grayscale, BitDepth::Eight, size, &[0, 1, 255, 2, 3, 4]);
        assert_eq!(LabelMap::read_png(&path).unwrap().labels, [0, 1, 0, 2, 3, 4]);
        assert_eq!(LabelMap::read_png_with_void(&path).unwrap().labels, [0, 1, 255, 2, 3, 4]);
        assert!(LabelMap::read_indexed_png(&path).unwrap_err().to_string().contains("Grayscale"));
        write(&path, ColorType::Grayscale, BitDepth::Two, size, &[0b0001_1000, 0b1100_0100]);
        assert_eq!(LabelMap::read_png(&path).unwrap().labels, [0, 1, 2, 3, 0, 1]);
        for (colour, depth, bytes) in [
            (ColorType::Rgb, BitDepth::Eight, 18),
            (ColorType::Rgba, BitDepth::Eight, 24),
            (ColorType::Grayscale, BitDepth::Sixteen, 12),
            (ColorType::GrayscaleAlpha, BitDepth::Eight, 12),
        ] {
            write(&path, colour, depth, size, &vec![0; bytes]);
            let error = LabelMap::read_png(&path).unwrap_err().to_string();
            assert!(error.contains("m.png") && error.contains(&format!("{colour:?}")), "{error}");
        }
        let missing = LabelMap::read_png(&folder.path().join("none.png")).unwrap_err();
        assert!(matches!(missing, MaskError::Io { .. }), "{missing}");
    }

    #[test]
    fn a_png_that_claims_a_huge_picture_is_refused_before_memory_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("huge.png");
        LabelMap::new(Size::new(1, 1)).write_png(&path).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(LabelMap::read_png(&path), Err(MaskError::BadPng { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn a_damaged_file_is_an_error_or_a_map_but_never_a_panic(cut in 0usize..1200, at in 0usize..1200, byte: u8) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("x.png");
            LabelMap { size: Size::new(8, 4), labels: (0..32).collect() }.write_png(&path).unwrap();
            let mut bytes = std::fs::read(&path).unwrap();
            bytes.truncate(bytes.len().saturating_sub(cut));
            if let Some(target) = bytes.get_mut(at) {
                *target = byte;
            }
            std::fs::write(&path, bytes).unwrap();
            if let Ok(map) = LabelMap::read_png(&path) {
                prop_assert_eq!(map.labels.len(), map.size.area());
            }
        }
    }
}
