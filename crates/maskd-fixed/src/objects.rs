//! Moving things and their identities: components of the foreground are matched to what was there before.

use std::collections::HashMap;

use pathfinding::{kuhn_munkres::kuhn_munkres, matrix::Matrix};

use crate::{
    components::{self, Component, Rect},
    necks,
    planes::Planes,
    template::Template,
};

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
}

impl Default for ObjectsConfig {
    fn default() -> Self {
        Self { min_area: 40, hits: 2, travel: 3.0, travel_share: 0.1, lost_s: 1.0, still_s: 120.0 }
    }
}

/// A set of pixels inside a rectangle.
#[derive(Clone, Debug, Default)]
pub struct Blob {
    /// Around it.
    pub rect: Rect,
    /// Its pixels in the rectangle, row by row.
    pub bits: Vec<bool>,
    /// Number of pixels.
    pub area: usize,
}

impl Blob {
    /// From pixel indices of a picture `width` wide.
    pub fn of(pixels: &[usize], width: usize) -> Self {
        let mut rect = Rect::default();
        for &p in pixels {
            rect.join(&Rect::pixel(p % width, p / width));
        }
        let (w, h) = rect.size();
        let mut bits = vec![false; w * h];
        for &p in pixels {
            bits[(p / width - rect.y.start) * w + p % width - rect.x.start] = true;
        }
        Self { rect, bits, area: pixels.len() }
    }

    /// Calls `f` with each pixel, moved by `(dx, dy)`, that lies inside `(height, width)`.
    pub fn each(&self, (dx, dy): (i32, i32), width: usize, height: usize, mut f: impl FnMut(usize)) {
        let w = self.rect.x.len();
        for (i, _) in self.bits.iter().enumerate().filter(|(_, b)| **b) {
            let x = (self.rect.x.start + i % w) as i32 + dx;
            let y = (self.rect.y.start + i / w) as i32 + dy;
            if x >= 0 && y >= 0 && (x as usize) < width && (y as usize) < height {
                f(y as usize * width + x as usize);
            }
        }
    }

    /// Mean place `(x, y)`.
    pub fn centre(&self) -> (f32, f32) {
        let w = self.rect.x.len().max(1);
        let (mut sx, mut sy, mut n) = (0f32, 0f32, 0f32);
        for (i, _) in self.bits.iter().enumerate().filter(|(_, b)| **b) {
            sx += (i % w) as f32;
            sy += (i / w) as f32;
            n += 1.0;
        }
        let n = n.max(1.0);
        (self.rect.x.start as f32 + sx / n, self.rect.y.start as f32 + sy / n)
    }
}

const BINS: usize = 8;

/// Colours of a thing: a histogram of luma, and of both chroma differences.
#[derive(Clone, Debug)]
pub struct Look {
    bins: Vec<f32>,
    filled: bool,
}

impl Default for Look {
    fn default() -> Self {
        Self { bins: vec![0.0; BINS * BINS * BINS], filled: false }
    }
}

fn bin(planes: &Planes, p: usize) -> usize {
    let q = |v: f32, scale: f32| ((v / scale) as i32).clamp(0, BINS as i32 - 1) as usize;
    let (y, u, v) = (q(planes.y[p], 32.0), q(planes.u[p] + 40.0, 10.0), q(planes.v[p] + 40.0, 10.0));
    (y * BINS + u) * BINS + v
}

impl Look {
    /// Learns the colours of `pixels`.
    pub fn learn(&mut self, planes: &Planes, pixels: &[usize], rate: f32) {
        if pixels.is_empty() {
            return;
        }
        let rate = if self.filled { rate } else { 1.0 };
        self.filled = true;
        self.bins.iter_mut().for_each(|b| *b *= 1.0 - rate);
        let share = rate / pixels.len() as f32;
        pixels.iter().for_each(|&p| self.bins[bin(planes, p)] += share);
    }

    /// Share of it that has the colour of a pixel.
    pub fn of(&self, planes: &Planes, p: usize) -> f32 {
        self.bins[bin(planes, p)]
    }

    /// Overlap with the histogram of `pixels`, 0..1.
    pub fn like(&self, planes: &Planes, pixels: &[usize]) -> f32 {
        let mut other = Look::default();
        other.learn(planes, pixels, 1.0);
        self.bins.iter().zip(&other.bins).map(|(a, b)| a.min(*b)).sum()
    }
}

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
    /// Seconds that it has moved with another as one.
    pub together: f32,
}

