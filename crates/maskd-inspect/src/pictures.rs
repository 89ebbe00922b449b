//! What a frame and what is known of its scene look like: six pictures in one.

use std::io;

use image::{
    ExtendedColorType, Rgb, RgbImage,
    codecs::jpeg::JpegEncoder,
    imageops::{FilterType, replace, resize},
};
use maskd_fixed::camera::View;
use maskd_tracking::engine::FrameResult;
use maskd_types::{frame::Size, mask::overlay};

use crate::{digits, seal};

/// Pictures in a row, from left to right and from above: what they show, and how to read it.
pub const PANELS: [(&str, &str); 6] = [
    ("The frame", "masks of instances, each with its number; a colour is an instance"),
    ("The empty scene", "what the camera is believed to see without anything that moves"),
    (
        "Deviation",
        "how far each pixel is from the empty scene: black as usual, red from 3 deviations on, white from 10",
    ),
    (
        "Features",
        "how unlike the empty scene the network finds each place: black like it, white from 0.6 on; grey without",
    ),
    ("Evidence", "what all of it says: blue for the scene, black either way, orange for something that moves"),
    (
        "Foreground",
        "what is taken for moving: white where it is published as an instance, orange where it is not (yet)",
    ),
];
/// Pictures in a row.
pub const COLUMNS: u32 = 3;
/// Pixels between pictures.
const GAP: u32 = 4;
/// Narrower pictures are shown larger.
const LEAST_WIDTH: u32 = 300;
/// Of the JPEG, 1 to 100.
const QUALITY: u8 = 85;

const ORANGE: [f32; 3] = [255.0, 150.0, 30.0];
const BLUE: [f32; 3] = [30.0, 70.0, 150.0];

/// Draws a frame's result and a look into what it came from. Planes lie as the scene does, the frame as the camera sent it.
pub fn draw(result: &FrameResult, view: &View) -> RgbImage {
    let frame = &result.frame;
    let inner = Size::new(view.background.width as u32, view.background.height as u32);
    // Without a view there is the frame alone to show, no larger than a view would be.
    let inner = if inner.area() == 0 { frame.size } else { inner };
    let by = LEAST_WIDTH.div_ceil(inner.width.max(1)).max(1);
    let size = Size::new(by * inner.width, by * inner.height);
    let plane = |length: usize, colour: &dyn Fn(usize) -> [u8; 3]| match length == inner.area() {
        true => enlarge(inner, by, colour),
        false => RgbImage::from_pixel(size.width, size.height, Rgb([128; 3])),
    };
    let background = view.background.rgb();
    let published = published(result, view, inner);
    let panels = [
        masks(result, size),
        plane(background.len() / 3, &|p| [background[3 * p], background[3 * p + 1], background[3 * p + 2]]),
        plane(view.distance.len(), &|p| hot(view.distance[p] / 10.0)),
        plane(view.feature.len(), &|p| hot(view.feature[p] / 0.6)),
        plane(view.evidence.len(), &|p| signed(view.evidence[p] / 4.0)),
        plane(view.mask.len(), &|p| match (view.mask[p], published[p]) {
            (true, true) => [255; 3],
            (true, false) => ORANGE.map(|c| c as u8),
            (false, _) => [0; 3],
        }),
    ];
    let rows = (panels.len() as u32).div_ceil(COLUMNS);
    let (width, height) = (COLUMNS * (size.width + GAP) - GAP, rows * (size.height + GAP) - GAP);
    let mut sheet = RgbImage::from_pixel(width, height, Rgb([255; 3]));
    for (i, panel) in panels.iter().enumerate() {
        let (column, row) = (i as u32 % COLUMNS, i as u32 / COLUMNS);
        replace(&mut sheet, panel, i64::from(column * (size.width + GAP)), i64::from(row * (size.height + GAP)));
    }
    sheet
}

