//! Who is stuck is named, and the watchdog goes hungry: a wedged GStreamer thread, engine, publisher and network side.

use std::{fs::OpenOptions, path::PathBuf};

use maskd::frame::Size;
use serde_json::Value;

use crate::{
    skip::skip,
    support::{
        notify::{Manager, freeze_threads, pipe},
        process::{Daemon, counter, get, spawn},
        scene::Scene,
        until,
        weights::TinyVit,
    },
};

/// In microseconds: a look every tenth of a second.
const OFTEN: &str = "200000";
const STALL: &str = "[runtime]\nstall_seconds = 1\n";

fn home() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("tiny.safetensors");
    TinyVit::default().write(&weights, 7);
    (folder, weights)
}

fn is_ping(line: &str) -> bool {
    line == "WATCHDOG=1"
}

/// Waits until `/healthz` fails and names `stage`.
fn unhealthy(admin: std::net::SocketAddr, stage: &str) {
    until(&format!("/healthz to name {stage}"), || {
        let (status, body) = get(admin, "/healthz");
        let body: Value = serde_json::from_str(&body).unwrap();
        let named = body["stuck"].as_array().unwrap().iter().any(|stuck| stuck["stage"] == stage);
        (status == 503 && named).then_some(())
    });
}

#[test]
fn a_wedged_gstreamer_thread_is_left_behind_twice_more_and_then_trips_it() {
    let (home, weights) = home();
    let manager = Manager::new(home.path());
    let (film, hung) = (home.path().join("film.mp4"), home.path().join("hung.mp4"));
    Scene { size: Size::new(160, 120), frames: 20, fps: 10 }.write_video(&film);
    // Opening a pipe that nobody writes to holds the change of state for ever. The daemon looks at films that it is given,
    // not at what a pipeline of one's own opens.
    pipe(&hung);
    let launch = home.path().join("hung.launch");
    let shipped = include_str!("../../pipelines/file.launch");
    std::fs::write(&launch, shipped.replace("location=video.mp4", &format!("location={}", hung.display()))).unwrap();
    let config = format!(
        "{STALL}[streams.good]\nkind = 'test'\n[streams.hung]\npipeline = '{}'\nstall_timeout_s = 0.3\n",
        launch.display()
    );
    let mut daemon = Daemon::start(home.path(), &weights, &config, &manager.env(OFTEN));
    let admin = daemon.admin();
    manager.hear("ping", is_ping);
    manager.hear_stuck("camera hung", 5);
    unhealthy(admin, "camera hung");
    daemon.wait_for_log("stuck: camera hung gives no sign of life");
    let metrics = get(admin, "/metrics").1;
    assert!(metrics.contains("maskd_hanging_calls{stream=\"hung\"} 3"), "{metrics}");
    assert_eq!(counter(&metrics, "maskd_reconnects", &["stream=\"hung\"", "cause=\"hang\""]), 3, "{metrics}");
    // The other camera notices nothing.
    let published = || counter(&get(admin, "/metrics").1, "maskd_frames_published", &["stream=\"good\""]);
    let before = published();
    until("more frames of the other camera", || (published() > before + 5).then_some(()));

    // The calls return: with somebody at the other end of the pipe, who leaves again, and a film in its place.
    let key = OpenOptions::new().read(true).write(true).open(&hung).unwrap();
    std::fs::rename(film, &hung).unwrap();
    drop(key);
    manager.hear("ping", is_ping);
    until("the camera to come up", || {
        let ready: Value = serde_json::from_str(&get(admin, "/readyz").1).unwrap();
        (ready["streams"]["hung"]["up"] == true && ready["ready"] == true).then_some(())
    });
    until("the calls to be off the books", || {
        get(admin, "/metrics").1.contains("maskd_hanging_calls{stream=\"hung\"} 0").then_some(())
    });
    assert_eq!(get(admin, "/healthz").0, 200);
    daemon.signal("TERM");
    assert!(daemon.wait().success(), "{}", daemon.log());
    assert!(!daemon.log().contains("This is a bug"), "{}", daemon.log());
}

