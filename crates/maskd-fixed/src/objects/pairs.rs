//! What is one thing and what is two: things that move as one and were never seen apart are parts of one thing.
//!
//! The seconds were chosen on the four sequences that the cues of [`crate::evidence`] were fitted on, and on things cut out of
//! them that cross (`benches/fixed/crossings.py`).

use std::collections::HashMap;

use super::{Object, pieces::Pieces};

/// Things that were seen apart for so many seconds are two for ever.
const TWO_S: f32 = 0.6;
/// Seconds after which things that move as one are one.
const ONE_S: f32 = 0.5;
/// The same for a small part, or one above another, that has only just come.
const PART_S: f32 = 0.1;
/// Seconds for which a part has only just come.
const YOUNG_S: f32 = 2.0;
/// What has been seen apart must move as one for so many times longer.
const DOUBT: f32 = 2.0;

/// What two things have done.
#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    /// Seconds for which they have been connected, and moved alike.
    together: f32,
    /// Seconds for which they were seen with scene between them.
    apart: f32,
}

/// All pairs of things that were in sight at the same time, the lower identity first.
#[derive(Debug, Default)]
pub struct Pairs(HashMap<(u32, u32), Pair>);

impl Pairs {
    /// Takes what each thing is given in a frame `dt` seconds after the last; returns which thing is a part of which.
    pub fn step(&mut self, list: &[Object], given: &[Vec<usize>], pieces: &Pieces, dt: f32) -> Vec<(usize, usize)> {
        let mut parts = Vec::new();
        for (a, one) in list.iter().enumerate() {
            for (b, other) in list.iter().enumerate().skip(a + 1) {
                let (Some(here), Some(there)) = (middle(&given[a]), middle(&given[b])) else { continue };
                let pair = self.0.entry((one.id.min(other.id), one.id.max(other.id))).or_default();
                let size = one.area.max(other.area).sqrt();
                let alike = (one.velocity.0 - other.velocity.0).hypot(one.velocity.1 - other.velocity.1) < 0.7 * size;
                if pieces.same(here, there) {
                    pair.together = if alike { pair.together + dt } else { 0.0 };
                } else {
                    pair.together = 0.0;
                    let gap = one.blob.rect.gap(&other.blob.rect) as f32;
                    if one.confirmed && other.confirmed && gap > (0.1 * size).max(2.0) {
                        pair.apart += dt;
                    }
                }
                let older = (one.confirmed, one.age, one.area) > (other.confirmed, other.age, other.area);
                let (whole, part) = if older { (a, b) } else { (b, a) };
                if pair.apart < TWO_S && pair.together > limit(&list[part], &list[whole], dt) + DOUBT * pair.apart {
                    parts.push((part, whole));
                }
            }
        }
        let alive = |id: u32| list.iter().any(|o| o.id == id);
        self.0.retain(|(a, b), _| alive(*a) && alive(*b));
        parts
    }
}

/// Seconds for which a part must have moved with its whole.
fn limit(part: &Object, whole: &Object, dt: f32) -> f32 {
    let (a, b) = (&part.blob.rect, &whole.blob.rect);
    let common = a.x.end.min(b.x.end).saturating_sub(a.x.start.max(b.x.start));
    let stacked = common as f32 > 0.6 * a.x.len().min(b.x.len()) as f32;
    let young = part.age < YOUNG_S + 4.0 * dt;
    if young && (part.area < 0.5 * whole.area || stacked) { PART_S } else { ONE_S }
}

/// A pixel that stands for all of a thing's.
fn middle(pixels: &[usize]) -> Option<usize> {
    pixels.get(pixels.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::super::{Objects, ObjectsConfig};
    use crate::planes::Planes;

    const WIDTH: usize = 160;
    const HEIGHT: usize = 60;
    const DT: f32 = 0.04;

    /// Two squares of 20 pixels side by side, as far apart as `gap` says, go right by a pixel in each frame. Returns how many
    /// things there are in the end.
    fn things(frames: usize, gap: impl Fn(usize) -> usize) -> usize {
        let mut objects = Objects::default();
        for i in 0..frames {
            let (left, right) = (4 + i, 4 + i + 20 + gap(i));
            let mut mask = vec![false; WIDTH * HEIGHT];
            for y in 20..40 {
                mask[y * WIDTH + left..][..20].fill(true);
                mask[y * WIDTH + right..][..20].fill(true);
            }
            // The two look different, so that contact can be divided.
            let luma = |p: usize| if p % WIDTH < right { 60.0 } else { 180.0 };
            let y = (0..WIDTH * HEIGHT).map(luma).collect();
            let (u, v) = (vec![0.0; WIDTH * HEIGHT], vec![0.0; WIDTH * HEIGHT]);
            objects.step(&mask, &Planes { width: WIDTH, height: HEIGHT, y, u, v }, DT, &ObjectsConfig::default());
        }
        objects.list.len()
    }

    #[test]
    fn parts_that_come_together_at_once_are_one() {
        assert_eq!(things(6, |_| 2), 2, "at first there are two");
        assert_eq!(things(60, |i| if i < 6 { 2 } else { 0 }), 1);
    }

    #[test]
    fn what_was_seen_apart_stays_two_though_it_moves_as_one() {
        assert_eq!(things(80, |i| 15usize.saturating_sub(i / 2)), 2);
    }
}
