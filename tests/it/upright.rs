//! Whatever lies or is mirrored, and says so, is seen as every viewer shows it: pictures, clips, cameras, masks, messages.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails; clippy.toml misses async tests")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use image::RgbImage;
use maskd::{
    davis::region,
    frame::Size,
    ingest::{Clip, Kind, Pace, SourceConfig},
    mask::LabelMap,
    picture::{self, MOST_PIXELS},
    publish::{Reader, Received, wire::MasksMessage},
};
use tokio::time::timeout;

use crate::{
    shared::shared,
    support::{
        PATIENCE,
        process::{Daemon, maskd},
        scene::{SHAPES, Scene},
        site::{NETWORK_SIZE, Site},
        turned::{film_lying, lying, save_noted},
        weights::TinyVit,
    },
};

const SCENE: Scene = Scene { size: Size::new(320, 240), frames: 150, fps: 15 };

/// How many of its frames are used.
const FRAMES: u64 = 16;

fn drawn(i: u64) -> RgbImage {
    RgbImage::from_raw(SCENE.size.width, SCENE.size.height, SCENE.rgb(i)).unwrap()
}

/// A film that is stored as `orientation` says.
fn film(folder: &Path, orientation: u8) -> PathBuf {
    let path = folder.join(format!("film-{orientation}.mp4"));
    film_lying(&path, orientation, SCENE.fps, (0..FRAMES).map(drawn));
    path
}

/// Mean absolute difference in levels of 0..=255.
fn off(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
}

fn tiny(folder: &Path) -> PathBuf {
    let path = folder.join("tiny.safetensors");
    TinyVit::default().write(&path, 7);
    path
}

/// Runs a command of maskd on `input`, which must work, and returns the folder that it wrote.
fn out(command: &str, input: &Path, folder: &Path, more: &[&str]) -> PathBuf {
    let (weights, out) = (tiny(folder), folder.join(format!("out-{}", input.file_name().unwrap().display())));
    let [input, weights, text] = [input, &weights, &out].map(|path| path.to_str().unwrap());
    let fixed = [command, input, "--out", text, "--weights", weights, "--short-side", "240", "--device", "cpu"];
    let output = maskd(&[&fixed[..], more].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    out
}

/// Mean IoU of the masks of a folder with the truth, over all shapes and frames but the given first one.
fn score(out: &Path, truth: impl Fn(u64) -> LabelMap, frames: u64) -> f64 {
    let of = |map: &LabelMap, label: u8| map.labels.iter().map(|l| *l == label).collect::<Vec<_>>();
    let mut scores = Vec::new();
    for i in 1..frames {
        let (mask, truth) = (LabelMap::read_png(&out.join(format!("{i:05}.png"))).unwrap(), truth(i));
        assert_eq!(mask.size, truth.size);
        let shown = (1..=SHAPES).filter(|label| truth.labels.contains(label));
        scores.extend(shown.map(|label| region(&of(&mask, label), &of(&truth, label), None)));
    }
    scores.iter().sum::<f64>() / scores.len() as f64
}

#[test]
fn pictures_of_all_eight_orientations_are_upright() {
    let folder = tempfile::tempdir().unwrap();
    let upright = drawn(3);
    for name in ["x.png", "x.jpg"] {
        let path = folder.path().join(name);
        // 0 and 9 mean nothing: such a picture is taken as it lies.
        for noted in 0..=9 {
            let orientation = if (1..=8).contains(&noted) { noted } else { 1 };
            save_noted(&lying(&upright, orientation), noted, &path);
            assert_eq!(picture::size(&path, MOST_PIXELS).unwrap(), SCENE.size, "{name} {noted}");
            let read = picture::read(&path, MOST_PIXELS).unwrap();
            assert_eq!(read.dimensions(), upright.dimensions(), "{name} {noted}");
            let off = off(&read, &upright);
            assert!(off < if name == "x.png" { 1e-9 } else { 6.0 }, "{name} {noted}: {off} levels");
        }
    }
}

#[test]
fn a_folder_whose_pictures_lie_differently_is_one_clip() {
    let folder = tempfile::tempdir().unwrap();
    for i in 0..8u8 {
        save_noted(&lying(&drawn(i.into()), i + 1), i + 1, &folder.path().join(format!("{i}.png")));
    }
    let clip = Clip::open(folder.path()).unwrap();
    assert_eq!((clip.size(), clip.len_hint()), (SCENE.size, Some(8)));
    for (i, frame) in clip.enumerate() {
        assert_eq!(*frame.unwrap().rgb, SCENE.rgb(i as u64), "picture {i}");
    }
}

#[test]
fn a_film_is_turned_as_its_container_says() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site::new();
    for orientation in [1, 3, 6, 8] {
        let film = film(folder.path(), orientation);
        let clip = Clip::open(&film).unwrap();
        assert_eq!((clip.size(), clip.fps()), (SCENE.size, Some((SCENE.fps, 1))), "{orientation}");
        let frames: Vec<_> = clip.map(Result::unwrap).collect();
        assert_eq!(frames.len() as u64, FRAMES);
        for (i, frame) in frames.iter().enumerate() {
            let off = off(&frame.rgb, &SCENE.rgb(i as u64));
            assert!(off < 16.0, "{orientation}: frame {i} is off by {off} levels");
        }

        let camera = site.start(&format!("film-{orientation}"), SourceConfig::file(film.to_str().unwrap(), Pace::Fast));
        assert_eq!(camera.up().1, SCENE.size, "{orientation}");
        let frame = site.frame(|frame| frame.stream == camera.id);
        assert_eq!((frame.source, frame.size), (SCENE.size, NETWORK_SIZE), "{orientation}");
        // The middles of the disc and the square, which no scaling blurs.
        for (shape, strong, weak) in [(0, 0, 2), (1, 2, 0)] {
            let (left, top, side) = SCENE.shapes(0)[shape];
            let (x, y) = ((left + side / 2) as usize * 140 / 320, (top + side / 2) as usize * 112 / 240);
            let pixel = &frame.rgb[(y * 140 + x) * 3..][..3];
            assert!(pixel[strong] > 110 && pixel[strong] > pixel[weak], "{orientation}, shape {shape}: {pixel:?}");
        }
        camera.stop();
    }
}

