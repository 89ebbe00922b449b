//! What the tests stand on: scenes drawn with exact truth, and servers that can be killed.

pub mod process;
pub mod rtsp;
pub mod scene;
pub mod site;
pub mod weights;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How long a test waits for something that should come at once: long, for a busy machine; reached only in failure.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks `look` until it answers; panics, naming what was awaited, after [`PATIENCE`].
pub fn until<T>(awaited: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "gave up waiting for {awaited}");
        // Not a core's worth of asking: the awaited needs one too.
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// A file of the shared folder (`$MASKD_SHARED`, else `../shared`); says loudly that a test is skipped where it is absent.
pub fn shared(file: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let path = std::env::var_os("MASKD_SHARED").map_or_else(beside, PathBuf::from).join(file);
    if path.exists() {
        return Some(path);
    }
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    eprintln!("SKIPPED {test}: {} is absent (set MASKD_SHARED)", path.display());
    None
}
