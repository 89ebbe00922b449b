//! A drawn film whose masks are known to the pixel: three textured shapes over a textured background.

use std::path::{Path, PathBuf};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSrc;
use maskd::{frame::Size, mask::LabelMap};

/// A film of [`SHAPES`] shapes. Everything follows from the frame's index; it repeats after `frames`.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    /// Size of every frame.
    pub size: Size,
    /// Frames before it repeats.
    pub frames: u64,
    /// Frames a second.
    pub fps: u32,
}

/// A disc (label 1), a square (label 2) and a triangle (label 3); later ones are in front.
pub const SHAPES: u8 = 3;

/// Base colours: the background's, then the shapes'.
const COLOURS: [[i32; 3]; 4] = [[96, 104, 96], [200, 60, 50], [50, 90, 210], [220, 190, 60]];

impl Default for Scene {
    fn default() -> Self {
        Self { size: Size::new(320, 240), frames: 60, fps: 15 }
    }
}

/// A number in 0..256 that looks random but follows from its arguments.
fn noise(x: i64, y: i64, seed: i64) -> i32 {
    let mut h = (x as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ (y as u64).wrapping_mul(0xC2B2_AE3D_27D4_EB4F)
        ^ (seed as u64).wrapping_mul(0x1656_67B1_9E37_79F9);
    h ^= h >> 29;
    h = h.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    ((h >> 40) & 255) as i32
}

/// There and back again, `0..=span`, once per `period`.
fn swing(i: u64, period: u64, span: i64) -> i64 {
    let phase = (i % period) as i64;
    let half = (period / 2).max(1) as i64;
    span * if phase <= half { phase } else { 2 * half - phase } / half
}

impl Scene {
    /// Top left corner and side of each shape's square in frame `i`.
    pub fn shapes(&self, i: u64) -> [(i64, i64, i64); SHAPES as usize] {
        let (w, h) = (i64::from(self.size.width), i64::from(self.size.height));
        let side = h / 4;
        let across = |period, span: i64| swing(i, period, span);
        [
            (w / 16 + across(self.frames, w / 2), h / 10, side),
            (w - w / 16 - side - across(self.frames, w / 2), h - h / 12 - side, side),
            (w / 2 - side / 2, h / 8 + across(self.frames, h / 2), side),
        ]
    }

    /// The truth: 0 background, 1 disc, 2 square, 3 triangle.
    pub fn truth(&self, i: u64) -> LabelMap {
        let shapes = self.shapes(i);
        let mut labels = Vec::with_capacity(self.size.area());
        for y in 0..i64::from(self.size.height) {
            for x in 0..i64::from(self.size.width) {
                let hit = |(number, (left, top, side)): (usize, &(i64, i64, i64))| {
                    let (u, v, s) = (x - left, y - top, *side);
                    let inside = (0..s).contains(&u) && (0..s).contains(&v);
                    let drawn = match number {
                        0 => (2 * u + 1 - s).pow(2) + (2 * v + 1 - s).pow(2) <= s * s,
                        1 => true,
                        _ => (2 * u + 1 - s).abs() <= v,
                    };
                    (inside && drawn).then_some(number as u8 + 1)
                };
                labels.push(shapes.iter().enumerate().rev().find_map(hit).unwrap_or(0));
            }
        }
        LabelMap { size: self.size, labels }
    }

    /// The picture: `(height, width, 3)` RGB. A shape's texture moves with it.
    pub fn rgb(&self, i: u64) -> Vec<u8> {
        let (truth, shapes) = (self.truth(i), self.shapes(i));
        let mut rgb = Vec::with_capacity(self.size.area() * 3);
        for (at, label) in truth.labels.iter().enumerate() {
            let (x, y) = (at as i64 % i64::from(self.size.width), at as i64 / i64::from(self.size.width));
            let seed = i64::from(*label);
            let (u, v) = match label {
                0 => (x, y),
                _ => (x - shapes[usize::from(*label) - 1].0, y - shapes[usize::from(*label) - 1].1),
            };
            // Coarse blocks survive the encoder, fine ones give it something to do.
            let texture = (noise(u / 8, v / 8, seed) - 128) / 4 + (noise(u / 2, v / 2, seed + 9) - 128) / 10;
            rgb.extend(COLOURS[usize::from(*label)].map(|base| (base + texture).clamp(0, 255) as u8));
        }
        rgb
    }

    /// When frame `i` is shown, in nanoseconds.
    pub fn pts(&self, i: u64) -> gst::ClockTime {
        gst::ClockTime::from_nseconds(i * 1_000_000_000 / u64::from(self.fps))
    }

    /// What GStreamer must know of the pictures.
    pub fn caps(&self) -> gst::Caps {
        gst::Caps::builder("video/x-raw")
            .field("format", "RGB")
            .field("width", self.size.width as i32)
            .field("height", self.size.height as i32)
            .field("framerate", gst::Fraction::new(self.fps as i32, 1))
            .build()
    }

    /// Frame `i` with its timestamp, rows padded as GStreamer wants them.
    pub fn buffer(&self, i: u64) -> gst::Buffer {
        let row = self.size.width as usize * 3;
        let mut padded = Vec::new();
        for line in self.rgb(i).chunks(row) {
            padded.extend_from_slice(line);
            padded.resize(padded.len().next_multiple_of(4), 0);
        }
        let mut buffer = gst::Buffer::from_slice(padded);
        let fields = buffer.get_mut().unwrap();
        fields.set_pts(self.pts(i));
        fields.set_duration(self.pts(1));
        buffer
    }

    /// Writes the whole film as H.264 to `path` (`.mp4` or `.mkv`). Panics where it cannot: a test's set-up.
    pub fn write_video(&self, path: &Path) {
        gst::init().unwrap();
        let mux = if path.extension().is_some_and(|e| e == "mkv") { "matroskamux" } else { "mp4mux" };
        let text = format!(
            "appsrc name=draw format=time ! videoconvert ! video/x-raw,format=I420 \
             ! x264enc speed-preset=superfast quantizer=18 pass=quant key-int-max=15 ! h264parse ! {mux} ! filesink name=file"
        );
        let pipeline = gst::parse::launch(&text).unwrap().downcast::<gst::Pipeline>().unwrap();
        pipeline.by_name("file").unwrap().set_property("location", path.to_str().unwrap());
        let draw = pipeline.by_name("draw").unwrap().downcast::<AppSrc>().unwrap();
        draw.set_caps(Some(&self.caps()));
        pipeline.set_state(gst::State::Playing).unwrap();
        for i in 0..self.frames {
            draw.push_buffer(self.buffer(i)).unwrap();
        }
        draw.end_of_stream().unwrap();
        let ends = [gst::MessageType::Eos, gst::MessageType::Error];
        let end = pipeline.bus().unwrap().timed_pop_filtered(gst::ClockTime::from_seconds(60), &ends).unwrap();
        pipeline.set_state(gst::State::Null).unwrap();
        assert_eq!(end.type_(), gst::MessageType::Eos, "{end:?}");
    }
}

/// A folder with the scene as `video.mp4`, and that file.
pub fn film(scene: Scene) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("video.mp4");
    scene.write_video(&path);
    (folder, path)
}

#[test]
fn the_truth_fits_the_picture() {
    let scene = Scene::default();
    for i in [0, 17, 59] {
        let truth = scene.truth(i);
        for label in 1..=SHAPES {
            let area = truth.labels.iter().filter(|l| **l == label).count();
            assert!(area > 800, "label {label} covers {area} pixels in frame {i}");
        }
        for (label, pixel) in truth.labels.iter().zip(scene.rgb(i).chunks(3)) {
            let base = COLOURS[usize::from(*label)];
            assert!(pixel.iter().zip(base).all(|(p, b)| (i32::from(*p) - b).abs() <= 48));
        }
    }
    assert_eq!(scene.rgb(3), scene.rgb(63), "the film repeats");
    assert_ne!(scene.rgb(3), scene.rgb(4), "the film moves");
}