/// All things of a stream.
#[derive(Debug, Default)]
pub struct Objects {
    /// Them.
    pub list: Vec<Object>,
    next: u32,
    labels: Vec<u32>,
    whole: Vec<u32>,
    taken: Vec<bool>,
}

impl Objects {
    /// Forgets all things; identities are not given again.
    pub fn clear(&mut self) {
        self.list.clear();
    }

    /// Ends what has stood still for more than `seconds`; returns the pixels of each.
    pub fn furniture(&mut self, seconds: f32) -> Vec<Blob> {
        let (gone, stay) = std::mem::take(&mut self.list).into_iter().partition(|o| o.still > seconds);
        self.list = stay;
        gone.into_iter().map(|o: Object| o.blob).collect()
    }

    /// Matches the foreground of a frame `dt` seconds after the last. Returns components that are nobody's.
    pub fn step(&mut self, mask: &[bool], picture: &Planes, dt: f32, config: &ObjectsConfig) {
        let (width, height) = (picture.width, picture.height);
        components::label(mask, width, &mut self.whole);
        let count = necks::divide(mask, width, &mut self.labels);
        let mut pixels: Vec<Vec<usize>> = vec![Vec::new(); count];
        for (p, &l) in self.labels.iter().enumerate().filter(|(_, l)| **l > 0) {
            pixels[l as usize - 1].push(p);
        }
        let comps: Vec<Component> = pixels.iter().map(|p| Component::of(p, width)).collect();
        // Overlaps of predicted places with components.
        let shifts: Vec<(i32, i32)> = self
            .list
            .iter()
            .map(|o| {
                let by = |at: f32, v: f32, last: f32| (at + v * dt - last).round() as i32;
                (by(o.centre.0, o.velocity.0, o.last.0), by(o.centre.1, o.velocity.1, o.last.1))
            })
            .collect();
        let mut overlap = vec![vec![0usize; comps.len()]; self.list.len()];
        for (o, (row, &shift)) in self.list.iter().zip(overlap.iter_mut().zip(&shifts)) {
            o.blob.each(shift, width, height, |p| {
                if self.labels[p] > 0 {
                    row[self.labels[p] as usize - 1] += 1;
                }
            });
        }
        // Who claims each component.
        let mut claims: Vec<Vec<usize>> = vec![Vec::new(); comps.len()];
        for (c, comp) in comps.iter().enumerate() {
            let significant = |t: usize| {
                let least = (0.2 * (self.list[t].blob.area.min(comp.area)) as f32).max(4.0);
                overlap[t][c] as f32 >= least
            };
            let all: Vec<usize> = (0..self.list.len()).filter(|&t| significant(t)).collect();
            let sure: Vec<usize> = all.iter().copied().filter(|&t| self.list[t].confirmed).collect();
            claims[c] = if sure.is_empty() {
                all.into_iter().max_by_key(|&t| overlap[t][c]).into_iter().collect()
            } else {
                sure
            };
        }
        let mut given: Vec<Vec<usize>> = vec![Vec::new(); self.list.len()];
        let mut born_of: HashMap<usize, usize> = HashMap::new();
        for t in 0..self.list.len() {
            // Parts of one thing that are apart are two things.
            let own: Vec<usize> = (0..comps.len()).filter(|&c| claims[c] == [t]).collect();
            let Some(&main) = own.iter().max_by_key(|&&c| overlap[t][c]) else { continue };
            let size = (comps[main].area as f32).sqrt();
            for &c in own.iter().filter(|&&c| c != main) {
                let apart = self.whole[pixels[c][0]] != self.whole[pixels[main][0]];
                if apart && comps[c].rect.gap(&comps[main].rect) as f32 > (0.2 * size).max(4.0) {
                    claims[c].clear();
                    born_of.insert(c, t);
                }
            }
        }
        let mut places = HashMap::new();
        let mut merged: Vec<usize> = Vec::new();
        let mut contact = vec![false; self.list.len()];
        let mut fragments: Vec<usize> = Vec::new();
        for (c, claim) in claims.iter().enumerate() {
            match claim.as_slice() {
                [] => fragments.push(c),
                [one] => given[*one].extend(&pixels[c]),
                many => {
                    let many = &self.without_parts(many, &mut merged, dt);
                    if let [one] = many.as_slice() {
                        given[*one].extend(&pixels[c]);
                        continue;
                    }
                    self.divide(&pixels[c], many, &shifts, picture, &mut given, &mut places);
                    many.iter().for_each(|&t| contact[t] = true);
                }
            }
        }
        // What has moved further than its own length is found by place, size and colours.
        for (t, c) in self.match_far(&fragments, &given, &born_of, &comps, &pixels, picture, dt) {
            given[t].extend(&pixels[c]);
            fragments.retain(|&f| f != c);
        }
        // Parts beside a thing are parts of it.
        let mut fresh = Vec::new();
        for c in fragments {
            let part = (0..self.list.len())
                .filter(|_| !born_of.contains_key(&c))
                .filter(|&t| self.list[t].confirmed && !given[t].is_empty())
                .find(|&t| is_part(&comps[c], &self.list[t], shifts[t], width, height));
            match part {
                Some(t) => given[t].extend(&pixels[c]),
                None => fresh.push(c),
            }
        }
        for &t in &merged {
            given[t].clear();
            self.list[t].blob = Blob::default();
        }
        for (t, (object, pixels)) in self.list.iter_mut().zip(given).enumerate() {
            object.age += dt;
            object.contact = contact[t];
            let place = places.get(&t).copied();
            object.hidden = place.is_some_and(|(_, seen)| seen < 0.25) || (object.hidden && pixels.is_empty());
            if pixels.len() < config.min_area.min(object.area as usize / 4 + 1).max(4) {
                object.unseen += dt;
                object.centre.0 += object.velocity.0 * dt;
                object.centre.1 += object.velocity.1 * dt;
                continue;
            }
            object.see(pixels, place.filter(|_| contact[t]), picture, dt, config);
        }
        self.list.retain(|o| {
            let limit = if o.confirmed && o.hidden {
                3.0
            } else if o.confirmed {
                config.lost_s
            } else {
                0.15
            };
            o.unseen <= limit && o.blob.area > 0
        });
        for c in fresh.into_iter().filter(|&c| comps[c].area >= config.min_area) {
            self.next += 1;
            let blob = Blob::of(&pixels[c], width);
            let mut look = Look::default();
            look.learn(picture, &pixels[c], 1.0);
            self.list.push(Object {
                id: self.next,
                centre: comps[c].centre,
                began: comps[c].centre,
                last: comps[c].centre,
                area: comps[c].area as f32,
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
                together: 0.0,
            });
        }
    }

