//! A cancellation token: set once, seen by all who hold it, and part of every wait, on a channel or for a time.

use std::{convert::Infallible, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
use parking_lot::Mutex;

/// Cancelled once, seen by all clones, never reset. It is a channel on which nothing is ever sent and which closes when the
/// token is cancelled, so that threads can wait for it beside other channels (tokio-util's token is for tasks alone).
#[derive(Clone)]
pub struct CancellationToken(Arc<Inner>);

struct Inner {
    open: Mutex<Option<Sender<Infallible>>>,
    closed: Receiver<Infallible>,
}

impl Default for CancellationToken {
    fn default() -> Self {
        Self::new()
    }
}

impl CancellationToken {
    /// A token that is not cancelled.
    pub fn new() -> Self {
        let (open, closed) = bounded(0);
        Self(Arc::new(Inner { open: Mutex::new(Some(open)), closed }))
    }

    /// Cancels, and wakes everyone who waits.
    pub fn cancel(&self) {
        self.0.open.lock().take();
    }

    /// Whether it is cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.0.closed.try_recv(), Err(TryRecvError::Disconnected))
    }

    /// Waits to be cancelled, `timeout` at most; says whether it is.
    pub fn wait(&self, timeout: Duration) -> bool {
        matches!(self.0.closed.recv_timeout(timeout), Err(RecvTimeoutError::Disconnected))
    }

    /// Becomes ready (closed) when it is cancelled: for `crossbeam_channel::select!`.
    pub fn cancelled(&self) -> &Receiver<Infallible> {
        &self.0.closed
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Instant};

    use super::*;

    #[test]
    fn a_waiter_wakes_when_a_clone_is_cancelled() {
        let stop = CancellationToken::new();
        assert!(!stop.is_cancelled());
        assert!(!stop.wait(Duration::from_millis(1)));
        let (waiter, start) = (stop.clone(), Instant::now());
        let waiting = thread::spawn(move || waiter.wait(Duration::from_secs(60)));
        stop.cancel();
        assert!(waiting.join().unwrap());
        assert!(stop.is_cancelled() && start.elapsed() < Duration::from_secs(30));
    }
}
