use proptest::prelude::*;

use super::*;
use maskd_types::frame::Size;

/// Maps of one row of four pixels each.
fn maps(frames: &[[u8; 4]]) -> Vec<LabelMap> {
    frames.iter().map(|labels| LabelMap { size: Size::new(4, 1), labels: labels.to_vec() }).collect()
}

fn judge(truth: &[[u8; 4]], found: &[[u8; 4]]) -> IdentityReport {
    identity(&maps(truth), &maps(found)).unwrap()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

const TWO: [[u8; 4]; 4] = [[1, 1, 2, 2]; 4];

#[test]
fn perfect_is_one_and_nothing_of_nothing_too() {
    for (truth, truths) in [(TWO, 2), ([[0; 4]; 4], 0)] {
        let report = judge(&truth, &truth);
        assert_eq!((report.truths, report.found, report.switches), (truths, truths, 0));
        assert_eq!([report.idf1, report.hota, report.deta, report.assa], [1.0; 4]);
    }
}

#[test]
fn a_swap_in_the_middle_is_two_switches_and_halves_idf1() {
    let report = judge(&TWO, &[[1, 1, 2, 2], [1, 1, 2, 2], [2, 2, 1, 1], [2, 2, 1, 1]]);
    assert_eq!(report.switches, 2);
    assert_eq!((report.idtp, report.idfp, report.idfn), (4, 4, 4));
    assert_eq!(report.idf1, 0.5);
    // All detected; each of four pairs is together for 2 of the 4 + 4 - 2 frames that either is there.
    assert!(close(report.deta, 1.0) && close(report.assa, 2.0 / 6.0), "{report:?}");
    assert!(close(report.hota, (1.0_f64 / 3.0).sqrt()));
}

#[test]
fn a_new_name_after_a_gap_is_a_switch_and_the_old_one_is_not() {
    let truth = [[1, 1, 0, 0], [1, 1, 0, 0], [0; 4], [1, 1, 0, 0]];
    let renamed = judge(&truth, &[[3, 3, 0, 0], [3, 3, 0, 0], [0; 4], [4, 4, 0, 0]]);
    assert_eq!((renamed.switches, renamed.found, renamed.idtp, renamed.idfp, renamed.idfn), (1, 2, 2, 1, 1));
    assert!(close(renamed.idf1, 4.0 / 6.0));
    // 2 masks of one pair with A = 2/3, one of another with A = 1/3.
    assert!(close(renamed.assa, (2.0 * 2.0 / 3.0 + 1.0 / 3.0) / 3.0), "{renamed:?}");
    let kept = judge(&truth, &[[3, 3, 0, 0], [3, 3, 0, 0], [0; 4], [3, 3, 0, 0]]);
    assert_eq!((kept.switches, kept.idf1, kept.hota), (0, 1.0, 1.0));
}

#[test]
fn what_is_missing_or_invented_counts_once() {
    let missing = judge(&TWO, &[[1, 1, 0, 0]; 4]);
    assert_eq!((missing.switches, missing.idtp, missing.idfp, missing.idfn), (0, 4, 0, 4));
    assert!(close(missing.idf1, 8.0 / 12.0) && close(missing.deta, 0.5) && close(missing.assa, 1.0));
    let invented = judge(&[[1, 1, 0, 0]; 4], &TWO);
    assert_eq!((invented.idtp, invented.idfp, invented.idfn), (4, 4, 0));
    assert!(close(invented.idf1, missing.idf1) && close(invented.hota, missing.hota));
    let nothing = judge(&TWO, &[[0; 4]; 4]);
    assert_eq!((nothing.switches, nothing.idf1, nothing.hota, nothing.assa), (0, 0.0, 0.0, 0.0));
}

#[test]
fn iou_decides_what_is_found() {
    // IoU 1/2: matched at ten of the nineteen thresholds, and just so for IDF1.
    let half = judge(&[[1, 1, 0, 0]], &[[1, 0, 0, 0]]);
    assert_eq!(half.idf1, 1.0);
    assert!(close(half.hota, 10.0 / 19.0), "{half:?}");
    assert_eq!(judge(&[[1, 1, 1, 0]], &[[1, 0, 0, 0]]).idf1, 0.0);
    // Two names at exactly one half each: the one that was there before holds.
    let tie = judge(&[[1, 1, 0, 0], [1, 1, 0, 0]], &[[8, 8, 0, 0], [7, 8, 0, 0]]);
    assert_eq!(tie.switches, 0);
}

#[test]
fn maps_that_do_not_fit_are_named() {
    let (one, two) = (maps(&[[0; 4]]), maps(&[[0; 4]; 2]));
    assert!(identity(&one, &two).unwrap_err().to_string().starts_with("1 true maps, but 2 found"));
    let other = [two[0].clone(), LabelMap::new(Size::new(2, 2))];
    assert!(identity(&two, &other).unwrap_err().to_string().starts_with("frame 1: the found map is 2x2"));
}

#[test]
fn a_folder_of_results_is_judged_by_sequence() {
    let root = tempfile::tempdir().unwrap();
    let (results, masks) = (root.path().join("results"), root.path().join("Annotations/480p/dog"));
    let images = root.path().join("JPEGImages/480p/dog");
    for folder in [&root.path().join("ImageSets/2017"), &masks, &images, &results.join("dog")] {
        std::fs::create_dir_all(folder).unwrap();
    }
    std::fs::write(root.path().join("ImageSets/2017/val.txt"), "dog").unwrap();
    for (i, (truth, found)) in
        maps(&TWO).iter().zip(maps(&[[1, 1, 2, 2], [1, 1, 2, 2], [2, 2, 1, 1], [2, 2, 1, 1]])).enumerate()
    {
        std::fs::write(images.join(format!("{i:05}.jpg")), "").unwrap();
        truth.write_png(&masks.join(format!("{i:05}.png"))).unwrap();
        found.write_png(&results.join("dog").join(format!("{i:05}.png"))).unwrap();
    }
    let dataset = Dataset::open(root.path(), "val", crate::Task::SemiSupervised).unwrap();
    let reports = identity_of(&dataset, &results).unwrap();
    assert_eq!((reports.len(), reports[0].0.as_str(), reports[0].1.switches), (1, "dog", 2));
    std::fs::remove_file(results.join("dog/00002.png")).unwrap();
    assert!(format!("{:#}", identity_of(&dataset, &results).unwrap_err()).contains("dog/00002.png"));
}

fn labels() -> impl Strategy<Value = Vec<[u8; 4]>> {
    prop::collection::vec(prop::array::uniform4(0_u8..5), 0..12)
}

proptest! {
    #[test]
    fn figures_are_shares_and_names_are_only_names(truth in labels(), found in labels(), shift in 1_u8..200) {
        let frames = truth.len().min(found.len());
        let (truth, found) = (&truth[..frames], &found[..frames]);
        let report = judge(truth, found);
        for share in [report.idf1, report.hota, report.deta, report.assa] {
            prop_assert!((0.0..=1.0 + 1e-12).contains(&share), "{report:?}");
        }
        let masks = |maps: &[[u8; 4]]| -> usize {
            maps.iter().map(|m| (1..5).filter(|l| m.contains(l)).count()).sum()
        };
        prop_assert_eq!(report.idtp + report.idfn, masks(truth) as u64);
        prop_assert_eq!(report.idtp + report.idfp, masks(found) as u64);
        // IDF1 and HOTA judge both sides alike.
        let turned = judge(found, truth);
        prop_assert_eq!(turned.idtp, report.idtp);
        // Other names, in another order. (HOTA's matching has ties, whose winner may depend on the order.)
        let rename = |maps: &[[u8; 4]]| {
            maps.iter().map(|m| m.map(|l| if l == 0 { 0 } else { shift + 5 - l })).collect::<Vec<_>>()
        };
        let renamed = judge(truth, &rename(found));
        prop_assert_eq!((renamed.idtp, renamed.idfp, renamed.idfn), (report.idtp, report.idfp, report.idfn));
        // In the same order, every figure.
        let moved: Vec<[u8; 4]> = found.iter().map(|m| m.map(|l| if l == 0 { 0 } else { l + shift })).collect();
        prop_assert_eq!(judge(truth, &moved), report);
        // Who finds all is right about all.
        prop_assert_eq!(judge(truth, truth).hota, judge(truth, truth).idf1);
    }
}
