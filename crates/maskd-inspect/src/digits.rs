//! Numbers drawn into pictures.

use image::{Rgb, RgbImage};

/// Three columns and five rows for each digit, row by row from the top, the left column in the highest bit.
const SHAPES: [[u8; 5]; 10] = [
    [7, 5, 5, 5, 7],
    [2, 6, 2, 2, 7],
    [7, 1, 7, 4, 7],
    [7, 1, 7, 1, 7],
    [5, 5, 7, 1, 1],
    [7, 4, 7, 1, 7],
    [7, 4, 7, 5, 7],
    [7, 1, 2, 2, 2],
    [7, 5, 7, 5, 7],
    [7, 5, 7, 1, 7],
];
/// Pixels of one of a shape's squares.
const SIDE: u32 = 2;

/// Draws `number` white on black, its top left corner at `(x, y)` or as near as the picture's border allows.
pub fn draw(picture: &mut RgbImage, number: u32, (x, y): (u32, u32)) {
    let text = number.to_string();
    let (width, height) = ((4 * text.len() as u32 + 1) * SIDE, 7 * SIDE);
    let left = x.min(picture.width().saturating_sub(width));
    let top = y.min(picture.height().saturating_sub(height));
    for row in 0..height {
        for column in 0..width {
            let (u, v) = (column / SIDE, row / SIDE);
            let digit = text.as_bytes().get((u / 4) as usize).map_or(0, |byte| usize::from(byte - b'0'));
            let bit = SHAPES[digit].get((v as usize).wrapping_sub(1)).map_or(0, |bits| bits >> (3 - u % 4) & 1);
            let on = bit == 1 && u % 4 != 0 && u / 4 < text.len() as u32;
            if let Some(pixel) = picture.get_pixel_mut_checked(left + column, top + row) {
                *pixel = Rgb([if on { 255 } else { 0 }; 3]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_drawn_and_stays_inside() {
        let mut picture = RgbImage::from_pixel(40, 30, Rgb([90; 3]));
        draw(&mut picture, 17, (2, 3));
        let row = |y: u32| -> String {
            (0..9).map(|u| if picture.get_pixel(2 + u * SIDE, 3 + y * SIDE).0[0] == 255 { '#' } else { '.' }).collect()
        };
        let drawn: Vec<String> = (0..7).map(row).collect();
        assert_eq!(
            drawn,
            [".........", "..#..###.", ".##....#.", "..#...#..", "..#...#..", ".###..#..", "........."],
            "{drawn:#?}"
        );
        assert_eq!(picture.get_pixel(1, 3).0, [90; 3]);
        // At the border, and where there is no room at all.
        draw(&mut picture, 4_294_967_295, (39, 29));
        draw(&mut RgbImage::new(1, 1), 8, (0, 0));
    }
}
