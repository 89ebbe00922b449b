//! The queue of latest frames: where frames wait for the engine, one slot for each stream, and one signal for all of them that
//! a frame has come.
//!
//! This is the only place in the daemon where a frame is dropped for being late, or let go because cameras outrun the
//! engine. A live camera [`offer`](FrameSender::offer)s: a frame above the stream's rate is let go at once, any other
//! replaces the one in the slot; each is counted by its cause. A file that must lose nothing [`send`](FrameSender::send)s: it waits until the
//! slot is free.
//! For each stream: captured = taken + paced + superseded + stopping + in the slot.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded, select};
use parking_lot::{Mutex, MutexGuard};

use crate::overload::Gate;
use maskd_observability::metrics::{DropCause, Metrics, Stage};
use maskd_types::{
    cancellation::CancellationToken,
    frame::{Frame, Size, StreamId},
};

/// The engine's end of the queue: all streams' slots, each with the latest frame.
#[derive(Clone)]
pub struct Mailbox(Arc<Shared>);

struct Shared {
    metrics: Metrics,
    streams: Mutex<Streams>,
    // Capacity 1: one signal that waits is enough.
    wake: Sender<()>,
    woken: Receiver<()>,
}

#[derive(Default)]
struct Streams {
    slots: Vec<Arc<Slot>>,
    /// Whose turn is next: no stream starves when a batch holds fewer frames than there are streams.
    turn: usize,
}

struct Slot {
    stream: StreamId,
    state: Mutex<SlotState>,
    // A signal that the slot was emptied; capacity 1, one receiver (the stream's only sender).
    emptied: Sender<()>,
    room: Receiver<()>,
}

#[derive(Default)]
struct SlotState {
    frame: Option<Frame>,
    /// The stream was removed: what still arrives is dropped.
    closed: bool,
    gate: Gate,
    arrived: Arrived,
}

/// What has arrived of one stream since its slot was added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrived {
    /// Frames, those that were let go too.
    pub frames: u64,
    /// Size of the newest one, as the network sees it at full resolution or as the camera sent it.
    pub size: Option<Size>,
    /// They wait for the engine: none is let go.
    pub patient: bool,
}

impl Arrived {
    fn one(&mut self, frame: &Frame, patient: bool) {
        *self = Self { frames: self.frames + 1, size: Some(frame.size), patient };
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock()
    }

    fn take(&self) -> Option<Frame> {
        let frame = self.lock().frame.take();
        if frame.is_some() {
            let _ = self.emptied.try_send(());
        }
        frame
    }
}

impl Mailbox {
    /// No streams yet. Dropped frames are counted in `metrics`.
    pub fn new(metrics: Metrics) -> Self {
        let (wake, woken) = bounded(1);
        Self(Arc::new(Shared { metrics, streams: Mutex::default(), wake, woken }))
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.0.streams.lock()
    }

    /// Adds a slot for `stream` and returns its camera's end. A stream added again gets a new slot; the old one closes.
    pub fn add_stream(&self, stream: &StreamId) -> FrameSender {
        self.remove_stream(stream);
        let (emptied, room) = bounded(1);
        let slot = Arc::new(Slot { stream: stream.clone(), state: Mutex::default(), emptied, room });
        self.streams().slots.push(slot.clone());
        FrameSender { slot, wake: self.0.wake.clone(), metrics: self.0.metrics.clone() }
    }

    /// Takes the stream's slot away. The frame in it, and any that is still sent, count as dropped for `Stopping`.
    pub fn remove_stream(&self, stream: &StreamId) {
        let mut streams = self.streams();
        let Some(at) = streams.slots.iter().position(|slot| slot.stream == *stream) else { return };
        let slot = streams.slots.remove(at);
        if streams.turn > at {
            streams.turn -= 1;
        }
        drop(streams);
        let left = {
            let mut state = slot.lock();
            state.closed = true;
            state.frame.take()
        };
        let _ = slot.emptied.try_send(()); // wakes a sender that waits for room
        if left.is_some() {
            self.0.metrics.frame_dropped(stream, Stage::Ingest, DropCause::Stopping);
        }
    }