    /// The things of `claim` without those that are only parts of another: small or stacked on it, born a short time ago,
    /// and moving with it.
    fn without_parts(&mut self, claim: &[usize], merged: &mut Vec<usize>, dt: f32) -> Vec<usize> {
        let mut whole: Vec<usize> = claim.to_vec();
        for &t in claim {
            let part = &self.list[t];
            let of = whole.iter().map(|&o| &self.list[o]).any(|other| {
                let older = (other.age, other.area) > (part.age, part.area) && other.id != part.id;
                let size = other.area.sqrt();
                let apart = (other.velocity.0 - part.velocity.0).hypot(other.velocity.1 - part.velocity.1);
                let (a, b) = (&part.blob.rect, &other.blob.rect);
                let common = a.x.end.min(b.x.end).saturating_sub(a.x.start.max(b.x.start));
                let stacked = common as f32 > 0.6 * a.x.len().min(b.x.len()) as f32;
                older && part.age < 2.0 + 4.0 * dt && apart < 0.7 * size && (part.area < 0.5 * other.area || stacked)
            });
            self.list[t].together = if of { self.list[t].together + dt } else { 0.0 };
            if of && self.list[t].together > 0.1 {
                whole.retain(|&o| o != t);
                merged.push(t);
            }
        }
        whole
    }

