//! A fixed camera, known by its pixels: what is discovered there is what moves, and [`maskd_fixed`] says where, to the pixel.

use std::{collections::HashMap, sync::Arc};

use super::{
    channels,
    frame_context::{FrameContext, Things},
    instances::{Beginning, Instances},
    reidentification, select,
    track::Track,
};
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
pub struct FixedCamera {
    camera: Camera,
    last: Option<f64>,
    /// Things that were there when the camera became known as fixed, while somebody had said what to follow.
    passed_over: Option<Vec<u32>>,
}

impl FixedCamera {
    pub fn new(config: Config) -> Self {
        Self { camera: Camera::new(config), last: None, passed_over: None }
    }

    pub fn fixed(&self) -> bool {
        self.camera.fixed()
    }

    pub fn configure(&mut self, config: Config) {
        self.camera.configure(config);
    }

    pub fn view(&self) -> View<'_> {
        self.camera.inspect()
    }

    /// Nothing of the last picture is in the next one.
    fn cut(&mut self) {
        self.camera.cut();
        (self.last, self.passed_over) = (None, None);
    }

    /// Other networks' features cannot be compared with what was learnt.
    pub fn forget_features(&mut self) {
        self.camera.forget_features();
    }
}

/// Looks at the frame as a fixed camera's: [`FrameContext::things`].
pub fn watch(camera: &mut FixedCamera, instances: &mut Instances, frame: &mut FrameContext<'_>) {
    let Some(picture) = frame.picture.as_ref().filter(|_| frame.config.wants_picture()) else { return };
    if frame.cut {
        camera.cut();
    }
    let passed = camera.last.map_or(USUAL, |last| picture.seconds - last);
    let passed = if passed > 0.0 { passed.min(LONGEST) } else { USUAL };
    camera.last = Some(picture.seconds);
    let features = &frame.features;
    let seen = Some((features.grid, features.dim, features.tokens()));
    let things = camera.camera.step(&picture.rgb, picture.size, seen, passed as f32);
    if !camera.fixed() {
        instances.tracks.iter_mut().for_each(|track| track.thing = None);
        camera.passed_over = None;
        return;
    }
    frame.things = Some(Things { of_pixels: things, size: picture.size });
}

/// Makes the discovered instances those things that move.
pub fn follow_things(camera: &mut FixedCamera, instances: &mut Instances, frame: &mut FrameContext<'_>) {
    let Some(things) = &frame.things else { return };
    let there = masks(things, frame.source);
    let asked = asked(&instances.tracks, frame);
    // Who says what is to be followed has seen what else is there.
    let someone_asked = region::count(&asked) > 0;
    let passed_over = camera.passed_over.get_or_insert_with(|| match someone_asked {
        true => there.iter().map(|(thing, _)| *thing).collect(),
        false => Vec::new(),
    });
    let passed_over = passed_over.clone();
    // Features see around a thing: its own motion is wider, or narrower, by a patch.
    let near_asked = region::dilate(frame.grid(), &asked, 1);
    for (thing, mask) in there.into_iter().filter(|(thing, _)| !passed_over.contains(thing)) {
        let mut patches = select::from_mask(frame.grid(), frame.source, &mask);
        let of_asked = region::overlap(&patches, &near_asked);
        let size = region::count(&patches);
        if size == 0 || of_asked as f32 > ASKED * size as f32 {
            continue;
        }
        region::subtract(&mut patches, &asked);
        let Some(id) = track_of(instances, thing, &patches, frame) else { continue };
        let mask = mask.into_iter().enumerate().map(|(pixel, held)| held && !holds(&asked, frame, pixel));
        let mask: Vec<bool> = mask.collect();
        frame.draw(id, mask.into_iter());
    }
    for track in instances.tracks.iter_mut().filter(|t| t.thing.is_some() && !frame.drawn.contains(&t.id)) {
        track.frames_since_seen = track.frames_since_seen.saturating_add(1);
    }
    if !frame.config.discover.include_static {
        let stays = |t: &Track| t.origin == Origin::Discovered && t.thing.is_none();
        while let Some(k) = instances.tracks.iter().position(stays) {
            instances.end(k, EndCause::Replaced, frame);
        }
    }
    frame.edited = true;
}

