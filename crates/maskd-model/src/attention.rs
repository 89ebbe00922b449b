//! Where `[CLS]` looks, drawn for people: heat maps, the patches that hold most of the attention, contact sheets, as in
//! the figures of DINO (Caron et al. 2021; `visualize_attention.py`).

use std::{io::BufWriter, path::Path};

use image::{
    ImageBuffer, Luma, Rgb, RgbImage,
    imageops::{FilterType, replace, resize},
};

use crate::backbone::Attention;
use maskd_types::{
    features::Grid,
    files::{self, OutputError},
    frame::Size,
    mask::{LabelMap, is_own_png, sign_png},
};

/// Widest picture within a contact sheet, in pixels.
const CELL: u32 = 320;

/// Pixels between the pictures of a contact sheet.
const GAP: u32 = 4;

/// How bright a sheet shows what is outside a mask.
const DIM: f32 = 0.2;

/// The mean over heads, `(N)`.
pub fn mean(attention: &Attention) -> Vec<f32> {
    let mut mean = vec![0.0; attention.grid.len()];
    for head in &attention.heads {
        mean.iter_mut().zip(head).for_each(|(sum, value)| *sum += value / attention.heads.len() as f32);
    }
    mean
}

/// The fewest patches that hold at least `mass` (0..=1) of the sum of `values` (none negative), the strongest first.
pub fn mass_mask(values: &[f32], mass: f32) -> Vec<bool> {
    let total: f64 = values.iter().copied().map(f64::from).sum();
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
    let mut mask = vec![false; values.len()];
    let mut held = 0.0;
    for patch in order {
        if held >= f64::from(mass) * total {
            break;
        }
        held += f64::from(values[patch]);
        mask[patch] = true;
    }
    mask
}

/// A mask of patches at the size of a frame: label 1 where it is.
pub fn mask_at(mask: &[bool], grid: Grid, size: Size) -> LabelMap {
    let labels = mask.iter().map(|on| u8::from(*on)).collect();
    LabelMap { size: Size::new(grid.cols as u32, grid.rows as u32), labels }.resize_nearest(size)
}

