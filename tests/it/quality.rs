//! Quality with real weights on real sequences, as `maskd eval davis` measures it: the published protocol beside the
//! reference's figures, what the daemon does beside the protocol, discovery, and the weights that maskd carries.

use std::{collections::HashMap, io::Write as _, path::PathBuf};

use crate::{
    shared::{SALIENCY_S14, shared},
    support::process::maskd,
};

/// A sequence, our mean J when it was last looked at, and the reference's (`golden/README.md`), all in per cent, by the
/// protocol over the first 25 frames; the first and the last are not judged.
///
/// The network sees 476 x 854, each side of the frame floored to whole patches. At 476 x 840 the same protocol has dog
/// at 53: between the dog and the grass it is unstable.
const PROTOCOL: [(&str, f64, f64); 4] =
    [("blackswan", 87.50, 87.5), ("car-shadow", 90.03, 90.1), ("dog", 72.48, 72.4), ("libby", 77.79, 77.9)];

/// Sequences that the best preset is tried on, and its mean J when it was last looked at.
const BEST: [(&str, f64); 2] = [("dog", 92.8), ("libby", 90.5)];

/// A sequence that is found without a first mask, and its J when it was last looked at.
const FOUND: (&str, f64) = ("dog", 84.0);

/// Sequences that the weights that maskd carries were never shown.
const HELD_OUT: [&str; 3] = ["blackswan", "dog", "drift-straight"];

/// Their mean J with those weights when it was last looked at (the card in crates/maskd-model/pretrained), masks given and
/// discovered. With noise of a tenth of each matrix's deviation it is 83.6 and 76.1, with a fifth 83.2 and 76.3; before
/// training it was 84.5 and 0.0.
const SHIPPED: (f64, f64) = (84.2, 74.0);

/// How far a mean J may be from what it is compared with, in points.
const TOLERANCE: f64 = 0.5;

/// The same where a choice among equals, which another CPU's rounding may turn, weighs more.
const LOOSE: f64 = 3.0;

#[test]
fn the_protocol_scores_as_the_reference_does() {
    let scores = eval(&PROTOCOL.map(|s| s.0), &["--preset", "paper", "--short-side", "476"]);
    let Some(scores) = scores else { return };
    for (name, pinned, reference) in PROTOCOL {
        let j = scores[name];
        say(&format!("paper: J of {name}: {j:.2} (pinned {pinned}, reference {reference})"));
        assert!((j - pinned).abs() < TOLERANCE, "{name}: {j:.2} is not the {pinned} it was");
    }
    let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / PROTOCOL.len() as f64;
    let (ours, reference) = (mean(&mut scores.values().copied()), mean(&mut PROTOCOL.iter().map(|s| s.2)));
    say(&format!("paper: all four, mean: {ours:.2} (reference {reference:.2})"));
    assert!((ours - reference).abs() < TOLERANCE, "mean J {ours:.2}, the reference has {reference:.2}");
}

#[test]
fn the_daemons_own_way_is_better_than_the_protocol() {
    let Some(scores) = eval(&BEST.map(|s| s.0), &["--preset", "best", "--short-side", "476"]) else { return };
    for (name, pinned) in BEST {
        let j = scores[name];
        let protocol = PROTOCOL.iter().find(|s| s.0 == name).unwrap().1;
        say(&format!("best: J of {name}: {j:.2} (pinned {pinned}, protocol {protocol})"));
        assert!((j - pinned).abs() < LOOSE, "{name}: {j:.2} is not the {pinned} it was");
        assert!(j > protocol + 7.0, "{name}: {j:.2}, the protocol has {protocol}");
    }
}

#[test]
fn the_object_is_found_without_a_first_mask() {
    let Some(scores) = eval(&[FOUND.0], &["--task", "unsupervised", "--short-side", "336"]) else { return };
    let (name, pinned) = FOUND;
    let j = scores[name];
    say(&format!("unsupervised: J of {name}: {j:.2} (pinned {pinned})"));
    assert!((j - pinned).abs() < LOOSE, "{name}: {j:.2} is not the {pinned} it was");
}

#[test]
fn the_weights_that_maskd_carries_are_as_good_as_their_card_says() {
    let (given, discovered) = SHIPPED;
    for (task, pinned, may_lack) in [("semi-supervised", given, TOLERANCE), ("unsupervised", discovered, LOOSE)] {
        let Some(scores) = eval_with(None, &HELD_OUT, &["--task", task, "--short-side", "336"]) else { return };
        let mean = scores.values().sum::<f64>() / HELD_OUT.len() as f64;
        say(&format!("the weights that maskd carries, {task}: mean J {mean:.2} (pinned {pinned}): {scores:.1?}"));
        assert!(mean > pinned - may_lack, "{task}: {mean:.2} is less than the {pinned} it was");
    }
}

/// Past the harness's capture: the figures are what these tests are for.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// As [`eval_with`], with the saliency S/14.
fn eval(sequences: &[&str], options: &[&str]) -> Option<HashMap<String, f64>> {
    eval_with(Some(shared(SALIENCY_S14)?), sequences, options)
}

/// The mean J in per cent of each sequence, over its first 25 frames, by `maskd eval davis` with `weights`, or with those
/// that maskd carries; `None`, after a loud word, where the sequences are absent.
fn eval_with(weights: Option<PathBuf>, sequences: &[&str], options: &[&str]) -> Option<HashMap<String, f64>> {
    let data = shared("data/davis")?;
    let out = tempfile::tempdir().unwrap();
    let (data, out_folder, names) = (data.to_str().unwrap(), out.path().to_str().unwrap(), sequences.join(","));
    let mut args = vec!["eval", "davis", "--root", data, "--out", out_folder];
    args.extend(["--sequences", &names, "--max-frames", "25", "--device", "cpu"]);
    if let Some(weights) = &weights {
        args.extend(["--weights", weights.to_str().unwrap()]);
    }
    args.extend(options);
    let run = maskd(&args);
    assert!(run.status.success(), "{}: {}", run.status, String::from_utf8_lossy(&run.stderr));
    let table = std::fs::read_to_string(out.path().join("per-sequence_results-val.csv")).unwrap();
    let line = |line: &str| {
        let mut fields = line.split(',');
        // One object each: `dog_1,0.725,0.812`.
        let name = fields.next()?.rsplit_once('_')?.0.to_owned();
        Some((name, 100.0 * fields.next()?.parse::<f64>().ok()?))
    };
    let scores: HashMap<String, f64> = table.lines().skip(1).filter_map(line).collect();
    assert_eq!(scores.len(), sequences.len(), "{table}");
    Some(scores)
}
