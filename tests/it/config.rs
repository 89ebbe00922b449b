//! The configuration file: complete documentation, strictness, and errors that say where.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use maskd::config::{Config, ConfigError};
use toml::{Table, Value};

fn shipped(name: &str) -> (PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    (path, text)
}

/// The shipped file with its examples switched on: `#key = value` and `#[table]` (no space after the `#`).
fn with_examples(text: &str) -> String {
    let example = |line: &&str| line.starts_with("#[") || line[1..].starts_with(|c: char| c.is_ascii_lowercase());
    text.lines()
        .map(|line| line.strip_prefix('#').filter(|_| example(&line)).unwrap_or(line).to_owned() + "\n")
        .collect()
}

/// Dotted keys of all values; the names of streams become `*`, free-form tables stay opaque.
fn leaves(table: &Table, path: &str, out: &mut BTreeMap<String, Value>) {
    for (key, value) in table {
        let path = match path {
            "" => key.clone(),
            "streams" => "streams.*".to_owned(),
            _ => format!("{path}.{key}"),
        };
        match value {
            Value::Table(inner) if !FREE_FORM.contains(&path.as_str()) => leaves(inner, &path, out),
            _ => drop(out.insert(path, value.clone())),
        }
    }
}

/// Tables whose keys are the user's own (elements of a pipeline and their properties), or those of another section.
const FREE_FORM: [&str; 2] = ["streams.*.properties", "streams.*.tracker"];

/// The keys that the table at `path` takes, as serde lists them when it is given one that does not exist.
fn accepted(path: &str) -> BTreeSet<String> {
    let header = path.replace('*', "x");
    let required = if path == "streams.*" { "kind = 'test'\n" } else { "" };
    let text = match path {
        "" => "no-such-key = 1\n".to_owned(),
        _ => format!("[{header}]\n{required}no-such-key = 1\n"),
    };
    let error = Config::parse(&text, "probe").unwrap_err().to_string();
    let list = error.split_once("expected").unwrap_or_else(|| panic!("{path}: {error}")).1;
    let mut keys: BTreeSet<_> = list.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(!keys.is_empty(), "{path}: {error}");
    if path == "streams.*" {
        keys.extend(["first_mask", "weight", "tracker"].map(str::to_owned));
    }
    keys
}

#[test]
fn the_shipped_file_documents_every_key_and_no_other() {
    let (path, text) = shipped("maskd.toml");
    let full = with_examples(&text);
    // Strict reading: a documented key that nobody reads is an error here.
    if let Err(error) = Config::parse(&full, &path.display().to_string()) {
        panic!("{error}");
    }
    let mut documented = BTreeMap::new();
    leaves(&toml::from_str(&full).unwrap(), "", &mut documented);

    // Every table, from the root down, asked for what it takes.
    let mut tables = vec![String::new()];
    let mut missing = Vec::new();
    while let Some(table) = tables.pop() {
        for key in accepted(&table) {
            let key = if table.is_empty() { key } else { format!("{table}.{key}") };
            if key == "streams" {
                tables.push("streams.*".to_owned());
            } else if documented.contains_key(&key) {
            } else if documented.keys().any(|known| known.starts_with(&format!("{key}."))) {
                tables.push(key);
            } else {
                missing.push(key);
            }
        }
    }
    assert!(missing.is_empty(), "configs/maskd.toml does not document {missing:?}");
}

#[test]
fn the_shipped_values_are_the_defaults() {
    let (path, text) = shipped("maskd.toml");
    let config = Config::load(&path).unwrap();
    let mut without_streams = config.clone();
    without_streams.streams.clear();
    let default = Value::try_from(Config::default()).unwrap();
    assert_eq!(Value::try_from(without_streams).unwrap(), default);

    // And none is left out: each value of the default configuration stands in the file, switched on.
    let (mut written, mut defaults) = (BTreeMap::new(), BTreeMap::new());
    leaves(&toml::from_str(&text).unwrap(), "", &mut written);
    leaves(default.as_table().unwrap(), "", &mut defaults);
    let silent: Vec<_> = defaults.keys().filter(|key| *key != "streams" && !written.contains_key(*key)).collect();
    assert!(silent.is_empty(), "configs/maskd.toml gives no value for {silent:?}");

    // A stream that says only its kind resolves to what the file's stream says.
    let minimal = Config::parse("[streams.test]\nkind = 'test'\n", "minimal").unwrap();
    assert_eq!(Value::try_from(&config.streams).unwrap(), Value::try_from(&minimal.streams).unwrap());
}

#[test]
fn every_key_of_the_shipped_file_has_a_comment() {
    let (_, text) = shipped("maskd.toml");
    let lines: Vec<&str> = text.lines().collect();
    for (i, line) in lines.iter().enumerate() {
        let key = line.trim_start_matches('#').split_once(" = ").map(|(key, _)| key).unwrap_or_default();
        if !line.starts_with("# ") && !key.is_empty() && !key.contains(' ') {
            let above = lines[..i].iter().rev().find(|l| !l.contains(" = ") || l.starts_with("# ")).unwrap();
            assert!(
                above.starts_with("# ") || above.trim_start_matches('#').starts_with('['),
                "line {}: {line}",
                i + 1
            );
        }
    }
}

