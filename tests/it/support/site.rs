//! Cameras on threads, as the daemon runs them, with the engine's end of the mailbox in the test's hands.

use std::{
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, bounded};
use maskd::{
    cancellation::CancellationToken,
    frame::{Frame, Resolution, Size, StreamId},
    ingest::{Camera, CameraEvent, CameraFault, Cause, SourceConfig},
    metrics::Metrics,
    scheduling::mailbox::Mailbox,
};

use super::PATIENCE;

/// How large the network sees a frame in these tests.
pub const NETWORK: Resolution = Resolution { short_side: 112, multiple: 14 };
/// What a 320x240 scene becomes for [`NETWORK`].
pub const NETWORK_SIZE: Size = Size::new(140, 112);

/// Several cameras and the engine's end of their mailbox.
pub struct Site {
    pub mailbox: Mailbox,
    pub metrics: Metrics,
}

/// A camera that runs on a thread of its own until dropped.
pub struct Live {
    pub id: StreamId,
    stop: CancellationToken,
    pub events: Receiver<CameraEvent>,
    thread: Option<JoinHandle<()>>,
}

impl Site {
    /// No cameras yet.
    pub fn new() -> Self {
        let metrics = Metrics::new();
        Self { mailbox: Mailbox::new(metrics.clone()), metrics }
    }

    /// Starts a camera on a thread of its own.
    pub fn start(&self, name: &str, config: SourceConfig) -> Live {
        let id: StreamId = name.parse().unwrap();
        let sender = self.mailbox.add_stream(&id);
        let camera = Camera::new(id.clone(), config, NETWORK, sender, self.metrics.clone()).unwrap();
        let (tell, events) = bounded(4096);
        let stop = CancellationToken::new();
        let until = stop.clone();
        let run = move || camera.run(&until, &mut |event| tell.send(event).unwrap());
        Live { id, stop, events, thread: Some(thread::spawn(run)) }
    }

    /// The next frames of any stream.
    pub fn frames(&self) -> Vec<Frame> {
        assert!(self.mailbox.wait(&CancellationToken::new(), PATIENCE), "no frame");
        self.mailbox.take_batch(8)
    }

    /// The next frame of the only stream for which `wanted` holds.
    pub fn frame(&self, mut wanted: impl FnMut(&Frame) -> bool) -> Frame {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(frame) = self.frames().into_iter().find(&mut wanted) {
                return frame;
            }
        }
        panic!("no such frame");
    }

    /// captured = taken + dropped, for a stream that has ended with an empty slot.
    pub fn assert_accounted(&self, stream: &StreamId, taken: u64) {
        // Nobody publishes here: what was taken out of the mailbox stays in flight.
        let account = self.metrics.account(stream);
        assert!(account.balances() && account.in_flight == taken, "{stream}: {taken} taken of {account:?}");
    }

    /// Rebuilds of a stream for a cause, as the metrics tell them.
    pub fn reconnects(&self, stream: &str, cause: Cause) -> u64 {
        let name = format!("maskd_reconnects_total{{stream=\"{stream}\",cause=\"{cause}\"}} ");
        let text = self.metrics.render();
        text.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |count| count.parse().unwrap())
    }
}

impl Live {
    /// The next event.
    pub fn event(&self) -> CameraEvent {
        self.events.recv_timeout(PATIENCE).expect("the camera says nothing")
    }

    /// Waits for the next `Up`: epoch, the stream's size, decoder.
    pub fn up(&self) -> (u32, Size, Option<String>) {
        loop {
            if let CameraEvent::Up { epoch, source, decoder } = self.event() {
                return (epoch, source, decoder);
            }
        }
    }

    /// Waits for the next `Down`: fault, attempt, wait.
    pub fn down(&self) -> (CameraFault, u32, Duration) {
        loop {
            if let CameraEvent::Down { fault, attempt, retry_in } = self.event() {
                return (fault, attempt, retry_in);
            }
        }
    }

    /// Stops it and says how long that took.
    pub fn stop(mut self) -> Duration {
        let start = Instant::now();
        self.stop.cancel();
        self.thread.take().unwrap().join().unwrap();
        start.elapsed()
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
