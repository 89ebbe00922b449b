//! Colour operators, as torchvision applies them to Pillow images: 8-bit in, 8-bit out, rounded as Pillow rounds.
//!
//! All work in place on interleaved RGB `(H, W, 3)`. Tested against Pillow's own numbers.

use rand::{Rng, RngExt, seq::SliceRandom};

use super::CropConfig;

/// `ColorJitter`: brightness, contrast, saturation and hue in random order, each by a factor of its own.
pub fn jitter(rgb: &mut [u8], config: &CropConfig, rng: &mut impl Rng) {
    let mut factor = |range: f64| rng.random_range((1.0 - range).max(0.0)..=1.0 + range) as f32;
    let [light, range, colour] = [config.brightness, config.contrast, config.saturation].map(&mut factor);
    let turn = rng.random_range(-config.hue..=config.hue);
    let mut order = [0, 1, 2, 3];
    order.shuffle(rng);
    for operator in order {
        match operator {
            0 => brightness(rgb, light),
            1 => contrast(rgb, range),
            2 => saturation(rgb, colour),
            _ => hue(rgb, turn),
        }
    }
}

/// Blends with black: 0 is black, 1 changes nothing.
pub fn brightness(rgb: &mut [u8], factor: f32) {
    blend_with(rgb, 0, factor);
}

/// Blends with the picture's mean grey: 0 is flat, 1 changes nothing.
pub fn contrast(rgb: &mut [u8], factor: f32) {
    let pixels = rgb.as_chunks::<3>().0;
    let sum: u64 = pixels.iter().map(|p| u64::from(luma(*p))).sum();
    let mean = sum as f64 / pixels.len().max(1) as f64;
    blend_with(rgb, (mean + 0.5) as u8, factor);
}

/// Blends with the grey picture: 0 is grey, 1 changes nothing.
pub fn saturation(rgb: &mut [u8], factor: f32) {
    for pixel in rgb.as_chunks_mut::<3>().0 {
        let grey = luma(*pixel);
        *pixel = pixel.map(|value| blend(grey, value, factor));
    }
}

/// Turns the hue by `turn` of the circle (-0.5 to 0.5) in Pillow's HSV, which has 8 bits as well:
/// a turn of 0 is not quite nothing.
pub fn hue(rgb: &mut [u8], turn: f64) {
    // Truncated, then wrapped, as NumPy casts it.
    let shift = (turn * 255.0) as i32 as u8;
    // Each hue's sector of the circle and its place therein.
    let circle: [(u8, f32); 256] = std::array::from_fn(|hue| {
        let angle = f64::from((hue as u8).wrapping_add(shift)) * 6.0 / 255.0;
        (angle as u8, (angle - angle.floor()) as f32)
    });
    for pixel in rgb.as_chunks_mut::<3>().0 {
        let [h, s, v] = to_hsv(*pixel);
        *pixel = from_hsv(circle[usize::from(h)], s, v);
    }
}

/// All three channels become the luma.
pub fn grey(rgb: &mut [u8]) {
    for pixel in rgb.as_chunks_mut::<3>().0 {
        *pixel = [luma(*pixel); 3];
    }
}

/// Inverts every value of 128 and more.
pub fn solarise(rgb: &mut [u8]) {
    rgb.iter_mut().for_each(|v| *v = if *v < 128 { *v } else { 255 - *v });
}

/// ITU-R 601 luma in 16-bit fixed point, rounded: Pillow's mode `L`.
fn luma([r, g, b]: [u8; 3]) -> u8 {
    ((u32::from(r) * 19595 + u32::from(g) * 38470 + u32::from(b) * 7471 + 0x8000) >> 16) as u8
}

/// Pillow's `Image.blend` of one value: truncated and clipped, which the cast does.
fn blend(from: u8, to: u8, factor: f32) -> u8 {
    let (from, to) = (f32::from(from), f32::from(to));
    (from + factor * (to - from)) as u8
}

fn blend_with(rgb: &mut [u8], level: u8, factor: f32) {
    let table: [u8; 256] = std::array::from_fn(|value| blend(level, value as u8, factor));
    rgb.iter_mut().for_each(|v| *v = table[usize::from(*v)]);
}

/// Pillow's `rgb2hsv`: each of hue, saturation and value in 0..=255.
fn to_hsv([r, g, b]: [u8; 3]) -> [u8; 3] {
    let (max, min) = (r.max(g).max(b), r.min(g).min(b));
    if max == min {
        return [0, 0, max];
    }
    let range = f32::from(max - min);
    // Divided in single, then in double precision: where a value lies on an edge of its 8 bits, this decides it.
    let distance = |c: u8| f64::from(f32::from(max - c) / range);
    // Chosen before the division: a branch would be guessed wrong at every edge in the picture.
    let (start, plus, minus) = if r == max {
        (0.0, b, g)
    } else if g == max {
        (2.0, r, b)
    } else {
        (4.0, g, r)
    };
    let sixth = start + distance(plus) - distance(minus);
    let turned = f64::from(sixth as f32) / 6.0 + 1.0;
    let circle = if turned >= 1.0 { turned - 1.0 } else { turned };
    let saturation = range / f32::from(max);
    // By way of i32, which takes fewer instructions: all are within 0 to 255.
    let level = |share: f32| (f64::from(share) * 255.0) as i32 as u8;
    [level(circle as f32), level(saturation), max]
}

/// Pillow's `hsv2rgb`, for a hue in `sector` 0 to 6 of the circle and `part` 0 to 1 of the way through it.
fn from_hsv((sector, part): (u8, f32), s: u8, v: u8) -> [u8; 3] {
    let (value, saturation) = (f64::from(v), f32::from(s) / 255.0);
    // Rounded half up: none of them is negative.
    let level = |less: f64| (value * (1.0 - less) + 0.5) as i32 as u8;
    let rest = f64::from(saturation) * (1.0 - f64::from(part));
    let (p, q, t) = (level(saturation.into()), level((saturation * part).into()), level(rest));
    match sector % 6 {
        0 => [v, t, p],
        1 => [q, v, p],
        2 => [p, v, t],
        3 => [p, q, v],
        4 => [t, p, v],
        _ => [v, p, q],
    }
}
