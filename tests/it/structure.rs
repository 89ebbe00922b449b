//! Keeps the code in order where the compiler does not: which crate may use which, and how files look.
//!
//! That a crate uses only what its manifest names, and that crates do not go round in circles, cargo sees to itself. This
//! test reads the manifests and the sources as text.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The workspace's crates from the bottom to the top: each may depend on those before it.
const ORDER: [&str; 15] = [
    "maskd-types",
    "maskd-fixed",
    "maskd-kernels",
    "maskd-observability",
    "maskd-model",
    "maskd-scheduling",
    "maskd-tracking",
    "maskd-ingest",
    "maskd-protocol",
    "maskd-transport",
    "maskd-eval",
    "maskd-inspect",
    "maskd-cli",
    "maskd-trainer",
    "maskd",
];

/// Dependencies that only one crate may have, so that one crate can be exchanged for another. Tests may have them.
const PRIVATE: [(&str, &str); 6] = [
    ("gstreamer", "maskd-ingest"),
    ("gstreamer-app", "maskd-ingest"),
    ("gstreamer-video", "maskd-ingest"),
    ("zenoh", "maskd-transport"),
    ("zenoh-ext", "maskd-transport"),
    ("axum", "maskd"),
];

/// What the trainer's build must not hold.
const NOT_IN_THE_TRAINER: [&str; 2] = ["maskd", "maskd-transport"];

const LONGEST_FILE: usize = 400;
const EMPTY_NAMES: [&str; 8] = ["util", "utils", "common", "helper", "helpers", "manager", "misc", "shared"];

/// Sources of which threads that outlive a call may be started.
const THREADS: [&str; 2] = ["src/runtime/", "trainer/src/data/workers.rs"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folders of all crates, the root's first.
fn crates() -> Vec<PathBuf> {
    let mut all = vec![root().to_owned(), root().join("trainer")];
    all.extend(fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path()));
    all
}

/// Names of a manifest's dependencies (not those of its tests), and of the package.
fn manifest(folder: &Path) -> (String, Vec<String>) {
    let text = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let table: toml::Table = text.parse().unwrap();
    let name = table["package"]["name"].as_str().unwrap().to_owned();
    let of = |key: &str| table.get(key).and_then(toml::Value::as_table).map(|t| t.keys().cloned().collect());
    (name, of("dependencies").unwrap_or_default())
}