/// Things make room for each other, the one longest out of sight first.
fn thing_longest_unseen(tracks: &[Track]) -> Option<usize> {
    let unseen = (0..tracks.len()).filter(|&k| tracks[k].thing.is_some() && !tracks[k].visible());
    unseen.max_by_key(|&k| tracks[k].frames_since_seen)
}

/// The patches of instances that somebody asked for.
fn asked(tracks: &[Track], frame: &FrameContext<'_>) -> Vec<bool> {
    let mut all = vec![false; frame.grid().len()];
    for (k, _) in tracks.iter().enumerate().filter(|(_, t)| t.origin != Origin::Discovered && t.visible()) {
        region::unite(&mut all, &frame.patches_of(k + 1));
    }
    all
}

/// The instance that a thing is, a new one if need be; `None` where no more may live.
fn track_of(
    instances: &mut Instances,
    thing: u32,
    patches: &[bool],
    frame: &mut FrameContext<'_>,
) -> Option<InstanceId> {
    let known = instances.tracks.iter().position(|t| t.thing == Some(thing));
    let k = known.or_else(|| {
        let free = |k: &usize| {
            instances.tracks[*k].origin == Origin::Discovered
                && instances.tracks[*k].thing.is_none()
                && instances.tracks[*k].visible()
        };
        let overlap = |k: usize| region::iou(patches, &frame.patches_of(k + 1));
        let found = (0..instances.tracks.len()).filter(free).map(|k| (overlap(k), k));
        found.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(iou, _)| *iou >= SAME).map(|(_, k)| k)
    });
    // What comes back after it was out of sight is known again by its place and its look.
    let k = k.or_else(|| reidentification::find_again(&instances.tracks, patches, frame));
    let k = match k {
        Some(k) if instances.tracks[k].origin != Origin::Discovered => {
            // What was asked for is followed as such.
            reidentification::welcome_back(&mut instances.tracks, k, patches, frame);
            return None;
        }
        Some(k) => k,
        None if instances.make_room(thing_longest_unseen, frame) => {
            instances.start(Beginning::new(patches, Origin::Discovered), frame);
            instances.tracks.len() - 1
        }
        None => return None,
    };
    channels::fade(&mut frame.soft, k + 1, 0.0, |_| true);
    channels::assign(&mut frame.soft, patches, k + 1, 1.0);
    let rate = frame.config.prototype_rate;
    let track = &mut instances.tracks[k];
    (track.thing, track.frames_since_seen, track.position_unknown, track.has_moved, track.by_motion) =
        (Some(thing), 0, false, true, false);
    track.learn(&frame.features, patches, rate);
    Some(track.id)
}

/// Whether the patch under a pixel of the source frame is in `set`.
fn holds(set: &[bool], frame: &FrameContext<'_>, pixel: usize) -> bool {
    let width = frame.source.width.max(1) as usize;
    set[select::patch_at(frame.grid(), frame.source, [(pixel % width) as u32, (pixel / width) as u32])]
}

/// The pixels `(height, width)` of each thing at the size of the source frame, by the nearest pixel; the lowest number first.
fn masks(moving: &Things, source: Size) -> Vec<(u32, Vec<bool>)> {
    let (width, height) = (source.width as usize, source.height as usize);
    let (from_width, from_height) = (moving.size.width as usize, moving.size.height as usize);
    let mut masks: HashMap<u32, Vec<bool>> = HashMap::new();
    for y in 0..height {
        let row = y * from_height / height * from_width;
        for x in 0..width {
            let thing = moving.of_pixels[row + x * from_width / width];
            if thing != 0 {
                masks.entry(thing).or_insert_with(|| vec![false; width * height])[y * width + x] = true;
            }
        }
    }
    let mut masks: Vec<_> = masks.into_iter().collect();
    masks.sort_by_key(|(thing, _)| *thing);
    masks
}
