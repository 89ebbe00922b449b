//! A subscriber that judges each mask as it comes and keeps what a bench has to know of it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use maskd::{
    frame::Size,
    publish::{Reader, Received, wire::Event},
};
use tokio::time::{Duration, timeout};

use super::{
    film::{Clock, Fit, fit},
    support::PATIENCE,
};

/// What is known of one masks message.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When it came, in nanoseconds since the Unix epoch; other times are, too.
    pub received: u64,
    pub captured: u64,
    pub epoch: u32,
    pub sequence: u64,
    pub number: u64,
    /// Of the camera's picture.
    pub size: Size,
    pub ids: Vec<u32>,
    /// How the masks fit what was drawn. Judged for the camera that is broken only.
    pub fit: Option<Fit>,
}

impl Seen {
    /// From the decoder to the subscriber.
    pub fn latency_ms(&self) -> f64 {
        self.received.saturating_sub(self.captured) as f64 / 1e6
    }

    /// Whether the masks cover what was drawn.
    pub fn correct(&self) -> bool {
        self.fit.is_some_and(Fit::is_correct)
    }
}

#[derive(Default)]
struct Heard {
    masks: BTreeMap<String, Vec<Seen>>,
    /// Instances that ended, by stream.
    ended: BTreeMap<String, usize>,
}

/// The subscriber. Dropped, it leaves.
pub struct Watch {
    heard: Arc<Mutex<Heard>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Subscribes at `endpoint` and judges the masks of the stream `judged` by the film.
    pub fn open(endpoint: String, judged: &'static str, clock: &Clock) -> Self {
        let (heard, over): (Arc<Mutex<Heard>>, Arc<AtomicBool>) = Default::default();
        let (notes, enough, clock) = (heard.clone(), over.clone(), clock.clone());
        let listen = async move {
            let reader = Reader::open(&[endpoint], None, None, None).await.unwrap();
            while !enough.load(Ordering::Relaxed) {
                let Ok(received) = timeout(Duration::from_millis(100), reader.next()).await else { continue };
                let Ok(received) = received else { break };
                match received {
                    Received::Masks { message, received_unix_ns, .. } => {
                        let stream = message.stream.as_str().to_owned();
                        let seen = Seen {
                            received: received_unix_ns,
                            captured: message.captured_unix_ns,
                            epoch: message.epoch,
                            sequence: message.sequence,
                            number: message.number,
                            size: message.frame,
                            ids: message.instances.iter().map(|instance| instance.id).collect(),
                            fit: (stream == judged).then(|| fit(&message, &clock)),
                        };
                        notes.lock().unwrap().masks.entry(stream).or_default().push(seen);
                    }
                    Received::Event(message) => {
                        if let Event::Instance(maskd::instance::TrackEvent::Ended { .. }) = message.event {
                            *notes.lock().unwrap().ended.entry(message.stream.as_str().to_owned()).or_default() += 1;
                        }
                    }
                    _ => {}
                }
            }
            reader.close().await;
        };
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(listen);
        });
        Self { heard, over, thread: Some(thread) }
    }

    /// Everything of `stream` that came after a time.
    pub fn all_since(&self, stream: &str, time: u64) -> Vec<Seen> {
        let heard = self.heard.lock().unwrap();
        let all = heard.masks.get(stream).map_or(&[][..], Vec::as_slice);
        all.iter().filter(|seen| seen.received > time).cloned().collect()
    }

    /// The same; panics on a gap in the messages' numbers.
    pub fn since(&self, stream: &str, time: u64) -> Vec<Seen> {
        let later = self.all_since(stream, time);
        for pair in later.windows(2) {
            assert_eq!(pair[0].number + 1, pair[1].number, "a message of {stream} was lost on the way: {pair:?}");
            assert!(pair[0].sequence < pair[1].sequence && pair[0].epoch <= pair[1].epoch, "{stream}: {pair:?}");
        }
        later
    }

    /// The newest of `stream`.
    pub fn last(&self, stream: &str) -> Option<Seen> {
        self.heard.lock().unwrap().masks.get(stream)?.last().cloned()
    }

    /// Forgets what came before a time.
    pub fn forget_before(&self, time: u64) {
        let mut heard = self.heard.lock().unwrap();
        heard.masks.values_mut().for_each(|all| all.retain(|seen| seen.received >= time));
    }

    /// How many instances of `stream` have ended.
    pub fn ended(&self, stream: &str) -> usize {
        self.heard.lock().unwrap().ended.get(stream).copied().unwrap_or(0)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let start = std::time::Instant::now();
            while !thread.is_finished() && start.elapsed() < PATIENCE {
                thread::park_timeout(Duration::from_millis(5));
            }
        }
    }
}