#[test]
fn the_minimal_file_is_enough() {
    let (path, _) = shipped("minimal.toml");
    assert_eq!(Config::load(&path).unwrap().streams.len(), 1);
}

#[test]
fn the_resolved_configuration_reads_back() {
    let (_, text) = shipped("maskd.toml");
    let full = Config::parse(&with_examples(&text), "full").unwrap();
    let printed = full.redacted();
    let again = Config::parse(&printed, "printed").unwrap_or_else(|e| panic!("{e}\n{printed}"));
    assert_eq!(again.redacted(), printed);
}

#[test]
fn an_error_names_file_line_key_and_the_key_that_was_meant() {
    let cases = [
        (
            "[runtime]\nmax_batch = 2\n\ngrace_second = 3\n",
            "x.toml:4: runtime.grace_second: unknown field `grace_second`",
            "did you mean `grace_seconds`?",
        ),
        ("[runtime]\nmax_batch = 'two'\n", "x.toml:2: runtime.max_batch: invalid type", "usize"),
        ("[runtimes]\nmax_batch = 2\n", "x.toml:1: runtimes: unknown field `runtimes`", "did you mean `runtime`?"),
        ("[log]\nformat = 'jsn'\n", "x.toml:2: log.format: unknown variant `jsn`", "did you mean `json`?"),
        ("[streams.a]\nkind = 'test'\nweigth = 2\n", "x.toml:3: streams.a.weigth: unknown field `weigth`", ""),
        ("[streams.a]\nkind = 'rstp'\n", "x.toml:2: streams.a", "did you mean `rtsp`?"),
        ("[streams.'a/b']\nkind = 'test'\n", "x.toml:1: ", "use 1 to 64 characters"),
        ("[admin]\nlisten = '9110'\n", "x.toml:2: admin.listen: ", "127.0.0.1:9110"),
        ("[log\n", "x.toml:1: ", ""),
    ];
    for (text, start, end) in cases {
        let error = Config::parse(text, "x.toml").unwrap_err().to_string();
        assert!(error.starts_with(start) && error.contains(end), "{text:?} gave: {error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn values_out_of_range_are_refused_where_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.toml");
    for (text, end) in [
        ("[streams.a]\nkind = 'test'\n[runtime]\nmax_batch = 0\n", "x.toml:4: runtime.max_batch: 0 is not in 1 to 64"),
        ("[streams.a]\nkind = 'test'\nweight = 0\n", "x.toml:3: streams.a.weight: 0 is not in 1 to 100"),
        (
            "[streams.a]\nkind = 'test'\n[runtime]\ngrace_seconds = nan\n",
            "grace_seconds: NaN is not in 0 to 3600 seconds",
        ),
        (
            "[streams.a]\nkind = 'test'\n[tracker.propagate]\ntemperature = 0.0\n",
            "x.toml:4: tracker.propagate.temperature: 0 is not in 0.001 to 100",
        ),
        (
            "[streams.a]\nkind = 'test'\n[tracker]\nprototype_rate = nan\n",
            "x.toml:4: tracker.prototype_rate: NaN is not in 0 to 1",
        ),
        ("[streams.a]\nkind = 'test'\n[model]\nshort_side = 0\n", "x.toml:4: model.short_side: 0 is not in 1 to 4096"),
        (
            "[streams.a]\nkind = 'test'\n[publish]\nmax_message_bytes = 1\n",
            "x.toml:4: publish.max_message_bytes: 1 is not in 1024 to 65000",
        ),
        ("[log]\nlevel = 'info'\n", "no stream is configured; add a table [streams.NAME]"),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = Config::load(&path).unwrap_err();
        assert!(error.to_string().ends_with(end), "{error}");
    }
    let absent = Config::load(&folder.path().join("none.toml")).unwrap_err();
    assert!(matches!(absent, ConfigError::Read { .. }) && absent.to_string().contains("none.toml"), "{absent}");
}

#[test]
fn a_stream_is_tracked_by_the_defaults_but_for_its_own_keys() {
    let text = "[tracker]\nmax_instances = 9\nrefine.enabled = false\n[streams.a]\nkind = 'test'\n[streams.b]\nkind = 'test'\n\
                tracker.discovery = false\ntracker.discover.min_score = 0.25\n";
    let config = Config::parse(text, "x").unwrap();
    let tracker = |name: &str| config.streams[&name.parse().unwrap()].settings(&config.tracker).unwrap().tracker;
    assert_eq!(tracker("a"), config.tracker);
    let mut expected = config.tracker.clone();
    (expected.discovery, expected.discover.min_score) = (false, 0.25);
    assert_eq!(tracker("b"), expected);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.toml");
    for (key, says) in [
        ("maxinstances = 4", "maxinstances"),
        ("discovery = 3", "bool"),
        ("max_instances = 0", "x.toml:3: streams.a.tracker.max_instances: 0 is not in 1 to 255"),
        ("discover.min_score = 2.0", "x.toml:3: streams.a.tracker.discover.min_score: 2 is not in 0 to 1"),
    ] {
        std::fs::write(&path, format!("[streams.a]\nkind = 'test'\ntracker.{key}\n")).unwrap();
        let error = Config::load(&path).unwrap_err().to_string();
        assert!(error.contains("x.toml:3: streams.a.tracker") && error.contains(says), "{error}");
    }
}
