//! Labels drawn over the picture they belong to, for people.

use rayon::prelude::*;

use super::{LabelMap, palette};

/// How much of a pixel inside an instance is the instance's colour.
const ALPHA: f32 = 0.5;

/// Draws each label's palette colour half transparent over `rgb`, `(height, width, 3)` 8-bit, and its
/// contour in the full colour: one pixel wide, two from 720 lines on. Background is left alone.
/// Where `rgb` is not a picture of the map's size, the part that both have is drawn.
pub fn overlay(rgb: &mut [u8], labels: &LabelMap) {
    let (width, height) = (labels.size.width as usize, labels.size.height as usize);
    if width == 0 {
        return;
    }
    let colours = palette();
    let reach = if height >= 720 { 2 } else { 1 };
    let map = &labels.labels;
    rgb.par_chunks_mut(width * 3).zip(map.par_chunks(width)).enumerate().for_each(|(y, (pixels, row))| {
        for (x, (pixel, &label)) in pixels.chunks_exact_mut(3).zip(row).enumerate() {
            if label == 0 {
                continue;
            }
            let edge = (1..=reach).any(|d| {
                (x >= d && row[x - d] != label)
                    || (x + d < width && row[x + d] != label)
                    || (y >= d && map[(y - d) * width + x] != label)
                    || (y + d < height && map[(y + d) * width + x] != label)
            });
            let alpha = if edge { 1.0 } else { ALPHA };
            for (value, colour) in pixel.iter_mut().zip(colours[usize::from(label)]) {
                *value = (f32::from(*value) * (1.0 - alpha) + f32::from(colour) * alpha).round() as u8;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Size;

    #[test]
    fn inside_is_mixed_the_contour_is_full_and_background_stays() {
        let mut map = LabelMap::new(Size::new(6, 5));
        for y in 1..4 {
            (1..5).for_each(|x| map.labels[y * 6 + x] = 1);
        }
        let mut rgb = vec![100; 6 * 5 * 3];
        overlay(&mut rgb, &map);
        let at = |x: usize, y: usize| &rgb[(y * 6 + x) * 3..][..3];
        assert_eq!(at(0, 0), [100, 100, 100]);
        assert_eq!(at(1, 1), [128, 0, 0]);
        assert_eq!(at(2, 2), [114, 50, 50]);
        assert_eq!(rgb.chunks(3).filter(|p| *p == [128, 0, 0]).count(), 10);
    }

    #[test]
    fn a_buffer_of_another_size_is_drawn_as_far_as_it_goes() {
        let map = LabelMap { size: Size::new(4, 4), labels: vec![2; 16] };
        let mut rgb = vec![0; 4 * 3 * 2 + 5];
        overlay(&mut rgb, &map);
        assert_eq!(rgb[..3], [0, 64, 0]);
        overlay(&mut [], &map);
        overlay(&mut rgb, &LabelMap::new(Size::new(0, 0)));
    }
}
