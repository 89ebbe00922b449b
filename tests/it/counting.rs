//! `make test` counts honestly: what was skipped is not said to have passed.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::skip::skip;

/// What `.ci/count` makes of a log.
fn count(log: &str) -> Vec<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/.ci/count");
    let mut child =
        Command::new("bash").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("bash");
    child.stdin.take().unwrap().write_all(log.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// The part of a log that one test program writes.
fn program(lines: &str, passed: u32, failed: u32, ignored: u32) -> String {
    format!(
        "     Running tests/it/main.rs (target/release/deps/it-0123)\n\nrunning some tests\n{lines}\n\
         test result: ok. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; 0 filtered out; finished\n\n"
    )
}

#[test]
fn what_passed_and_what_was_skipped_are_told_apart() {
    let log = program("test a::one ... ok\nSKIPPED a::two: no data\ntest a::two ... ok", 2, 0, 0);
    assert_eq!(count(&log), ["SKIPPED a::two: no data", "1 passed, 0 failed, 1 skipped"]);
}

#[test]
fn a_skip_counts_once_in_each_program() {
    let twice = "SKIPPED a::two: no data\nSKIPPED a::two: no Python\ntest a::two ... ok";
    let log = program(twice, 1, 0, 0) + &program("SKIPPED a::two: no data\ntest a::two ... ok", 3, 0, 0);
    assert_eq!(count(&log).last().unwrap(), "2 passed, 0 failed, 2 skipped");
}

#[test]
fn a_skip_counts_in_the_middle_of_another_line() {
    let log = program("test a::one ... SKIPPED a::two: no data\nok\ntest a::two ... okSKIPPED a: b\n", 3, 0, 0);
    assert_eq!(count(&log), ["SKIPPED a: b", "SKIPPED a::two: no data", "1 passed, 0 failed, 2 skipped"]);
}

#[test]
fn ignored_tests_are_skipped_and_named() {
    let log = program("test a::one ... ignored, takes an hour\ntest a::two ... ignored\ntest a::three ... ok", 1, 0, 2);
    assert_eq!(
        count(&log),
        ["IGNORED a::one: takes an hour", "IGNORED a::two", "1 passed, 0 failed, 2 skipped"].map(str::to_owned)
    );
}

#[test]
fn a_test_that_fails_after_it_was_skipped_has_failed() {
    let lines = "SKIPPED a::two: no data\ntest a::two ... FAILED\n\nfailures:\n\n---- a::two stdout ----\n\n\
                 failures:\n    a::two\n";
    assert_eq!(count(&program(lines, 4, 1, 0)).last().unwrap(), "4 passed, 1 failed, 0 skipped");
}

#[test]
fn a_program_that_ends_without_a_result_has_failed() {
    let killed = "     Running unittests src/lib.rs (target/release/deps/maskd-0123)\nSKIPPED a::two: no data\n";
    let log = killed.to_owned() + &program("test a::one ... ok", 1, 0, 0) + "   Doc-tests maskd\n";
    assert_eq!(count(&log).last().unwrap(), "1 passed, 2 failed, 0 skipped");
    assert_eq!(count("error: could not compile `maskd`\n"), ["0 passed, 0 failed, 0 skipped"]);
}

#[test]
#[ignore = "is skipped, for the test of that"]
fn a_skipped_test() {
    skip("first");
    skip("second\nline");
}

/// This test program with `args`, where the shared folder is empty; what `.ci/count` makes of it.
fn counted(args: &[&str]) -> Vec<String> {
    let empty = tempfile::tempdir().unwrap();
    let program = std::env::current_exe().unwrap();
    let output = Command::new(&program).args(args).env("MASKD_SHARED", empty.path()).output().unwrap();
    let log = [output.stderr, output.stdout].concat();
    let log = format!("     Running it ({})\n{}", program.display(), String::from_utf8_lossy(&log));
    assert!(output.status.success(), "{log}");
    count(&log)
}

#[test]
fn a_skip_is_seen_past_the_harness_once() {
    let said = counted(&["--exact", "counting::a_skipped_test", "--include-ignored"]);
    assert_eq!(said, ["SKIPPED counting::a_skipped_test: first", "0 passed, 0 failed, 1 skipped"]);
}

#[test]
fn without_reference_data_nothing_that_needs_it_has_passed() {
    for module in ["golden_", "davis_metrics::", "quality::", "footage::", "identity::", "pictures::"] {
        let said = counted(&[module]);
        let sum = said.last().unwrap();
        assert!(sum.starts_with("0 passed, 0 failed, ") && !sum.ends_with(" 0 skipped"), "{module}: {said:?}");
    }
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn every_test_says_so_in_the_one_way_that_is_counted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests", "trainer/src", "trainer/tests"] {
        sources(&root.join(folder), &mut files);
    }
    // In two pieces, so that it is not found here.
    let sign = ["\"SKIP", "PED "].concat();
    let own = |path: &PathBuf| path.ends_with("tests/it/skip.rs") || path.ends_with("tests/it/counting.rs");
    files.retain(|path| !own(path) && fs::read_to_string(path).unwrap().contains(&sign));
    assert!(files.is_empty(), "use skip() of tests/it/skip.rs in {files:?}");
}
