//! Multi-crop: one picture becomes two large views and several small ones, each disturbed in its own way
//! (Caron et al. 2021, appendix B; the recipe of BYOL for flip, colour, blur and solarisation).
//!
//! ```text
//! Picture -> Rect::random -> crop and resize -> flip -> jitter -> grey -> blur -> solarise (second global) -> normalise
//! ```

mod blur;
mod colour;
mod config;
mod picture;
mod rect;
#[cfg(test)]
mod tests;

use anyhow::Result;
pub use config::CropConfig;
use fast_image_resize::Resizer;
pub use picture::Picture;
use rand::{Rng, RngExt};
pub use rect::Rect;

/// ImageNet mean of R, G and B in 0..1.
pub const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
/// ImageNet standard deviation as DINO was trained with. The daemon's `preprocess` follows the propagation script
/// instead, which has 0.228 for red: inputs differ by 0.4 % in that channel, below what training can tell apart.
pub const STD: [f32; 3] = [0.229, 0.224, 0.225];

/// Which of a sample's views a crop is; they differ in size, scale, blur and solarisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The first large crop: always blurred.
    First,
    /// The second large crop: seldom blurred, sometimes solarised.
    Second,
    /// A small crop.
    Local,
}

/// Makes the crops of pictures; owns the resizer's buffers, so each thread has one.
pub struct Cropper {
    config: CropConfig,
    resizer: Resizer,
}

impl Cropper {
    /// A cropper for `config`, which has been validated.
    pub fn new(config: CropConfig) -> Self {
        Self { config, resizer: Resizer::new() }
    }

    /// The two global crops, the second out of `other`, then the local ones; all chance comes from `rng`.
    ///
    /// # Errors
    /// None that a validated configuration can cause.
    pub fn crops(&mut self, picture: &Picture, other: &Picture, rng: &mut impl Rng) -> Result<Vec<Picture>> {
        let mut crops = Vec::with_capacity(2 + self.config.local_count);
        for (view, of) in [(View::First, picture), (View::Second, other)] {
            crops.push(self.crop(of, view, rng)?);
        }
        for _ in 0..self.config.local_count {
            crops.push(self.crop(picture, View::Local, rng)?);
        }
        Ok(crops)
    }

    fn crop(&mut self, picture: &Picture, view: View, rng: &mut impl Rng) -> Result<Picture> {
        let config = &self.config;
        let (size, scale, blur) = match view {
            View::First => (config.global_size, config.global_scale, config.blur_global_1),
            View::Second => (config.global_size, config.global_scale, config.blur_global_2),
            View::Local => (config.local_size, config.local_scale, config.blur_local),
        };
        let rect = Rect::random(rng, picture.width(), picture.height(), scale);
        let mut crop = picture.crop(rect, size as u32, size as u32, &mut self.resizer)?;
        if rng.random_bool(config.flip) {
            crop.flip();
        }
        if rng.random_bool(config.jitter) {
            colour::jitter(crop.rgb_mut(), config, rng);
        }
        if rng.random_bool(config.grey) {
            colour::grey(crop.rgb_mut());
        }
        if rng.random_bool(blur) {
            blur::gaussian(&mut crop, rng.random_range(config.blur_radius[0]..=config.blur_radius[1]) as f32);
        }
        if view == View::Second && rng.random_bool(config.solarise) {
            colour::solarise(crop.rgb_mut());
        }
        Ok(crop)
    }
}

/// Interleaved 8-bit RGB `(H, W, 3)` to normalised planes `(3, H, W)`: `(value / 255 - mean) / std`.
pub fn normalise(rgb: &[u8], planes: &mut [f32]) {
    let plane = planes.len() / 3;
    for (channel, plane) in planes.chunks_exact_mut(plane.max(1)).enumerate() {
        let (scale, shift) = (1.0 / (255.0 * STD[channel]), MEAN[channel] / STD[channel]);
        for (out, pixel) in plane.iter_mut().zip(rgb.as_chunks::<3>().0) {
            *out = f32::from(pixel[channel]) * scale - shift;
        }
    }
}
