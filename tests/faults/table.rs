//! The table of results: one Markdown file, in which each run replaces the rows of its own faults.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use super::{
    fault::Fault,
    outcome::{Outcome, quantile},
};

const HEAD: &str = "\
| fault | what happens | times | from its end to the first correct mask: median (worst) | from the first key frame | \
frames lost: median (worst) | of them dropped by the daemon | p99 latency of the others, before and during |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |
";

/// The row of a fault.
pub fn row(fault: &Fault, outcomes: &[Outcome]) -> String {
    let times = |pick: fn(&Outcome) -> Option<Duration>| {
        let seconds: Vec<f64> = outcomes.iter().filter_map(pick).map(|time| time.as_secs_f64()).collect();
        median_and_worst(&seconds).map_or("-".to_owned(), |(median, worst)| format!("{median:.2} s ({worst:.2} s)"))
    };
    let counts = |pick: fn(&Outcome) -> u64| {
        let counts: Vec<f64> = outcomes.iter().map(pick).map(|count| count as f64).collect();
        median_and_worst(&counts).map_or("-".to_owned(), |(median, worst)| format!("{median:.0} ({worst:.0})"))
    };
    // Of all times together: a hundredth of one time's frames is a frame or two.
    let p99 = |pick: fn(&Outcome) -> &Vec<f64>| {
        let all: Vec<f64> = outcomes.iter().flat_map(pick).copied().collect();
        quantile(&all, 0.99)
    };
    let others = match (p99(|o| &o.before), p99(|o| &o.during)) {
        (Some(before), Some(during)) => {
            format!("{before:.1}, {during:.1} ms ({:+.0} %)", 100.0 * (during / before - 1.0))
        }
        _ => "-".to_owned(),
    };
    let (recovery, key_frame) = (times(|o| o.recovery), times(|o| o.from_key_frame));
    let (lost, dropped) = (counts(|o| o.lost), counts(|o| o.dropped));
    format!(
        "| {} | {} | {} | {recovery} | {key_frame} | {lost} | {dropped} | {others} |",
        fault.name,
        fault.what,
        outcomes.len()
    )
}

fn median_and_worst(values: &[f64]) -> Option<(f64, f64)> {
    Some((quantile(values, 0.5)?, quantile(values, 1.0)?))
}

/// Puts `rows`, by their faults' names, into the table at `path`, in the order of `faults`. Rows of other runs stay.
pub fn merge(path: &Path, faults: &[Fault], rows: &BTreeMap<&str, String>) {
    let old = fs::read_to_string(path).unwrap_or_default();
    let mut known: BTreeMap<String, String> =
        old.lines().filter_map(|line| Some((line.split('|').nth(1)?.trim().to_owned(), line.to_owned()))).collect();
    known.extend(rows.iter().map(|(name, row)| ((*name).to_owned(), row.clone())));
    let body: String = faults.iter().filter_map(|fault| known.get(fault.name)).map(|row| format!("{row}\n")).collect();
    let text = format!("{}\n{HEAD}{body}", preface());
    fs::write(path, text).unwrap();
}

fn preface() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("a CPU");
    let cpu = cpu.trim_start_matches([' ', '\t', ':']);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "# What breaks, and how it comes back\n\n\
         {cpu}, {cores} cores, which the daemon shares with the cameras that the bench plays to it. Seven other cameras run\n\
         beside the broken one, each 10 frames a second; a mask is correct where it covers what was drawn in the last second.\n\
         `make faults` breaks everything {repeats} times and writes this; `make faults FAULTS=\"cut stall\"` does so for some.\n",
        repeats = super::fault::Scale::BENCH.repeats
    )
}

#[test]
fn a_run_replaces_its_own_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.md");
    let fault = |name| Fault { name, what: "w", run: |_| vec![] };
    let faults = [fault("a"), fault("b"), fault("c")];
    let outcome = |s: u64, ms: f64| Outcome {
        recovery: Some(Duration::from_secs(s)),
        before: vec![10.0],
        during: vec![ms],
        ..Outcome::default()
    };
    let rows = |name, outcomes: &[Outcome]| BTreeMap::from([(name, row(&fault(name), outcomes))]);
    merge(&path, &faults, &rows("b", &[outcome(1, 10.0)]));
    merge(&path, &faults, &rows("a", &[outcome(2, 10.0)]));
    merge(&path, &faults, &rows("b", &[outcome(3, 10.0), outcome(5, 12.0), outcome(4, 9.0)]));
    let text = fs::read_to_string(&path).unwrap();
    let body: Vec<&str> = text.lines().filter(|line| line.starts_with("| a") || line.starts_with("| b")).collect();
    assert_eq!(body[0], "| a | w | 1 | 2.00 s (2.00 s) | - | 0 (0) | 0 (0) | 10.0, 10.0 ms (+0 %) |");
    assert_eq!(body[1], "| b | w | 3 | 4.00 s (5.00 s) | - | 0 (0) | 0 (0) | 10.0, 12.0 ms (+20 %) |");
    assert_eq!(body.len(), 2);
}
