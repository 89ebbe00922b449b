//! Keeps the house in order: imports point down, GStreamer, zenoh and threads stay in their rooms, files stay short.
//!
//! It reads `src/` as text, without comments and string literals; that is enough for paths, and needs no compiler.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use code::{code_only, tokens};

mod code;

/// Rooms by floor. A room may use those on lower floors, and on its own as long as nothing goes round in circles.
const FLOORS: [&[&str]; 9] = [
    &["files", "frame", "instance", "mask", "metrics", "picture", "pulse", "redact", "model", "kernels"],
    &["preprocess", "backbone", "overload", "ingest", "publish", "admin"],
    &["discover", "propagate", "refine", "attention"],
    &["tracker"],
    &["engine", "preset"],
    &["config", "davis"],
    &["runtime"],
    &["cli"],
    &["main"],
];

/// Crates that only one room may name.
const PRIVATE_CRATES: [(&str, &[&str]); 2] = [
    (
        "ingest",
        &["gstreamer", "gstreamer_app", "gstreamer_video", "gstreamer_base", "gst", "gst_app", "gst_video", "glib"],
    ),
    ("publish", &["zenoh", "zenoh_ext"]),
];

const LONGEST_FILE: usize = 400;
const EMPTY_NAMES: [&str; 8] = ["util", "utils", "common", "helper", "helpers", "manager", "misc", "shared"];

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

/// One file: its path from `src/` and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn room(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Its place in the module tree: `cli/run.rs` is `[cli, run]`, `cli/mod.rs` is `[cli]`, `lib.rs` is the root.
    fn module(&self) -> Vec<&str> {
        let mut parts: Vec<&str> = self.path.trim_end_matches(".rs").split('/').collect();
        if matches!(parts.last(), Some(&"mod" | &"lib" | &"main")) {
            parts.pop();
        }
        parts
    }
}

/// What is wrong with a file as a whole.
fn inspect_file(source: &Source, faults: &mut Vec<String>) {
    let mut fault = |line: usize, what: String| faults.push(format!("src/{}:{line}: {what}", source.path));
    let lines = source.text.lines().count();
    if lines > LONGEST_FILE {
        fault(lines, format!("{lines} lines, {LONGEST_FILE} are the most: split it"));
    }
    // What `mod tests;` is for goes without saying.
    if !source.text.starts_with("//!") && !source.path.ends_with("/tests.rs") {
        fault(1, "a file opens with //! and what it is for".into());
    }
    for part in source.path.trim_end_matches(".rs").split('/').filter(|p| EMPTY_NAMES.contains(p)) {
        fault(1, format!("the name {part:?} says nothing: call it by what it holds"));
    }
    if floor(source.room()).is_none() && source.path != "lib.rs" {
        fault(1, format!("unknown room {:?}: give it a floor in tests/it/imports.rs", source.room()));
    }
}

