//! The pieces of a frame's foreground, and which things claim them.

use std::collections::HashMap;

use super::Objects;
use crate::{
    components::{self, Component},
    necks,
};

/// What the foreground consists of: connected sets, divided at their necks.
pub struct Pieces {
    /// Each piece.
    pub components: Vec<Component>,
    /// Indices of its pixels.
    pub pixels: Vec<Vec<usize>>,
    /// The piece of each pixel, counted from 1; 0 is none.
    labels: Vec<u32>,
    /// The connected set of each pixel, counted from 1.
    whole: Vec<u32>,
}

/// Who claims each piece.
pub struct Claims {
    /// Indices of things, by piece.
    pub of: Vec<Vec<usize>>,
    /// Pieces that have come apart from a thing: nobody claims them, and they are nobody's part.
    pub apart: Vec<usize>,
    /// The identities of those things, by piece.
    pub from: HashMap<usize, u32>,
}

impl Pieces {
    /// Of a foreground `(height, width)`, divided at necks where `split`.
    pub fn of(mask: &[bool], width: usize, split: bool) -> Self {
        let (mut labels, mut whole) = (Vec::new(), Vec::new());
        let connected = components::label(mask, width, &mut whole).len();
        let count = if split {
            necks::divide(mask, width, &mut labels)
        } else {
            labels.clone_from(&whole);
            connected
        };
        let mut pixels: Vec<Vec<usize>> = vec![Vec::new(); count];
        for (p, &l) in labels.iter().enumerate().filter(|(_, l)| **l > 0) {
            pixels[l as usize - 1].push(p);
        }
        let components = pixels.iter().map(|p| Component::of(p, width)).collect();
        Self { components, pixels, labels, whole }
    }

    /// Number of pieces.
    pub fn len(&self) -> usize {
        self.components.len()
    }

    /// Whether two pixels of pieces are connected.
    pub fn same(&self, a: usize, b: usize) -> bool {
        self.whole[a] == self.whole[b]
    }

    fn connected(&self, a: usize, b: usize) -> bool {
        self.whole[self.pixels[a][0]] == self.whole[self.pixels[b][0]]
    }
}

impl Objects {
    /// Each piece is claimed by the things that are expected on a good part of it; candidates give way to known things.
    pub(super) fn claims(&self, pieces: &Pieces, shifts: &[(i32, i32)], (width, height): (usize, usize)) -> Claims {
        let mut overlap = vec![vec![0usize; pieces.len()]; self.list.len()];
        for (o, (row, &shift)) in self.list.iter().zip(overlap.iter_mut().zip(shifts)) {
            o.blob.each(shift, width, height, |p| {
                if pieces.labels[p] > 0 {
                    row[pieces.labels[p] as usize - 1] += 1;
                }
            });
        }
        let mut of: Vec<Vec<usize>> = vec![Vec::new(); pieces.len()];
        for (c, component) in pieces.components.iter().enumerate() {
            let significant = |t: usize| {
                let least = (0.2 * (self.list[t].blob.area.min(component.area)) as f32).max(4.0);
                overlap[t][c] as f32 >= least
            };
            let all: Vec<usize> = (0..self.list.len()).filter(|&t| significant(t)).collect();
            let known: Vec<usize> = all.iter().copied().filter(|&t| self.list[t].confirmed).collect();
            of[c] = if known.is_empty() {
                all.into_iter().max_by_key(|&t| overlap[t][c]).into_iter().collect()
            } else {
                known
            };
        }
        let (mut apart, mut from) = (Vec::new(), HashMap::new());
        for (t, overlap) in overlap.iter().enumerate() {
            let own: Vec<usize> = (0..pieces.len()).filter(|&c| of[c].contains(&t)).collect();
            let Some(&main) = own.iter().max_by_key(|&&c| overlap[c]) else { continue };
            let far = (0.2 * (pieces.components[main].area as f32).sqrt()).max(4.0);
            for &c in own.iter().filter(|&&c| c != main && !pieces.connected(c, main)) {
                if pieces.components[c].rect.gap(&pieces.components[main].rect) as f32 > far {
                    of[c].retain(|&other| other != t);
                    if of[c].is_empty() {
                        apart.push(c);
                        from.insert(c, self.list[t].id);
                    }
                }
            }
        }
        Claims { of, apart, from }
    }
}
