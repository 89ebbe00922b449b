//! The figures of one sequence, frame by frame.
//!
//! P, R, F1 and IoU are of the pixels of all instances together. PQ = SQ x RQ is of instances: true ones are the
//! 8-connected components of what moves, above 50 pixels; an instance matches one at an IoU above one half; instances
//! above 50 pixels that match none are false (Kirillov et al. 2019, with one class).

use std::collections::{BTreeMap, BTreeSet};

use super::{
    figures::Figures,
    labels::Labels,
    truth::{Pixel, Truth},
};
use crate::{components::Components, identity::Label};

/// A component or an instance of so many pixels or fewer is noise.
const NOISE: u64 = 50;
/// Above this IoU an instance is the true one.
const MATCH: f64 = 0.5;
/// An instance is a fragment of a true one where at least this share of it lies in there...
const WITHIN: f64 = 0.5;
/// ... and covers at least this share of the true one.
const COVERS: f64 = 0.03;

/// What was counted so far.
#[derive(Default)]
pub struct Score {
    frames: usize,
    hits: u64,
    false_pixels: u64,
    missed_pixels: u64,
    ious: Vec<f64>,
    false_instances: u64,
    missed: u64,
    ids: BTreeSet<Label>,
    fragments: Vec<u64>,
    switches: u64,
    previous: Components,
    /// Names of the components of the previous frame, as far as they were matched.
    names: BTreeMap<u32, Label>,
}

impl Score {
    /// Adds the next frame that is judged; `found` has the truth's size.
    pub fn add(&mut self, truth: &Truth, found: &Labels) {
        let moving: Vec<bool> = truth.pixels.iter().map(|pixel| *pixel == Pixel::Moving).collect();
        let components = Components::new(&moving, truth.size.width as usize);
        let mut areas: BTreeMap<Label, u64> = BTreeMap::new();
        // Pixels that a component shares with a label, and with a component of the previous frame.
        let mut shared: BTreeMap<(u32, Label), u64> = BTreeMap::new();
        let mut links: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        for (at, (pixel, label)) in truth.pixels.iter().zip(&found.values).enumerate() {
            let (of, moves) = (components.of[at], *pixel == Pixel::Moving);
            if let Some(before) = self.previous.of.get(at).filter(|before| moves && **before > 0) {
                *links.entry((of, *before)).or_default() += 1;
            }
            if *pixel == Pixel::NotJudged {
                continue;
            }
            let is_found = *label > 0;
            self.hits += u64::from(moves && is_found);
            self.false_pixels += u64::from(!moves && is_found);
            self.missed_pixels += u64::from(moves && !is_found);
            if is_found {
                *areas.entry(*label).or_default() += 1;
                if moves {
                    *shared.entry((of, *label)).or_default() += 1;
                }
            }
        }
        self.frames += 1;
        self.ids.extend(areas.keys());
        let names = self.add_instances(&components, &areas, &shared);
        self.add_links(&links, &names);
        (self.previous, self.names) = (components, names);
    }

    /// The label that each true component is matched by.
    fn add_instances(
        &mut self,
        components: &Components,
        areas: &BTreeMap<Label, u64>,
        shared: &BTreeMap<(u32, Label), u64>,
    ) -> BTreeMap<u32, Label> {
        let mut names = BTreeMap::new();
        for (number, &size) in (1..).zip(&components.areas).filter(|(_, size)| **size > NOISE) {
            let mut fragments = 0;
            for (&(_, label), &both) in shared.range((number, 0)..=(number, Label::MAX)) {
                let (area, part) = (areas[&label], both as f64);
                fragments += u64::from(part >= WITHIN * area as f64 && part >= COVERS * size as f64);
                let iou = part / (size + area - both) as f64;
                if iou > MATCH {
                    self.ious.push(iou);
                    names.insert(number, label);
                }
            }
            self.fragments.extend((fragments > 0).then_some(fragments));
            self.missed += u64::from(!names.contains_key(&number));
        }
        let used: BTreeSet<&Label> = names.values().collect();
        self.false_instances +=
            areas.iter().filter(|(label, area)| **area > NOISE && !used.contains(label)).count() as u64;
        names
    }

    /// A component is the one of the previous frame that it shares most pixels with, the greater number where two are
    /// even; both must be matched to tell whether its name changed.
    fn add_links(&mut self, links: &BTreeMap<(u32, u32), u64>, names: &BTreeMap<u32, Label>) {
        for (number, name) in names {
            let before =
                links.range((*number, 0)..=(*number, u32::MAX)).max_by_key(|((_, before), both)| (**both, *before));
            let before = before.and_then(|((_, before), _)| self.names.get(before));
            self.switches += u64::from(before.is_some_and(|before| before != name));
        }
    }

    /// All figures; 0 where there is nothing to divide by.
    pub fn figures(&self) -> Figures {
        let share = |part: f64, of: f64| if of > 0.0 { part / of } else { 0.0 };
        let mean = |sum: f64, count: usize| share(sum, count as f64);
        let [hits, wrong, missed] = [self.hits, self.false_pixels, self.missed_pixels].map(|count| count as f64);
        let (precision, recall) = (share(hits, hits + wrong), share(hits, hits + missed));
        let matched = self.ious.len() as f64;
        let rq = share(matched, matched + (self.false_instances + self.missed) as f64 / 2.0);
        let sq = mean(self.ious.iter().sum(), self.ious.len());
        Figures {
            precision: 100.0 * precision,
            recall: 100.0 * recall,
            f1: share(200.0 * precision * recall, precision + recall),
            iou: 100.0 * share(hits, hits + wrong + missed),
            pq: 100.0 * rq * sq,
            rq: 100.0 * rq,
            sq: 100.0 * sq,
            fragments: mean(self.fragments.iter().sum::<u64>() as f64, self.fragments.len()),
            ids: self.ids.len() as f64,
            switches: self.switches as f64,
        }
    }

    /// Frames that were added.
    pub fn frames(&self) -> usize {
        self.frames
    }
}

#[cfg(test)]
mod tests;
