//! Moving things and their identities: what is in the foreground is matched to what was there before.
//!
//! ```text
//! foreground -> pieces -> claimed by place -> divided where things touch -> matched far -> parts -> seen, missed, lost, born
//! ```

mod blob;
mod contact;
mod far;
mod look;
mod object;
mod pairs;
mod pieces;
mod template;

use std::collections::HashMap;

pub use blob::Blob;
pub use look::Look;
pub use object::{Object, PERSISTS_S};
pub use template::Template;

use crate::{
    components::{Component, Rect},
    events::{End, Events, Kind},
    planes::Planes,
};
use pairs::Pairs;
use pieces::Pieces;

/// When something is a thing.
#[derive(Clone, Debug)]
pub struct ObjectsConfig {
    /// Pixels of the smallest thing.
    pub min_area: usize,
    /// Frames in which it must have been seen.
    pub hits: u32,
    /// Pixels that it must have moved by, for a thing of any size.
    pub travel: f32,
    /// And as a share of its size.
    pub travel_share: f32,
    /// Seconds out of sight after which it ends.
    pub lost_s: f32,
    /// Seconds that it may stand still for.
    pub still_s: f32,
    /// Whether things that touch are told apart.
    pub split: bool,
    /// Whether parts of a thing become one.
    pub merge: bool,
}

impl Default for ObjectsConfig {
    fn default() -> Self {
        Self {
            min_area: 40,
            hits: 2,
            travel: 3.0,
            travel_share: 0.1,
            lost_s: 1.0,
            still_s: 120.0,
            split: true,
            merge: true,
        }
    }
}

impl ObjectsConfig {
    /// Pixels that something of this many pixels must have moved by.
    pub fn least_travel(&self, area: f32) -> f32 {
        self.travel.max(self.travel_share * area.sqrt())
    }
}

/// All things of a stream.
#[derive(Debug, Default)]
pub struct Objects {
    /// Them.
    pub list: Vec<Object>,
    /// What has happened to them.
    pub events: Events,
    next: u32,
    taken: Vec<bool>,
    pairs: Pairs,
}

impl Objects {
    /// Forgets all things; identities are not given again.
    pub fn clear(&mut self) {
        for o in self.list.drain(..) {
            self.events.push(o.id, Kind::Ended { why: End::Restarted });
        }
    }

    /// Ends what has stood still for more than `seconds`; returns the pixels of each.
    pub fn furniture(&mut self, seconds: f32) -> Vec<Blob> {
        let (gone, stay) = std::mem::take(&mut self.list).into_iter().partition(|o| o.still > seconds);
        self.list = stay;
        gone.into_iter()
            .map(|o: Object| {
                self.events.push(o.id, Kind::Ended { why: End::Furniture { seconds: o.still } });
                o.blob
            })
            .collect()
    }

