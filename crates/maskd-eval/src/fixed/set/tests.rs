use super::*;
use crate::{Job as _, fixed::Part};

/// Empty files, by their paths from a folder.
fn tree(files: impl IntoIterator<Item = String>) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for file in files {
        let path = root.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    root
}

fn plain(name: &str, frames: usize) -> Vec<String> {
    (0..frames).flat_map(|i| [format!("{name}/frames/{i:05}.jpg"), format!("{name}/truth/{i:05}.png")]).collect()
}

fn cdnet(name: &str, frames: usize) -> Vec<String> {
    let files = |i| [format!("{name}/input/in{i:06}.jpg"), format!("{name}/groundtruth/gt{i:06}.png")];
    (1..=frames).flat_map(files).chain(["ROI.bmp", "ROI.jpg"].map(|file| format!("{name}/{file}"))).collect()
}

const ALL: Cut = Cut { part: Part::All, every: 1 };

/// How many frames are run, and which of them are judged.
fn shown(root: &Path, part: Part, every: usize) -> (usize, Vec<usize>) {
    let sequences = Set::find(root).unwrap().sequences(Cut { part, every }).unwrap();
    (sequences[0].shots.len(), sequences[0].judged().map(|(index, _)| index).collect())
}

fn names(set: &Set) -> Vec<&str> {
    set.places.iter().map(|place| place.name.as_str()).collect()
}

#[test]
fn the_first_fifth_is_run_but_not_judged() {
    let root = tree(plain("gate", 10));
    assert_eq!(shown(root.path(), Part::All, 1), (10, (2..10).collect()));
    assert_eq!(shown(root.path(), Part::First, 1), (5, vec![2, 3, 4]));
    assert_eq!(shown(root.path(), Part::Second, 1), (10, (5..10).collect()));
    // Frames 0, 3, 6 and 9.
    assert_eq!(shown(root.path(), Part::All, 3), (4, vec![1, 2, 3]));
    let gate = &Set::find(root.path()).unwrap().sequences(Cut { every: 3, ..ALL }).unwrap()[0];
    assert!(gate.shots[1].frame.ends_with("frames/00003.jpg"));
    assert!(gate.shots[1].truth.as_ref().unwrap().ends_with("truth/00003.png"));
    assert_eq!(gate.result_path(Path::new("out"), 1), Path::new("out/gate/00003.png"));
    assert_eq!((gate.region.as_ref(), gate.shots[1].identities.as_ref()), (None, None));
}

#[test]
fn cdnet_says_itself_which_frames_are_judged() {
    let root = tree(cdnet("baseline/highway", 8));
    let note = root.path().join("baseline/highway/temporalROI.txt");
    fs::write(&note, "3 6\r\n").unwrap();
    assert_eq!(shown(root.path(), Part::All, 1), (6, vec![2, 3, 4, 5]));
    assert_eq!(shown(root.path(), Part::First, 1), (4, vec![2, 3]));
    assert_eq!(shown(root.path(), Part::Second, 1), (6, vec![4, 5]));
    let highway = &Set::find(root.path()).unwrap().sequences(ALL).unwrap()[0];
    assert!(highway.shots[2].truth.as_ref().unwrap().ends_with("groundtruth/gt000003.png"));
    assert!(highway.region.as_ref().unwrap().ends_with("ROI.bmp"));
    assert_eq!(highway.result_path(Path::new("out"), 0), Path::new("out/baseline/highway/in000001.png"));
    for text in ["", "3", "0 4", "5 4", "1 9", "a b", "1 2 3"] {
        fs::write(&note, text).unwrap();
        let error = Set::find(root.path()).unwrap().sequences(ALL).unwrap_err().to_string();
        assert!(error.contains("temporalROI.txt") && error.contains("8 frames"), "{error}");
    }
    fs::remove_file(&note).unwrap();
    assert!(Set::find(root.path()).unwrap().sequences(ALL).unwrap_err().to_string().contains("temporalROI.txt"));
}

#[test]
fn sequences_are_found_and_chosen_by_name_or_category() {
    let more = ["notes.txt", ".hidden/frames/0.jpg", "out/gate/00000.png"].map(str::to_owned);
    let files = [plain("yard", 2), plain("gate", 2), cdnet("baseline/highway", 2), cdnet("shadow/bungalows", 2)];
    let root = tree(files.concat().into_iter().chain(more));
    let find = || Set::find(root.path()).unwrap();
    assert_eq!(names(&find()), ["baseline/highway", "gate", "shadow/bungalows", "yard"]);
    for (chosen, expected) in [
        (&["yard"][..], &["yard"][..]),
        (&["yard", "baseline"], &["baseline/highway", "yard"]),
        (&["bungalows"], &["shadow/bungalows"]),
        (&["shadow/bungalows", "gate"], &["gate", "shadow/bungalows"]),
    ] {
        let mut set = find();
        set.select(&chosen.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        assert_eq!(names(&set), expected);
    }
    let error = find().select(&["yard".into(), "street".into()]).unwrap_err().to_string();
    assert!(error.contains("\"street\"") && error.contains("baseline/highway, gate"), "{error}");
}

#[test]
fn what_is_wrong_with_a_set_is_named() {
    let find = |root: &Path| Set::find(root).unwrap_err().to_string();
    let root = tree(plain("gate", 5));
    assert!(find(&root.path().join("gone")).contains("gone"));
    assert!(find(&root.path().join("gate")).contains("--sequences gate"));
    assert!(find(&root.path().join("gate/frames")).contains("no sequence is in it"));
    let opened = || format!("{:#}", Set::find(root.path()).unwrap().sequences(ALL).unwrap_err());
    // Not judged, so not missed.
    fs::remove_file(root.path().join("gate/truth/00000.png")).unwrap();
    Set::find(root.path()).unwrap().sequences(ALL).unwrap();
    fs::create_dir(root.path().join("gate/identities")).unwrap();
    assert!(opened().contains("identities/00001.png: missing"));
    fs::remove_file(root.path().join("gate/truth/00003.png")).unwrap();
    for i in 1..5 {
        fs::write(root.path().join(format!("gate/identities/{i:05}.png")), "").unwrap();
    }
    assert!(opened().contains("truth/00003.png: missing"));
    fs::write(root.path().join("gate/frames/00004.png"), "").unwrap();
    assert!(opened().contains("have one name"));
    let single = tree(plain("gate", 1));
    let error = Set::find(single.path()).unwrap().sequences(Cut { part: Part::First, every: 1 }).unwrap_err();
    assert!(error.to_string().contains("none of its frames"), "{error}");
}