/// What is wrong with the paths in a file; imports within its own floor go to `edges`.
fn inspect_paths(source: &Source, edges: &mut BTreeMap<(String, String), String>, faults: &mut Vec<String>) {
    let room = source.room();
    // The map names every room.
    let is_map = source.path == "lib.rs";
    let Some(own_floor) = floor(room).or(is_map.then_some(usize::MAX)) else { return };
    let mut fault = |line: usize, what: String| faults.push(format!("src/{}:{line}: {what}", source.path));

    let code = tokens(&code_only(&source.text));
    let word = |i: usize| code.get(i).map_or("", |t| t.1.as_str());
    let base = source.module();
    // The brace depth, and that outside of each inline module around the current token.
    let (mut depth, mut inline): (usize, Vec<usize>) = (0, Vec::new());
    // A `tests.rs` is one test module from end to end.
    let mut test_from = base.contains(&"tests").then_some(usize::MAX);

    for i in 0..code.len() {
        let line = code[i].0;
        match word(i) {
            "{" => {
                if i >= 2 && word(i - 2) == "mod" {
                    // `# [ cfg ( test ) ] mod name {`
                    if test_from.is_none() && i >= 7 && word(i - 5) == "test" && word(i - 7) == "cfg" {
                        test_from = Some(depth);
                    }
                    inline.push(depth);
                }
                depth += 1;
            }
            "}" => {
                depth = depth.saturating_sub(1);
                inline.pop_if(|outside| *outside == depth);
                test_from = test_from.filter(|outside| *outside != depth);
            }
            _ => {}
        }

        let path_starts = word(i + 1) == "::" && (i == 0 || word(i - 1) != "::");
        let names_crate = path_starts || (i > 0 && word(i - 1) == "use");
        for (owner, crates) in PRIVATE_CRATES {
            if names_crate && room != owner && crates.contains(&word(i)) {
                fault(line, format!("only src/{owner} may name the crate {}", word(i)));
            }
        }
        let starts_thread = word(i) == "thread" && word(i + 1) == "::" && matches!(word(i + 2), "spawn" | "Builder");
        if starts_thread && room != "runtime" && test_from.is_none() {
            fault(line, "only src/runtime starts threads (thread::scope is free to all)".into());
        }

        if !path_starts {
            continue;
        }
        let mut after = i + 2;
        let reaches_root = match word(i) {
            "crate" | "maskd" => true,
            "super" => {
                let mut ups = 1;
                while word(after) == "super" && word(after + 1) == "::" {
                    (ups, after) = (ups + 1, after + 2);
                }
                ups >= base.len() + inline.len() && !base.is_empty()
            }
            _ => false,
        };
        if !reaches_root {
            continue;
        }
        for (line, target) in heads(&code, after) {
            let Some(target_floor) = floor(&target) else {
                fault(line, format!("unknown room {target:?}: name things by their own room, not by the root"));
                continue;
            };
            if target == room || is_map {
                continue;
            }
            if target_floor > own_floor {
                fault(
                    line,
                    format!("{room} (floor {own_floor}) imports {target} (floor {target_floor}): imports point down"),
                );
            } else if target_floor == own_floor {
                edges.entry((room.to_owned(), target)).or_insert_with(|| format!("src/{}:{line}", source.path));
            }
        }
    }
}

/// The first names of a path or of a group of paths that starts at token `i`.
fn heads(code: &[(usize, String)], i: usize) -> Vec<(usize, String)> {
    if code.get(i).is_none_or(|t| t.1 != "{") {
        return code.get(i).cloned().into_iter().collect();
    }
    let (mut depth, mut found) = (0, Vec::new());
    for (k, (line, token)) in code.iter().enumerate().skip(i) {
        match token.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ if depth == 1 && matches!(code[k - 1].1.as_str(), "{" | ",") && token != "self" => {
                found.push((*line, token.clone()));
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    found
}

/// Everything that is wrong with the tree, one line each.
fn check(sources: &[Source]) -> Vec<String> {
    let (mut edges, mut faults) = (BTreeMap::new(), Vec::new());
    for source in sources {
        inspect_file(source, &mut faults);
        inspect_paths(source, &mut edges, &mut faults);
    }
    // An import within a floor is part of a circle where its target leads back to it.
    for ((from, to), place) in &edges {
        let (mut reached, mut next) = (BTreeSet::new(), vec![to]);
        while let Some(room) = next.pop() {
            if reached.insert(room) {
                next.extend(edges.keys().filter(|(a, _)| a == room).map(|(_, b)| b));
            }
        }
        if reached.contains(from) {
            faults.push(format!("{place}: {from} imports {to}, which leads back to {from}"));
        }
    }
    faults
}

fn read_tree(folder: &Path, root: &Path, into: &mut Vec<Source>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            read_tree(&path, root, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            into.push(Source { path: name, text: fs::read_to_string(&path).unwrap() });
        }
    }
}

#[test]
fn the_tree_keeps_its_order() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    read_tree(&root, &root, &mut sources);
    assert!(sources.iter().any(|s| s.path == "lib.rs"), "no src/lib.rs under {}", root.display());
    let faults = check(&sources);
    assert!(faults.is_empty(), "{} fault(s):\n{}", faults.len(), faults.join("\n"));
}

/// Faults of a tree of `(path, code)`, each file opened as the rule wants.
fn faults_of(files: &[(&str, &str)]) -> Vec<String> {
    let source =
        |(path, code): &(&str, &str)| Source { path: (*path).into(), text: format!("//! For a test.\n{code}") };
    check(&files.iter().map(source).collect::<Vec<_>>())
}