    /// Matches the foreground `(height, width)` of a frame `dt` seconds after the last.
    pub fn step(&mut self, mask: &[bool], picture: &Planes, dt: f32, config: &ObjectsConfig) {
        let (width, height) = (picture.width, picture.height);
        let pieces = Pieces::of(mask, width, config.split);
        let shifts: Vec<(i32, i32)> = self.list.iter().map(|o| o.expected(dt)).collect();
        let claims = self.claims(&pieces, &shifts, (width, height));

        let mut given: Vec<Vec<usize>> = vec![Vec::new(); self.list.len()];
        let mut places = HashMap::new();
        let mut unclaimed: Vec<usize> = Vec::new();
        for (c, claim) in claims.of.iter().enumerate() {
            match claim.as_slice() {
                [] => unclaimed.push(c),
                [one] => given[*one].extend(&pieces.pixels[c]),
                [first, ..] if !config.split => given[*first].extend(&pieces.pixels[c]),
                many => {
                    let ids: Vec<u32> = many.iter().map(|&t| self.list[t].id).collect();
                    self.events.meet(&ids);
                    self.divide(&pieces.pixels[c], many, &shifts, picture, &mut given, &mut places);
                }
            }
        }
        // What comes apart from a thing may be what was hidden behind it.
        let hidden: Vec<usize> = (0..self.list.len()).filter(|&t| self.list[t].hidden && given[t].is_empty()).collect();
        for (t, c) in self.match_far(&pieces, &claims.apart, &hidden, picture, dt) {
            given[t].extend(&pieces.pixels[c]);
            unclaimed.retain(|&f| f != c);
        }
        let missing: Vec<usize> = (0..self.list.len()).filter(|&t| given[t].is_empty()).collect();
        let free: Vec<usize> = unclaimed.iter().copied().filter(|c| !claims.apart.contains(c)).collect();
        for (t, c) in self.match_far(&pieces, &free, &missing, picture, dt) {
            given[t].extend(&pieces.pixels[c]);
            unclaimed.retain(|&f| f != c);
        }
        let mut fresh = Vec::new();
        for c in unclaimed {
            let whole = (0..self.list.len())
                .filter(|_| !claims.apart.contains(&c))
                .filter(|&t| self.list[t].confirmed && !given[t].is_empty())
                .find(|&t| is_part(&pieces.components[c], &self.list[t], shifts[t], width, height));
            match whole {
                Some(t) => given[t].extend(&pieces.pixels[c]),
                None => fresh.push(c),
            }
        }
        let parts = self.pairs.step(&self.list, &given, &pieces, dt);
        for (part, whole) in parts.into_iter().filter(|_| config.merge) {
            if given[part].is_empty() || given[whole].is_empty() {
                // One of them is a part of a third.
                continue;
            }
            let pixels = std::mem::take(&mut given[part]);
            given[whole].extend(pixels);
            places.remove(&whole);
            self.list[part].blob = Blob::default();
            self.list[part].part_of = self.list[whole].id;
        }
        for (t, (object, pixels)) in self.list.iter_mut().zip(given).enumerate() {
            object.age += dt;
            let place = places.get(&t).copied();
            object.contact = place.is_some();
            object.hidden = place.is_some_and(|(_, seen)| seen < 0.25) || (object.hidden && pixels.is_empty());
            if pixels.len() < config.min_area.min(object.area as usize / 4 + 1).max(4) {
                object.miss(dt);
            } else {
                let known = object.confirmed;
                object.see(pixels, place, picture, dt, config);
                if object.confirmed && !known {
                    self.events.push(object.id, Kind::Confirmed);
                }
            }
        }
        self.list.retain(|o| match o.end(width, height, config) {
            Some(why) => {
                self.events.push(o.id, Kind::Ended { why });
                false
            }
            None => true,
        });
        self.events.settle(|id| self.list.iter().any(|o| o.id == id));
        for c in fresh.into_iter().filter(|&c| pieces.components[c].area >= config.min_area) {
            self.next += 1;
            self.list.push(Object::new(self.next, &pieces.pixels[c], picture));
            self.events.push(self.next, Kind::Born);
            if let Some(&from) = claims.from.get(&c) {
                self.events.push(self.next, Kind::CameApart { from });
            }
        }
    }
}

/// Whether a component that nobody claims is a part of `object`: small, and in its place.
fn is_part(part: &Component, object: &Object, (dx, dy): (i32, i32), width: usize, height: usize) -> bool {
    let r = &object.blob.rect;
    let m = |v: usize, d: i32| (v as i32 + d).max(0) as usize;
    let place = Rect { x: m(r.x.start, dx)..m(r.x.end, dx), y: m(r.y.start, dy)..m(r.y.end, dy) };
    let (w, h) = place.size();
    let place = place.grown(w.max(h) / 8 + 1, width, height);
    let inside = place.x.start <= part.rect.x.start
        && part.rect.x.end <= place.x.end
        && place.y.start <= part.rect.y.start
        && part.rect.y.end <= place.y.end;
    inside && part.area as f32 <= 0.7 * object.area
}
