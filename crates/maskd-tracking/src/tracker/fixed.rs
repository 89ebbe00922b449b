//! Before a fixed camera, what is discovered is what moves: [`maskd_fixed`] says where, to the pixel.

use std::{collections::HashMap, sync::Arc};

use super::{Tracker, channels, select, step::Step};
use crate::discover::region;
use maskd_fixed::camera::{Camera, Config, View};
use maskd_types::{
    frame::Size,
    instance::{EndCause, InstanceId, Origin},
};

/// Seconds between two frames where their times do not tell.
const USUAL: f64 = 0.04;
/// Most seconds that one frame stands for.
const LONGEST: f64 = 2.0;
/// An instance that was discovered before goes on as a moving thing when they overlap by this much (IoU in patches).
const SAME: f32 = 0.15;
/// A thing with more than this share of its patches in an instance that somebody asked for is that instance.
const ASKED: f32 = 0.5;

/// A frame's pixels and its time.
#[derive(Clone, Debug)]
pub struct Picture {
    /// 8-bit RGB, `(height, width, 3)`.
    pub rgb: Arc<[u8]>,
    /// Size of `rgb`.
    pub size: Size,
    /// Seconds since some moment of the stream.
    pub seconds: f64,
}

/// What is known of a camera that may be fixed.
#[derive(Debug, Default)]
pub(super) struct Watch {
    camera: Camera,
    last: Option<f64>,
    /// Things that were there when the camera became known as fixed, while somebody had said what to follow.
    passed_over: Option<Vec<u32>>,
}

/// What moves in a frame of a fixed camera: the thing of each pixel of the picture, 0 for none.
pub(super) struct Moving {
    things: Vec<u32>,
    size: Size,
}

impl Watch {
    pub(super) fn new(config: Config) -> Self {
        Self { camera: Camera::new(config), last: None, passed_over: None }
    }

    pub(super) fn fixed(&self) -> bool {
        self.camera.fixed()
    }

    pub(super) fn configure(&mut self, config: Config) {
        self.camera.configure(config);
    }

    pub(super) fn view(&self) -> View<'_> {
        self.camera.inspect()
    }

    /// Nothing of the last picture is in the next one.
    fn cut(&mut self) {
        self.camera.cut();
        (self.last, self.passed_over) = (None, None);
    }

    /// Other networks' features cannot be compared with what was learnt.
    pub(super) fn forget_features(&mut self) {
        self.camera.forget_features();
    }
}

impl Tracker {
    /// Whether the tracker wants the pixels of frames, see [`Picture`].
    pub fn wants_picture(&self) -> bool {
        self.config.discovery && self.config.fixed.enabled
    }

    /// Looks at the frame as a fixed camera's; `None` where the camera is not known to be one.
    pub(super) fn watch(&mut self, step: &Step, picture: Option<&Picture>) -> Option<Moving> {
        let picture = picture.filter(|_| self.wants_picture())?;
        if step.cut {
            self.watch.cut();
        }
        let passed = self.watch.last.map_or(USUAL, |last| picture.seconds - last);
        let passed = if passed > 0.0 { passed.min(LONGEST) } else { USUAL };
        self.watch.last = Some(picture.seconds);
        let features = &step.features;
        let seen = Some((features.grid, features.dim, &features.tokens[..]));
        let things = self.watch.camera.step(&picture.rgb, picture.size, seen, passed as f32);
        if !self.watch.fixed() {
            self.tracks.iter_mut().for_each(|track| track.thing = None);
            self.watch.passed_over = None;
            return None;
        }
        Some(Moving { things, size: picture.size })
    }

    /// Whether nothing is followed but what moves: labels need not be carried over then.
    pub(super) fn only_things(&self) -> bool {
        self.watch.fixed() && self.tracks.iter().all(|track| track.thing.is_some())
    }

