//! Things that touch or cover each other.

use std::collections::HashMap;

use super::{Object, Objects};
use crate::planes::Planes;

/// What a thing's cost rises by with each thing before it: where two fit alike, the one in front is seen.
const BEHIND: f32 = 5.0;

impl Objects {
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
            let cost = |k: usize| self.cost(order[k].0, order[k].1, picture, p) + BEHIND * k as f32;
            let best = (0..order.len()).min_by(|&a, &b| cost(a).total_cmp(&cost(b)));
            if let Some(k) = best {
                given[order[k].0].push(p);
            }
        }
    }

    /// How badly a pixel fits thing `t`, whose template lies at `shift`: by its colour where the template reaches, by place
    /// and colours elsewhere.
    fn cost(&self, t: usize, shift: (i32, i32), picture: &Planes, p: usize) -> f32 {
        let o = &self.list[t];
        if let Some(d) = o.template.at(picture, p, shift) {
            return d.min(80.0);
        }
        let (x, y) = ((p % picture.width) as f32, (p / picture.width) as f32);
        let r = &o.template.blob.rect;
        let (w, h) = (r.x.len().max(1) as f32, r.y.len().max(1) as f32);
        let cx = (r.x.start + r.x.end) as f32 / 2.0 + shift.0 as f32;
        let cy = (r.y.start + r.y.end) as f32 / 2.0 + shift.1 as f32;
        let place = ((x - cx) / w).powi(2) + ((y - cy) / h).powi(2);
        let colour = -(o.look.of(picture, p) + 0.02).ln();
        60.0 + 100.0 * place + 5.0 * colour
    }
}
