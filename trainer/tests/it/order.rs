//! Keeps the trainer's house in order: imports follow the flow, as `src/lib.rs` lists it, and files stay short.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            all.push(path);
        }
    }
    all
}

/// The room names that follow `crate::` in `text`, in groups too.
fn imports(text: &str) -> Vec<String> {
    let name = |text: &str| text.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap().to_owned();
    let mut found = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let after = &text[at + "crate::".len()..];
        let Some(group) = after.strip_prefix('{') else {
            found.push(name(after));
            continue;
        };
        let (mut depth, mut start) = (0, 0);
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                ',' | '}' if depth == 0 => {
                    found.push(name(&group[start..i]));
                    start = i + 1;
                    if c == '}' {
                        break;
                    }
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
    }
    found.retain(|n| !n.is_empty());
    found
}

#[test]
fn groups_are_read() {
    assert_eq!(imports("use crate::{\n    a::B,\n    c::{D, e},\n};\ncrate::f::g()"), ["a", "c", "f"]);
}

#[test]
fn imports_follow_the_flow_and_files_are_short() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let map = fs::read_to_string(root.join("lib.rs")).unwrap();
    let order: Vec<&str> = map.lines().filter_map(|l| l.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    // Blocks without an empty line between them may use each other, in their own order or not.
    let block = |room: &str| {
        let mut block = 0;
        for line in map.lines() {
            block += usize::from(line.is_empty());
            if line == format!("pub mod {room};") {
                return Some(block);
            }
        }
        None
    };
    let mut faults = Vec::new();
    let mut seen = 0;
    for path in files(&root) {
        let inside = path.strip_prefix(&root).unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        if !text.starts_with("//!") && !inside.ends_with("tests.rs") {
            faults.push(format!("{inside}: opens with //! and what it is for"));
        }
        if text.lines().count() > 400 {
            faults.push(format!("{inside}: more than 400 lines"));
        }
        let room = inside.split('/').next().unwrap().trim_end_matches(".rs");
        let Some(own) = block(room) else { continue };
        for import in imports(&text) {
            seen += 1;
            match block(&import) {
                Some(theirs) if theirs > own => faults.push(format!("{inside}: uses {import}, which comes after it")),
                None => faults.push(format!("{inside}: uses {import}, which src/lib.rs does not list")),
                _ => {}
            }
        }
    }
    assert!(order.len() > 10 && seen > 20, "{order:?} {seen}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
