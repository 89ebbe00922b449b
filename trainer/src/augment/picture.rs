//! A picture in memory, and the cut and resize that every crop starts with.

use anyhow::{Context, Result, ensure};
use fast_image_resize::{
    FilterType, ResizeAlg, ResizeOptions, Resizer,
    images::{TypedCroppedImage, TypedImage, TypedImageRef},
    pixels::U8x3,
};

use super::rect::Rect;

/// 8-bit RGB, `(height, width, 3)` without padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl Picture {
    /// Takes `rgb` as a picture.
    ///
    /// # Errors
    /// A side of zero, or a buffer that does not hold `width * height` pixels.
    pub fn new(width: u32, height: u32, rgb: Vec<u8>) -> Result<Self> {
        let expected = width as usize * height as usize * 3;
        ensure!(expected > 0 && rgb.len() == expected, "{} bytes are no picture of {width}x{height}", rgb.len());
        Ok(Self { width, height, rgb })
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The pixels, `(height, width, 3)`.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// The pixels, to be changed in place.
    pub fn rgb_mut(&mut self) -> &mut [u8] {
        &mut self.rgb
    }

    /// Mirrors left and right.
    pub fn flip(&mut self) {
        let (pixels, _) = self.rgb.as_chunks_mut::<3>();
        pixels.chunks_mut(self.width as usize).for_each(<[[u8; 3]]>::reverse);
    }

    /// What `rect` holds, resized to `width` x `height` by a bicubic filter (a = -0.5) that widens when it shrinks,
    /// as Pillow's `crop(..).resize(.., BICUBIC)` does: nothing outside the rectangle is looked at.
    ///
    /// `fast_image_resize` computes it with 16-bit weights and vector instructions. It stays within one level of
    /// Pillow, three where the first axis already overshoots black or white: it takes the axes in the other order.
    ///
    /// # Errors
    /// A rectangle that is not inside the picture, or a target without pixels.
    pub fn crop(&self, rect: Rect, width: u32, height: u32, resizer: &mut Resizer) -> Result<Self> {
        let source = TypedImageRef::<U8x3>::from_buffer(self.width, self.height, &self.rgb)
            .ok()
            .context("This is a bug: a picture's buffer is not its size")?;
        let cut = TypedCroppedImage::new(source, rect.left, rect.top, rect.width, rect.height)
            .with_context(|| format!("{rect:?} of {}x{}", self.width, self.height))?;
        let mut rgb = vec![0; width as usize * height as usize * 3];
        let mut target = TypedImage::<U8x3>::from_buffer(width, height, &mut rgb)
            .ok()
            .context("This is a bug: a crop's buffer is not its size")?;
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
        resizer.resize_typed(&cut, &mut target, &options)?;
        Self::new(width, height, rgb)
    }
}
