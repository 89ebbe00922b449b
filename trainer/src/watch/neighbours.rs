//! Weighted k-nearest neighbours on `[CLS]` features, as DINO is judged on ImageNet (Wu et al. 2018): here each image is
//! classed by the others of the same folder.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use candle_core::{D, DType, Tensor};
use image::imageops::FilterType;
use maskd_ingest::ClipFrame;
use maskd_types::{
    frame::{Frame, Size, StreamId},
    picture::{self, MOST_PIXELS},
};

/// Neighbours that vote.
const K: usize = 20;
/// Temperature of their votes.
const TEMPERATURE: f32 = 0.07;
/// Images that are taken at most, evenly from the sorted list.
const MOST: usize = 2000;
/// Side of the images in pixels, floored to whole patches.
const SIDE: usize = 224;
/// Images that go through the network at once.
const BATCH: usize = 16;

/// Labelled images.
pub(super) struct Labelled {
    /// (file, class)
    images: Vec<(PathBuf, usize)>,
}

impl Labelled {
    /// The images in `root/CLASS/`.
    ///
    /// # Errors
    /// A folder that cannot be read, or holds fewer than two classes with images.
    pub(super) fn open(root: &Path) -> Result<Self> {
        let (mut images, mut classes) = (Vec::new(), 0);
        for folder in sorted(root)?.into_iter().filter(|p| p.is_dir()) {
            let is_image = |p: &PathBuf| image::ImageFormat::from_path(p).is_ok();
            let files: Vec<_> = sorted(&folder)?.into_iter().filter(is_image).collect();
            if !files.is_empty() {
                images.extend(files.into_iter().map(|file| (file, classes)));
                classes += 1;
            }
        }
        ensure!(
            classes > 1,
            "quality.knn: {}: want one folder of images for each of two classes or more; {classes} have images",
            root.display()
        );
        let step = images.len().div_ceil(MOST);
        Ok(Self { images: images.into_iter().step_by(step).collect() })
    }

    /// The share of images whose class the others say right, 0 to 1.
    ///
    /// # Errors
    /// An image that cannot be read; no memory left.
    pub(super) fn accuracy(&self, cls: &dyn Fn(&Tensor) -> Result<Tensor>, patch: usize) -> Result<f64> {
        let side = (SIDE / patch).max(1) * patch;
        let mut features = Vec::new();
        for batch in self.images.chunks(BATCH) {
            let frames = batch.iter().map(|(path, _)| square(path, side as u32)).collect::<Result<Vec<_>>>()?;
            let frames: Vec<&Frame> = frames.iter().collect();
            let images = maskd_model::preprocess::batch(&frames, Size::new(side as u32, side as u32))?;
            let found = cls(&images)?; // (B, C)
            features.push(found.to_dtype(DType::F32)?.detach());
        }
        let features = Tensor::cat(&features, 0)?;
        let lengths = features.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?;
        let unit = features.broadcast_div(&lengths)?;
        let cosines = unit.matmul(&unit.t()?.contiguous()?)?.to_vec2::<f32>()?; // (N, N)
        let classes: Vec<usize> = self.images.iter().map(|(_, class)| *class).collect();
        Ok(leave_one_out(&cosines, &classes))
    }
}

/// The share of rows whose class the K most similar other rows say right.
fn leave_one_out(cosines: &[Vec<f32>], classes: &[usize]) -> f64 {
    let count = classes.iter().max().map_or(0, |most| most + 1);
    let right = |i: usize| {
        let mut others: Vec<usize> = (0..classes.len()).filter(|&j| j != i).collect();
        others.sort_by(|&a, &b| cosines[i][b].total_cmp(&cosines[i][a]));
        let mut votes = vec![0f32; count];
        for &j in others.iter().take(K) {
            votes[classes[j]] += (cosines[i][j] / TEMPERATURE).exp();
        }
        votes.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).is_some_and(|(class, _)| class == classes[i])
    };
    (0..classes.len()).filter(|&i| right(i)).count() as f64 / classes.len().max(1) as f64
}

/// The middle of an image, upright, `side` by `side`.
fn square(path: &Path, side: u32) -> Result<Frame> {
    let image = picture::read(path, MOST_PIXELS).with_context(|| path.display().to_string())?;
    let least = image.width().min(image.height());
    let (x, y) = ((image.width() - least) / 2, (image.height() - least) / 2);
    let middle = image::imageops::crop_imm(&image, x, y, least, least).to_image();
    let small = image::imageops::resize(&middle, side, side, FilterType::CatmullRom);
    let stream: StreamId = "knn".parse()?;
    let size = Size::new(side, side);
    Ok(ClipFrame { name: String::new(), rgb: small.into_raw().into(), size, pts_ns: None }.to_frame(&stream, 0))
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let what = || format!("quality.knn: {}", folder.display());
    let entries = std::fs::read_dir(folder).with_context(what)?;
    let mut paths = entries.map(|e| Ok(e?.path())).collect::<std::io::Result<Vec<_>>>().with_context(what)?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use image::{ExtendedColorType, ImageEncoder as _, Rgb, RgbImage, codecs::png::PngEncoder};

    use super::*;

    #[test]
    fn an_image_that_lies_is_judged_upright() {
        let folder = tempfile::tempdir().unwrap();
        let (upright, turned) = (folder.path().join("upright.png"), folder.path().join("turned.png"));
        let picture = RgbImage::from_fn(40, 30, |x, y| Rgb([x * 6, y * 8, x * y].map(|value| value as u8)));
        picture.save(&upright).unwrap();
        // EXIF's 6: to be shown turned to the right.
        let lying = image::imageops::rotate270(&picture);
        let mut bytes = Vec::new();
        let mut encoder = PngEncoder::new(&mut bytes);
        let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        encoder.set_exif_metadata(exif.to_vec()).unwrap();
        encoder.write_image(&lying, 30, 40, ExtendedColorType::Rgb8).unwrap();
        std::fs::write(&turned, bytes).unwrap();
        assert!(square(&upright, 28).unwrap().rgb == square(&turned, 28).unwrap().rgb);
    }

    #[test]
    fn near_images_say_the_class_and_the_image_itself_does_not() {
        let cosines = |near: &dyn Fn(usize, usize) -> bool| -> Vec<Vec<f32>> {
            (0..8)
                .map(|i| {
                    (0..8)
                        .map(|j| {
                            if i == j {
                                1.0
                            } else if near(i, j) {
                                0.9
                            } else {
                                0.0
                            }
                        })
                        .collect()
                })
                .collect()
        };
        let classes = [0, 0, 0, 0, 1, 1, 1, 1];
        assert_eq!(leave_one_out(&cosines(&|i, j| i / 4 == j / 4), &classes), 1.0);
        assert_eq!(leave_one_out(&cosines(&|i, j| i / 4 != j / 4), &classes), 0.0);
    }
}
