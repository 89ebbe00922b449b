//! Months of mishaps in minutes: cameras that break and come back, and cameras that come and go, and what the daemon
//! holds after them.
//!
//! `make test` runs a few; `make cycles` a thousand of each, and writes what was held on the way.

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use maskd::frame::Size;
use serde::Serialize;

use super::{
    held::{Held, grown_mb},
    support::{
        audit::{Statuses, audit},
        process::{Daemon, counter, free_port, get},
        rtsp::{Mount, RtspServer},
        scene::Scene,
        until,
        weights::TinyVit,
    },
};

/// Memory that may be held after a thousand mishaps and was not before.
const MOST_MB: f64 = 5.0;
/// Memory that is free is given back within this.
const GIVEN_BACK: Duration = Duration::from_secs(12);
/// The same of allocated memory, after the few of `make test`: less than any pipeline, publisher or tracker takes.
const FEW_MOST_MB: f64 = 1.0;

const STEADY: &str = "[streams.steady]\nkind = 'test'\n";
const PATHS: [&str; 4] = ["/a", "/b", "/c", "/d"];

/// A daemon whose configuration is written anew, and what its cameras are connected to.
struct Yard {
    home: tempfile::TempDir,
    server: RtspServer,
    daemon: Daemon,
    admin: SocketAddr,
    // Somebody must listen, or half of the way is never gone.
    _statuses: Statuses,
}

/// Short waits between tries: a thousand of them are to fit into minutes.
const COMMON: &str = "retry_max_s = 0.1\nlatency_ms = 0\n";

impl Yard {
    /// A daemon with one camera that is always well.
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let weights = home.path().join("tiny.safetensors");
        TinyVit::default().write(&weights, 7);
        let film = home.path().join("film.mp4");
        Scene { size: Size::new(160, 120), frames: 6, fps: 30 }.write_video(&film);
        std::fs::write(home.path().join("broken.mp4"), b"this is no film").unwrap();
        let server = RtspServer::start(&PATHS.map(|path| Mount::film(path, &film).anew()));
        let text = format!("[runtime]\nstatus_seconds = 0.2\nreload_on_change = false\n{STEADY}");
        let mut daemon = Daemon::start(home.path(), &weights, &text, &[]);
        let (admin, statuses) = (daemon.admin(), Statuses::follow(&daemon.endpoint()));
        let it = Self { home, server, daemon, admin, _statuses: statuses };
        it.published("steady", 3);
        it
    }

    /// One scrape, audited.
    fn metrics(&self) -> String {
        let text = get(self.admin, "/metrics").1;
        audit(&text);
        text
    }

    fn published(&self, stream: &str, frames: u64) {
        let label = format!("stream=\"{stream}\"");
        until(&format!("{frames} frames of {stream}"), || {
            (counter(&self.metrics(), "maskd_frames_published", &[&label]) >= frames).then_some(())
        });
    }

    /// How often RTSP cameras that had delivered were built anew; those that never do come on top.
    fn restarts(&self) -> u64 {
        counter(&self.metrics(), "maskd_reconnects", &["stream=\"bad-rtsp-"])
    }

    /// Has the daemon run these streams beside the steady one, and waits until it has read so.
    fn run(&self, streams: &[(String, Kind)]) {
        let path = self.home.path().join("maskd.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        let head = &text[..text.find(STEADY).unwrap() + STEADY.len()];
        let tables = tables(self.home.path(), &self.server, streams);
        let read = || self.daemon.log().matches("the configuration was read again").count();
        let before = read();
        std::fs::write(&path, format!("{head}{tables}")).unwrap();
        self.daemon.signal("HUP");
        until("the configuration to be read", || (read() > before).then_some(()));
    }

    /// Adds streams of all kinds, sees them deliver, and takes them away again.
    fn come_and_go(&self, round: usize) {
        let streams: Vec<(String, Kind)> = [Kind::Test, Kind::Film, Kind::Rtsp(round % 4), Kind::Refused]
            .into_iter()
            .enumerate()
            .map(|(i, kind)| (format!("guest-{}", 4 * (round % 4) + i), kind))
            .collect();
        self.run(&streams);
        for (name, kind) in &streams {
            if !matches!(kind, Kind::Refused) {
                self.published(name, 1);
            }
        }
        self.run(&[]);
        until("the streams to be forgotten", || (!self.metrics().contains("guest-")).then_some(()));
    }

    fn held(&self) -> Held {
        Held::by(&self.metrics())
    }

    /// What is held once the handles and threads are as few as before, and memory that is free was given back: what is
    /// used no more is kept a while.
    fn settled(&self, before: Held) -> Held {
        let start = Instant::now();
        until(&format!("as few handles and threads as before: {before:?}"), || {
            let now = self.held();
            let few = now.files <= before.files && now.threads <= before.threads;
            (few && start.elapsed() > GIVEN_BACK).then_some(now)
        })
    }

    fn stop(mut self) {
        self.daemon.signal("TERM");
        assert!(self.daemon.wait().success());
        let log = self.daemon.log();
        assert!(!log.contains("This is a bug") && !log.contains("panicked"), "{log}");
    }
}

/// How a camera breaks.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// It does not.
    Test,
    /// It ends after a few frames, and starts over.
    Film,
    /// The server ends the stream after a few frames.
    Rtsp(usize),
    /// Nobody is there.
    Refused,
    /// It cannot be played.
    Broken,
    /// A source that ends by itself.
    Stops,
}

