//! A daemon, one camera behind a network that can be broken, others beside it, and a subscriber who judges.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use maskd::publish::wire::{Account, unix_ns};

use super::{
    camera::Camera,
    fault::Scale,
    film::{Clock, Film, RATE, SIZE},
    outcome::Outcome,
    proxy::Proxy,
    support::{
        PATIENCE,
        audit::audit,
        process::{Daemon, get},
        weights::TinyVit,
    },
    watch::{Seen, Watch},
};

/// The stream that is broken.
pub const BAD: &str = "bad";
/// Correct masks one after the other that make a camera well.
const STEADY: usize = 4;
/// How long the others are watched in calm.
const CALM: Duration = Duration::from_millis(800);
/// Masks that stay correct for so long have come back...
const LASTING_NS: u64 = 1_000_000_000;
/// ...where none of them kept the next waiting for longer than this.
const GAP_NS: u64 = 700_000_000;

/// Everything. Dropped, it is gone.
pub struct Rig {
    pub proxy: Proxy,
    pub camera: Camera,
    watch: Watch,
    daemon: Daemon,
    admin: SocketAddr,
    others: Vec<(String, Camera)>,
    _home: tempfile::TempDir,
}

/// What is to become of the broken camera's epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epoch {
    /// The fault is none to the pipeline.
    Same,
    /// The pipeline must be built anew.
    New,
    /// As it happens.
    Either,
}

/// A fault of a camera or of the network to it.
#[derive(Clone, Copy)]
pub struct Break {
    /// Makes things ready, while all is still well.
    pub before: fn(&mut Rig),
    pub starts: fn(&mut Rig),
    /// How long it lasts; an outage of 0 is over at once.
    pub lasts: Duration,
    pub ends: fn(&mut Rig),
    pub epoch: Epoch,
}

impl Rig {
    /// A daemon with the camera that will be broken and `others`, all well.
    pub fn new(others: usize) -> Self {
        let home = tempfile::tempdir().unwrap();
        let (weights, mask) = (home.path().join("tiny.safetensors"), home.path().join("first.png"));
        TinyVit::default().write(&weights, 7);
        Film::at(SIZE).truth(0).write_png(&mask).unwrap();
        let clock = Clock::default();
        let camera = Camera::start(&clock);
        let proxy = Proxy::to(camera.address());
        let others: Vec<(String, Camera)> =
            (0..others).map(|i| (format!("other-{i}"), Camera::start(&clock))).collect();
        let mut config =
            "[runtime]\nstatus_seconds = 0.2\nreload_on_change = false\n[tracker]\ndiscovery = false\n".to_owned();
        let urls = others.iter().map(|(name, camera)| (name.as_str(), camera.url()));
        for (name, url) in urls.chain([(BAD, proxy.url(&camera.url()))]) {
            let mask = mask.display();
            config += &format!("[streams.{name}]\nkind = 'rtsp'\nlocation = '{url}'\nfirst_mask = '{mask}'\n");
        }
        // The last table is the broken camera's.
        config += "stall_timeout_s = 3\n";
        let mut daemon = Daemon::start_at(128, home.path(), &weights, &config, &[]);
        let admin = daemon.admin();
        let watch = Watch::open(daemon.endpoint(), BAD, &clock);
        let rig = Self { proxy, camera, watch, daemon, admin, others, _home: home };
        rig.until("the first masks of all cameras", |rig| {
            rig.others.iter().all(|(name, _)| rig.watch.last(name).is_some()) && rig.is_well(0)
        });
        // Only now: the given masks are those of the first picture.
        clock.go();
        rig
    }

