//! Things that touch or cover each other.

use std::collections::HashMap;

use super::{Object, Objects};
use crate::planes::Planes;

impl Objects {
    /// The things of `claim` without those that are only parts of another: small or stacked on it, born a short time ago,
    /// and moving with it.
    pub(super) fn without_parts(&mut self, claim: &[usize], merged: &mut Vec<usize>, dt: f32) -> Vec<usize> {
        let mut whole: Vec<usize> = claim.to_vec();
        for &t in claim {
            let part = &self.list[t];
            let of = whole.iter().map(|&o| &self.list[o]).find(|other| {
                let older = (other.age, other.area) > (part.age, part.area) && other.id != part.id;
                let size = other.area.sqrt();
                let apart = (other.velocity.0 - part.velocity.0).hypot(other.velocity.1 - part.velocity.1);
                let (a, b) = (&part.blob.rect, &other.blob.rect);
                let common = a.x.end.min(b.x.end).saturating_sub(a.x.start.max(b.x.start));
                let stacked = common as f32 > 0.6 * a.x.len().min(b.x.len()) as f32;
                older && part.age < 2.0 + 4.0 * dt && apart < 0.7 * size && (part.area < 0.5 * other.area || stacked)
            });
            let of = of.map(|other| other.id);
            self.list[t].together = if of.is_some() { self.list[t].together + dt } else { 0.0 };
            self.list[t].part_of = of.unwrap_or_default();
            if of.is_some() && self.list[t].together > 0.1 {
                whole.retain(|&o| o != t);
                merged.push(t);
            }
        }
        whole
    }

    /// Divides a component among the things that claim it: the one that is seen best is before the others.
    pub(super) fn divide(
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
