//! One thing: where it is, how it moves, what it looks like, and how long it has been seen for.

use super::{Blob, Look, ObjectsConfig, Template};
use crate::{events::End, planes::Planes};

/// Seconds that a thing may be hidden behind another for.
const HIDDEN_S: f32 = 3.0;
/// Share of the usual time after which something at the border is gone.
const AT_BORDER: f32 = 0.3;
/// Seconds that something which is not known to be a thing may be out of sight for.
const CANDIDATE_S: f32 = 0.15;
/// Seconds that something must be seen for before it is a thing.
pub const PERSISTS_S: f32 = 0.075;

/// One thing.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its identity.
    pub id: u32,
    /// Where it is, or was last.
    pub blob: Blob,
    /// Mean place, `(x, y)`.
    pub centre: (f32, f32),
    /// Where that was when it was last seen.
    pub last: (f32, f32),
    /// Pixels a second.
    pub velocity: (f32, f32),
    /// Smoothed number of pixels.
    pub area: f32,
    /// Its colours.
    pub look: Look,
    /// Frames in which it was seen.
    pub hits: u32,
    /// Where it was first.
    pub began: (f32, f32),
    /// The most it was from there, in pixels.
    pub travel: f32,
    /// Seconds since it was last seen.
    pub unseen: f32,
    /// Seconds that it has been still for.
    pub still: f32,
    /// Seconds since its birth.
    pub age: f32,
    /// It is a thing: published and kept out of the scene.
    pub confirmed: bool,
    /// It shares a component with another.
    pub contact: bool,
    /// What it looked like when it was alone.
    pub template: Template,
    /// Place of the template, against where it was cut out.
    pub shift: (i32, i32),
    /// Hidden behind another.
    pub hidden: bool,
    /// The thing that it proved to be a part of, 0 for none.
    pub part_of: u32,
}

impl Object {
    /// A thing that was seen for the first time.
    pub(super) fn new(id: u32, pixels: &[usize], picture: &Planes) -> Self {
        let blob = Blob::of(pixels, picture.width);
        let mut look = Look::default();
        look.learn(picture, pixels, 1.0);
        let centre = blob.centre();
        Self {
            id,
            centre,
            began: centre,
            last: centre,
            area: blob.area as f32,
            blob,
            velocity: (0.0, 0.0),
            look,
            hits: 1,
            travel: 0.0,
            unseen: 0.0,
            still: 0.0,
            age: 0.0,
            confirmed: false,
            contact: false,
            template: Template::default(),
            shift: (0, 0),
            hidden: false,
            part_of: 0,
        }
    }

    /// How far its outline has moved since it was last seen, by what is expected `dt` seconds after the last frame.
    pub(super) fn expected(&self, dt: f32) -> (i32, i32) {
        let by = |at: f32, v: f32, last: f32| (at + v * dt - last).round() as i32;
        (by(self.centre.0, self.velocity.0, self.last.0), by(self.centre.1, self.velocity.1, self.last.1))
    }

    /// It was not seen for `dt` seconds.
    pub(super) fn miss(&mut self, dt: f32) {
        self.unseen += dt;
        self.centre.0 += self.velocity.0 * dt;
        self.centre.1 += self.velocity.1 * dt;
    }

    /// Why it ends, where it has been out of sight for too long or is a part of another.
    pub(super) fn end(&self, width: usize, height: usize, config: &ObjectsConfig) -> Option<End> {
        let r = &self.blob.rect;
        let at_border = r.x.start == 0 || r.y.start == 0 || r.x.end >= width || r.y.end >= height;
        let seconds = self.unseen;
        let (limit, why) = match self.confirmed {
            true if self.hidden => (HIDDEN_S, End::Hidden { seconds }),
            // It has most likely left the picture.
            true if at_border => (AT_BORDER * config.lost_s, End::LeftAtBorder { seconds }),
            true => (config.lost_s, End::OutOfSight { seconds }),
            false => (CANDIDATE_S, End::OutOfSight { seconds }),
        };
        if self.blob.area == 0 {
            return Some(End::Merged { into: self.part_of });
        }
        (self.unseen > limit).then_some(why)
    }

    /// It is seen: its `pixels`, and, where it touches others, its template's place and the share of it that is seen there.
    pub(super) fn see(
        &mut self,
        pixels: Vec<usize>,
        place: Option<((i32, i32), f32)>,
        picture: &Planes,
        dt: f32,
        config: &ObjectsConfig,
    ) {
        let blob = Blob::of(&pixels, picture.width);
        let dt = dt + self.unseen;
        let contact = place.is_some();
        let centre = match place {
            // Where others cover it, its centre is that of what is seen before.
            Some((shift, _)) => {
                let (x, y) = self.template.blob.centre();
                (x + shift.0 as f32, y + shift.1 as f32)
            }
            None => blob.centre(),
        };
        let gain = match place {
            Some((_, seen)) if seen < 0.3 => 0.0,
            Some(_) => (dt / 0.4).clamp(0.05, 1.0),
            None if self.hits < 3 => 0.5,
            None => (dt / 0.2).clamp(0.1, 1.0),
        };
        let measured = ((centre.0 - self.centre.0) / dt.max(1e-3), (centre.1 - self.centre.1) / dt.max(1e-3));
        self.velocity.0 += gain * (measured.0 - self.velocity.0);
        self.velocity.1 += gain * (measured.1 - self.velocity.1);
        self.centre = centre;
        self.last = centre;
        self.area += if contact { 0.02 } else { 0.3 } * (blob.area as f32 - self.area);
        match place {
            Some((shift, seen)) => {
                self.shift = shift;
                if seen > 0.6 && blob.area as f32 > 0.75 * self.area {
                    self.template = Template::cut(&blob, picture);
                    self.shift = (0, 0);
                }
            }
            None => {
                self.look.learn(picture, &pixels, 0.1);
                self.template = Template::cut(&blob, picture);
                self.shift = (0, 0);
            }
        }
        self.blob = blob;
        self.unseen = 0.0;
        self.hits += 1;
        let travel = (centre.0 - self.began.0).hypot(centre.1 - self.began.1);
        self.travel = self.travel.max(travel);
        let size = self.area.sqrt();
        let speed = self.velocity.0.hypot(self.velocity.1);
        self.still = if speed < 0.1 * size { self.still + dt } else { 0.0 };
        self.confirmed |=
            self.hits >= config.hits && self.age >= PERSISTS_S && self.travel >= config.least_travel(self.area);
    }
}
