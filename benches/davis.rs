//! How fast results are judged, on the trees that the official evaluator's figures and times are of.
//!
//! `make bench-davis` prints the times; the official Python needs 1.4, 3.2 and 20.3 s on two cores.

use std::{
    hint::black_box,
    path::{Path, PathBuf},
    time::Duration,
};

use criterion::{Criterion, criterion_group, criterion_main};
use maskd::davis::{Dataset, Proposals, Task, semi_supervised, unsupervised};

/// Each tree, its task, and the seconds of the official evaluator.
const TREES: [(&str, Task, f64); 3] = [
    ("single", Task::SemiSupervised, 1.4),
    ("multi", Task::SemiSupervised, 3.2),
    ("unsupervised", Task::Unsupervised, 20.3),
];

fn shared() -> Option<PathBuf> {
    let root = std::env::var_os("MASKD_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let trees = root.join("golden/davis_eval");
    if !trees.is_dir() {
        eprintln!("SKIPPED davis: nothing is measured, {} is absent (set MASKD_SHARED)", trees.display());
        return None;
    }
    Some(trees)
}

/// From opening the folder to the figures, files included.
fn judge(root: &Path, task: Task) -> anyhow::Result<f64> {
    let dataset = Dataset::open(root, "val", task)?;
    let results = root.join("results");
    let report = match task {
        Task::SemiSupervised => semi_supervised(&dataset, &results, &|| ()),
        Task::Unsupervised => unsupervised(&dataset, &results, Proposals::All, &|| ()),
    };
    Ok(report?.j_and_f())
}

fn trees(criterion: &mut Criterion) {
    let Some(trees) = shared() else { return };
    let mut group = criterion.benchmark_group("davis");
    group.sample_size(20).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4));
    for (tree, task, official) in TREES {
        let root = trees.join(tree);
        if let Err(error) = judge(&root, task) {
            eprintln!("davis/{tree}: {error:#}");
            continue;
        }
        group.bench_function(format!("{tree} (official {official} s)"), |bencher| {
            bencher.iter(|| judge(black_box(&root), task));
        });
    }
    group.finish();
}

criterion_group!(benches, trees);
criterion_main!(benches);
