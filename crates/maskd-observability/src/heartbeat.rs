//! Heartbeats of the daemon's stages. A stage that has work must show progress within a limit; one that has none is
//! alive. Stages report and the watchdog asks; nothing here waits or decides.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// No work: nothing is owed.
const AT_REST: u64 = u64::MAX;
/// Its thread or task panicked: nothing more will come.
const DEAD: u64 = u64::MAX - 1;

/// All stages of a daemon. A handle is cheap to clone.
#[derive(Clone, Debug)]
pub struct Heartbeats(Arc<All>);

#[derive(Debug)]
struct All {
    started: Instant,
    limit: Duration,
    stages: Mutex<Vec<Arc<Stage>>>,
}

#[derive(Debug)]
struct Stage {
    name: String,
    /// Milliseconds from the start to the last sign of life, [`AT_REST`] or [`DEAD`].
    last: AtomicU64,
}

/// A stage that has work and makes no progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// Which.
    pub stage: String,
    /// Without a sign of life for so long; `None` where it panicked.
    pub silent: Option<Duration>,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.silent {
            Some(silent) => write!(f, "{} gives no sign of life for {} s", self.stage, silent.as_secs()),
            None => write!(f, "{} has panicked", self.stage),
        }
    }
}

impl Default for Heartbeats {
    /// A limit of a minute.
    fn default() -> Self {
        Self::new(Duration::from_secs(60))
    }
}

impl Heartbeats {
    /// No stages yet. Each may be silent for `limit` while it has work.
    pub fn new(limit: Duration) -> Self {
        Self(Arc::new(All { started: Instant::now(), limit, stages: Mutex::default() }))
    }

    /// A new stage, at rest. It is watched for as long as the heartbeat lives.
    pub fn stage(&self, name: impl Into<String>) -> Heartbeat {
        let stage = Arc::new(Stage { name: name.into(), last: AtomicU64::new(AT_REST) });
        self.0.stages.lock().push(stage.clone());
        Heartbeat { all: self.clone(), stage }
    }

    /// The stages that are stuck now.
    pub fn stuck(&self) -> Vec<Stuck> {
        let now = self.now();
        let stages = self.0.stages.lock();
        let stuck = |stage: &Arc<Stage>| {
            let silent = match stage.last.load(Relaxed) {
                AT_REST => return None,
                DEAD => None,
                last => Some(Duration::from_millis(now.saturating_sub(last))),
            };
            let over = silent.is_none_or(|silent| silent > self.0.limit);
            over.then(|| Stuck { stage: stage.name.clone(), silent })
        };
        stages.iter().filter_map(stuck).collect()
    }

    /// How long a stage with work may be silent.
    pub fn limit(&self) -> Duration {
        self.0.limit
    }

    fn now(&self) -> u64 {
        // The last two stand for something else; neither is reached.
        u64::try_from(self.0.started.elapsed().as_millis()).unwrap_or(0)
    }
}

/// The heartbeat of one stage.
#[derive(Debug)]
pub struct Heartbeat {
    all: Heartbeats,
    stage: Arc<Stage>,
}

impl Heartbeat {
    /// A sign of life; the next is owed within the limit.
    pub fn beat(&self) {
        self.stage.last.store(self.all.now(), Relaxed);
    }

    /// All work is done: nothing is owed until the next [`Self::beat`].
    pub fn rest(&self) {
        self.stage.last.store(AT_REST, Relaxed);
    }

    /// For whoever hands work to this stage.
    pub fn notifier(&self) -> WorkNotifier {
        WorkNotifier { all: self.all.clone(), stage: Arc::downgrade(&self.stage) }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Kept: work goes there, and none of it will be done.
            self.stage.last.store(DEAD, Relaxed);
            return;
        }
        let mut stages = self.all.0.stages.lock();
        stages.retain(|stage| !Arc::ptr_eq(stage, &self.stage));
    }
}

/// For whoever hands work to a stage: from then on the stage owes a heartbeat.
#[derive(Clone, Debug)]
pub struct WorkNotifier {
    all: Heartbeats,
    stage: std::sync::Weak<Stage>,
}

impl WorkNotifier {
    /// There is work. A stage at rest owes a sign of life from now on; one at work owes it anyway.
    pub fn notify(&self) {
        if let Some(stage) = self.stage.upgrade() {
            let _ = stage.last.compare_exchange(AT_REST, self.all.now(), Relaxed, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(heartbeats: &Heartbeats) -> Vec<String> {
        // Longer than the limit of zero.
        let start = heartbeats.now();
        while heartbeats.now() <= start + 1 {
            std::hint::spin_loop();
        }
        heartbeats.stuck().into_iter().map(|stuck| stuck.stage).collect()
    }

    #[test]
    fn who_has_work_owes_a_sign_and_who_has_none_does_not() {
        let heartbeats = Heartbeats::new(Duration::ZERO);
        let (a, b) = (heartbeats.stage("a"), heartbeats.stage("b"));
        assert!(names(&heartbeats).is_empty());
        a.beat();
        assert_eq!(names(&heartbeats), ["a"]);
        a.rest();
        b.notifier().notify();
        assert_eq!(names(&heartbeats), ["b"]);
        drop(b);
        assert!(names(&heartbeats).is_empty(), "a stage that has ended");
        let long = Heartbeats::new(Duration::from_secs(3600));
        let patient = long.stage("c");
        patient.beat();
        assert!(names(&long).is_empty());
    }

    #[test]
    fn a_call_does_not_excuse_who_is_at_work_already() {
        let heartbeats = Heartbeats::new(Duration::from_millis(20));
        let a = heartbeats.stage("a");
        a.beat();
        let notifier = a.notifier();
        while heartbeats.stuck().is_empty() {
            notifier.notify();
        }
        assert!(heartbeats.stuck()[0].to_string().contains("a gives no sign of life"));
    }

    #[test]
    fn who_panics_stays_stuck() {
        let heartbeats = Heartbeats::new(Duration::from_secs(3600));
        let a = heartbeats.stage("a");
        let died = std::thread::spawn(move || {
            let _a = a;
            panic!("on purpose");
        });
        died.join().unwrap_err();
        assert_eq!(heartbeats.stuck(), [Stuck { stage: "a".to_owned(), silent: None }]);
    }
}