    /// Things that nothing was found of, and components that are nobody's, matched at the least cost.
    #[allow(clippy::too_many_arguments)]
    fn match_far(
        &self,
        fragments: &[usize],
        given: &[Vec<usize>],
        born_of: &HashMap<usize, usize>,
        comps: &[Component],
        pixels: &[Vec<usize>],
        picture: &Planes,
        dt: f32,
    ) -> Vec<(usize, usize)> {
        let things: Vec<usize> = (0..self.list.len()).filter(|&t| given[t].is_empty()).collect();
        let free: Vec<usize> = fragments.iter().copied().filter(|c| !born_of.contains_key(c)).collect();
        if things.is_empty() || free.is_empty() {
            return Vec::new();
        }
        const NEVER: i64 = 1_000_000;
        let cost = |t: usize, c: usize| {
            let (o, comp) = (&self.list[t], &comps[c]);
            let size = o.area.sqrt();
            let (x, y) = (o.centre.0 + o.velocity.0 * dt, o.centre.1 + o.velocity.1 * dt);
            let away = (comp.centre.0 - x).hypot(comp.centre.1 - y);
            let speed = o.velocity.0.hypot(o.velocity.1);
            let loose = if o.hits < 3 { 5.0 * size } else { 2.0 * size + 0.5 * speed };
            let reach = 0.5 * size + loose * (dt + o.unseen).min(1.0);
            let ratio = comp.area as f32 / o.area.max(1.0);
            if away > reach || !(0.3..=3.0).contains(&ratio) {
                return NEVER;
            }
            let like = o.look.like(picture, &pixels[c]);
            if like < 0.25 {
                return NEVER;
            }
            (1000.0 * (away / reach + (1.0 - like) + 0.3 * ratio.ln().abs())) as i64
        };
        let (rows, columns) = (things.len(), things.len() + free.len());
        let weights = Matrix::from_fn(rows, columns, |(r, k)| match free.get(k) {
            Some(&c) => -cost(things[r], c),
            None => -NEVER / 2,
        });
        let (_, found) = kuhn_munkres(&weights);
        let far = found.into_iter().enumerate();
        far.filter_map(|(r, k)| free.get(k).map(|&c| (things[r], c))).filter(|&(t, c)| cost(t, c) < NEVER).collect()
    }

    /// Divides a component among the things that claim it: the one that is seen best is before the others.
    fn divide(
        &mut self,
        pixels: &[usize],
        claim: &[usize],
        shifts: &[(i32, i32)],
        picture: &Planes,
        given: &mut [Vec<usize>],
        places: &mut HashMap<usize, ((i32, i32), f32)>,
    ) {
        let width = picture.width;
        self.taken.clear();
        self.taken.resize(picture.len(), false);
        let guess = |o: &Object, t: usize| (o.shift.0 + shifts[t].0, o.shift.1 + shifts[t].1);
        let mut left: Vec<usize> = claim.to_vec();
        let mut order = Vec::new();
        while !left.is_empty() {
            let mut best: Option<(f32, usize, (i32, i32))> = None;
            for &t in &left {
                let o = &self.list[t];
                let size = o.area.sqrt();
                let reach = (3.0 + 0.06 * size) as i32;
                let (shift, seen) = o.template.find(picture, &self.taken, guess(o, t), reach);
                if best.is_none_or(|b| seen > b.0) {
                    best = Some((seen, t, shift));
                }
            }
            let Some((seen, t, shift)) = best else { break };
            left.retain(|&l| l != t);
            order.push((t, shift));
            places.insert(t, (shift, seen));
            for &p in pixels {
                self.taken[p] |= self.list[t].template.at(picture, p, shift).is_some_and(|d| d < 40.0);
            }
        }
        for &p in pixels {
            let (x, y) = ((p % width) as f32, (p / width) as f32);
            let best = order.iter().enumerate().min_by(|a, b| {
                let cost = |(rank, &(t, shift)): (usize, &(usize, (i32, i32)))| {
                    let o = &self.list[t];
                    match o.template.at(picture, p, shift) {
                        Some(d) => d.min(80.0) + 5.0 * rank as f32,
                        None => {
                            let r = &o.template.blob.rect;
                            let (w, h) = (r.x.len().max(1) as f32, r.y.len().max(1) as f32);
                            let cx = (r.x.start + r.x.end) as f32 / 2.0 + shift.0 as f32;
                            let cy = (r.y.start + r.y.end) as f32 / 2.0 + shift.1 as f32;
                            let place = ((x - cx) / w).powi(2) + ((y - cy) / h).powi(2);
                            let colour = -(o.look.of(picture, p) + 0.02).ln();
                            60.0 + 100.0 * place + 5.0 * colour
                        }
                    }
                };
                cost(*a).total_cmp(&cost(*b))
            });
            if let Some((_, &(t, _))) = best {
                given[t].push(p);
            }
        }
    }
}

impl Object {
    fn see(
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
        self.confirmed |= self.hits >= config.hits
            && self.age >= 0.075
            && self.travel >= config.travel.max(config.travel_share * size);
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
