//! What the tests stand on: scenes drawn with exact truth, and servers that can be killed.

pub mod audit;
pub mod listener;
pub mod notify;
pub mod play;
pub mod process;
pub mod rtsp;
pub mod scene;
pub mod script;
pub mod site;
pub mod turned;
pub mod weights;

use std::time::{Duration, Instant};

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
