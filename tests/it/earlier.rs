//! What users of an earlier version have is still read: configurations and names of metrics, as they were at commit 33484f5.
//! (Its messages are pinned in `wire`, its checkpoints in the trainer's tests.)

use std::{collections::BTreeSet, fs, path::PathBuf};

use maskd::config::Config;

use crate::{
    reload::Edge,
    support::{process::get, until},
};

fn fixture(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/33484f5");
    fs::read_to_string(folder.join(name)).unwrap()
}

#[test]
fn configurations_are_read() {
    for name in ["maskd.toml", "minimal.toml"] {
        let config = Config::parse(&fixture(name), name).unwrap();
        assert!(config.faults().is_empty(), "{name}: {:?}", config.faults());
    }
}

/// Names and kinds of the metrics in a page of them, and of their labels.
fn exported(page: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for line in page.lines() {
        if line.starts_with("# TYPE ") {
            all.insert(line.to_owned());
        } else if let Some((name, rest)) = line.split_once('{') {
            let labels = rest.rsplit_once('}').unwrap().0;
            // No value here holds a comma.
            let labels: Vec<_> = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0)).collect();
            all.insert(format!("{name} {}", labels.join(",")));
        }
    }
    all
}

#[test]
fn metrics_keep_their_names_and_labels() {
    let it = Edge::with("reload_on_change = false", |_| "[streams.a]\nkind = 'test'\n".to_owned());
    it.flows("a", 3);
    let known: BTreeSet<String> = fixture("metrics.txt").lines().map(str::to_owned).collect();
    assert!(known.len() > 20, "{known:?}");
    // Some come with what they count: a search, say.
    until("every metric of the earlier version", || {
        let now = exported(&get(it.admin, "/metrics").1);
        known.is_subset(&now).then_some(())
    });
    it.stop();
}
