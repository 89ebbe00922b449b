//! HOTA (Luiten et al., IJCV 2021): detection and association in one figure, step by step as in TrackEval's `hota.py`.

use std::collections::BTreeMap;

use super::{Label, Scene, assignment::assignment};

/// Number of IoU thresholds, 0.05 apart, from 0.05 on.
const THRESHOLDS: usize = 19;

/// Means over all thresholds.
pub struct Hota {
    pub hota: f64,
    pub deta: f64,
    pub assa: f64,
}

/// `of_truth` and `of_found` are the frames that each label is in.
pub fn hota(scenes: &[Scene], of_truth: &BTreeMap<Label, u64>, of_found: &BTreeMap<Label, u64>) -> Hota {
    let (all_true, all_found): (u64, u64) = (of_truth.values().sum(), of_found.values().sum());
    if all_true + all_found == 0 {
        return Hota { hota: 1.0, deta: 1.0, assa: 1.0 };
    }
    let alike = alignment(scenes, of_truth, of_found);
    let mut hits = [0_u64; THRESHOLDS];
    let mut matches: Vec<BTreeMap<(Label, Label), u64>> = vec![BTreeMap::new(); THRESHOLDS];
    for scene in scenes {
        let ious: BTreeMap<(Label, Label), f64> = scene.overlaps().collect();
        let labels = |counts: &BTreeMap<Label, u64>| counts.keys().copied().collect::<Vec<Label>>();
        let iou = |pair: &(Label, Label)| ious.get(pair).copied().unwrap_or(0.0);
        // Who belongs together over the whole sequence decides who is matched in a frame.
        let weight = |t: Label, f: Label| alike.get(&(t, f)).copied().unwrap_or(0.0) * iou(&(t, f));
        for pair in assignment(&labels(&scene.truths), &labels(&scene.found), weight) {
            for (k, (hits, matches)) in hits.iter_mut().zip(&mut matches).enumerate() {
                let threshold = (k + 1) as f64 * 0.05;
                if iou(&pair) >= threshold - f64::EPSILON {
                    *hits += 1;
                    *matches.entry(pair).or_default() += 1;
                }
            }
        }
    }
    let mut sum = Hota { hota: 0.0, deta: 0.0, assa: 0.0 };
    for (hits, matches) in hits.into_iter().zip(&matches) {
        let deta = hits as f64 / (all_true + all_found - hits) as f64;
        let association =
            |(&(t, f), &n): (&(Label, Label), &u64)| (n * n) as f64 / (of_truth[&t] + of_found[&f] - n) as f64;
        let assa = matches.iter().map(association).sum::<f64>() / hits.max(1) as f64;
        sum.deta += deta;
        sum.assa += assa;
        sum.hota += (deta * assa).sqrt();
    }
    let mean = |sum: f64| sum / THRESHOLDS as f64;
    Hota { hota: mean(sum.hota), deta: mean(sum.deta), assa: mean(sum.assa) }
}

/// How much a true and a found trajectory are the same, 0..=1: the Jaccard index of their detections, each shared in
/// proportion to its IoU among all that it could be.
fn alignment(
    scenes: &[Scene],
    of_truth: &BTreeMap<Label, u64>,
    of_found: &BTreeMap<Label, u64>,
) -> BTreeMap<(Label, Label), f64> {
    let mut potential: BTreeMap<(Label, Label), f64> = BTreeMap::new();
    for scene in scenes {
        let (mut by_truth, mut by_found): (BTreeMap<Label, f64>, BTreeMap<Label, f64>) = Default::default();
        for ((t, f), iou) in scene.overlaps() {
            *by_truth.entry(t).or_default() += iou;
            *by_found.entry(f).or_default() += iou;
        }
        for ((t, f), iou) in scene.overlaps() {
            *potential.entry((t, f)).or_default() += iou / (by_truth[&t] + by_found[&f] - iou);
        }
    }
    potential
        .into_iter()
        .map(|((t, f), shared)| ((t, f), shared / ((of_truth[&t] + of_found[&f]) as f64 - shared)))
        .collect()
}
