//! Quality with real weights on real sequences: the published protocol's region similarity, beside the reference's.

use std::{io::Write as _, path::Path};

use maskd::{davis::region, mask::LabelMap};

use crate::{shared::shared, support::process::maskd};

/// Frames of each sequence that are used; the first and the last are not judged.
const FRAMES: usize = 25;

/// A sequence, our mean J when it was last looked at, and the reference's (`golden/README.md`), all in per cent.
///
/// The network sees 476 x 854, each side of the frame floored to whole patches. At 476 x 840 the same protocol has dog
/// at 53: between the dog and the grass it is unstable.
const SEQUENCES: [(&str, f64, f64); 4] =
    [("blackswan", 87.50, 87.5), ("car-shadow", 90.03, 90.1), ("dog", 72.48, 72.4), ("libby", 77.79, 77.9)];

/// How far a mean J may be from what it is compared with, in points.
const TOLERANCE: f64 = 0.5;

#[test]
fn the_protocol_scores_as_the_reference_does() {
    let Some(data) = shared("data/davis") else { return };
    let Some(weights) = shared("weights/dinov2-vits14.safetensors") else { return };
    // Past the harness's capture: the figures are what this test is for.
    let say = |name: &str, j: f64, pinned: f64, reference: f64| {
        let _ = writeln!(std::io::stderr(), "J of {name}: {j:.2} (pinned {pinned}, reference {reference})");
    };
    let mut scores = Vec::new();
    for (name, pinned, reference) in SEQUENCES {
        let j = mean_j(name, &data, &weights);
        say(name, j, pinned, reference);
        scores.push(j);
    }
    for ((name, pinned, _), j) in SEQUENCES.iter().zip(&scores) {
        assert!((j - pinned).abs() < TOLERANCE, "{name}: {j:.2} is not the {pinned} it was");
    }
    let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / SEQUENCES.len() as f64;
    let (ours, reference) = (mean(&mut scores.iter().copied()), mean(&mut SEQUENCES.iter().map(|s| s.2)));
    say("all four, mean", ours, mean(&mut SEQUENCES.iter().map(|s| s.1)), reference);
    assert!((ours - reference).abs() < TOLERANCE, "mean J {ours:.2}, the reference has {reference:.2}");
}

/// Mean J in per cent over the judged frames of a sequence, by `maskd segment`.
fn mean_j(name: &str, data: &Path, weights: &Path) -> f64 {
    let out = tempfile::tempdir().unwrap();
    let frames = data.join("JPEGImages/480p").join(name);
    let truth = data.join("Annotations/480p").join(name);
    let file = |i: usize| format!("{i:05}.png");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (frames, first, weights, folder) = (text(&frames), text(&truth.join(file(0))), text(weights), text(out.path()));
    let count = FRAMES.to_string();
    let run = maskd(&[
        "segment",
        &frames,
        "--first-mask",
        &first,
        "--weights",
        &weights,
        "--out",
        &folder,
        "--short-side",
        "476",
        "--max-frames",
        &count,
        "--device",
        "cpu",
    ]);
    assert!(run.status.success(), "{name}: {}: {}", run.status, String::from_utf8_lossy(&run.stderr));
    let judged = 1..FRAMES - 1;
    let j = |i: usize| {
        let mask = |folder: &Path| {
            let map = LabelMap::read_png(&folder.join(file(i))).unwrap();
            (map.size, map.labels.iter().map(|label| *label != 0).collect::<Vec<_>>())
        };
        let ((ours_size, ours), (size, truth)) = (mask(out.path()), mask(&truth));
        assert_eq!(ours_size, size, "{name} {i}");
        region(&ours, &truth, None)
    };
    100.0 * judged.clone().map(j).sum::<f64>() / judged.len() as f64
}
