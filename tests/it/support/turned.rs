//! Pictures and films that are stored turned or mirrored, with a note of how to show them.

use std::path::Path;

use image::{
    ExtendedColorType, ImageEncoder, RgbImage,
    codecs::{jpeg::JpegEncoder, png::PngEncoder},
};
use maskd::{frame::Size, ingest::Mp4Writer};

/// The pixels to store, so that EXIF's `orientation` (1 to 8) shows them as `picture`. EXIF says which side of the shown
/// picture the first row and the first column are: 1 top left, 2 top right, 3 bottom right, 4 bottom left; where rows are
/// shown as columns, 5 left top, 6 right top, 7 right bottom, 8 left bottom.
pub fn lying(picture: &RgbImage, orientation: u8) -> RgbImage {
    let (w, h) = picture.dimensions();
    let (stored_w, stored_h) = if orientation < 5 { (w, h) } else { (h, w) };
    RgbImage::from_fn(stored_w, stored_h, |column, row| {
        let (x, y) = match orientation {
            1 => (column, row),
            2 => (w - 1 - column, row),
            3 => (w - 1 - column, h - 1 - row),
            4 => (column, h - 1 - row),
            5 => (row, column),
            6 => (w - 1 - row, column),
            7 => (w - 1 - row, h - 1 - column),
            _ => (row, h - 1 - column),
        };
        *picture.get_pixel(x, y)
    })
}

/// Writes a PNG or JPEG, by the path's ending, whose EXIF says `orientation`.
pub fn save_noted(stored: &RgbImage, orientation: u8, path: &Path) {
    // Little endian, one entry: tag 0x0112, one 16-bit number.
    let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
    let (width, height) = stored.dimensions();
    let mut bytes = Vec::new();
    if path.extension().is_some_and(|ending| ending == "png") {
        let mut encoder = PngEncoder::new(&mut bytes);
        encoder.set_exif_metadata(exif).unwrap();
        encoder.write_image(stored, width, height, ExtendedColorType::Rgb8).unwrap();
    } else {
        let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 95);
        encoder.set_exif_metadata(exif).unwrap();
        encoder.write_image(stored, width, height, ExtendedColorType::Rgb8).unwrap();
    }
    std::fs::write(path, bytes).unwrap();
}

/// Writes `pictures` as an MP4 that lies as EXIF's `orientation` (1, 3, 6 or 8) would have it, with the container's note
/// of how to turn it.
pub fn film_lying(path: &Path, orientation: u8, fps: u32, pictures: impl IntoIterator<Item = RgbImage>) {
    let mut writer: Option<Mp4Writer> = None;
    for picture in pictures {
        let stored = lying(&picture, orientation);
        let size = Size::new(stored.width(), stored.height());
        let writer = writer.get_or_insert_with(|| Mp4Writer::create(path, size, (fps, 1)).unwrap());
        writer.push(&stored).unwrap();
    }
    writer.unwrap().finish().unwrap();
    note_rotation(path, orientation);
}

/// Writes the display matrix of an MP4's only track.
fn note_rotation(path: &Path, orientation: u8) {
    // The upper left of the matrix: how columns and rows are shown.
    let [a, b, c, d]: [i32; 4] = match orientation {
        1 => [1, 0, 0, 1],
        3 => [-1, 0, 0, -1],
        6 => [0, 1, -1, 0],
        8 => [0, -1, 1, 0],
        _ => panic!("a film is not stored as {orientation}"),
    };
    let mut bytes = std::fs::read(path).unwrap();
    let header = bytes.windows(4).position(|name| name == b"tkhd").unwrap() + 4;
    // Version 1 has times of 64 bits.
    let matrix = header + if bytes[header] == 1 { 52 } else { 40 };
    for (place, value) in [(0, a), (1, b), (3, c), (4, d)] {
        let at = matrix + 4 * place;
        bytes[at..at + 4].copy_from_slice(&(value << 16).to_be_bytes());
    }
    std::fs::write(path, bytes).unwrap();
}
