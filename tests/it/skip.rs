//! Says that a test is skipped, so that it is seen and counted.

use std::{collections::BTreeSet, io::Write as _};

use parking_lot::Mutex;

/// Says on standard error that the test that calls it is skipped, and why; once a test, however often it is called.
///
/// The harness counts a test that returns early as passed; `.ci/count` counts it as skipped by this line. It goes past
/// the harness's capture, in one piece, so that no other line is mixed into it.
pub fn skip(why: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    // The harness names each test's thread after the test.
    let test = std::thread::current().name().unwrap_or("unnamed").to_owned();
    if SAID.lock().insert(test.clone()) {
        let line = format!("SKIPPED {test}: {}\n", why.replace('\n', " "));
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}