/// A JPEG with our mark.
///
/// # Errors
/// A picture that is too large for the format.
pub fn jpeg(picture: &RgbImage) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, QUALITY);
    encoder
        .encode(picture.as_raw(), picture.width(), picture.height(), ExtendedColorType::Rgb8)
        .map_err(io::Error::other)?;
    // A comment behind the first segment, which is the format's own.
    let at = match bytes.get(2..6) {
        Some(&[0xff, 0xe0, high, low]) => 4 + usize::from(u16::from_be_bytes([high, low])),
        _ => 2,
    };
    let mark = seal::blank();
    let length = (mark.len() as u16 + 2).to_be_bytes();
    let comment = [&[0xff, 0xfe], &length[..], mark.as_bytes()].concat();
    bytes.splice(at.min(bytes.len())..at.min(bytes.len()), comment);
    seal::close(&mut bytes);
    Ok(bytes)
}

/// The frame at `size` with its masks and their numbers.
fn masks(result: &FrameResult, size: Size) -> RgbImage {
    let (from, labels) = (result.frame.size, result.labels.resize_nearest(size));
    let Some(frame) = RgbImage::from_raw(from.width, from.height, result.frame.rgb.to_vec()) else {
        return RgbImage::new(size.width, size.height);
    };
    let mut small = resize(&frame, size.width, size.height, FilterType::Triangle);
    overlay(&mut small, &labels);
    let at = |v: u32, from: u32, to: u32| (u64::from(v) * u64::from(to) / u64::from(from.max(1))) as u32;
    for instance in &result.instances {
        let (source, bbox) = (result.labels.size, &instance.bbox);
        let place = (at(bbox.x, source.width, size.width), at(bbox.y, source.height, size.height).saturating_sub(14));
        digits::draw(&mut small, instance.id, place);
    }
    small
}

/// Which pixels of the scene are of a published instance.
fn published(result: &FrameResult, view: &View, inner: Size) -> Vec<bool> {
    let (width, shift) = (inner.width as i64, view.measures.shift);
    let labels = result.labels.resize_nearest(inner).labels;
    let moved = |p: usize| {
        let x = (p as i64 % width + shift.0.round() as i64).clamp(0, width - 1);
        let y = (p as i64 / width + shift.1.round() as i64).clamp(0, i64::from(inner.height) - 1);
        labels[(y * width + x) as usize] != 0
    };
    (0..inner.area()).map(moved).collect()
}

/// A plane of `inner` with squares of `by` pixels for each of its own.
fn enlarge(inner: Size, by: u32, colour: &dyn Fn(usize) -> [u8; 3]) -> RgbImage {
    let colours: Vec<[u8; 3]> = (0..inner.area()).map(colour).collect();
    let at = |x: u32, y: u32| colours[(y / by) as usize * inner.width as usize + (x / by) as usize];
    RgbImage::from_fn(by * inner.width, by * inner.height, |x, y| Rgb(at(x, y)))
}

/// From black through red and yellow to white, for 0 to 1.
fn hot(value: f32) -> [u8; 3] {
    [0.0, 1.0, 2.0].map(|from| (255.0 * (3.0 * value - from).clamp(0.0, 1.0)) as u8)
}

/// From blue through black to orange, for -1 to 1.
fn signed(value: f32) -> [u8; 3] {
    let colour = if value < 0.0 { BLUE } else { ORANGE };
    colour.map(|c| (c * value.abs().min(1.0)) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_say_how_much() {
        assert_eq!([hot(0.0), hot(1.0 / 3.0), hot(1.0), hot(9.0)], [[0; 3], [255, 0, 0], [255; 3], [255; 3]]);
        assert_eq!(signed(0.0), [0; 3]);
        assert!(signed(1.0)[0] > 200 && signed(-1.0)[2] > 140 && signed(-9.0) == signed(-1.0));
        assert_eq!(hot(f32::NAN), [0; 3]);
    }

    #[test]
    fn a_jpeg_has_our_mark_and_is_a_picture_all_the_same() {
        let bytes = jpeg(&RgbImage::from_fn(30, 20, |x, y| Rgb([8 * x as u8, 12 * y as u8, 90]))).unwrap();
        assert!(seal::is_whole(&bytes));
        let read = image::load_from_memory(&bytes).unwrap().to_rgb8();
        assert_eq!(read.dimensions(), (30, 20));
        // Saved by another program, it is another's.
        let mut again = Vec::new();
        JpegEncoder::new(&mut again).encode_image(&read).unwrap();
        assert!(!seal::is_whole(&again));
    }
}