/// Values per patch `(N)` as colours at the size of a frame: the least is black, the greatest bright yellow; in between
/// bilinear. Values that are all the same are black.
pub fn heat_map(values: &[f32], grid: Grid, size: Size) -> RgbImage {
    let (low, high) = values.iter().fold((f32::MAX, f32::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
    let range = if high > low { high - low } else { f32::INFINITY };
    let patch = |x: u32, y: u32| {
        let value = values.get(y as usize * grid.cols + x as usize).copied().unwrap_or(low);
        Luma([(value - low) / range])
    };
    let small = ImageBuffer::from_fn(grid.cols as u32, grid.rows as u32, patch);
    let large = resize(&small, size.width, size.height, FilterType::Triangle);
    RgbImage::from_fn(size.width, size.height, |x, y| Rgb(inferno(large.get_pixel(x, y)[0])))
}

/// Matplotlib's colour map "inferno" at 0..=1, brighter by equal steps: the polynomial of degree 6 that Matt Zucker
/// fitted to it and gave to the public domain (shadertoy.com/view/WlfXRN).
fn inferno(at: f32) -> [u8; 3] {
    const POWERS: [[f64; 3]; 7] = [
        [0.000_218_94, 0.001_651, -0.019_480_9],
        [0.106_513_42, 0.563_956_44, 3.932_712_4],
        [11.602_493, -3.972_854, -15.942_394],
        [-41.703_996, 17.436_399, 44.354_145],
        [77.162_936, -33.402_359, -81.807_309],
        [-71.319_428, 32.626_064, 73.209_52],
        [25.131_126, -12.242_669, -23.070_325],
    ];
    let at = f64::from(at.clamp(0.0, 1.0));
    let channel = |c: usize| POWERS.iter().rev().fold(0.0, |sum, power| sum * at + power[c]);
    [0, 1, 2].map(|c| (255.0 * channel(c)).round().clamp(0.0, 255.0) as u8)
}

/// One picture of everything: the frame and each head's heat map; below, the mean and what each head's mask leaves of
/// the frame.
pub fn sheet(frame: &RgbImage, attention: &Attention, mass: f32) -> RgbImage {
    let width = frame.width().clamp(1, CELL);
    let height = (frame.height() * width).div_ceil(frame.width().max(1)).max(1);
    let size = Size::new(width, height);
    let frame = resize(frame, width, height, FilterType::Triangle);
    let columns = attention.heads.len() as u32 + 1;
    let mut sheet = RgbImage::from_pixel(columns * (width + GAP) - GAP, 2 * height + GAP, Rgb([255; 3]));
    let mut put = |picture: &RgbImage, column: usize, row: u32| {
        replace(&mut sheet, picture, i64::from(column as u32 * (width + GAP)), i64::from(row * (height + GAP)));
    };
    put(&frame, 0, 0);
    put(&heat_map(&mean(attention), attention.grid, size), 0, 1);
    for (head, values) in attention.heads.iter().enumerate() {
        put(&heat_map(values, attention.grid, size), head + 1, 0);
        put(&cut_out(&frame, &mask_at(&mass_mask(values, mass), attention.grid, size)), head + 1, 1);
    }
    sheet
}

/// The picture, dark outside the mask.
fn cut_out(picture: &RgbImage, mask: &LabelMap) -> RgbImage {
    let mut cut = picture.clone();
    for (pixel, _) in cut.pixels_mut().zip(&mask.labels).filter(|(_, label)| **label == 0) {
        pixel.0 = pixel.0.map(|value| (f32::from(value) * DIM) as u8);
    }
    cut
}

/// Two pictures of one height side by side.
pub fn beside(left: &RgbImage, right: &RgbImage) -> RgbImage {
    let mut both = RgbImage::new(left.width() + right.width(), left.height());
    replace(&mut both, left, 0, 0);
    replace(&mut both, right, i64::from(left.width()), 0);
    both
}

/// Writes a PNG with maskd's mark that appears whole or not at all, and replaces nothing but a PNG with that mark.
///
/// # Errors
/// Something else is there, or the folder cannot be written to.
pub fn write_png(picture: &RgbImage, path: &Path) -> Result<(), OutputError> {
    files::write(path, &is_own_png, |file| {
        let mut encoder = png::Encoder::new(BufWriter::new(file), picture.width(), picture.height());
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_compression(png::Compression::Fast);
        sign_png(&mut encoder)?;
        let mut writer = encoder.write_header()?;
        writer.write_image_data(picture.as_raw())?;
        Ok(writer.finish()?)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_mass_mask_holds_the_mass_and_no_patch_more(
            values in proptest::collection::vec(0.0f32..1.0, 1..200), mass in 0.01f32..=1.0,
        ) {
            let mask = mass_mask(&values, mass);
            let of = |on: bool| values.iter().zip(&mask).filter(move |(_, m)| **m == on).map(|(v, _)| *v);
            let sum = |on| of(on).map(f64::from).sum::<f64>();
            let (held, total) = (sum(true), sum(true) + sum(false));
            prop_assert!(held >= f64::from(mass) * total - 1e-9);
            // The weakest that is kept is needed, and none that is left out is stronger.
            let weakest = of(true).fold(f32::MAX, f32::min);
            prop_assert!(total == 0.0 || held - f64::from(weakest) < f64::from(mass) * total + 1e-9);
            prop_assert!(of(false).all(|value| value <= weakest));
        }
    }

    #[test]
    fn the_coldest_patch_is_black_and_the_hottest_yellow() {
        let grid = Grid { rows: 2, cols: 3 };
        let map = heat_map(&[0.2, 0.2, 0.2, 0.2, 0.2, 0.9], grid, Size::new(30, 20));
        let (cold, hot) = (map.get_pixel(0, 0).0, map.get_pixel(29, 19).0);
        assert!(cold.iter().all(|value| *value < 8), "{cold:?}");
        assert!(hot[0] > 240 && hot[1] > 240 && hot[2] < 190, "{hot:?}");
        let flat = heat_map(&[0.5; 6], grid, Size::new(3, 2));
        assert!(flat.pixels().all(|pixel| pixel.0 == cold));
        // Brightness rises with the value, all the way.
        let luma =
            |i: u16| inferno(f32::from(i) / 64.0).iter().zip([2, 7, 1]).map(|(v, w)| u32::from(*v) * w).sum::<u32>();
        assert!((0..64).all(|i| luma(i) < luma(i + 1)));
    }

    #[test]
    fn a_sheet_shows_the_frame_every_head_the_mean_and_the_masks() {
        let grid = Grid { rows: 1, cols: 2 };
        let attention = Attention { grid, heads: vec![vec![0.875, 0.125], vec![0.25, 0.75]] };
        assert_eq!(mean(&attention), [0.5625, 0.4375]);
        let frame = RgbImage::from_pixel(40, 20, Rgb([200, 100, 50]));
        let sheet = sheet(&frame, &attention, 0.6);
        assert_eq!(sheet.dimensions(), (3 * 44 - 4, 44));
        let at =
            |column: u32, row: u32, right: bool| sheet.get_pixel(column * 44 + if right { 39 } else { 0 }, row * 24).0;
        assert_eq!(at(0, 0, false), [200, 100, 50]);
        // The first head's mask is the left half, the second's the right one.
        assert_eq!((at(1, 1, false), at(1, 1, true)), ([200, 100, 50], [40, 20, 10]));
        assert_eq!((at(2, 1, false), at(2, 1, true)), ([40, 20, 10], [200, 100, 50]));
        assert!(at(1, 0, false)[0] > 240 && at(2, 0, true)[0] > 240 && at(0, 1, false)[0] > 240);
        assert_eq!(beside(&frame, &sheet).dimensions(), (40 + 128, 20));
    }
}
