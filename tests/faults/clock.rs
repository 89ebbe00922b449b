//! The wall clock is put forward and back while the daemon runs.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use maskd::publish::wire::unix_ns;

use super::{
    fault::{Fault, Scale},
    outcome::Outcome,
    post::{JUDGED, Plan, Post},
    skip::skip,
    support::process::{counter, get},
    watch::Seen,
};

/// The one.
pub const FAULTS: &[Fault] =
    &[Fault { name: "clock-steps", what: "the wall clock is put 1 h forward, and 1 h back again", run }];

const HOUR_NS: i64 = 3_600_000_000_000;

/// The clock that can be put forward and back, as a library to preload; `None` where nothing can compile it.
fn compiled(folder: &Path) -> Option<PathBuf> {
    let library = folder.join("clock.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/clock.c");
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).args([&library, &source]).status();
    compiled.is_ok_and(|status| status.success()).then_some(library)
}

/// `captured` by the true clock: whichever of the two times it can be is nearer to when it came.
fn true_latency_ms(seen: &Seen) -> f64 {
    let late = |step: i64| (seen.received as i64 - (seen.captured as i64 - step)).abs();
    late(0).min(late(HOUR_NS)) as f64 / 1e6
}

fn run(scale: Scale) -> Vec<Outcome> {
    let folder = tempfile::tempdir().unwrap();
    let Some(library) = compiled(folder.path()) else {
        skip("clock-steps: there is no C compiler (cc) to make a clock with");
        return Vec::new();
    };
    let step = folder.path().join("step");
    fs::write(&step, 0_i64.to_ne_bytes()).unwrap();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let env = vec![("LD_PRELOAD", path(&library)), ("CLOCK_STEP", path(&step))];
    let post = Post::start(Plan { runs: false, env, ..Plan::new(1 + scale.others) });
    let stage = |metrics: &str, what: &str| -> f64 {
        let name = format!("maskd_stage_latency_seconds_{what}{{stage=\"Total\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
    };
    let calm = Duration::from_millis(1500);
    let once = |_: usize| {
        let (mut before, mut during) = (Vec::new(), Vec::new());
        let (books, metrics) = (post.books(), get(post.admin, "/metrics").1);
        for offset in [HOUR_NS, 0] {
            let last = post.well();
            post.pass(calm);
            let start = unix_ns();
            let others = |since| post.watch_all(since).iter().map(true_latency_ms).collect::<Vec<_>>();
            before.extend(others(last.received));
            put(&step, offset);
            post.pass(calm);
            let seen = post.watch.since(JUDGED, start);
            during.extend(others(start));
            // The messages tell the new time...
            let told = seen.last().unwrap();
            let put_by = told.captured as i64 - told.received as i64 - offset;
            assert!(put_by.abs() < HOUR_NS / 2, "the clock was not put: {told:?}");
            // ...and nothing else has changed: no message is missing, no pipeline was built anew, nobody was lost.
            assert!(seen.len() > 5 && seen.iter().all(|s| s.correct() && s.epoch == last.epoch && s.ids == last.ids));
            assert_eq!(get(post.admin, "/healthz").0, 200);
        }
        let now = get(post.admin, "/metrics").1;
        assert_eq!(counter(&now, "maskd_reconnects", &[]), 0);
        let (frames, seconds) =
            (stage(&now, "count") - stage(&metrics, "count"), stage(&now, "sum") - stage(&metrics, "sum"));
        assert!(frames > 10.0 && seconds / frames < 60.0, "times are taken by the steady clock: {seconds} s");
        post.no_bugs();
        let dropped = post.books().dropped().unwrap() - books.dropped().unwrap();
        Outcome { dropped, before, during, ..Outcome::default() }
    };
    (0..scale.repeats).map(once).collect()
}

/// In place: the daemon has it mapped.
fn put(step: &Path, nanoseconds: i64) {
    let mut file = fs::OpenOptions::new().write(true).open(step).unwrap();
    file.write_all(&nanoseconds.to_ne_bytes()).unwrap();
}

#[test]
fn a_wall_clock_that_jumps_is_noticed_by_nobody() {
    run(Scale::TEST);
}
