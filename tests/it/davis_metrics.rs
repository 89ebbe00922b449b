//! The DAVIS figures against the official evaluator's.

use std::path::Path;

use maskd::davis::{
    Dataset, Proposals, Report, Statistics, Task, contour, objects, region, semi_supervised, unsupervised,
};
use serde_json::Value;

use crate::shared::shared;

/// The official figures and the folder they are of.
fn official() -> Option<(Value, std::path::PathBuf)> {
    let folder = shared("golden/davis_eval")?;
    Some((serde_json::from_str(&std::fs::read_to_string(folder.join("expected.json")).unwrap()).unwrap(), folder))
}

fn close(found: f64, expected: &Value, what: &str) {
    let expected = expected.as_f64().unwrap();
    assert!((found - expected).abs() < 1e-9, "{what}: {found}, official {expected}");
}

#[test]
fn the_semi_supervised_figures_are_the_official_ones() {
    let Some((expected, folder)) = official() else { return };
    for (tree, count) in [("single", 3), ("multi", 10)] {
        let (root, expected) = (folder.join(tree), &expected[tree]);
        let dataset = Dataset::open(&root, "val", Task::SemiSupervised).unwrap();
        same(&semi_supervised(&dataset, &root.join("results"), &|| ()).unwrap(), expected, tree, count);
    }
}

/// Every figure of a tree.
fn same(report: &Report, expected: &Value, tree: &str, count: usize) {
    assert_eq!((report.objects.len(), expected["objects"].as_object().unwrap().len()), (count, count));
    for object in &report.objects {
        let name = format!("{}_{}", object.sequence, object.object);
        close(object.j.mean, &expected["objects"][&name]["J"], &name);
        close(object.f.mean, &expected["objects"][&name]["F"], &name);
    }
    close(report.j_and_f(), &expected["J&F-Mean"], tree);
    for (metric, found) in [("J", report.j), ("F", report.f)] {
        close(found.mean, &expected[format!("{metric}-Mean")], tree);
        close(found.recall, &expected[format!("{metric}-Recall")], tree);
        close(found.decay, &expected[format!("{metric}-Decay")], tree);
    }
}

#[test]
fn the_unsupervised_figures_are_the_official_ones() {
    let Some((expected, folder)) = official() else { return };
    let root = folder.join("unsupervised");
    let dataset = Dataset::open(&root, "val", Task::Unsupervised).unwrap();
    assert!(dataset.annotations.ends_with("Annotations_unsupervised/480p"));
    let report = unsupervised(&dataset, &root.join("results"), Proposals::All, &|| ()).unwrap();
    same(&report, &expected["unsupervised"], "unsupervised", 4);
    // The tree tells the order of objects from that of proposals, and a label alone from all of them.
    let first = unsupervised(&dataset, &root.join("results"), Proposals::First, &|| ()).unwrap();
    assert!(first.j_and_f() < report.j_and_f() && first.objects.len() == 4);
    assert!(first.objects.iter().filter(|object| object.proposal == 1).count() == 2);
}

#[test]
fn each_frame_and_each_statistic_is_the_official_one() {
    let Some((expected, folder)) = official() else { return };
    let frames = expected["frames"].as_object().unwrap();
    assert_eq!(frames.len(), 3);
    let dataset = Dataset::open(&folder.join("single"), "val", Task::SemiSupervised).unwrap();
    for sequence in &dataset.sequences {
        let of = &frames[&sequence.name];
        assert_eq!(of["J"].as_array().unwrap().len(), sequence.annotations.len());
        for (index, path) in sequence.annotations.iter().enumerate() {
            let truth = sequence.annotation(index).unwrap();
            let name = Path::new(&sequence.name).join(path.file_name().unwrap());
            let found = maskd::mask::LabelMap::read_png(&folder.join("single/results").join(&name)).unwrap();
            let mask = |map: &maskd::mask::LabelMap| map.labels.iter().map(|l| *l == 1).collect::<Vec<_>>();
            let (s, g) = (mask(&found), mask(&truth));
            close(region(&s, &g, None), &of["J"][index], &name.display().to_string());
            close(contour(&s, &g, truth.size, None), &of["F"][index], &name.display().to_string());
            let fast = objects(&found, &truth, 1).unwrap();
            assert_eq!(fast, [(region(&s, &g, None), contour(&s, &g, truth.size, None))]);
        }
    }
    let statistics = expected["statistics"].as_array().unwrap();
    assert_eq!(statistics.len(), 4);
    for case in statistics {
        let values: Vec<f64> = case["values"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        let found = Statistics::of(&values);
        for (found, expected) in [found.mean, found.recall, found.decay].into_iter().zip(0..) {
            close(found, &case["mean_recall_decay"][expected], &format!("{} values", values.len()));
        }
    }
}

#[test]
fn a_bad_result_is_named() {
    let Some((_, folder)) = official() else { return };
    let dataset = Dataset::open(&folder.join("multi"), "val", Task::SemiSupervised).unwrap();
    // The results of another tree: the sequences are missing.
    let missing = semi_supervised(&dataset, &folder.join("single/results"), &|| ()).unwrap_err();
    assert!(format!("{missing:#}").contains(".png"), "{missing:#}");
}
