//! Where the reference data is, and a loud word where it is not.

use std::path::PathBuf;

/// The path of `what` below the shared folder (`MASKD_SHARED`, or `../shared` beside the project);
/// `None`, with one line naming the test, where it is absent.
pub fn shared(what: &str) -> Option<PathBuf> {
    let root = std::env::var_os("MASKD_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")), PathBuf::from);
    let path = root.join(what);
    if path.exists() {
        return Some(path);
    }
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // Past the harness's capture: a skipped test must be seen.
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {} is absent (set MASKD_SHARED)", path.display());
    None
}
