//! The picture that README.md opens with is what the command under it draws.
//!
//! With `MASKD_PICTURES=DIR` the picture is drawn to `DIR/pedestrians.jpg`: `make pictures`.

use std::{collections::BTreeMap, io::Write as _, path::Path};

use image::{
    Rgb, RgbImage,
    codecs::jpeg::JpegEncoder,
    imageops::{self, FilterType},
};
use maskd::{
    ingest::{Clip, ClipFrame},
    mask::{LabelMap, overlay},
};

use crate::{shared::shared, support::process::maskd};

const README: &str = include_str!("../../README.md");
const PICTURE: &str = "docs/pictures/pedestrians.jpg";

/// The frames that are shown side by side, counted from 0, as the caption says.
const FRAMES: [usize; 2] = [10, 30];

/// Width and height of each in the picture.
const PART: (u32, u32) = (600, 450);

/// A pixel has another colour where one of its channels differs by more than this, of 255: a mask that is drawn over a
/// pixel changes it by more, encoders by less.
const OTHER: u8 = 36;

/// How many pixels may have another colour than in the committed picture: of all that masks are drawn on there, and of
/// each instance's, on average. Masks differ a little from one CPU to another: with weights whose last bits were drawn at
/// random, which is far more, both were 0.02.
const MOST_OTHER: f64 = 0.15;

/// The mean difference of all channels, of 255, that video and JPEG encoders may make.
const MOST_MEAN: f64 = 4.0;

/// The command that the caption prints, without the program's name.
fn command() -> Vec<&'static str> {
    let caption = README.split_once("](docs/pictures/pedestrians.jpg)").expect("the picture").1;
    let (_, command) = caption.split_once("`maskd segment ").expect("its command");
    let words = command.split_once('`').expect("the end of the command").0.split_whitespace();
    std::iter::once("segment").chain(words).collect()
}

/// The chosen frames of a video.
fn frames(video: &Path) -> Vec<ClipFrame> {
    let clip = Clip::open(video).unwrap();
    clip.enumerate().filter(|(i, _)| FRAMES.contains(i)).map(|(_, frame)| frame.unwrap()).take(FRAMES.len()).collect()
}

/// Frames side by side, scaled; `draw` may change each before.
fn join(frames: &[ClipFrame], draw: &dyn Fn(usize, &mut [u8])) -> RgbImage {
    let mut picture = RgbImage::new(PART.0 * FRAMES.len() as u32, PART.1);
    for (k, frame) in frames.iter().enumerate() {
        let mut rgb = frame.rgb.to_vec();
        draw(k, &mut rgb);
        let whole = RgbImage::from_raw(frame.size.width, frame.size.height, rgb).unwrap();
        let part = imageops::resize(&whole, PART.0, PART.1, FilterType::Triangle);
        imageops::replace(&mut picture, &part, i64::from(PART.0) * k as i64, 0);
    }
    picture
}

/// Whether a pixel has another colour.
fn is_other(a: &Rgb<u8>, b: &Rgb<u8>) -> bool {
    a.0.iter().zip(b.0).any(|(a, b)| a.abs_diff(b) > OTHER)
}

/// How many pixels of `a` have another colour in `b`.
fn others(a: &RgbImage, b: &RgbImage) -> usize {
    assert_eq!(a.dimensions(), b.dimensions());
    a.pixels().zip(b.pixels()).filter(|(a, b)| is_other(a, b)).count()
}

