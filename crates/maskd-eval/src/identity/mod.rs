//! Identity: whether things keep their names. ID switches, IDF1 and HOTA of whole sequences of label maps.
//!
//! Masks of a frame do not overlap, so a true and a found one that share more than half are each other's only match.

mod assignment;
mod hota;
mod partings;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, ensure};
use rayon::prelude::*;

use super::Dataset;
use assignment::assignment;
use maskd_types::mask::LabelMap;
pub(crate) use partings::{Contacts, Partings, partings};

/// The name of a true thing or of a found instance; 0 is none.
pub(crate) type Label = u16;

/// From this mask IoU on, a found instance is the true one (IDF1 and switches).
const MATCH: f64 = 0.5;

/// How well identities were kept over a sequence. The shares are in 0..=1; all 1 where there was nothing and nothing
/// was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IdentityReport {
    /// True instances, by label, over the sequence.
    pub truths: usize,
    /// Found instances, by label, over the sequence.
    pub found: usize,
    /// How often a true instance is matched by another label than when it was last matched, gaps included (CLEAR MOT).
    pub switches: u64,
    /// Masks found under the right name: of the one-to-one matching of whole trajectories that has most of them.
    pub idtp: u64,
    /// Masks found under a wrong name, or of nothing.
    pub idfp: u64,
    /// True masks not found under their name.
    pub idfn: u64,
    /// `2 IDTP / (2 IDTP + IDFP + IDFN)` (Ristani et al. 2016).
    pub idf1: f64,
    /// Geometric mean of detection and association, averaged over IoU thresholds 0.05 to 0.95 (Luiten et al. 2021).
    pub hota: f64,
    /// HOTA's detection accuracy, over the same thresholds.
    pub deta: f64,
    /// HOTA's association accuracy, over the same thresholds.
    pub assa: f64,
}

/// What is in one frame: pixels of each label, and those that a true and a found one share.
#[derive(Default)]
pub(crate) struct Scene {
    truths: BTreeMap<Label, u64>,
    found: BTreeMap<Label, u64>,
    shared: BTreeMap<(Label, Label), u64>,
}

impl Scene {
    fn new(truth: &LabelMap, found: &LabelMap) -> Self {
        Self::of(truth.labels.iter().zip(&found.labels).map(|(&t, &f)| (t.into(), f.into())))
    }

    /// Of the true and the found label of each pixel that is judged.
    pub(crate) fn of(pixels: impl Iterator<Item = (Label, Label)>) -> Self {
        let mut scene = Self::default();
        // Neighbours mostly have the same labels: they are counted before anything is looked up.
        let (mut pair, mut run) = ((0, 0), 0);
        for next in pixels {
            if next != pair {
                scene.count(pair, run);
                (pair, run) = (next, 0);
            }
            run += 1;
        }
        scene.count(pair, run);
        scene
    }

    fn count(&mut self, (t, f): (Label, Label), pixels: u64) {
        if pixels == 0 {
            return;
        }
        if t > 0 {
            *self.truths.entry(t).or_default() += pixels;
        }
        if f > 0 {
            *self.found.entry(f).or_default() += pixels;
        }
        if t > 0 && f > 0 {
            *self.shared.entry((t, f)).or_default() += pixels;
        }
    }

    /// Each pair that shares a pixel, and its IoU.
    fn overlaps(&self) -> impl Iterator<Item = ((Label, Label), f64)> + '_ {
        self.shared
            .iter()
            .map(|(&(t, f), &both)| ((t, f), both as f64 / (self.truths[&t] + self.found[&f] - both) as f64))
    }
}

/// Judges label maps, one of each slice for each frame. A label is one identity throughout, in both slices; no map has
/// void, so 255 is a label like others.
///
/// # Errors
/// Slices of different lengths, and maps of different sizes.
pub fn identity(truth: &[LabelMap], found: &[LabelMap]) -> Result<IdentityReport> {
    ensure!(
        truth.len() == found.len(),
        "{} true maps, but {} found: give one for each frame",
        truth.len(),
        found.len()
    );
    let scene = |(i, (truth, found)): (usize, (&LabelMap, &LabelMap))| {
        let (expected, size) = (truth.size, found.size);
        ensure!(expected == size, "frame {i}: the found map is {size} pixels, the true one {expected}");
        Ok(Scene::new(truth, found))
    };
    let scenes: Vec<Scene> = truth.par_iter().zip(found).enumerate().map(scene).collect::<Result<_>>()?;
    Ok(report(&scenes))
}

