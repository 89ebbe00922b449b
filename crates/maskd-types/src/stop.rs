//! A flag that says "enough", which any wait can listen to.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};

/// Set once, seen by all clones, never unset. Waiting on it costs nothing: it is a channel on which
/// nothing is ever sent and which closes when the flag is set.
#[derive(Clone)]
pub struct Stop(Arc<Inner>);

struct Inner {
    open: Mutex<Option<Sender<Infallible>>>,
    closed: Receiver<Infallible>,
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

impl Stop {
    /// A flag that is not set.
    pub fn new() -> Self {
        let (open, closed) = bounded(0);
        Self(Arc::new(Inner { open: Mutex::new(Some(open)), closed }))
    }

    /// Sets the flag and wakes everyone who waits.
    pub fn set(&self) {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Whether the flag is set.
    pub fn is_set(&self) -> bool {
        matches!(self.0.closed.try_recv(), Err(TryRecvError::Disconnected))
    }

    /// Waits for the flag, `timeout` at most; says whether it is set.
    pub fn wait(&self, timeout: Duration) -> bool {
        matches!(self.0.closed.recv_timeout(timeout), Err(RecvTimeoutError::Disconnected))
    }

    /// Becomes ready (closed) when the flag is set: for `crossbeam_channel::select!`.
    pub fn closed(&self) -> &Receiver<Infallible> {
        &self.0.closed
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Instant};

    use super::*;

    #[test]
    fn a_waiter_wakes_when_a_clone_is_set() {
        let stop = Stop::new();
        assert!(!stop.is_set());
        assert!(!stop.wait(Duration::from_millis(1)));
        let (waiter, start) = (stop.clone(), Instant::now());
        let waiting = thread::spawn(move || waiter.wait(Duration::from_secs(60)));
        stop.set();
        assert!(waiting.join().unwrap());
        assert!(stop.is_set() && start.elapsed() < Duration::from_secs(30));
    }
}