    /// Waits for something to be so, and audits the books all the while.
    fn until(&self, awaited: &str, mut look: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !look(self) {
            assert!(start.elapsed() < PATIENCE, "gave up waiting for {awaited}: {}", self.about());
            self.books();
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// Lets time pass, and audits the books all the while.
    pub fn pass(&self, time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            self.books();
            std::thread::park_timeout((time.saturating_sub(start.elapsed())).min(Duration::from_millis(50)));
        }
    }

    /// Where the broken camera's frames are; every stream's sum is asserted.
    fn books(&self) -> Account {
        audit(&get(self.admin, "/metrics").1).remove(BAD).unwrap_or_default()
    }

    /// Whether the newest masks since a time are correct, several in a row.
    fn is_well(&self, since: u64) -> bool {
        let seen = self.watch.since(BAD, since);
        seen.len() >= STEADY && seen[seen.len() - STEADY..].iter().all(|seen| seen.correct())
    }

    /// The first of the correct masks since a time that have not been interrupted since then, once they have lasted.
    fn recovered(&self, since: u64, newer_than: Option<u32>) -> Option<Seen> {
        let size = self.camera.size();
        let good =
            |seen: &Seen| seen.correct() && seen.size == size && newer_than.is_none_or(|epoch| seen.epoch > epoch);
        let mut later = unix_ns();
        let mut first = None;
        for seen in self.watch.since(BAD, since).into_iter().rev() {
            if !good(&seen) || later.saturating_sub(seen.received) > GAP_NS {
                break;
            }
            later = seen.received;
            first = Some(seen);
        }
        first.filter(|first| unix_ns().saturating_sub(first.received) > LASTING_NS)
    }

    /// What somebody must know who wonders what went wrong: the first masks since the calm before the fault, the newest,
    /// and what the daemon says.
    fn about(&self) -> String {
        let now = unix_ns();
        let line = |seen: &Seen| {
            let ago = now.saturating_sub(seen.received) / 1_000_000;
            format!("{ago} ms ago #{} epoch {} ids {:?} {:?}", seen.sequence, seen.epoch, seen.ids, seen.fit)
        };
        let seen: Vec<String> = self.watch.since(BAD, 0).iter().map(line).collect();
        let newest = &seen[seen.len().saturating_sub(3)..];
        format!("{}\n...\n{}\n{}", seen[..seen.len().min(40)].join("\n"), newest.join("\n"), self.daemon.log())
    }

    /// Breaks the camera `repeats` times and says what came of each.
    pub fn repeat(&mut self, fault: Break, repeats: usize) -> Vec<Outcome> {
        (0..repeats).map(|_| self.once(fault)).collect()
    }

    fn once(&mut self, fault: Break) -> Outcome {
        (fault.before)(self);
        let calm = unix_ns();
        self.watch.forget_before(calm);
        self.pass(CALM);
        self.until("correct masks before the fault", |rig| rig.is_well(calm));
        let (before, epoch) = (self.latencies(calm), self.watch.last(BAD).unwrap().epoch);
        let epochs: Vec<u32> = self.others.iter().map(|(name, _)| self.watch.last(name).unwrap().epoch).collect();
        let ended = self.watch.ended(BAD);
        let before_fault = self.books();

        let start = unix_ns();
        (fault.starts)(self);
        self.pass(fault.lasts);
        (fault.ends)(self);
        self.proxy.watch_for_key_frame();
        let end = unix_ns();
        let newer_than = (fault.epoch == Epoch::New).then_some(epoch);
        self.until("masks that are correct again", |rig| rig.recovered(end, newer_than).is_some());
        let first = self.recovered(end, newer_than).unwrap();
        let seen = self.watch.since(BAD, start);
        let after = self.books();
        let made = (first.received - start) as f64 / 1e9 * f64::from(RATE);
        let got = seen.iter().filter(|seen| seen.received <= first.received).count() as u64;
        let during = self.latencies(start);
        self.judge(fault, epoch, &first, ended, &epochs, start);
        Outcome {
            recovery: Some(Duration::from_nanos(first.received - end)),
            from_key_frame: self
                .proxy
                .key_frame()
                .filter(|key| *key < first.received)
                .map(|key| Duration::from_nanos(first.received - key)),
            lost: (made.round() as u64).saturating_sub(got),
            dropped: after.dropped().unwrap() - before_fault.dropped().unwrap(),
            before,
            during,
        }
    }

    /// The promises that are no times.
    fn judge(&self, fault: Break, epoch: u32, first: &Seen, ended: usize, epochs: &[u32], start: u64) {
        let about = self.about();
        assert_eq!(first.ids, [1, 2, 3], "identities: {about}");
        assert_eq!(self.watch.ended(BAD), ended, "somebody ended: {about}");
        match fault.epoch {
            Epoch::Same => assert_eq!(first.epoch, epoch, "{about}"),
            Epoch::New => assert!(first.epoch > epoch, "{about}"),
            Epoch::Either => {}
        }
        for ((name, _), epoch) in self.others.iter().zip(epochs) {
            let seen = self.watch.since(name, start);
            let seconds = (unix_ns() - start) as f64 / 1e9;
            // A part of what it sends, for a busy machine: the rest of the promise is a figure of the bench.
            let least = (0.2 * seconds * f64::from(RATE)) as usize;
            assert!(seen.len() >= least, "{name} brought {} masks in {seconds} s", seen.len());
            assert!(seen.iter().all(|seen| seen.epoch == *epoch), "{name} was rebuilt");
        }
        let log = self.daemon.log();
        assert!(!log.contains("This is a bug") && !log.contains("panicked"), "{log}");
    }

    /// Of the other cameras' frames that came since a time.
    fn latencies(&self, since: u64) -> Vec<f64> {
        self.others.iter().flat_map(|(name, _)| self.watch.since(name, since)).map(|seen| seen.latency_ms()).collect()
    }
}

impl Break {
    /// Nothing, over at once, after which the pipeline must be another.
    pub const NONE: Self =
        Self { before: |_| {}, starts: |_| {}, lasts: Duration::ZERO, ends: |_| {}, epoch: Epoch::New };
}

/// A camera's fault at a scale.
pub fn run(fault: Break, Scale { repeats, others }: Scale) -> Vec<Outcome> {
    Rig::new(others).repeat(fault, repeats)
}
