//! Label maps of up to 16 bits: what a method found, and which thing is where.

use std::{
    io::{BufReader, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use anyhow::{Context, Result, anyhow};
use png::{BitDepth, ColorType, Limits};

use crate::identity::Label;
use maskd_types::{
    files,
    frame::Size,
    mask::{LabelMap, MAX_AREA},
};

/// Most bytes of a file: more than the largest map takes uncompressed.
const MOST_BYTES: u64 = 4 * MAX_AREA as u64;
/// Where a PNG says its depth and its colours: behind its signature, its first chunk's head, width and height.
const KIND: usize = 24;

/// One label for each pixel; 0 is none.
#[derive(Debug, PartialEq, Eq)]
pub struct Labels {
    pub size: Size,
    /// `size.area()` labels, row by row.
    pub values: Vec<Label>,
    /// Whether the file has 8 bits or fewer for each.
    pub narrow: bool,
}

impl Labels {
    /// Reads an indexed PNG (its indices) or a grey one of up to 16 bits (its values).
    ///
    /// # Errors
    /// Every other file, by name.
    pub fn read(path: &Path) -> Result<Self> {
        let at = || path.display().to_string();
        let mut file = files::open(path, MOST_BYTES).with_context(at)?;
        let mut head = [0; KIND + 2];
        let deep =
            file.read_exact(&mut head).is_ok() && head[KIND..] == [BitDepth::Sixteen as u8, ColorType::Grayscale as u8];
        file.seek(SeekFrom::Start(0)).with_context(at)?;
        let file = BufReader::new(file);
        if deep {
            return sixteen_bits(file).with_context(at);
        }
        let map = LabelMap::parse_png(file, true).map_err(|why| {
            anyhow!("{}: {why}; labels are an indexed PNG, or a grey one of up to 16 bits", path.display())
        })?;
        Ok(Self { size: map.size, values: map.labels.into_iter().map(Label::from).collect(), narrow: true })
    }
}

/// The masks in a file as they are drawn: labels beyond the palette begin it anew, without its first colour.
///
/// # Errors
/// A file that holds no labels, by name.
pub fn palette_indices(path: &Path) -> Result<LabelMap> {
    let Labels { size, values, .. } = Labels::read(path)?;
    let index = |label: Label| if label == 0 { 0 } else { ((label - 1) % 255 + 1) as u8 };
    Ok(LabelMap { size, labels: values.into_iter().map(index).collect() })
}

fn sixteen_bits(file: BufReader<std::fs::File>) -> Result<Labels> {
    let decoder = png::Decoder::new_with_limits(file, Limits { bytes: 4 * MAX_AREA });
    let mut reader = decoder.read_info()?;
    let size = Size::new(reader.info().width, reader.info().height);
    let length = reader.output_buffer_size().filter(|_| size.area() <= MAX_AREA);
    let mut bytes = vec![0; length.with_context(|| format!("{size} pixels are too many"))?];
    reader.next_frame(&mut bytes)?;
    let values = bytes.chunks_exact(2).map(|pair| Label::from_be_bytes([pair[0], pair[1]])).collect();
    Ok(Labels { size, values, narrow: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_have_8_bits_or_16() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.png");
        let read = || Labels::read(&path).unwrap();
        LabelMap { size: Size::new(3, 1), labels: vec![0, 7, 255] }.write_png(&path).unwrap();
        assert_eq!(read(), Labels { size: Size::new(3, 1), values: vec![0, 7, 255], narrow: true });
        let deep: image::ImageBuffer<image::Luma<u16>, _> =
            image::ImageBuffer::from_raw(1, 3, vec![0_u16, 255, 40_000]).unwrap();
        deep.save(&path).unwrap();
        assert_eq!(read(), Labels { size: Size::new(1, 3), values: vec![0, 255, 40_000], narrow: false });
        assert_eq!(palette_indices(&path).unwrap().labels, [0, 255, (39_999 % 255 + 1) as u8]);
        image::GrayImage::from_raw(2, 1, vec![0, 9]).unwrap().save(&path).unwrap();
        assert_eq!(read().values, [0, 9]);
    }

    #[test]
    fn what_holds_no_labels_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.png");
        let said = || format!("{:#}", Labels::read(&path).unwrap_err());
        assert!(said().contains("x.png"));
        image::RgbImage::new(2, 2).save(&path).unwrap();
        assert!(said().contains("x.png") && said().contains("Rgb"), "{}", said());
        let deep: image::ImageBuffer<image::Luma<u16>, _> = image::ImageBuffer::new(40, 40);
        deep.save(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(said().contains("x.png"), "{}", said());
    }
}
