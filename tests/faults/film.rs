//! What all cameras show: one drawn film, at several sizes, by one clock. So whoever knows the time knows the truth.

use std::sync::{Arc, Mutex, OnceLock};

use gstreamer as gst;
use maskd::{
    frame::Size,
    instance::Instance,
    mask::LabelMap,
    publish::wire::{MasksMessage, unix_ns},
};

use super::support::scene::{SHAPES, Scene};

/// Pictures of the film a second, whatever a camera's own rate is.
pub const RATE: u32 = 10;
/// Pictures before it repeats.
const FRAMES: u64 = 150;
/// What cameras show unless told otherwise.
pub const SIZE: Size = Size::new(160, 120);
/// Least intersection over union of each shape with what was drawn, for a mask to be correct.
const LEAST_IOU: f64 = 0.5;
/// How far back the drawing may lie that a mask fits: encoder, network and jitter buffer take their time.
const FRESH_NS: u64 = 1_200_000_000;

/// The film at one size: pictures and truth.
pub struct Film {
    pub scene: Scene,
    pictures: Vec<gst::Buffer>,
    truths: Vec<LabelMap>,
}

impl Film {
    /// The film at `size`; drawn once.
    pub fn at(size: Size) -> Arc<Self> {
        static FILMS: OnceLock<Mutex<Vec<Arc<Film>>>> = OnceLock::new();
        gst::init().unwrap();
        let films = || FILMS.get_or_init(Mutex::default).lock().unwrap();
        let known = |films: &[Arc<Film>]| films.iter().find(|film| film.scene.size == size).cloned();
        if let Some(film) = known(&films()) {
            return film;
        }
        // Not while others wait for theirs.
        let scene = Scene { size, frames: FRAMES, fps: RATE };
        let film = Arc::new(Self {
            scene,
            pictures: (0..FRAMES).map(|i| scene.buffer(i)).collect(),
            truths: (0..FRAMES).map(|i| scene.truth(i)).collect(),
        });
        let mut films = films();
        known(&films).unwrap_or_else(|| {
            films.push(film.clone());
            film
        })
    }

    /// A picture without a timestamp.
    pub fn picture(&self, index: u64) -> gst::Buffer {
        let mut picture = self.pictures[(index % FRAMES) as usize].copy();
        let fields = picture.make_mut();
        fields.set_pts(gst::ClockTime::NONE);
        fields.set_duration(gst::ClockTime::NONE);
        picture
    }

    /// The drawn shapes: 0 background, 1 to [`SHAPES`].
    pub fn truth(&self, index: u64) -> &LabelMap {
        &self.truths[(index % FRAMES) as usize]
    }
}

/// The time in the film: it stands until it is let go.
#[derive(Clone, Default)]
pub struct Clock(Arc<OnceLock<u64>>);

impl Clock {
    /// Lets the film run, from its first picture.
    pub fn go(&self) {
        let _ = self.0.set(unix_ns());
    }

    /// The picture that is shown at a time (nanoseconds since the Unix epoch).
    pub fn index(&self, at: u64) -> u64 {
        self.0.get().map_or(0, |start| at.saturating_sub(*start) / (1_000_000_000 / u64::from(RATE)))
    }
}

/// How well masks fit what was drawn in the last second or so before their frame was captured: of the picture that fits
/// best, the least intersection over union of the shapes with the instances of their numbers.
pub fn fit(message: &MasksMessage, clock: &Clock) -> f64 {
    let film = Film::at(message.frame);
    let mask = |label: u8| {
        let found = message.instances.iter().find(|instance| instance.id == u32::from(label));
        found.and_then(|Instance { mask, .. }| mask.decode(Some(message.frame)).ok())
    };
    let Some(masks) = (1..=SHAPES).map(mask).collect::<Option<Vec<_>>>() else { return 0.0 };
    let (from, to) = (message.captured_unix_ns.saturating_sub(FRESH_NS), message.captured_unix_ns);
    let worst = |index: u64| {
        let truth = film.truth(index);
        let iou = |(mask, label): (&Vec<bool>, u8)| {
            let (mut both, mut either) = (0_u32, 0_u32);
            for (&on, &drawn) in mask.iter().zip(&truth.labels) {
                both += u32::from(on && drawn == label);
                either += u32::from(on || drawn == label);
            }
            f64::from(both) / f64::from(either.max(1))
        };
        masks.iter().zip(1..=SHAPES).map(iou).fold(1.0, f64::min)
    };
    (clock.index(from)..=clock.index(to)).map(worst).fold(0.0, f64::max)
}

/// Whether masks are correct.
pub fn correct(message: &MasksMessage, clock: &Clock) -> bool {
    fit(message, clock) >= LEAST_IOU
}