    /// Makes the discovered instances those things that move.
    pub(super) fn follow_things(&mut self, step: &mut Step, moving: &Moving) {
        let asked = self.asked(step);
        // Who says what is to be followed has seen what else is there.
        let someone_asked = region::count(&asked) > 0;
        let there = masks(moving, step.source);
        let passed_over = self.watch.passed_over.get_or_insert_with(|| match someone_asked {
            true => there.iter().map(|(thing, _)| *thing).collect(),
            false => Vec::new(),
        });
        let passed_over = passed_over.clone();
        // Features see around a thing: its own motion is wider, or narrower, by a patch.
        let near_asked = region::dilate(step.grid(), &asked, 1);
        for (thing, mask) in there.into_iter().filter(|(thing, _)| !passed_over.contains(thing)) {
            let mut patches = select::from_mask(step.grid(), step.source, &mask);
            let of_asked = region::overlap(&patches, &near_asked);
            let size = region::count(&patches);
            if size == 0 || of_asked as f32 > ASKED * size as f32 {
                continue;
            }
            region::subtract(&mut patches, &asked);
            let Some(id) = self.track_of(thing, &patches, step) else { continue };
            let mask = mask.into_iter().enumerate().map(|(pixel, held)| held && !holds(&asked, step, pixel));
            let mask: Vec<bool> = mask.collect();
            step.draw(id, mask.into_iter());
        }
        for track in self.tracks.iter_mut().filter(|t| t.thing.is_some() && !step.drawn.contains(&t.id)) {
            track.unseen = track.unseen.saturating_add(1);
        }
        if !self.config.discover.include_static {
            let stays = |t: &super::Track| t.origin == Origin::Discovered && t.thing.is_none();
            while let Some(k) = self.tracks.iter().position(stays) {
                self.end(k, EndCause::Replaced, step);
            }
        }
        step.edited = true;
    }

    /// Whether one more may live; what is out of sight makes room.
    fn make_room_unseen(&mut self, step: &mut Step) -> bool {
        while self.tracks.len() >= self.max_instances() {
            let unseen =
                (0..self.tracks.len()).filter(|&k| self.tracks[k].thing.is_some() && !self.tracks[k].visible());
            let Some(k) = unseen.max_by_key(|&k| self.tracks[k].unseen) else { return false };
            self.end(k, EndCause::Replaced, step);
        }
        true
    }

    /// The patches of instances that somebody asked for.
    fn asked(&self, step: &Step) -> Vec<bool> {
        let mut all = vec![false; step.grid().len()];
        for (k, _) in self.tracks.iter().enumerate().filter(|(_, t)| t.origin != Origin::Discovered && t.visible()) {
            region::unite(&mut all, &step.patches_of(k + 1));
        }
        all
    }

    /// The instance that a thing is, a new one if need be; `None` where no more may live.
    fn track_of(&mut self, thing: u32, patches: &[bool], step: &mut Step) -> Option<InstanceId> {
        let known = self.tracks.iter().position(|t| t.thing == Some(thing));
        let k = known.or_else(|| {
            let free = |k: &usize| {
                self.tracks[*k].origin == Origin::Discovered
                    && self.tracks[*k].thing.is_none()
                    && self.tracks[*k].visible()
            };
            let overlap = |k: usize| region::iou(patches, &step.patches_of(k + 1));
            let found = (0..self.tracks.len()).filter(free).map(|k| (overlap(k), k));
            found.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(iou, _)| *iou >= SAME).map(|(_, k)| k)
        });
        // What comes back after it was out of sight is known again by its place and its look.
        let k = k.or_else(|| self.find_again(patches, step));
        let k = match k {
            Some(k) if self.tracks[k].origin != Origin::Discovered => {
                // What was asked for is followed as such.
                self.welcome_back(k, patches, step);
                return None;
            }
            Some(k) => k,
            None if self.make_room_unseen(step) => {
                self.start(patches, Origin::Discovered, false, None, step);
                self.tracks.len() - 1
            }
            None => return None,
        };
        channels::fade(&mut step.soft, k + 1, 0.0, |_| true);
        channels::assign(&mut step.soft, patches, k + 1, 1.0);
        let rate = self.config.prototype_rate;
        let track = &mut self.tracks[k];
        (track.thing, track.unseen, track.adrift, track.stirred, track.by_motion) =
            (Some(thing), 0, false, true, false);
        track.learn(&step.features, patches, rate);
        Some(track.id)
    }
}

/// Whether the patch under a pixel of the source frame is in `set`.
fn holds(set: &[bool], step: &Step, pixel: usize) -> bool {
    let width = step.source.width.max(1) as usize;
    set[select::patch_at(step.grid(), step.source, [(pixel % width) as u32, (pixel / width) as u32])]
}

/// The pixels `(height, width)` of each thing at the size of the source frame, by the nearest pixel; the lowest number first.
fn masks(moving: &Moving, source: Size) -> Vec<(u32, Vec<bool>)> {
    let (width, height) = (source.width as usize, source.height as usize);
    let (from_width, from_height) = (moving.size.width as usize, moving.size.height as usize);
    let mut masks: HashMap<u32, Vec<bool>> = HashMap::new();
    for y in 0..height {
        let row = y * from_height / height * from_width;
        for x in 0..width {
            let thing = moving.things[row + x * from_width / width];
            if thing != 0 {
                masks.entry(thing).or_insert_with(|| vec![false; width * height])[y * width + x] = true;
            }
        }
    }
    let mut masks: Vec<_> = masks.into_iter().collect();
    masks.sort_by_key(|(thing, _)| *thing);
    masks
}
