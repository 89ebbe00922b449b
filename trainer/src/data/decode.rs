//! An image file in memory. Whatever its bytes say, memory stays within bounds.

use std::{
    fs,
    io::Cursor,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use anyhow::{Context, Result, bail, ensure};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::DataConfig;
use crate::augment::Picture;

/// Reads a JPEG or PNG as RGB; transparency is dropped, 16 bits become 8, EXIF rotation is not applied.
///
/// # Errors
/// What is wrong with the file, without its name: unreadable, damaged, cut off, too large or too small.
pub(super) fn read(path: &Path, config: &DataConfig) -> Result<Picture> {
    // Uncompressed with four channels of 16 bits, no picture within the bound is larger.
    let (bytes, most) = (fs::metadata(path)?.len(), config.max_pixels() * 8);
    ensure!(bytes <= most, "{bytes} bytes are more than data.max_megapixels = {} can hold", config.max_megapixels);
    let bytes = fs::read(path)?;
    // A decoder that panics on a file has found a damaged one; the run goes on without it.
    catch_unwind(AssertUnwindSafe(|| decode(&bytes, config))).unwrap_or_else(|_| bail!("the decoder gave up on it"))
}

fn decode(bytes: &[u8], config: &DataConfig) -> Result<Picture> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    // The decoder would fill what is missing with grey.
    ensure!(reader.format() != Some(ImageFormat::Jpeg) || is_whole_jpeg(bytes), "it is cut off");
    let mut decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, config)?;
    let mut limits = Limits::default();
    // 16 bits and four channels, and as much again for the decoder itself.
    limits.max_alloc = Some(config.max_pixels() * 16);
    decoder.set_limits(limits)?;
    let picture = DynamicImage::from_decoder(decoder)?.into_rgb8();
    Picture::new(picture.width(), picture.height(), picture.into_raw()).context("the decoder broke off")
}

/// Whether the end-of-image marker follows the last start of a scan: within a scan its bytes cannot occur. What
/// stands before (a thumbnail, with markers of its own) or after (what some cameras append) does no harm.
fn is_whole_jpeg(bytes: &[u8]) -> bool {
    let (end, scan) = ([0xff, 0xd9], [0xff, 0xda]);
    bytes.windows(2).rev().find(|pair| *pair == end || *pair == scan).is_some_and(|pair| pair == end)
}

/// Refuses what is too large to decode or too small to learn from.
///
/// # Errors
/// The size and the bound, with the key that holds it.
pub(super) fn check_size(width: u32, height: u32, config: &DataConfig) -> Result<()> {
    let pixels = u64::from(width) * u64::from(height);
    ensure!(
        pixels <= config.max_pixels(),
        "{width}x{height} is more than data.max_megapixels = {}",
        config.max_megapixels
    );
    ensure!(width.min(height) >= config.min_side, "{width}x{height} is less than data.min_side = {}", config.min_side);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn hostile_tiny_and_damaged_files_are_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.png");
        let refused = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            format!("{:#}", read(&path, &DataConfig::default()).unwrap_err())
        };
        let mut good = std::io::Cursor::new(Vec::new());
        image::RgbImage::new(40, 40).write_to(&mut good, image::ImageFormat::Png).unwrap();
        let good = good.into_inner();
        fs::write(&path, &good).unwrap();
        assert!(read(&path, &DataConfig::default()).is_ok());

        // The header's size and its checksum changed: 100 000 x 100 000 pixels in 100 bytes.
        let mut huge = good.clone();
        huge[16..24].copy_from_slice(&[0, 1, 0x86, 0xa0, 0, 1, 0x86, 0xa0]);
        let sum = crc32(&huge[12..29]);
        huge[29..33].copy_from_slice(&sum.to_be_bytes());
        assert!(refused(&huge).contains("100000x100000 is more than data.max_megapixels = 64"));

        refused(&good[..good.len() / 2]);
        refused(b"");
        refused(b"no picture at all");
        image::RgbImage::new(100, 31).save(&path).unwrap();
        let error = format!("{:#}", read(&path, &DataConfig::default()).unwrap_err());
        assert!(error.contains("100x31 is less than data.min_side = 32"), "{error}");
    }

    #[test]
    fn a_jpeg_that_is_cut_off_is_refused_and_one_with_more_behind_it_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.jpg");
        let textured = image::RgbImage::from_fn(64, 64, |x, y| image::Rgb([x, y, x * y].map(|v| (v * 37 % 256) as u8)));
        textured.save(&path).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        for keep in [bytes.len() * 9 / 10, bytes.len() / 2, 40] {
            fs::write(&path, &bytes[..keep]).unwrap();
            assert!(read(&path, &DataConfig::default()).is_err(), "{keep} of {} bytes", bytes.len());
        }
        bytes.extend(b"what a camera appends");
        fs::write(&path, &bytes).unwrap();
        assert!(read(&path, &DataConfig::default()).is_ok());
    }

    fn crc32(bytes: &[u8]) -> u32 {
        let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
    }
}
