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
/// How many pictures back the drawing may lie that a mask fits: encoder, network and jitter buffer take their time.
const FRESH: u64 = 12;

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

/// The drawing that masks fit best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// The least intersection over union of the shapes with the instances of their numbers.
    pub iou: f64,
    /// Pictures of the film from that drawing to the one that was shown when the frame was captured.
    pub behind: u64,
}

impl Fit {
    /// Whether masks that fit so are correct.
    pub fn is_correct(self) -> bool {
        self.iou >= LEAST_IOU && self.behind <= FRESH
    }
}

/// How masks fit what was drawn before their frame was captured: in the last second or so, or, where nothing fits in
/// that, since the whole film was last shown. (For whoever must find out what happened.)
pub fn fit(message: &MasksMessage, clock: &Clock) -> Fit {
    let film = Film::at(message.frame);
    let mask = |label: u8| {
        let found = message.instances.iter().find(|instance| instance.id == u32::from(label));
        found.and_then(|Instance { mask, .. }| mask.decode(Some(message.frame)).ok())
    };
    let Some(masks) = (1..=SHAPES).map(mask).collect::<Option<Vec<_>>>() else { return Fit { iou: 0.0, behind: 0 } };
    let shown = clock.index(message.captured_unix_ns);
    let worst = |behind: u64| {
        let truth = film.truth(shown - behind);
        let iou = |(mask, label): (&Vec<bool>, u8)| {
            let (mut both, mut either) = (0_u32, 0_u32);
            for (&on, &drawn) in mask.iter().zip(&truth.labels) {
                both += u32::from(on && drawn == label);
                either += u32::from(on || drawn == label);
            }
            f64::from(both) / f64::from(either.max(1))
        };
        Fit { iou: masks.iter().zip(1..=SHAPES).map(iou).fold(1.0, f64::min), behind }
    };
    let best = |last: u64| (0..=last.min(shown)).map(worst).max_by(|a, b| a.iou.total_cmp(&b.iou)).unwrap();
    let fresh = best(FRESH);
    if fresh.is_correct() { fresh } else { best(FRAMES - 1) }
}
