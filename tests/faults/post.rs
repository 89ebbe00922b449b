//! A daemon with cameras that are all well: what breaks is around it. A subscriber judges the masks of one of them.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use maskd::publish::wire::{Account, unix_ns};

use super::{
    camera::Camera,
    film::{Clock, Film, SIZE},
    support::{
        PATIENCE,
        audit::audit,
        process::{Daemon, free_port, get},
        weights::TinyVit,
    },
    watch::{Seen, Watch},
};

/// The stream whose masks are judged.
pub const JUDGED: &str = "cam-0";
/// Correct masks one after the other that make it well.
const STEADY: usize = 4;

/// What a daemon is started with.
pub struct Plan {
    pub cameras: usize,
    /// Whether the film runs. Where the daemon is started anew, or its clock is put wrong, it stands at its first picture.
    pub runs: bool,
    /// Where the daemon listens, with settings; without it, it does not.
    pub listen: Option<String>,
    /// Where the subscriber connects to.
    pub endpoint: String,
    /// Keys of `[publish]`.
    pub publish: String,
    pub env: Vec<(&'static str, String)>,
}

impl Plan {
    /// A daemon that listens at a free port, where the subscriber connects.
    pub fn new(cameras: usize) -> Self {
        let endpoint = format!("tcp/127.0.0.1:{}", free_port());
        Self { cameras, runs: true, listen: Some(endpoint.clone()), endpoint, publish: String::new(), env: Vec::new() }
    }
}

/// Everything. Dropped, it is gone.
pub struct Post {
    pub watch: Watch,
    daemon: Daemon,
    pub admin: SocketAddr,
    pub home: tempfile::TempDir,
    weights: PathBuf,
    config: String,
    plan: Plan,
    _cameras: Vec<Camera>,
}

impl Post {
    /// Starts it all, and waits until the masks of all cameras come.
    pub fn start(plan: Plan) -> Self {
        let home = tempfile::tempdir().unwrap();
        let (weights, mask) = (home.path().join("tiny.safetensors"), home.path().join("first.png"));
        TinyVit::default().write(&weights, 7);
        let clock = Clock::default();
        let cameras: Vec<Camera> = (0..plan.cameras).map(|_| Camera::start(&clock)).collect();
        Film::at(SIZE).truth(0).write_png(&mask).unwrap();
        let listen = plan.listen.as_ref().map_or(String::new(), |listen| format!("listen = ['{listen}']\n"));
        let mut config = format!(
            "short_side = 120\n[publish]\n{listen}{}\n[runtime]\nstatus_seconds = 0.2\nreload_on_change = false\n\
             [tracker]\ndiscovery = false\n",
            plan.publish
        );
        for (i, camera) in cameras.iter().enumerate() {
            config += &format!(
                "[streams.cam-{i}]\nkind = 'rtsp'\nlocation = '{}'\nfirst_mask = '{}'\n",
                camera.url(),
                mask.display()
            );
        }
        let (daemon, admin) = run(&plan, &home, &weights, &config);
        let watch = Watch::open(plan.endpoint.clone(), JUDGED, &clock);
        let runs = plan.runs;
        let it = Self { watch, daemon, admin, home, weights, config, plan, _cameras: cameras };
        it.until("the first masks of all cameras", |it| {
            (0..it.plan.cameras).all(|i| it.watch.last(&format!("cam-{i}")).is_some()) && it.is_well(0)
        });
        if runs {
            clock.go();
        }
        it
    }

    /// Kills the daemon, as the system does where memory is short.
    pub fn kill(&mut self) {
        self.daemon.signal("KILL");
        assert!(!self.daemon.wait().success());
    }

    /// Starts it again, as it was.
    pub fn start_again(&mut self) {
        (self.daemon, self.admin) = run(&self.plan, &self.home, &self.weights, &self.config);
    }

    /// Waits for something to be so, and audits the books all the while.
    pub fn until(&self, awaited: &str, mut look: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !look(self) {
            assert!(start.elapsed() < PATIENCE, "gave up waiting for {awaited}:\n{}", self.daemon.log());
            self.books();
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Lets time pass, and audits the books all the while.
    pub fn pass(&self, time: Duration) {
        let start = Instant::now();
        self.until("time to pass", |_| start.elapsed() >= time);
    }

    /// Where the judged camera's frames are; every stream's sum is asserted.
    pub fn books(&self) -> Account {
        audit(&get(self.admin, "/metrics").1).remove(JUDGED).unwrap_or_default()
    }

    /// Whether the newest masks since a time are correct, several in a row.
    pub fn is_well(&self, since: u64) -> bool {
        let seen = self.watch.all_since(JUDGED, since);
        seen.len() >= STEADY && seen[seen.len() - STEADY..].iter().all(|seen| seen.correct())
    }

    /// Waits for correct masks, forgets what was before them, and returns the newest message.
    pub fn well(&self) -> Seen {
        let since = unix_ns();
        self.watch.forget_before(since);
        self.until("correct masks", |it| it.is_well(since));
        self.watch.last(JUDGED).unwrap()
    }

    /// Waits for a correct mask of a frame that was captured after a time, and for masks that stay correct.
    pub fn recovered(&self, since: u64) -> Seen {
        let first = || self.watch.all_since(JUDGED, since).into_iter().find(|s| s.correct() && s.captured > since);
        self.until("a correct mask after the fault", |_| first().is_some());
        let first = first().unwrap();
        self.until("masks that stay correct", |it| it.is_well(first.received));
        first
    }

    /// What came of all cameras since a time.
    pub fn watch_all(&self, since: u64) -> Vec<Seen> {
        (0..self.plan.cameras).flat_map(|i| self.watch.all_since(&format!("cam-{i}"), since)).collect()
    }

    /// Milliseconds from decoder to subscriber, of all cameras' frames since a time.
    pub fn latencies(&self, since: u64) -> Vec<f64> {
        self.watch_all(since).iter().map(Seen::latency_ms).collect()
    }

    /// The daemon has said nothing that it should not.
    pub fn no_bugs(&self) {
        let log = self.daemon.log();
        assert!(!log.contains("This is a bug") && !log.contains("panicked"), "{log}");
    }
}

fn run(plan: &Plan, home: &tempfile::TempDir, weights: &Path, config: &str) -> (Daemon, SocketAddr) {
    let env: Vec<(&str, &str)> = plan.env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut daemon = Daemon::start_on(plan.endpoint.clone(), home.path(), weights, config, &env);
    let admin = daemon.admin();
    (daemon, admin)
}
