//! Pictures in files as people see them: upright, in 8-bit RGB. Whatever a file's bytes say, memory stays within bounds.
//!
//! A camera that is held upright often stores a picture that lies on its side, with a note (EXIF) of how to turn it. Every
//! viewer obeys the note, so everything here is in upright coordinates: sizes, pixels, and the masks made of them.

use std::{
    io::{BufRead, BufReader, Cursor, Seek},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use anyhow::{Result, bail, ensure};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage, metadata::Orientation};

use crate::{files, frame::Size, mask};

/// Endings of the files that count as pictures. The format is told by the content.
pub const ENDINGS: [&str; 3] = ["jpg", "jpeg", "png"];

/// Most pixels of a picture whose masks can be read again.
pub const MOST_PIXELS: u64 = mask::MAX_AREA as u64;

/// Uncompressed, with four channels of 16 bits, a pixel takes no more bytes.
const BYTES_PER_PIXEL: u64 = 8;

/// A picture of more pixels than the reader allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{size} is more than the {most} pixels that are read here")]
pub struct TooLarge {
    /// What the file says.
    pub size: Size,
    /// Pixels allowed.
    pub most: u64,
}

/// Whether the name says that the file is a picture.
pub fn is_named_so(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    ENDINGS.contains(&ending.as_str())
}

/// The upright size, from the file's headers alone.
///
/// # Errors
/// What is wrong with the file, without its name: unreadable, no picture, more than `most` pixels ([`TooLarge`]).
pub fn size(path: &Path, most: u64) -> Result<Size> {
    let file = files::open(path, most.saturating_mul(BYTES_PER_PIXEL))?;
    let mut decoder = expected(ImageReader::new(BufReader::new(file)).with_guessed_format()?)?.into_decoder()?;
    Ok(look(&mut decoder, most)?.0)
}

/// Reads a JPEG or PNG. Transparency is dropped, 16 bits become 8.
///
/// # Errors
/// What is wrong with the file, without its name: as [`size`], and damaged or cut off.
pub fn read(path: &Path, most: u64) -> Result<RgbImage> {
    let bytes = files::read(path, most.saturating_mul(BYTES_PER_PIXEL))?;
    // A decoder that panics has met a damaged file; whoever reads many goes on without it.
    catch_unwind(AssertUnwindSafe(|| decode(&bytes, most))).unwrap_or_else(|_| bail!("the decoder gave up on it"))
}

fn decode(bytes: &[u8], most: u64) -> Result<RgbImage> {
    let reader = expected(ImageReader::new(Cursor::new(bytes)).with_guessed_format()?)?;
    // The decoder would fill what is missing with grey.
    ensure!(reader.format() != Some(ImageFormat::Jpeg) || is_whole_jpeg(bytes), "it is cut off");
    let mut decoder = reader.into_decoder()?;
    let (_, orientation) = look(&mut decoder, most)?;
    let mut limits = Limits::default();
    // As much again for the decoder itself.
    limits.max_alloc = Some(most.saturating_mul(2 * BYTES_PER_PIXEL));
    decoder.set_limits(limits)?;
    // To three bytes first: there is less to turn then.
    let mut picture = DynamicImage::ImageRgb8(DynamicImage::from_decoder(decoder)?.into_rgb8());
    picture.apply_orientation(orientation);
    Ok(picture.into_rgb8())
}

/// Lets pictures of the formats pass that are read here, whatever other decoders are built in.
fn expected<R: BufRead + Seek>(reader: ImageReader<R>) -> Result<ImageReader<R>> {
    let format = reader.format();
    let read = matches!(format, None | Some(ImageFormat::Jpeg | ImageFormat::Png));
    ensure!(
        read,
        "it is neither a JPEG nor a PNG{}",
        format.map(|format| format!(" but {format:?}")).unwrap_or_default()
    );
    Ok(reader)
}

/// The upright size, and how the stored pixels are turned to it.
fn look(decoder: &mut impl ImageDecoder, most: u64) -> Result<(Size, Orientation)> {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    let (width, height) = decoder.dimensions();
    let orientation = decoder.orientation()?;
    let size = match orientation {
        Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH => Size::new(height, width),
        _ => Size::new(width, height),
    };
    ensure!(u64::from(width) * u64::from(height) <= most, TooLarge { size, most });
    Ok((size, orientation))
}

