//! What really moves in a frame, and which of its pixels are judged.

use std::{io::Cursor, path::Path};

use anyhow::{Context, Result, ensure};
use image::{ImageReader, Limits};

use maskd_types::{files, frame::Size, mask::MAX_AREA};

/// Bytes a pixel takes at most, uncompressed and while it is decoded.
const BYTES_PER_PIXEL: u64 = 8;
/// Values that are not judged: outside of the region of interest, and what nobody can tell.
const NOT_JUDGED: [u8; 2] = [85, 170];
/// Above this value a pixel moves. A shadow (50) is scene.
const MOVES: u8 = 200;
/// Above this value a pixel is within the region of interest.
const INSIDE: u8 = 127;

/// What a pixel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pixel {
    Scene,
    Moving,
    NotJudged,
}

/// The truth of one frame.
#[derive(Debug, PartialEq, Eq)]
pub struct Truth {
    pub size: Size,
    /// `size.area()` pixels, row by row.
    pub pixels: Vec<Pixel>,
}

impl Truth {
    /// Reads the truth of a frame.
    ///
    /// # Errors
    /// A file that is no picture, by name.
    pub fn read(path: &Path) -> Result<Self> {
        let (size, values) = grey(path)?;
        let pixel = |value: u8| match value {
            value if NOT_JUDGED.contains(&value) => Pixel::NotJudged,
            value if value > MOVES => Pixel::Moving,
            _ => Pixel::Scene,
        };
        Ok(Self { size, pixels: values.into_iter().map(pixel).collect() })
    }

    /// Takes what lies outside of `region` from what is judged.
    ///
    /// # Errors
    /// A region of another size.
    pub fn within(&mut self, region: &Region) -> Result<()> {
        ensure!(
            region.size == self.size,
            "{}: it is {}, the truth is {}: remove it where the truth itself marks what is outside by 85",
            region.path.display(),
            region.size,
            self.size
        );
        let outside = self.pixels.iter_mut().zip(&region.inside).filter(|(_, inside)| !**inside);
        outside.for_each(|(pixel, _)| *pixel = Pixel::NotJudged);
        Ok(())
    }
}

/// Where a sequence is judged.
pub struct Region {
    path: std::path::PathBuf,
    size: Size,
    inside: Vec<bool>,
}

impl Region {
    /// Reads a region of interest.
    ///
    /// # Errors
    /// A file that is no picture, by name.
    pub fn read(path: &Path) -> Result<Self> {
        let (size, values) = grey(path)?;
        Ok(Self { path: path.to_owned(), size, inside: values.into_iter().map(|value| value > INSIDE).collect() })
    }
}

/// The grey values of a picture as people see it: PNG, JPEG or BMP.
fn grey(path: &Path) -> Result<(Size, Vec<u8>)> {
    let at = || path.display().to_string();
    let bytes = files::read(path, BYTES_PER_PIXEL * MAX_AREA as u64).with_context(at)?;
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().with_context(at)?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(2 * BYTES_PER_PIXEL * MAX_AREA as u64);
    reader.limits(limits);
    let picture = reader.decode().with_context(at)?.into_luma8();
    let size = Size::new(picture.width(), picture.height());
    ensure!(size.area() <= MAX_AREA, "{}: {size} pixels are too many", path.display());
    Ok((size, picture.into_raw()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_of_a_truth_has_its_meaning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.png");
        let values = [0, 50, 85, 170, 255];
        image::GrayImage::from_raw(5, 1, values.to_vec()).unwrap().save(&path).unwrap();
        let mut truth = Truth::read(&path).unwrap();
        use Pixel::{Moving, NotJudged, Scene};
        assert_eq!(truth.pixels, [Scene, Scene, NotJudged, NotJudged, Moving]);
        // The same in colours.
        image::RgbImage::from_fn(5, 1, |x, _| image::Rgb([values[x as usize]; 3])).save(&path).unwrap();
        assert_eq!(Truth::read(&path).unwrap(), truth);

        for name in ["ROI.bmp", "ROI.jpg"] {
            let path = folder.path().join(name);
            image::GrayImage::from_raw(5, 1, vec![255, 0, 255, 255, 0]).unwrap().save(&path).unwrap();
            let region = Region::read(&path).unwrap();
            assert_eq!(region.size, Size::new(5, 1));
            if name == "ROI.bmp" {
                truth.within(&region).unwrap();
                assert_eq!(truth.pixels, [Scene, NotJudged, NotJudged, NotJudged, NotJudged]);
            }
        }
        image::GrayImage::new(4, 1).save(folder.path().join("small.bmp")).unwrap();
        let error = truth.within(&Region::read(&folder.path().join("small.bmp")).unwrap()).unwrap_err().to_string();
        assert!(error.contains("small.bmp") && error.contains("4x1") && error.contains("5x1"), "{error}");
        std::fs::write(&path, "no picture").unwrap();
        assert!(format!("{:#}", Truth::read(&path).unwrap_err()).contains("x.png"));
    }
}
