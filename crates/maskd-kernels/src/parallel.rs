//! Work shared among the threads of rayon's pool, in order and piece by piece.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Calls `work` with 0 to `count` - 1, each once; a thread that is done takes the next, so that none waits for another
/// that the system has given to somebody else.
pub(super) fn parallel_for(count: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    let take = || {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= count {
                break;
            }
            work(i);
        }
    };
    let helpers = rayon::current_num_threads().min(count).saturating_sub(1);
    rayon::scope(|scope| {
        for _ in 0..helpers {
            scope.spawn(|_| take());
        }
        take();
    });
}

/// Cuts `rows` into pieces of at most `most` rows, smaller ones towards the end so that all threads end together. Every
/// piece but the last is a multiple of `unit`; it depends on nothing but the arguments, and so do the results.
pub(super) fn pieces(rows: usize, most: usize, unit: usize) -> Vec<(usize, usize)> {
    let mut pieces = Vec::new();
    let mut from = 0;
    while from < rows {
        let left = rows - from;
        let size = (left / 4).clamp(unit, most.max(unit)) / unit * unit;
        let size = size.min(left);
        pieces.push((from, size));
        from += size;
    }
    pieces
}

/// A pointer that threads share to write to disjoint places behind it.
#[derive(Clone, Copy)]
pub(super) struct Shared(*mut f32);

// SAFETY: whoever dereferences it promises to touch only its own part.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(super) fn new(values: &mut [f32]) -> Self {
        Self(values.as_mut_ptr())
    }

    pub(super) fn at(self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }
}