/// The mean difference of all channels.
fn mean(a: &RgbImage, b: &RgbImage) -> f64 {
    let sum: u64 = a.iter().zip(b.iter()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.len() as f64
}

/// The pixels of `picture` in which an instance is seen, for each instance of each frame.
fn regions(masks: &[LabelMap], picture: &RgbImage) -> Vec<Vec<(u32, u32)>> {
    let mut regions = BTreeMap::<_, Vec<_>>::new();
    for (x, y, _) in picture.enumerate_pixels() {
        let k = (x / PART.0) as usize;
        let (size, labels) = (masks[k].size, &masks[k].labels);
        let (column, row) = (x % PART.0 * size.width / PART.0, y * size.height / PART.1);
        let label = labels[(row * size.width + column) as usize];
        if label != 0 {
            regions.entry((k, label)).or_default().push((x, y));
        }
    }
    regions.into_values().collect()
}

/// Which share of its pixels has another colour in `b` than in `a`, on average over the regions.
fn other_regions(a: &RgbImage, b: &RgbImage, regions: &[Vec<(u32, u32)>]) -> f64 {
    let share = |region: &Vec<(u32, u32)>| {
        let others = region.iter().filter(|(x, y)| is_other(a.get_pixel(*x, *y), b.get_pixel(*x, *y))).count();
        others as f64 / region.len() as f64
    };
    regions.iter().map(share).sum::<f64>() / regions.len() as f64
}

/// `map`, moved to the right and down by so many pixels.
fn moved(map: &LabelMap, by: usize) -> LabelMap {
    let mut to = LabelMap::new(map.size);
    let width = map.size.width as usize;
    for (i, label) in map.labels.iter().enumerate().filter(|(i, _)| i % width + by < width) {
        if let Some(place) = to.labels.get_mut(i + by * width + by) {
            *place = *label;
        }
    }
    to
}

#[test]
fn the_first_picture_is_what_its_command_draws() {
    let Some(film) = shared("footage/vtest.avi") else { return };
    let said = FRAMES.map(|i| i.to_string()).join(" and ");
    assert!(README.contains(&format!("Frames {said} of")), "the caption names frames {said}");

    let home = tempfile::tempdir().unwrap();
    let (out, video) = (home.path().join("masks"), home.path().join("out.mp4"));
    let command = command();
    for word in ["vtest.avi", "masks", "out.mp4"] {
        assert!(command.contains(&word), "no {word} in {command:?}");
    }
    let place = |word: &&'static str| match *word {
        "vtest.avi" => film.to_str().unwrap().to_owned(),
        "masks" => out.to_str().unwrap().to_owned(),
        "out.mp4" => video.to_str().unwrap().to_owned(),
        other => other.to_owned(),
    };
    let args: Vec<String> = command.iter().map(place).collect();
    let run = maskd(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(run.status.success(), "{}: {}", run.status, String::from_utf8_lossy(&run.stderr));
    let drawn = join(&frames(&video), &|_, _| ());

    if let Some(folder) = std::env::var_os("MASKD_PICTURES") {
        let path = Path::new(&folder).join("pedestrians.jpg");
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, 85).encode_image(&drawn).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let shown = image::open(Path::new(env!("CARGO_MANIFEST_DIR")).join(PICTURE)).unwrap().to_rgb8();
    let masks = FRAMES.map(|i| LabelMap::read_png(&out.join(format!("{i:05}.png"))).unwrap());
    let (plain, regions) = (frames(&film), regions(&masks, &shown));
    let marked = others(&shown, &join(&plain, &|_, _| ())) as f64;
    // The larger of what all masks together and instances on average say: one is blind to the small, one to what is gone.
    let apart = |picture: &RgbImage| {
        f64::max(others(&shown, picture) as f64 / marked, other_regions(&shown, picture, &regions))
    };
    let (share, difference) = (apart(&drawn), mean(&shown, &drawn));
    let _ = writeln!(
        std::io::stderr(),
        "the picture in README.md: {marked} pixels are marked; drawn now, {share:.3} of them have another colour, and the \
         mean difference is {difference:.2}"
    );
    assert!(share < MOST_OTHER, "{share:.3} of what is marked looks otherwise: draw it again by 'make pictures'");
    assert!(difference < MOST_MEAN, "the whole picture differs by {difference:.2}: draw it again by 'make pictures'");

    // The comparison notices masks that are absent, elsewhere, or in other colours; not which encoder drew them.
    let with = |change: &dyn Fn(&LabelMap) -> LabelMap| {
        apart(&join(&plain, &|k, rgb: &mut [u8]| overlay(rgb, &change(&masks[k]))))
    };
    let renamed = |map: &LabelMap| LabelMap {
        size: map.size,
        labels: map.labels.iter().map(|label| if *label == 0 { 0 } else { label % 6 + 1 }).collect(),
    };
    let (same, absent, elsewhere, recoloured) =
        (with(&LabelMap::clone), with(&|map| LabelMap::new(map.size)), with(&|map| moved(map, 12)), with(&renamed));
    let _ = writeln!(
        std::io::stderr(),
        "drawn here: {same:.3}; without masks {absent:.3}, 12 pixels away {elsewhere:.3}, in other colours {recoloured:.3}"
    );
    assert!(same < MOST_OTHER, "{same:.3}");
    assert!(absent > 4.0 * MOST_OTHER && recoloured > 4.0 * MOST_OTHER, "{absent:.3} {recoloured:.3}");
    assert!(elsewhere > MOST_OTHER, "{elsewhere:.3}");
}
