//! Used buffers, to be used again: a step allocates the same sizes as the one before, and fresh memory costs a
//! page fault and a clearing for every page.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// The most buffers that lie idle; the oldest goes first.
const MOST: usize = 128;

/// Smaller ones come cheap from the allocator.
const LEAST: usize = 1 << 14;

static IDLE: Mutex<VecDeque<Vec<f32>>> = Mutex::new(VecDeque::new());

/// `n` values that hold anything: for those who write each of them.
pub(super) fn buffer(n: usize) -> Vec<f32> {
    let found = {
        let mut idle = IDLE.lock();
        let fits = |v: &Vec<f32>| v.len() >= n && v.len() / 2 <= n;
        let best = idle.iter().enumerate().filter(|(_, v)| fits(v)).min_by_key(|(_, v)| v.len()).map(|(i, _)| i);
        best.filter(|_| n >= LEAST).and_then(|i| idle.remove(i))
    };
    match found {
        Some(mut values) => {
            values.truncate(n);
            values
        }
        None => vec![0.0; n],
    }
}

/// Takes back buffers that are no longer needed.
pub(super) fn recycle(buffers: impl IntoIterator<Item = Vec<f32>>) {
    for values in buffers.into_iter().filter(|values| values.len() >= LEAST) {
        let mut idle = IDLE.lock();
        if idle.len() == MOST {
            idle.pop_front();
        }
        idle.push_back(values);
    }
}
