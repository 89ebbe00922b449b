//! The figures of `maskd eval fixed` beside those of the program that defined them, on real footage.

use std::{fs, path::Path};

use maskd::{ingest::Clip, mask::LabelMap};
use serde_json::Value;

use crate::{shared::shared, support::process::maskd};

/// A pixel whose grey differs by more from the median of all frames counts as found.
const DIFFERENCE: u8 = 30;
/// Found pixels of a square of so many pixels have one name: pieces, merged things and switches come about by themselves.
const SQUARE: usize = 80;

/// P, R, F1, IoU, PQ, RQ, SQ, frag, ids and sw as the shared folder's `tools/fixed_scores.py ROOT RESULTS` tells them of
/// these masks, without and with HALF=2. `MASKD_MASKS=DIR` makes the test leave them there, for whoever runs it again.
const REFERENCE: [(&str, [f64; 10]); 2] = [
    ("all", [59.8, 78.7, 68.0, 51.5, 19.2, 30.3, 63.3, 1.4, 12.0, 4.0]),
    ("second", [60.3, 78.3, 68.1, 51.7, 19.2, 30.3, 63.4, 1.3, 12.0, 4.0]),
];

/// Masks of the sequence in `frames` by that rule.
fn write_masks(frames: &Path, out: &Path) {
    let frames: Vec<_> = Clip::open(frames).unwrap().map(Result::unwrap).collect();
    let size = frames[0].size;
    let grey =
        |rgb: &[u8]| rgb.chunks_exact(3).map(|p| (p.iter().map(|v| u32::from(*v)).sum::<u32>() / 3) as u8).collect();
    let greys: Vec<Vec<u8>> = frames.iter().map(|frame| grey(&frame.rgb)).collect();
    let median = |at: usize| {
        let mut values: Vec<u8> = greys.iter().step_by(10).map(|grey| grey[at]).collect();
        values.sort_unstable();
        values[values.len() / 2]
    };
    let scene: Vec<u8> = (0..size.area()).map(median).collect();
    let (width, columns) = (size.width as usize, (size.width as usize).div_ceil(SQUARE));
    for (frame, grey) in frames.iter().zip(&greys) {
        let label = |at: usize| {
            let name = at % width / SQUARE + columns * (at / width / SQUARE) + 1;
            if grey[at].abs_diff(scene[at]) > DIFFERENCE { name as u8 } else { 0 }
        };
        let map = LabelMap { size, labels: (0..size.area()).map(label).collect() };
        map.write_png(&out.join(format!("{}.png", frame.name))).unwrap();
    }
}

#[test]
fn figures_are_those_of_the_reference() {
    let Some(root) = shared("data/fixed") else { return };
    let folder = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("MASKD_MASKS");
    let results = kept.as_ref().map_or(folder.path(), Path::new);
    fs::create_dir_all(results.join("HighwayI")).unwrap();
    write_masks(&root.join("HighwayI/frames"), &results.join("HighwayI"));
    for (part, expected) in REFERENCE {
        let words = ["eval", "fixed", "--sequences", "HighwayI", "--part", part, "--root"];
        let ends = [root.to_str().unwrap(), "--results", results.to_str().unwrap()];
        let output = maskd(&[&words[..], &ends].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_str(&fs::read_to_string(results.join("report.json")).unwrap()).unwrap();
        let csv = fs::read_to_string(results.join("fixed_results.csv")).unwrap();
        let cells = csv.lines().nth(1).unwrap().split(',').skip(2).take(10);
        let found: Vec<f64> = cells.map(|cell| cell.parse().unwrap()).collect();
        let close = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.1);
        assert!(close, "{part}: {found:?}, expected {expected:?}");
        assert_eq!(report["mean"]["switches"].as_f64(), found.last().copied());
    }
}