fn tables(home: &Path, server: &RtspServer, streams: &[(String, Kind)]) -> String {
    let refused = free_port();
    let film = |name: &str| home.join(name).display().to_string();
    let table = |(name, kind): &(String, Kind)| {
        let keys = match kind {
            Kind::Test => "kind = 'test'\n".to_owned(),
            Kind::Film => format!("kind = 'file'\nlocation = '{}'\nloop = true\n", film("film.mp4")),
            Kind::Rtsp(at) => format!("kind = 'rtsp'\nlocation = '{}'\n", server.url(PATHS[*at])),
            Kind::Refused => format!("kind = 'rtsp'\nlocation = 'rtsp://127.0.0.1:{refused}/x'\n"),
            Kind::Broken => format!("kind = 'file'\nlocation = '{}'\nloop = true\n", film("broken.mp4")),
            Kind::Stops => "kind = 'test'\nproperties.source.num-buffers = 3\n".to_owned(),
        };
        format!("[streams.{name}]\n{COMMON}{keys}")
    };
    streams.iter().map(table).collect()
}

fn breaking() -> Vec<(String, Kind)> {
    let kinds = [Kind::Film, Kind::Broken, Kind::Refused, Kind::Stops];
    let other = kinds.into_iter().enumerate().map(|(i, kind)| (format!("bad-{i}"), kind));
    other.chain((0..PATHS.len()).map(|i| (format!("bad-rtsp-{i}"), Kind::Rtsp(i)))).collect()
}

/// What was held after so many mishaps.
#[derive(Serialize)]
struct Point {
    mishaps: u64,
    held: Held,
}

/// Cameras break until the RTSP ones of them were built anew `count` times; `points` tells what was held on the way.
fn restarts(yard: &Yard, count: u64, step: u64, points: &mut Vec<Point>) {
    yard.run(&breaking());
    let (first, mut next) = (yard.restarts(), 0);
    let mut look = |mishaps| points.push(Point { mishaps, held: yard.held() });
    look(0);
    while next < count {
        next = (next + step).min(count);
        until_restarts(yard, first + next);
        look(next);
    }
    yard.run(&[]);
    until("the streams to be forgotten", || (!yard.metrics().contains("bad-")).then_some(()));
}

fn until_restarts(yard: &Yard, count: u64) {
    let mut reached = yard.restarts();
    while reached < count {
        // As long as it goes on, it may take its time.
        reached = until("a camera to be built anew", || Some(yard.restarts()).filter(|now| *now > reached));
    }
}

#[test]
fn a_few_mishaps_leave_nothing_behind() {
    let yard = Yard::new();
    let mishaps = || {
        for round in 0..8 {
            yard.come_and_go(round);
        }
        restarts(&yard, 30, 30, &mut Vec::new());
    };
    // What is kept for the next time is kept once: the same again is to find it there.
    mishaps();
    // By then the camera that is well has all that its tracker ever keeps.
    yard.published("steady", 150);
    let before = yard.held();
    mishaps();
    // Threads that wait for more work keep what they hold a while; one left behind by each mishap is ten times more.
    until(&format!("as little to be held as before: {before:?}"), || {
        let after = yard.held();
        let grown = grown_mb(before.heap_bytes, after.heap_bytes);
        (grown < FEW_MOST_MB && after.files <= before.files + 6 && after.threads <= before.threads + 6).then_some(())
    });
    yard.published("steady", 1);
    yard.stop();
}

/// The whole of it.
#[derive(Serialize)]
struct Report {
    before: Held,
    restarts: Vec<Point>,
    add_remove: Vec<Point>,
    after: Held,
}

#[test]
#[ignore = "a quarter of an hour of mishaps: make cycles"]
fn a_thousand_mishaps_leave_nothing_behind() {
    let count = std::env::var("MASKD_CYCLES").ok().and_then(|count| count.parse().ok()).unwrap_or(1000_u64);
    let yard = Yard::new();
    // What is kept for the next time is kept once: after a tenth of it all is there.
    (0..count.div_ceil(40)).for_each(|round| yard.come_and_go(round as usize));
    restarts(&yard, count / 10, count, &mut Vec::new());
    let before = yard.settled(Held { files: u64::MAX, threads: u64::MAX, ..yard.held() });
    let mut report = Report { before, restarts: vec![], add_remove: vec![], after: yard.held() };
    restarts(&yard, count, 50, &mut report.restarts);
    report.add_remove.push(Point { mishaps: 0, held: yard.held() });
    for round in 0..count.div_ceil(4) {
        yard.come_and_go(round as usize);
        if round % 12 == 11 {
            report.add_remove.push(Point { mishaps: 4 * (round + 1), held: yard.held() });
        }
    }
    report.after = yard.settled(report.before);
    report.add_remove.push(Point { mishaps: count, held: report.after });
    println!("before {:?}\nafter  {:?}", report.before, report.after);
    if let Ok(path) = std::env::var("MASKD_CYCLES_RESULT") {
        std::fs::write(path, serde_json::to_string_pretty(&report).unwrap()).unwrap();
    }
    yard.stop();
    let grown = grown_mb(report.before.resident_bytes, report.after.resident_bytes);
    println!("{count} restarts and {count} times added and removed: {grown:+.1} MB");
    assert!(grown < MOST_MB, "{grown} MB more are held");
}