/// A pipeline that ends as the shipped one does, from `sources`.
fn own(folder: &Path, sources: &str) -> SourceConfig {
    let shipped = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/file.launch")).unwrap();
    let (_, tail) = shipped.split_once("caps=video/x-raw(ANY)").unwrap();
    let path = folder.join("own.launch");
    let (source, others) = sources.split_once('\n').unwrap_or((sources, ""));
    fs::write(&path, format!("{source} {tail}\n{others}")).unwrap();
    SourceConfig { pipeline: Some(path), kind: Some(Kind::FILE), pace: Pace::Fast, ..SourceConfig::default() }
}

#[test]
fn a_stream_that_is_turned_on_its_way_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let part = |tag: &str| {
        format!(
            "videotestsrc num-buffers=5 ! video/x-raw,format=I420,width=320,height=240,framerate=10/1 \
             ! taginject tags=image-orientation={tag} ! source.\n"
        )
    };
    let tags = ["rotate-0", "rotate-90", "rotate-180", "flip-rotate-270", "rotate-0"];
    let sources = format!("concat name=source\n{}", tags.map(part).concat());
    let site = Site::new();
    let camera = site.start("a", own(folder.path(), &sources));
    let mut got = Vec::new();
    while got.len() < 5 * tags.len() {
        got.extend(site.frames());
    }
    for (i, frame) in got.iter().enumerate() {
        let lies = matches!(i / 5, 1 | 3);
        let (source, size) = if lies { ((240, 320), (112, 140)) } else { ((320, 240), (140, 112)) };
        assert_eq!(frame.source, Size::new(source.0, source.1), "frame {i}");
        assert_eq!(frame.size, Size::new(size.0, size.1), "frame {i}");
    }
    // The test picture's middle row of colours ends in blue on the right; its left is grey.
    let shown = |part: usize, x: usize| &got[part * 5].rgb[(20 * 140 + x) * 3..][..3];
    assert!(shown(0, 135)[2] > 150 && shown(0, 135)[0] < 60, "{:?}", shown(0, 135));
    assert!(shown(4, 135) == shown(0, 135), "upright again: {:?}", shown(4, 135));
    assert_ne!(shown(2, 135), shown(0, 135));
    drop(camera);
}

#[test]
fn pixels_that_are_not_square_are_turned_too() {
    let folder = tempfile::tempdir().unwrap();
    let source = |tag: &str| {
        format!(
            "videotestsrc name=source num-buffers=3 \
             ! video/x-raw,format=I420,width=160,height=120,pixel-aspect-ratio=2/1,framerate=10/1 \
             ! taginject tags=image-orientation={tag}"
        )
    };
    // Shown as 320x120, and turned as 60x160: one side is made to fit the other.
    for (tag, stored, seen) in [
        ("rotate-0", Size::new(160, 120), Size::new(308, 112)),
        ("rotate-90", Size::new(120, 160), Size::new(112, 294)),
    ] {
        let site = Site::new();
        let _camera = site.start("a", own(folder.path(), &source(tag)));
        let frame = site.frame(|_| true);
        assert_eq!((frame.source, frame.size), (stored, seen), "{tag}");
    }
}

