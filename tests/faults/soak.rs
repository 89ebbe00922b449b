//! Many cameras for a long while: what the daemon holds stays what it is. `make soak MINUTES=30 CAMERAS=8` runs it.
//!
//! | variable | meaning | without it |
//! | --- | --- | --- |
//! | `MASKD_SOAK_MINUTES` | how long | 2 |
//! | `MASKD_SOAK_CAMERAS` | how many | 8 |
//! | `MASKD_SOAK_RESULT` | the file that every look is written to, as JSON | nothing is written |

use std::{
    path::Path,
    time::{Duration, Instant},
};

use maskd::frame::Size;
use serde::Serialize;

use super::{
    camera::Camera,
    film::Clock,
    held::{Held, grown_mb},
    support::{
        audit::{Statuses, audit},
        process::{Daemon, counter, get},
        scene::Scene,
        weights::TinyVit,
    },
};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(5);
/// What may have come on top between the first third and the last.
const MOST_MB: f64 = 5.0;

/// One look.
#[derive(Serialize)]
struct Point {
    seconds: f64,
    published: u64,
    restarts: u64,
    #[serde(flatten)]
    held: Held,
}

#[derive(Serialize)]
struct Report {
    cameras: usize,
    points: Vec<Point>,
}

fn variable(name: &str, otherwise: f64) -> f64 {
    std::env::var(name).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(otherwise)
}

/// Half of them RTSP cameras, the others files that start over every few seconds and drawn pictures.
fn streams(home: &Path, rtsp: &[Camera], count: usize) -> String {
    let film = home.join("film.mp4");
    Scene { size: Size::new(160, 120), frames: 100, fps: 10 }.write_video(&film);
    let table = |i: usize| match (i % 4, rtsp.get(i / 2)) {
        (0 | 2, Some(camera)) => format!("kind = 'rtsp'\nlocation = '{}'\n", camera.url()),
        (1, _) => format!("kind = 'file'\nlocation = '{}'\nloop = true\n", film.display()),
        _ => "kind = 'test'\nproperties.mode.caps = 'video/x-raw,width=160,height=120,framerate=10/1'\n".to_owned(),
    };
    (0..count).map(|i| format!("[streams.cam-{i}]\n{}", table(i))).collect()
}

#[test]
#[ignore = "as many minutes as it is told to: make soak"]
fn what_is_held_stays_what_it_is() {
    let length = Duration::from_secs_f64(60.0 * variable("MASKD_SOAK_MINUTES", 2.0));
    let count = variable("MASKD_SOAK_CAMERAS", 8.0) as usize;
    let home = tempfile::tempdir().unwrap();
    let weights = home.path().join("tiny.safetensors");
    TinyVit::default().write(&weights, 7);
    let clock = Clock::default();
    let rtsp: Vec<Camera> = (0..count.div_ceil(2)).map(|_| Camera::start(&clock)).collect();
    clock.go();
    let config = format!("[runtime]\nstatus_seconds = 1\n{}", streams(home.path(), &rtsp, count));
    let mut daemon = Daemon::start(home.path(), &weights, &config, &[]);
    let admin = daemon.admin();
    let _statuses = Statuses::follow(&daemon.endpoint());
    let (start, path) = (Instant::now(), std::env::var("MASKD_SOAK_RESULT").ok());
    let mut report = Report { cameras: count, points: Vec::new() };
    while start.elapsed() < length {
        let metrics = get(admin, "/metrics").1;
        // Every frame is accounted for, at every look.
        audit(&metrics);
        report.points.push(Point {
            seconds: start.elapsed().as_secs_f64(),
            published: counter(&metrics, "maskd_frames_published", &[]),
            restarts: counter(&metrics, "maskd_reconnects", &[]),
            held: Held::by(&metrics),
        });
        if let Some(path) = &path {
            // At once: a run that is cut short leaves what it has.
            std::fs::write(path, serde_json::to_string(&report).unwrap()).unwrap();
        }
        std::thread::park_timeout(LOOK.min(length / 20));
    }
    daemon.signal("TERM");
    assert!(daemon.wait().success());
    assert!(!daemon.log().contains("This is a bug"), "{}", daemon.log());

    let points = &report.points;
    let (first, last) = points.split_at(points.len() / 2);
    let most = |part: &[Point], of: fn(&Held) -> u64| part.iter().map(|point| of(&point.held)).max().unwrap();
    let quiet = |part: &[Point], of: fn(&Held) -> u64| {
        let mut all: Vec<u64> = part.iter().map(|point| of(&point.held)).collect();
        all.sort_unstable();
        all[all.len() / 2]
    };
    let grown = |of: fn(&Held) -> u64| grown_mb(quiet(&first[first.len() / 3..], of), quiet(last, of));
    let (resident, heap) = (grown(|held| held.resident_bytes), grown(|held| held.heap_bytes));
    let end = points.last().unwrap();
    println!(
        "{count} cameras, {:.0} min, {} frames published, {} restarts: from the first half to the second, {resident:+.2} MB in \
         RAM, {heap:+.2} MB allocated; at the end {:.1} MB, {} files, {} threads",
        end.seconds / 60.0,
        end.published,
        end.restarts,
        end.held.resident_bytes as f64 / 1e6,
        end.held.files,
        end.held.threads
    );
    assert!(resident < MOST_MB && heap < MOST_MB, "{resident} MB, {heap} MB");
    let handles: [fn(&Held) -> u64; 2] = [|held| held.files, |held| held.threads];
    for of in handles {
        assert!(most(last, of) <= most(first, of) + 2, "handles or threads grow");
    }
}
