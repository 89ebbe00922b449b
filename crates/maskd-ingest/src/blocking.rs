//! Calls into GStreamer that may never return: a driver, a server or a named pipe can hold a change of state for ever.
//! They are made on threads of GStreamer's, so that the camera's own goes on, and those that are given up are counted.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use crossbeam_channel::{bounded, never, select};
use gstreamer::glib;

use maskd_observability::metrics::Metrics;
use maskd_types::{cancellation::CancellationToken, frame::StreamId, panic};

/// The calls of one camera. A handle is cheap to clone.
#[derive(Clone)]
pub(super) struct BlockingCalls(Arc<Hanging>);

struct Hanging {
    stream: StreamId,
    metrics: Metrics,
    count: AtomicUsize,
}

/// Why there is no answer.
pub(super) enum GaveUp {
    /// None came in time: the call was left behind.
    Late,
    /// The answer is no longer wanted: the call was given up.
    Stopped,
    /// The call panicked, and what it said.
    Panicked(String),
    /// The system refuses a thread.
    NoThread,
}

impl BlockingCalls {
    /// Those of `stream`.
    pub(super) fn new(stream: StreamId, metrics: Metrics) -> Self {
        Self(Arc::new(Hanging { stream, metrics, count: AtomicUsize::new(0) }))
    }

    /// How many calls were left behind and have not returned since.
    pub(super) fn hanging(&self) -> usize {
        self.0.count.load(Relaxed)
    }

    /// Makes the call and waits for its answer, no longer than `within` or until `stop` is set. The answer of a call that
    /// was left behind is dropped where it was made.
    pub(super) fn run<T: Send + 'static>(
        &self,
        within: Duration,
        stop: Option<&CancellationToken>,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, GaveUp> {
        self.run_nudged((within, 1), stop, call, || {})
    }

    /// The same for so many times so long, with `nudge`, which may hang itself, between them.
    pub(super) fn run_nudged<T: Send + 'static>(
        &self,
        (within, times): (Duration, u32),
        stop: Option<&CancellationToken>,
        call: impl FnOnce() -> T + Send + 'static,
        nudge: impl FnOnce() + Clone + Send + 'static,
    ) -> Result<T, GaveUp> {
        // Without room: an answer is either taken, or known not to be.
        let (tell, told) = bounded(0);
        let hanging = self.0.clone();
        let blocking = move || {
            let answer = catch_unwind(AssertUnwindSafe(call));
            if let Err(unwanted) = tell.send(answer) {
                drop(unwanted);
                hanging.count.fetch_sub(1, Relaxed);
                hanging.metrics.call_hangs(&hanging.stream, false);
            }
        };
        match threads().map(|threads| threads.push(blocking)) {
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Err(GaveUp::NoThread),
        }
        let never = never();
        let mut left = times;
        let gave_up = loop {
            select! {
                recv(told) -> answer => match answer {
                    Ok(answer) => return answer.map_err(|panic| GaveUp::Panicked(panic::message(&*panic).to_owned())),
                    Err(_) => return Err(GaveUp::NoThread),
                },
                recv(stop.map_or(&never, CancellationToken::cancelled)) -> _ => break GaveUp::Stopped,
                default(within) => {
                    left = left.saturating_sub(1);
                    if left == 0 {
                        break GaveUp::Late;
                    }
                    // Without a thread for it there is no help, and the call is given up in time.
                    let _ = threads().map(|threads| threads.push(nudge.clone()));
                }
            }
        };
        self.0.count.fetch_add(1, Relaxed);
        self.0.metrics.call_hangs(&self.0.stream, true);
        Err(gave_up)
    }
}

/// As many threads as there are calls; idle ones are GLib's to keep or end.
fn threads() -> Option<&'static glib::ThreadPool> {
    static THREADS: OnceLock<Option<glib::ThreadPool>> = OnceLock::new();
    THREADS.get_or_init(|| glib::ThreadPool::shared(None).ok()).as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn calls() -> BlockingCalls {
        BlockingCalls::new("a".parse().unwrap(), Metrics::new())
    }

    #[test]
    fn answers_come_back_and_panics_are_told() {
        let calls = calls();
        assert!(matches!(calls.run(LONG, None, || 7), Ok(7)));
        let told = calls.run(LONG, None, || -> u8 { panic!("on purpose") });
        assert!(matches!(told, Err(GaveUp::Panicked(said)) if said == "on purpose"));
        assert_eq!(calls.hanging(), 0);
    }

    #[test]
    fn a_nudge_sets_a_call_free() {
        let (calls, (open, gate)) = (calls(), bounded::<()>(1));
        let nudge = move || open.try_send(()).unwrap_or_default();
        let answer = calls.run_nudged((Duration::from_millis(1), u32::MAX), None, move || gate.recv().is_ok(), nudge);
        assert!(matches!(answer, Ok(true)));
        assert_eq!(calls.hanging(), 0);
    }

    #[test]
    fn a_call_that_hangs_is_counted_until_it_returns() {
        let (calls, stop) = (calls(), CancellationToken::new());
        let (open, gate) = bounded::<()>(0);
        let hang = |gate: crossbeam_channel::Receiver<()>| {
            move || {
                let _ = gate.recv();
            }
        };
        assert!(matches!(calls.run(Duration::from_millis(1), None, hang(gate.clone())), Err(GaveUp::Late)));
        stop.cancel();
        assert!(matches!(calls.run(LONG, Some(&stop), hang(gate)), Err(GaveUp::Stopped)));
        assert_eq!(calls.hanging(), 2);
        assert!(calls.0.metrics.render().contains("maskd_hanging_calls{stream=\"a\"} 2"));
        drop(open);
        while calls.hanging() > 0 {
            std::thread::yield_now();
        }
    }
}
