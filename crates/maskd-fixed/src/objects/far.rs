//! Things that have moved further than their own length since the last frame, or were out of sight.

use pathfinding::{kuhn_munkres::kuhn_munkres, matrix::Matrix};

use super::{Objects, pieces::Pieces};
use crate::planes::Planes;

/// The cost of what cannot be.
const NEVER: i64 = 1_000_000;

impl Objects {
    /// Things that nothing was found of, and components that are nobody's, matched at the least cost.
    pub(super) fn match_far(
        &self,
        pieces: &Pieces,
        free: &[usize],
        things: &[usize],
        picture: &Planes,
        dt: f32,
    ) -> Vec<(usize, usize)> {
        if things.is_empty() || free.is_empty() {
            return Vec::new();
        }
        let cost = |t: usize, c: usize| {
            let (o, comp) = (&self.list[t], &pieces.components[c]);
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
            let like = o.look.like(picture, &pieces.pixels[c]);
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
}