/// Judges the PNGs in `results/SEQUENCE/`, named as the annotations are, each sequence of the dataset for itself.
///
/// # Errors
/// A file that is missing, is not a mask, or has another size than its annotation.
pub fn identity_of(dataset: &Dataset, results: &Path) -> Result<Vec<(String, IdentityReport)>> {
    let judge = |sequence: &super::Sequence| {
        let scene = |index: usize| {
            let truth = sequence.annotation(index)?;
            let name = sequence.annotations[index].file_name().unwrap_or_default();
            let path = results.join(&sequence.name).join(name);
            let found = LabelMap::read_png(&path)?;
            let (expected, size) = (truth.size, found.size);
            ensure!(size == expected, "{}: it is {size} pixels, its annotation {expected}", path.display());
            Ok(Scene::new(&truth, &found))
        };
        let scenes: Vec<Scene> = (0..sequence.annotations.len())
            .into_par_iter()
            .map(scene)
            .collect::<Result<_>>()
            .with_context(|| format!("sequence {}", sequence.name))?;
        Ok((sequence.name.clone(), report(&scenes)))
    };
    dataset.sequences.iter().map(judge).collect()
}

/// Judges scenes in order.
pub(crate) fn report(scenes: &[Scene]) -> IdentityReport {
    let (mut of_truth, mut of_found): (BTreeMap<Label, u64>, BTreeMap<Label, u64>) = Default::default();
    let mut matched: BTreeMap<(Label, Label), u64> = BTreeMap::new();
    for scene in scenes {
        scene.truths.keys().for_each(|&t| *of_truth.entry(t).or_default() += 1);
        scene.found.keys().for_each(|&f| *of_found.entry(f).or_default() += 1);
        let pairs = scene.overlaps().filter(|(_, iou)| *iou >= MATCH);
        pairs.for_each(|(pair, _)| *matched.entry(pair).or_default() += 1);
    }
    let all = |counts: &BTreeMap<Label, u64>| counts.values().sum::<u64>();
    let weight = |t: Label, f: Label| matched.get(&(t, f)).map_or(0.0, |&frames| frames as f64);
    let (truths, founds) = (of_truth.keys().copied().collect::<Vec<_>>(), of_found.keys().copied().collect::<Vec<_>>());
    let idtp = assignment(&truths, &founds, weight).iter().map(|pair| matched.get(pair).copied().unwrap_or(0)).sum();
    let (idfn, idfp) = (all(&of_truth) - idtp, all(&of_found) - idtp);
    let masks = 2 * idtp + idfp + idfn;
    let hota::Hota { hota, deta, assa } = hota::hota(scenes, &of_truth, &of_found);
    IdentityReport {
        truths: truths.len(),
        found: founds.len(),
        switches: switches(scenes),
        idtp,
        idfp,
        idfn,
        idf1: if masks == 0 { 1.0 } else { (2 * idtp) as f64 / masks as f64 },
        hota,
        deta,
        assa,
    }
}

impl Scene {
    /// The label that matches each true instance. Two labels can only both match at exactly one half: then the one holds
    /// that `last` has for it.
    fn matches(&self, last: &BTreeMap<Label, Label>) -> BTreeMap<Label, Label> {
        let mut now: BTreeMap<Label, Label> = BTreeMap::new();
        for ((t, f), _) in self.overlaps().filter(|(_, iou)| *iou >= MATCH) {
            if last.get(&t) == Some(&f) {
                now.insert(t, f);
            } else {
                now.entry(t).or_insert(f);
            }
        }
        now
    }
}

/// Changes of the label that matches a true instance.
fn switches(scenes: &[Scene]) -> u64 {
    let mut last: BTreeMap<Label, Label> = BTreeMap::new();
    let mut switches = 0;
    for scene in scenes {
        for (t, f) in scene.matches(&last) {
            switches += u64::from(last.insert(t, f).is_some_and(|before| before != f));
        }
    }
    switches
}
