//! What README.md and its sisters point to is there: files, pictures, subcommands, flags, targets and tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use crate::support::process::maskd;

/// The pages that are kept true; records of runs are left as they were written.
const PAGES: [&str; 5] =
    ["README.md", "CHANGELOG.md", "benches/quality.md", "fuzz/README.md", "crates/maskd-model/pretrained/README.md"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// What stands behind `opening`, up to the first character that ends it.
fn behind<'a>(text: &'a str, opening: &'a str, ends: &'static [char]) -> impl Iterator<Item = &'a str> {
    text.split(opening).skip(1).map(move |rest| rest.split(ends).next().unwrap_or_default())
}

/// Links `[text](target)` of a page that lead to files.
fn links(text: &str) -> BTreeSet<&str> {
    let inside = behind(text, "](", &[')', '#']);
    inside.filter(|target| !target.is_empty() && !target.contains("://")).collect()
}

/// Commands of a page: lines that are indented as code, and code within lines that begins with one of our programs.
fn commands(text: &str) -> Vec<String> {
    let mut joined = String::new();
    for line in text.lines() {
        joined += line.trim_end_matches('\\');
        joined.push(if line.ends_with('\\') { ' ' } else { '\n' });
    }
    let lines = joined.lines().filter_map(|line| line.strip_prefix("    ")).map(|line| {
        let command = line.split(" # ").next().unwrap_or_default();
        command.trim().to_owned()
    });
    let spans = text.split('`').skip(1).step_by(2).map(|span| span.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.chain(spans).collect()
}

/// Words of `command` behind `program`, where it runs that.
fn words<'a>(command: &'a str, program: &str) -> Option<Vec<&'a str>> {
    let mut words = command.split_whitespace().skip_while(|word| word.contains('=') && !word.starts_with('-'));
    let first = words.next()?;
    (first.rsplit('/').next() == Some(program)).then(|| words.collect())
}

#[test]
fn every_link_and_picture_leads_somewhere() {
    let mut wrong = Vec::new();
    for name in PAGES {
        let folder = root().join(name).parent().map(PathBuf::from).unwrap();
        let text = page(name);
        wrong.extend(links(&text).into_iter().filter(|to| !folder.join(to).exists()).map(|to| format!("{name}: {to}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_configuration_that_is_named_is_there() {
    let mut wrong = Vec::new();
    for name in PAGES {
        let text = page(name);
        for folder in ["configs/", "crates/maskd-model/pretrained/"] {
            let ends = &[' ', '`', ')', ']', '(', ':', ',', '\n', '|', '*'];
            let files = behind(&text, folder, ends).filter(|file| file.contains('.'));
            let absent = files.filter(|file| !root().join(folder).join(file.trim_end_matches('.')).exists());
            wrong.extend(absent.map(|file| format!("{name}: {folder}{file}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Every `--flag` that `maskd WORDS... --help` names.
fn flags(path: &[&str]) -> Option<BTreeSet<String>> {
    let output = maskd(&[path, &["--help"]].concat());
    let help = String::from_utf8(output.stdout).unwrap();
    let is_flag = |c: char| c.is_ascii_lowercase() || c == '-';
    let flags = help.split("--").skip(1).map(|rest| rest.split(|c| !is_flag(c)).next().unwrap_or_default().to_owned());
    output.status.success().then(|| flags.collect())
}

#[test]
fn every_command_that_is_printed_exists() {
    let mut known = BTreeMap::new();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for name in PAGES {
        for command in commands(&page(name)) {
            let Some(words) = words(&command, "maskd") else { continue };
            // `maskd --help` and the mere name aside.
            let Some(first) = words.first().filter(|word| word.chars().all(|c| c.is_ascii_lowercase())) else {
                continue;
            };
            let deep = matches!(*first, "eval" | "weights") && words.len() > 1;
            let path = words[..if deep { 2 } else { 1 }].to_vec();
            let flags = known.entry(path.join(" ")).or_insert_with(|| flags(&path));
            let Some(flags) = flags else {
                wrong.push(format!("{name}: {command}: no such subcommand"));
                continue;
            };
            seen += 1;
            let given = words.iter().filter_map(|word| word.strip_prefix("--"));
            let unknown: Vec<_> = given.filter(|flag| !flag.is_empty() && !flags.contains(*flag)).collect();
            if !unknown.is_empty() {
                wrong.push(format!("{name}: {command}: no {unknown:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 20, "only {seen} commands were found: are they still read?");
}

#[test]
fn every_target_and_test_that_is_named_exists() {
    let makefile = page("Makefile");
    let targets: BTreeSet<_> = makefile.lines().filter_map(|line| Some(line.split_once(": ")?.0)).collect();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for name in PAGES {
        for command in commands(&page(name)) {
            if let Some(target) = words(&command, "make").and_then(|words| words.first().copied()) {
                seen += 1;
                if !targets.contains(target) && target != "help" {
                    wrong.push(format!("{name}: {command}: no such target"));
                }
            }
            let test = command.split_once("--test it ").filter(|_| !command.contains("--workspace"));
            let module = test.and_then(|(_, rest)| rest.split(' ').find(|word| !word.starts_with('-')));
            if let Some(module) = module {
                seen += 1;
                let file = format!("tests/it/{}.rs", module.split("::").next().unwrap_or_default());
                if !root().join(&file).is_file() {
                    wrong.push(format!("{name}: {command}: no {file}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen > 20, "only {seen} were found: are they still read?");
}

/// No figure is of published weights, so no command beside one may name them; `maskd run` measures nothing.
#[test]
fn no_command_measures_by_the_name_of_published_weights() {
    let mut wrong = Vec::new();
    for name in PAGES.into_iter().filter(|name| *name != "CHANGELOG.md") {
        let measures = |command: &&String| {
            let by_name = ["-w dino", "--weights dino", "--teacher dino", "--init dino"];
            by_name.iter().any(|name| command.contains(name)) && !command.starts_with("maskd run ")
        };
        wrong.extend(commands(&page(name)).iter().filter(measures).map(|command| format!("{name}: {command}")));
    }
    assert!(wrong.is_empty(), "name a file instead (-w WEIGHTS): {wrong:#?}");
}