/// Whether the end-of-image marker is reached, from segment to segment: what stands inside of one (a thumbnail, with
/// markers of its own) or behind the end (what some cameras append) does not count.
fn is_whole_jpeg(bytes: &[u8]) -> bool {
    // After the start-of-image marker.
    let mut rest = bytes.get(2..).unwrap_or_default();
    // Within a scan 0xff is followed by 0 or a restart marker; 0xff before a marker is padding.
    let is_marker = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 1 | 0xd0..=0xd7 | 0xff);
    while let Some(at) = rest.windows(2).position(is_marker) {
        if rest[at + 1] == 0xd9 {
            return true;
        }
        let segment = &rest[at + 2..];
        let Some(length) = segment.first_chunk().map(|length| usize::from(u16::from_be_bytes(*length))) else { break };
        rest = segment.get(length..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use image::Rgb;

    use super::*;

    fn place(name: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        (folder, path)
    }

    fn said(path: &Path) -> String {
        format!("{:#}", read(path, MOST_PIXELS).unwrap_err())
    }

    #[test]
    fn a_jpeg_that_is_cut_off_is_named_and_one_with_more_behind_it_is_read() {
        let (_folder, path) = place("x.jpg");
        let textured = RgbImage::from_fn(64, 64, |x, y| Rgb([x, y, x * y].map(|v| (v * 37 % 256) as u8)));
        textured.save(&path).unwrap();
        let whole = fs::read(&path).unwrap();
        for keep in [whole.len() - 2, whole.len() * 9 / 10, whole.len() / 2, 40] {
            fs::write(&path, &whole[..keep]).unwrap();
            assert!(said(&path).contains("cut off"), "{keep} of {} bytes", whole.len());
        }
        // Behind the end a camera may append anything, another start of a scan too; before it there may be a thumbnail.
        fs::write(&path, [&whole[..], b"film\xff\xda\0\x02\x01"].concat()).unwrap();
        assert_eq!(read(&path, MOST_PIXELS).unwrap().dimensions(), (64, 64));
        let length = u16::try_from(whole.len() + 2).unwrap().to_be_bytes();
        let thumbnail = [&whole[..2], b"\xff\xe5", &length, &whole[..], &whole[2..]].concat();
        fs::write(&path, &thumbnail).unwrap();
        assert_eq!(read(&path, MOST_PIXELS).unwrap().dimensions(), (64, 64));
        fs::write(&path, &thumbnail[..thumbnail.len() - 40]).unwrap();
        assert!(said(&path).contains("cut off"));
    }

    #[test]
    fn a_picture_beyond_the_bound_is_refused_from_its_headers() {
        let (_folder, path) = place("x.png");
        RgbImage::new(48, 32).save(&path).unwrap();
        assert!(read(&path, 48 * 32).is_ok());
        let most = 48 * 32 - 1;
        for error in [size(&path, most).unwrap_err(), read(&path, most).unwrap_err()] {
            assert_eq!(error.downcast_ref(), Some(&TooLarge { size: Size::new(48, 32), most }));
        }
        fs::write(&path, "no picture").unwrap();
        assert!(size(&path, most).is_err() && read(&path, most).is_err());
        assert!(format!("{:#}", size(path.parent().unwrap(), most).unwrap_err()).contains("a folder"));
    }

    #[test]
    fn a_bitmap_is_no_picture_though_it_could_be_decoded() {
        let (_folder, path) = place("x.jpg");
        // The header of a bitmap of 1 x 1 pixels.
        fs::write(
            &path,
            [&b"BM\x3a\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\x18"[..], &[0; 28]].concat(),
        )
        .unwrap();
        assert!(said(&path).contains("neither a JPEG nor a PNG"), "{}", said(&path));
        assert!(size(&path, MOST_PIXELS).is_err());
    }

    #[test]
    fn names_are_taken_in_any_case() {
        let named = ["a.JPG", "a.jpeg", "a.Png", "a.txt", "png"].map(|name| is_named_so(Path::new(name)));
        assert_eq!(named, [true, true, true, false, false]);
    }
}