#[test]
fn masks_of_a_turned_film_lie_as_it_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let mask = folder.path().join("first.png");
    SCENE.truth(0).write_png(&mask).unwrap();
    for orientation in [3, 6] {
        let film = film(folder.path(), orientation);
        let look = folder.path().join(format!("look-{orientation}.mp4"));
        let more = ["--first-mask", mask.to_str().unwrap(), "--overlay", look.to_str().unwrap()];
        let score = score(&out("segment", &film, folder.path(), &more), |i| SCENE.truth(i), FRAMES);
        eprintln!("stored as {orientation}: IoU {score:.3}");
        assert!(score > 0.6, "{orientation}: {score}");
        assert_eq!(Clip::open(&look).unwrap().size(), SCENE.size);
    }
}

#[test]
fn attention_of_a_turned_picture_is_that_of_the_upright_one() {
    let folder = tempfile::tempdir().unwrap();
    let [upright, turned] = ["upright", "turned"].map(|name| folder.path().join(name).join("photo.png"));
    for path in [&upright, &turned] {
        fs::create_dir(path.parent().unwrap()).unwrap();
    }
    drawn(2).save(&upright).unwrap();
    save_noted(&lying(&drawn(2), 7), 7, &turned);
    let [a, b] = [&upright, &turned].map(|path| out("attention", path, path.parent().unwrap(), &[]));
    for name in ["mean.png", "mask-mean.png", "sheet.png"] {
        let read = |out: &Path| fs::read(out.join("photo").join(name)).unwrap();
        assert!(read(&a) == read(&b), "{name}");
    }
}

/// IoU of the message's instances with the drawn shapes, which their ids name.
fn told(message: &MasksMessage) -> f64 {
    let truth = SCENE.truth(message.sequence);
    let scores = (1..=SHAPES).map(|label| {
        let Some(found) = message.instances.iter().find(|found| found.id == u32::from(label)) else { return 0.0 };
        assert!(found.bbox.x + found.bbox.width <= SCENE.size.width);
        assert!(found.bbox.y + found.bbox.height <= SCENE.size.height);
        let mask = found.mask.decode(Some(SCENE.size)).unwrap();
        region(&mask, &truth.labels.iter().map(|l| *l == label).collect::<Vec<_>>(), None)
    });
    scores.sum::<f64>() / f64::from(SHAPES)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_takes_masks_and_tells_them_as_the_film_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let (film, mask) = (film(folder.path(), 6), folder.path().join("first.png"));
    SCENE.truth(0).write_png(&mask).unwrap();
    let config = format!(
        "[tracker]\ndiscovery = false\n[streams.film]\nkind = 'file'\nlocation = '{}'\nfirst_mask = '{}'\npace = 'fast'\n",
        film.display(),
        mask.display()
    );
    let mut daemon = Daemon::start_at(240, folder.path(), &tiny(folder.path()), &config, &[]);
    let reader = Reader::open(&[daemon.endpoint()], None, None, None).await.unwrap();
    let mut scores = Vec::new();
    loop {
        let heard = timeout(PATIENCE, reader.next()).await.unwrap_or_else(|_| panic!("the daemon says nothing"));
        match heard.unwrap() {
            Received::Masks { message, .. } => {
                assert_eq!(message.frame, SCENE.size);
                scores.push(told(&message));
            }
            Received::Alive { stream: None, alive: false, .. } => break,
            _ => {}
        }
    }
    assert!(daemon.wait().success());
    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
    assert!(mean > 0.6, "{scores:.2?}");
    reader.close().await;
}

/// A telephone's films and photographs, as they were reported.
#[test]
fn reported_films_and_photographs_are_upright() {
    let Some(cases) = shared("cases/01-rotated-video") else { return };
    let Some(photos) = shared("cases/02-exif-orientation") else { return };
    let sizes = ["phone.mp4", "phone180.mp4"].map(|name| Clip::open(&cases.join(name)).unwrap().size());
    assert_eq!(sizes, [Size::new(428, 240); 2]);
    let first = |path: PathBuf| Clip::open(&path).unwrap().next().unwrap().unwrap().rgb;
    let [film, back] = ["phone.mp4", "phone180.mp4"].map(|name| first(cases.join(name)));
    assert!(off(&film, &back) < 8.0, "one film, stored in two ways");
    // The same photographs: all stored on their side, or the later half upside down.
    let [side, mixed] = ["exif6", "exif3mixed"].map(|name| {
        let clip = Clip::open(&photos.join(name)).unwrap();
        assert_eq!(clip.size(), Size::new(428, 240), "{name}");
        clip.map(|frame| frame.unwrap().rgb).collect::<Vec<_>>()
    });
    let apart: Vec<_> = side.iter().zip(&mixed).map(|(side, mixed)| off(side, mixed)).collect();
    assert!(apart.len() == 6 && apart.iter().all(|apart| *apart < 8.0), "{apart:.1?}");
}