#[test]
fn a_camera_that_is_down_or_silent_trips_nothing() {
    let (home, weights) = home();
    let manager = Manager::new(home.path());
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = format!(
        "{STALL}status_seconds = 0.1\n[streams.down]\nkind = 'rtsp'\nlocation = 'rtsp://127.0.0.1:{}/'\n\
         [streams.silent]\nkind = 'rtsp'\nlocation = 'rtsp://{}/'\nstall_timeout_s = 5\n",
        crate::support::process::free_port(),
        silent.local_addr().unwrap()
    );
    let mut daemon = Daemon::start(home.path(), &weights, &config, &manager.env(OFTEN));
    let admin = daemon.admin();
    manager.hear("status", |line| line == "STATUS=0 of 2 streams up, 0.0 frames/s");
    // Three times the limit, by pings that come a tenth of a second apart.
    (0..30).for_each(|_| drop(manager.hear("ping", is_ping)));
    assert_eq!(get(admin, "/healthz").0, 200);
    daemon.signal("TERM");
    assert!(daemon.wait().success(), "{}", daemon.log());
    assert!(!daemon.log().contains("stuck"), "{}", daemon.log());
}

/// Freezes threads of a daemon that works; false where the machine does not let us.
fn freeze(threads: &str, stage: &str, probed: bool) -> bool {
    let (home, weights) = home();
    let manager = Manager::new(home.path());
    let config = format!("{STALL}[streams.pic]\nkind = 'test'\n");
    let mut daemon = Daemon::start(home.path(), &weights, &config, &manager.env(OFTEN));
    let admin = daemon.admin();
    daemon.wait_for_log("stream up");
    manager.hear("ping", is_ping);
    // Let go before the daemon is waited for.
    let Some(_frozen) = freeze_threads(daemon.pid(), threads) else {
        skip("this machine lets nobody trace a child's threads");
        return false;
    };
    manager.hear_stuck(stage, 5);
    daemon.wait_for_log(&format!("stuck: {stage} gives no sign of life"));
    if probed {
        unhealthy(admin, stage);
    }
    true
}

#[test]
fn a_wedged_engine_trips_it() {
    freeze("engine", "engine", true);
}

#[test]
fn a_wedged_network_side_trips_it() {
    // Nobody is left to answer probes.
    freeze("io", "network threads", false);
}

#[test]
fn a_wedged_publisher_trips_it() {
    let (home, weights) = home();
    let manager = Manager::new(home.path());
    let write = |name: &str, text: &str| {
        let path = home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    // Masks that wait for their subscriber, for an hour, instead of giving way.
    let patient = write(
        "patient.json5",
        "{ transport: { link: { tx: { queue: { congestion_control: { block: { wait_before_close: 3600000000 } } } } } }, \
           qos: { publication: [{ key_exprs: ['maskd/v1/*/*/masks'], config: { congestion_control: 'block' } }] } }",
    );
    // And a subscriber that is believed to live while it says nothing.
    let lasting = write("lasting.json5", "{ transport: { link: { tx: { lease: 3600000 } } } }");
    let pictures: String = (0..4).map(|i| format!("[streams.pic{i}]\nkind = 'test'\n")).collect();
    let port = crate::support::process::free_port();
    // Sockets so small that masks wait after a second, not after minutes.
    let endpoint = format!("tcp/127.0.0.1:{port}#so_sndbuf=4608;so_rcvbuf=4608");
    let config =
        format!("short_side = 64\n[publish]\nlisten = ['{endpoint}']\nzenoh_config = '{patient}'\n{STALL}{pictures}");
    let mut daemon = Daemon::start_on(endpoint.clone(), home.path(), &weights, &config, &manager.env(OFTEN));
    let admin = daemon.admin();
    daemon.wait_for_log("stream up");
    let mut watch = spawn(&["watch", "--json", "--connect", &endpoint, "--zenoh-config", &lasting]);
    let mut line = String::new();
    let mut seen = std::io::BufReader::new(watch.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut seen, &mut line).unwrap();
    assert!(line.contains("instances"), "{line}");
    let signal = |name: &str| {
        let sent = std::process::Command::new("kill").args([name, &watch.id().to_string()]).status();
        assert!(sent.unwrap().success());
    };
    signal("-STOP");
    manager.hear_stuck("publisher", 5);
    unhealthy(admin, "publisher");
    daemon.wait_for_log("stuck: publisher gives no sign of life");
    signal("-KILL");
    watch.wait().unwrap();
    // The link is gone, and what waited for it goes on.
    manager.hear("ping", is_ping);
    daemon.wait_for_log("no longer stuck");
    daemon.signal("TERM");
    assert!(daemon.wait().success(), "{}", daemon.log());
}
