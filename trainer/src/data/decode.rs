//! An image file as a picture to learn from.

use std::path::Path;

use anyhow::{Result, ensure};
use maskd_types::{frame::Size, picture};

use super::DataConfig;
use crate::augment::Picture;

/// Reads a JPEG or PNG as RGB, upright; transparency is dropped, 16 bits become 8.
///
/// # Errors
/// What is wrong with the file, without its name: unreadable, damaged, cut off, too large or too small.
pub(super) fn read(path: &Path, config: &DataConfig) -> Result<Picture> {
    let picture = picture::read(path, config.max_pixels()).map_err(|error| match error.downcast_ref() {
        Some(picture::TooLarge { size: Size { width, height }, .. }) => {
            check_size(*width, *height, config).err().unwrap_or(error)
        }
        None => error,
    })?;
    check_size(picture.width(), picture.height(), config)?;
    Picture::new(picture.width(), picture.height(), picture.into_raw())
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

    fn crc32(bytes: &[u8]) -> u32 {
        let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
    }
}