    /// Waits until some slot has a frame, `stop` is set or `timeout` has passed; says whether there is a frame.
    pub fn wait(&self, stop: &CancellationToken, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            if self.ready() {
                return true;
            }
            // A signal between the check above and the wait below is kept by the channel.
            select! {
                recv(self.0.woken) -> _ => {}
                recv(stop.cancelled()) -> _ => return self.ready(),
                default(deadline.saturating_duration_since(Instant::now())) => return self.ready(),
            }
        }
    }

    /// What has arrived of each stream.
    pub fn arrived(&self) -> Vec<(StreamId, Arrived)> {
        self.streams().slots.iter().map(|slot| (slot.stream.clone(), slot.lock().arrived)).collect()
    }

    /// Lets at most `rate` frames a second of `stream` through from now on, evenly spaced, or all of them.
    pub fn limit_rate(&self, stream: &StreamId, rate: Option<f64>) {
        if let Some(slot) = self.streams().slots.iter().find(|slot| slot.stream == *stream) {
            slot.lock().gate.set(rate);
        }
    }

    fn ready(&self) -> bool {
        self.streams().slots.iter().any(|slot| slot.lock().frame.is_some())
    }

    /// Takes at most `max` frames, at most one of each stream, from the stream whose turn it is onwards.
    pub fn take_batch(&self, max: usize) -> Vec<Frame> {
        self.take_batch_except(max, &HashSet::new())
    }

    /// As [`take_batch`](Self::take_batch), leaving the frames of `busy` streams where they are.
    pub fn take_batch_except(&self, max: usize, busy: &HashSet<StreamId>) -> Vec<Frame> {
        let mut streams = self.streams();
        let count = streams.slots.len();
        let first = streams.turn;
        let mut batch = Vec::new();
        for step in 0..count {
            if batch.len() == max {
                break;
            }
            let at = (first + step) % count;
            let slot = &streams.slots[at];
            if busy.contains(&slot.stream) {
                continue;
            }
            if let Some(frame) = slot.take() {
                batch.push(frame);
                streams.turn = (at + 1) % count;
            }
        }
        batch
    }
}

/// Sends a camera's frames to the mailbox.
pub struct FrameSender {
    slot: Arc<Slot>,
    wake: Sender<()>,
    metrics: Metrics,
}

impl FrameSender {
    /// Puts `frame` in the slot at once, unless it is above the stream's rate. A frame that still waited there is dropped
    /// and counted as superseded.
    pub fn offer(&self, frame: Frame) {
        let displaced = {
            let mut state = self.slot.lock();
            if state.closed {
                drop(state);
                return self.dropped(DropCause::Stopping);
            }
            state.arrived.one(&frame, false);
            if !state.gate.admits(frame.captured) {
                drop(state);
                return self.dropped(DropCause::Paced);
            }
            state.frame.replace(frame)
        };
        let _ = self.wake.try_send(());
        if displaced.is_some() {
            self.dropped(DropCause::Superseded);
        }
    }

    /// Waits until the slot is free, then puts `frame` in it. False, and the frame counted as dropped,
    /// where `stop` is set or the stream removed first.
    pub fn send(&self, frame: Frame, stop: &CancellationToken) -> bool {
        loop {
            if stop.is_cancelled() {
                break;
            }
            {
                let mut state = self.slot.lock();
                if state.closed {
                    break;
                }
                if state.frame.is_none() {
                    state.arrived.one(&frame, true);
                    state.frame = Some(frame);
                    drop(state);
                    let _ = self.wake.try_send(());
                    return true;
                }
            }
            select! {
                recv(self.slot.room) -> _ => {}
                recv(stop.cancelled()) -> _ => break,
            }
        }
        self.dropped(DropCause::Stopping);
        false
    }

    fn dropped(&self, cause: DropCause) {
        self.metrics.frame_dropped(&self.slot.stream, Stage::Ingest, cause);
    }
}

#[cfg(test)]
pub(crate) mod tests;
