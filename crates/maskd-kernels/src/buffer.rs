//! Memory for kernels: aligned to cache lines, and kept by each thread from call to call.

use std::{
    cell::RefCell,
    ops::{Deref, DerefMut},
};

use parking_lot::Mutex;

/// One cache line, so that no vector straddles two.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Float32 values that start on a cache line.
#[derive(Clone, Default)]
pub(super) struct Buffer(Vec<Line>);

impl Buffer {
    /// `len` zeros (and as many more as fill the last line).
    pub(super) fn zeros(len: usize) -> Self {
        Self(vec![Line([0.0; 16]); len.div_ceil(16)])
    }
}

impl Deref for Buffer {
    type Target = [f32];

    #[inline(always)]
    fn deref(&self) -> &[f32] {
        // SAFETY: a Line is sixteen floats and nothing else.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * 16) }
    }
}

impl DerefMut for Buffer {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * 16) }
    }
}

thread_local!(static SCRATCH: RefCell<Buffer> = RefCell::default());

/// Values of this thread's own, kept from call to call; what they hold at first is left over from earlier calls.
///
/// A guard, not a function that takes a closure: a closure would be compiled apart from the instructions of its caller.
pub(super) struct Scratch(Buffer);

impl Scratch {
    /// At least `len` values.
    pub(super) fn of(len: usize) -> Self {
        // Taken out rather than borrowed: a thread that waits meanwhile may pick up another kernel's work.
        let buffer = SCRATCH.take();
        Self(if buffer.len() < len { Buffer::zeros(len) } else { buffer })
    }
}

impl Deref for Scratch {
    type Target = [f32];

    #[inline(always)]
    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Scratch {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        SCRATCH.replace(std::mem::take(&mut self.0));
    }
}

/// Buffers that wait for their next use: memory that is given back to the system and asked for again costs a page fault
/// for every four kilobytes, a tenth of a product's time.
static POOL: Mutex<Vec<Buffer>> = Mutex::new(Vec::new());

/// Values from the pool, given back when dropped; what they hold at first is left over from earlier uses.
pub(super) struct Pooled(Buffer);

impl Pooled {
    /// At least `len` values.
    pub(super) fn of(len: usize) -> Self {
        let mut pool = POOL.lock();
        // The smallest that is large enough; else the largest gives way to a larger one.
        let fit = (0..pool.len()).filter(|&i| pool[i].len() >= len).min_by_key(|&i| pool[i].len());
        if let Some(i) = fit {
            return Self(pool.swap_remove(i));
        }
        let largest = (0..pool.len()).max_by_key(|&i| pool[i].len());
        if let Some(i) = largest {
            pool.swap_remove(i);
        }
        Self(Buffer::zeros(len))
    }
}

impl Deref for Pooled {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        POOL.lock().push(std::mem::take(&mut self.0));
    }
}