#[test]
fn crates_depend_downwards_and_keep_their_secrets() {
    let at = |name: &str| ORDER.iter().position(|other| *other == name);
    let mut faults = Vec::new();
    for folder in crates() {
        let (name, dependencies) = manifest(&folder);
        let Some(own) = at(&name) else {
            faults.push(format!("{name}: give it a place in the order in tests/it/structure.rs"));
            continue;
        };
        for dependency in &dependencies {
            if at(dependency).is_some_and(|other| other >= own) {
                faults.push(format!("{name} depends on {dependency}, which stands above it"));
            }
            if let Some((_, owner)) = PRIVATE.iter().find(|(private, owner)| private == dependency && *owner != name) {
                faults.push(format!("{name} depends on {dependency}: only {owner} may"));
            }
            if name == "maskd-trainer" && NOT_IN_THE_TRAINER.contains(&dependency.as_str()) {
                faults.push(format!("{name} depends on {dependency}: the daemon is no part of a training"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Every source file below `folder`, by its path from the repository's root.
fn sources(folder: &Path, into: &mut BTreeMap<String, String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            into.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

/// What is wrong with a file.
fn faults_of(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let lines = text.lines().count();
    if lines > LONGEST_FILE {
        faults.push(format!("{path}: {lines} lines, {LONGEST_FILE} are the most: split it"));
    }
    // What `mod tests;` is for goes without saying.
    if !text.starts_with("//!") && !path.ends_with("/tests.rs") {
        faults.push(format!("{path}: a file opens with //! and what it is for"));
    }
    for part in path.trim_end_matches(".rs").split('/').filter(|part| EMPTY_NAMES.contains(part)) {
        faults.push(format!("{path}: the name {part:?} says nothing: call it by what it holds"));
    }
    let tests = path.contains("tests") || THREADS.iter().any(|allowed| path.starts_with(allowed));
    let code = text.split("#[cfg(test)]").next().unwrap_or(text);
    if !tests && ["thread::spawn(", "thread::Builder::"].iter().any(|call| code.contains(call)) {
        faults.push(format!("{path}: only {} start threads (thread::scope is free to all)", THREADS.join(" and ")));
    }
    faults
}

#[test]
fn files_are_short_open_with_their_purpose_and_start_no_threads() {
    let mut all = BTreeMap::new();
    for folder in crates() {
        sources(&folder.join("src"), &mut all);
    }
    assert!(all.contains_key("src/lib.rs") && all.len() > 200, "{} sources", all.len());
    let faults: Vec<String> = all.iter().flat_map(|(path, text)| faults_of(path, text)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// `path` without the `..` in it, as text.
fn without_dots(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut folded, part| {
        match part {
            std::path::Component::ParentDir => drop(folded.pop()),
            part => folded.push(part),
        }
        folded
    })
}

/// What `cargo package` would leave out of a crate, or could not resolve.
#[test]
fn a_crate_holds_what_it_embeds_and_names_versions_of_its_neighbours() {
    let mut faults = Vec::new();
    let workspace: toml::Table = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    for (name, dependency) in workspace["workspace"]["dependencies"].as_table().unwrap() {
        if dependency.get("path").is_some() && dependency.get("version").is_none() {
            faults.push(format!("Cargo.toml: {name} has a path and no version"));
        }
    }
    let mut embedded = 0;
    for folder in crates() {
        let mut all = BTreeMap::new();
        sources(&folder.join("src"), &mut all);
        for (path, text) in all {
            let home = root().join(&path);
            for rest in ["include_str!(\"", "include_bytes!(\""].iter().flat_map(|call| text.split(call).skip(1)) {
                let named = rest.split('"').next().unwrap_or_default();
                let file = without_dots(&home.parent().unwrap().join(named));
                embedded += 1;
                if !file.starts_with(&folder) || !file.is_file() {
                    faults.push(format!("{path} embeds {named}, which is no file within its crate"));
                }
            }
        }
    }
    assert!(embedded > 4, "{embedded} files are embedded");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The first names behind `prefix` (`crate::`, or `super::` so many times), alone or in braces, that stand in code and not in
/// its tests.
fn imports(text: &str, prefix: &str) -> BTreeSet<String> {
    let code: String =
        text.split("#[cfg(test)]").next().unwrap_or(text).lines().fold(String::new(), |code, line| {
            if line.trim_start().starts_with("//") { code } else { code + line + " " }
        });
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        let (before, rest) = (&code[..at], &code[at + prefix.len()..]);
        // One level more, or fewer; the first in braces, which names another folder.
        if before.ends_with("super::") || rest.starts_with("super::") || before.trim_end().ends_with("::{") {
            continue;
        }
        let Some(group) = rest.strip_prefix('{') else {
            found.insert(name(rest));
            continue;
        };
        let mut depth = 0;
        let own = group.chars().take_while(|c| {
            depth += i32::from(*c == '{') - i32::from(*c == '}');
            depth >= 0
        });
        let mut depth = 0;
        let heads: String = own
            .filter(|c| {
                depth += i32::from(*c == '{') - i32::from(*c == '}');
                depth == 0 && *c != '}'
            })
            .collect();
        found.extend(heads.split(',').map(|item| name(item.trim())));
    }
    found
}

/// Modules of one folder that import each other in a circle; `files` are the sources in it by their path from it, which is a
/// crate's root or the folder of a module.
fn circles(files: &BTreeMap<String, String>, is_root: bool) -> Vec<String> {
    let module = |path: &str| path.split('/').next().unwrap_or_default().trim_end_matches(".rs").to_owned();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in files
        .iter()
        .filter(|(path, _)| !path.contains("tests") && !["lib.rs", "main.rs", "mod.rs"].contains(&path.as_str()))
    {
        let levels = path.split('/').count() - usize::from(path.ends_with("/mod.rs"));
        let to = edges.entry(module(path)).or_default();
        to.extend(imports(text, &"super::".repeat(levels)));
        if is_root {
            to.extend(imports(text, "crate::"));
        }
    }
    let leads_back = |from: &String| {
        let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(at) = next.pop() {
            let further = edges.get(at).into_iter().flatten().filter(|to| *to != at && edges.contains_key(*to));
            next.extend(further.filter(|to| reached.insert(*to)));
        }
        reached.contains(from)
    };
    edges.keys().filter(|from| leads_back(from)).cloned().collect()
}

#[test]
fn modules_of_a_folder_do_not_import_in_circles() {
    let mut faults = Vec::new();
    let mut roots: Vec<PathBuf> = crates().iter().map(|folder| folder.join("src")).collect();
    roots.push(root().join("benches/speed"));
    for src in roots {
        let src = src.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let mut all = BTreeMap::new();
        sources(&root().join(&src), &mut all);
        let above = |path: &String| {
            Path::new(path).ancestors().skip(1).map(|p| p.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let folders: BTreeSet<String> = all.keys().flat_map(above).filter(|folder| folder.starts_with(&src)).collect();
        for folder in folders {
            let prefix = format!("{folder}/");
            let inside =
                |(path, text): (&String, &String)| Some((path.strip_prefix(&prefix)?.to_owned(), text.clone()));
            let found = circles(&all.iter().filter_map(inside).collect(), folder == src);
            if !found.is_empty() {
                faults.push(format!("{prefix}: {}", found.join(", ")));
            }
        }
    }
    assert!(faults.is_empty(), "circles: {}", faults.join("\n"));
}

#[test]
fn a_circle_is_found_through_others_and_what_is_none_passes() {
    let files =
        |list: &[(&str, &str)]| list.iter().map(|(path, code)| ((*path).to_owned(), (*code).to_owned())).collect();
    let fine = [
        ("a.rs", "use crate::{b::{X, Y}, c};"),
        ("b/mod.rs", "// use crate::a;\nuse crate::c::Z;\n#[cfg(test)] mod tests { use crate::a; }"),
        ("c.rs", "fn f() { crate::c::g() }"),
        ("lib.rs", "pub use crate::a::X;"),
    ];
    assert_eq!(circles(&files(&fine), true), Vec::<String>::new());
    let round = [
        ("a.rs", "use crate::{x, b::{X, Y}};"),
        ("b/deep.rs", "fn f() { crate::c::g() }"),
        ("c.rs", "use crate::a::Z;"),
    ];
    assert_eq!(circles(&files(&round), true), ["a", "b", "c"]);
    let beside = [
        ("a.rs", "use super::{super::c, d};"),
        ("c/mod.rs", "use super::a::X;"),
        ("c/deep.rs", "use super::super::b::Y;"),
        ("b.rs", "use super::Z;"),
        ("mod.rs", "use b::Z;"),
    ];
    assert_eq!(circles(&files(&beside), false), Vec::<String>::new());
    let round = [("a.rs", "use super::{Z, c::{X, Y}};"), ("c/deep.rs", "use super::super::a::X;")];
    assert_eq!(circles(&files(&round), false), ["a", "c"]);
}

#[test]
fn a_package_says_what_it_is_and_holds_nothing_of_continuous_integration() {
    for folder in crates() {
        let text = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let package = text.parse::<toml::Table>().unwrap()["package"].clone();
        assert!(package.get("description").is_some(), "{}: no description", folder.display());
        for key in ["version", "edition", "rust-version", "license"] {
            let inherited = package.get(key).and_then(|value| value.get("workspace")).and_then(toml::Value::as_bool);
            assert_eq!(inherited, Some(true), "{}: {key}.workspace = true", folder.display());
        }
    }
    let cargo = std::process::Command::new(env!("CARGO"))
        .args(["package", "--list", "--allow-dirty", "--offline", "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .unwrap();
    let list = String::from_utf8(cargo.stdout).unwrap();
    assert!(cargo.status.success() && list.lines().any(|file| file == "src/lib.rs"), "{:?}", cargo.stderr);
    let strange: Vec<_> =
        list.lines().filter(|file| file.starts_with(".ci/") || file.starts_with(".github/")).collect();
    assert!(strange.is_empty(), "{strange:?}");
}

#[test]
fn each_kind_of_disorder_is_named() {
    let long = format!("//! Long.{}", "\n".repeat(LONGEST_FILE + 1));
    for (path, text, named) in [
        ("src/a.rs", long.as_str(), "401 lines"),
        ("src/a.rs", "use std::fmt;", "opens with //!"),
        ("src/cli/utils.rs", "//! X.", "says nothing"),
        ("crates/maskd-ingest/src/bus.rs", "//! X.\nfn f() { thread::spawn(g); }", "start threads"),
    ] {
        let faults = faults_of(path, text);
        assert!(faults.len() == 1 && faults[0].contains(named), "{path}: {faults:?}");
    }
    for (path, text) in [
        ("src/runtime/a.rs", "//! X.\nfn f() { thread::spawn(g); }"),
        ("src/a.rs", "//! X.\n#[cfg(test)]\nmod tests { fn f() { thread::spawn(g); } }"),
    ] {
        assert_eq!(faults_of(path, text), Vec::<String>::new());
    }
}