#[test]
fn what_is_allowed_passes() {
    let fine = [
        ("lib.rs", "pub mod cli;\npub use crate::engine::Engine;"),
        ("main.rs", "fn main() { maskd::cli::main() }"),
        ("cli/mod.rs", "use crate::{config::Config, runtime};\npub(crate) mod run;"),
        ("cli/run.rs", "use super::options;\nuse super::super::runtime::Daemon;\nuse crate::cli::options;"),
        ("instance.rs", "use crate::mask::Rle;"),
        ("mask.rs", "use crate::frame::Size;\n#[cfg(test)] mod tests { use super::*; use super::Rle; }"),
        (
            "frame.rs",
            "/// See [`crate::engine::Engine`].\nconst A: &str = \"crate::cli\"; /* crate::cli /* zenoh::x */ */",
        ),
        (
            "tracker.rs",
            "const B: char = '\"'; const C: &[u8] = br#\"\"crate::cli\"#; const D: char = '\\''; fn f<'a>(x: &'a u8) {}",
        ),
        ("ingest/camera.rs", "use gstreamer as gst;\nuse gst::prelude::*;"),
        ("publish/wire.rs", "fn f() { zenoh::open() }"),
        ("runtime.rs", "fn f() { std::thread::spawn(g); }"),
        (
            "engine.rs",
            "#[cfg(test)]\nmod tests { fn t() { std::thread::spawn(g); } }\nfn f() { std::thread::scope(g); }",
        ),
    ];
    assert_eq!(faults_of(&fine), Vec::<String>::new());
}

#[test]
fn each_kind_of_disorder_is_named_with_its_place() {
    let alone: &[(&str, &str, &str)] = &[
        ("mask.rs", "\nuse crate::engine::Engine;", "src/mask.rs:3: mask (floor 0) imports engine (floor 4)"),
        (
            "tracker/memory.rs",
            "fn f() { crate::runtime::go() }",
            "src/tracker/memory.rs:2: tracker (floor 3) imports runtime",
        ),
        (
            "admin.rs",
            "use crate::{\n  metrics::{Metrics, Stage},\n  config,\n};",
            "src/admin.rs:4: admin (floor 1) imports config",
        ),
        ("frame.rs", "use super::cli::run;", "src/frame.rs:2: frame (floor 0) imports cli"),
        ("frame.rs", "mod inner { use super::super::cli; }", "src/frame.rs:2: frame (floor 0) imports cli"),
        (
            "frame.rs",
            "const A: char = '{'; const S: &str = \"\\\"\"; use crate::cli;",
            "src/frame.rs:2: frame (floor 0) imports cli",
        ),
        ("engine.rs", "use crate::Frame;", "src/engine.rs:2: unknown room \"Frame\""),
        ("engine.rs", "use crate::*;", "src/engine.rs:2: unknown room \"*\""),
        ("viewer.rs", "", "src/viewer.rs:1: unknown room \"viewer\""),
        ("cli/utils.rs", "", "src/cli/utils.rs:1: the name \"utils\" says nothing"),
        ("cli/run.rs", "use gstreamer as gst;", "src/cli/run.rs:2: only src/ingest may name the crate gstreamer"),
        ("cli/watch.rs", "fn f() { zenoh::open() }", "src/cli/watch.rs:2: only src/publish may name the crate zenoh"),
        ("ingest/bus.rs", "fn f() { thread::spawn(g); }", "src/ingest/bus.rs:2: only src/runtime starts threads"),
        (
            "ingest/bus.rs",
            "#[cfg(test)] mod tests {}\nfn f() { std::thread::Builder::new(); }",
            "src/ingest/bus.rs:3: only",
        ),
    ];
    for (path, code, expected) in alone {
        let faults = faults_of(&[(path, code)]);
        assert!(faults.len() == 1 && faults[0].starts_with(expected), "{path} {code:?}: {faults:?}, not {expected:?}");
    }

    let circle = [
        ("discover.rs", "use crate::propagate::a;"),
        ("propagate.rs", "use crate::discover::b;"),
        ("mask.rs", "use crate::frame::Size;"),
    ];
    let faults = faults_of(&circle);
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].starts_with("src/discover.rs:2: discover imports propagate, which leads back"), "{faults:?}");

    let long =
        check(&[Source { path: "frame.rs".into(), text: format!("//! Long.{}", "\n".repeat(LONGEST_FILE + 1)) }]);
    assert!(long.len() == 1 && long[0].contains("401 lines"), "{long:?}");
    let bare = check(&[Source { path: "frame.rs".into(), text: "use std::fmt;".into() }]);
    assert!(bare.len() == 1 && bare[0].starts_with("src/frame.rs:1: a file opens with //!"), "{bare:?}");
}
