//! Gives memory back to the system that the allocator keeps though it is free.
//!
//! Left to itself, glibc's allocator gives new threads arenas of their own, up to eight times as many as there are cores.
//! What a pipeline leaves there when it is torn down is free but stays with the process, in pieces that the next one does
//! not quite fit: with cameras that come and go, the process grows for hours. So there are as many arenas as threads can
//! run at once, and after pipelines were torn down what is free is given back to the system.

use std::time::{Duration, Instant};

/// At least so long between two times.
const REST: Duration = Duration::from_secs(5);

/// Knows whether there is something to be given back.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    some: bool,
    last: Option<Instant>,
}

impl Leftovers {
    /// A pipeline was torn down.
    pub(super) fn add(&mut self) {
        self.some = true;
    }

    /// Whether it is time to give back, `now`; then there is nothing any more.
    pub(super) fn due(&mut self, now: Instant) -> bool {
        let due = self.some && self.last.is_none_or(|last| now.duration_since(last) >= REST);
        if due {
            *self = Self { some: false, last: Some(now) };
        }
        due
    }
}

/// No more arenas than threads can run at once. For the start of the process: arenas that exist stay.
pub(super) fn few_arenas() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        // SAFETY: it sets one number of the allocator's. Refused, everything goes on as before.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, i32::try_from(cores.max(2)).unwrap_or(i32::MAX));
        }
    }
}

/// Gives back what the allocator keeps. Other threads that allocate may wait for some milliseconds.
pub(super) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes the allocator's own locks, and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_after_something_was_torn_down_and_not_often() {
        let (mut leftovers, start) = (Leftovers::default(), Instant::now());
        assert!(!leftovers.due(start));
        leftovers.add();
        assert!(leftovers.due(start) && !leftovers.due(start + 10 * REST));
        leftovers.add();
        assert!(leftovers.due(start + 10 * REST));
        leftovers.add();
        assert!(!leftovers.due(start + 10 * REST + REST / 2) && leftovers.due(start + 11 * REST));
    }
}
