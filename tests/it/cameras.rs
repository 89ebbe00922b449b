//! RTSP cameras as they are in the field: servers that die, that fall silent, that refuse.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, bounded};
use maskd::{
    frame::{Frame, StreamId},
    ingest::{Cause, SourceConfig},
};

use crate::support::{
    PATIENCE,
    process::free_port,
    rtsp::{Mount, RtspServer},
    scene::Scene,
    site::{NETWORK_SIZE, Site},
};

#[test]
fn a_dead_server_comes_back_in_a_new_epoch_and_the_other_camera_never_notices() {
    let scene = Scene::default();
    let server = RtspServer::start(&[Mount::new("/a", scene)]);
    let other = RtspServer::start(&[Mount::new("/b", Scene { fps: 10, ..scene })]);
    let site = Site::new();
    let quick = |url| SourceConfig { stall_timeout_s: 3.0, latency_ms: 50, ..SourceConfig::rtsp(url) };
    let a = site.start("a", quick(server.url("/a")));
    let b = site.start("b", quick(other.url("/b")));
    assert_eq!(a.up(), (0, scene.size, Some("avdec_h264".to_owned())));
    assert_eq!(b.up().0, 0);

    let mut seen: HashMap<StreamId, Vec<Frame>> = HashMap::new();
    let mut watch = |wanted: &dyn Fn(&Frame) -> bool| {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let batch = site.frames();
            let found = batch.iter().any(wanted);
            batch.into_iter().for_each(|frame| seen.entry(frame.stream.clone()).or_default().push(frame));
            if found {
                return;
            }
        }
        panic!("no such frame");
    };
    watch(&|f| f.stream == a.id && f.sequence >= 5);
    let port = server.kill();
    let (fault, attempt, _) = a.down();
    assert_eq!(attempt, 1, "{fault}");
    assert_eq!(fault.to_string().lines().count(), 1);
    let (fault, ..) = a.down();
    assert_eq!(fault.cause, Cause::Unreachable, "{fault}");
    assert!(fault.detail.contains(&format!("127.0.0.1:{port}")), "{fault}");

    let _server = RtspServer::start_at(port, &[Mount::new("/a", scene)]);
    assert_eq!(a.up().0, 1);
    watch(&|f| f.stream == a.id && f.epoch == 1 && f.sequence > 10);
    let (a_id, b_id) = (a.id.clone(), b.id.clone());
    assert!(a.stop() < Duration::from_secs(5));
    assert!(b.events.try_recv().is_err(), "the other camera has events");
    assert!(b.stop() < Duration::from_secs(5));
    let mut rest = site.mailbox.take_batch(8);
    rest.drain(..).for_each(|frame| seen.entry(frame.stream.clone()).or_default().push(frame));

    for (id, epochs) in [(&a_id, 2), (&b_id, 1)] {
        let frames = &seen[id];
        assert!(frames.windows(2).all(|w| w[0].sequence < w[1].sequence && w[0].epoch <= w[1].epoch));
        assert_eq!(frames.last().unwrap().epoch + 1, epochs);
        assert!(frames.iter().all(|f| f.size == NETWORK_SIZE && f.source == scene.size));
        site.assert_accounted(id, frames.len() as u64);
    }
    // The other camera's own time runs on by a tenth of a second a frame: nothing is missing, and it did not pause.
    let line: Vec<_> = seen[&b_id].iter().map(|f| (f.sequence, f.pts_ns.unwrap())).collect();
    for pair in line.windows(2).chain([&[line[0], line[line.len() - 1]][..]]) {
        let (frames, pts) = (pair[1].0 - pair[0].0, pair[1].1 - pair[0].1);
        assert!(pts.abs_diff(frames * 100_000_000) < 250_000_000, "{frames} frames in {pts} ns");
    }
}

#[test]
fn a_silent_camera_is_found_out_and_rebuilt() {
    let server = RtspServer::start(&[Mount::new("/a", Scene::default()).falls_silent_after(12)]);
    let site = Site::new();
    let config = SourceConfig { stall_timeout_s: 2.0, latency_ms: 50, ..SourceConfig::rtsp(server.url("/a")) };
    let camera = site.start("a", config);
    assert_eq!(camera.up().0, 0);
    let (fault, ..) = camera.down();
    assert_eq!((fault.cause, camera.up().0), (Cause::Stall, 1), "{fault}");
    assert_eq!(site.reconnects("a", Cause::Stall), 1);
    assert!(site.frame(|f| f.epoch == 1).sequence > 0);
}

#[test]
fn a_refused_address_is_tried_again_and_again_and_stops_at_once() {
    let port = free_port();
    let site = Site::new();
    let url = format!("rtsp://me:hunter2@127.0.0.1:{port}/live?token=hunter2");
    let camera = site.start("a", SourceConfig::rtsp(url));
    for expected in 1..=4 {
        let (fault, attempt, retry_in) = camera.down();
        assert_eq!((attempt, fault.cause), (expected, Cause::Unreachable), "{fault}");
        assert!(retry_in <= Duration::from_millis(250 << (expected - 1)));
        assert!(!fault.detail.contains("hunter2"), "{fault}");
        assert!(fault.detail.contains(&format!("rtsp://***@127.0.0.1:{port}/live")), "{fault}");
    }
    assert_eq!(site.reconnects("a", Cause::Unreachable), 4);
    assert!(camera.stop() < Duration::from_secs(3));
}

/// Answers every RTSP request with a demand for a password; reports the passwords it is given.
pub fn doorkeeper() -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("rtsp://{}/live", listener.local_addr().unwrap());
    let (tell, given) = bounded(64);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut answers = stream.try_clone().unwrap();
            let (mut number, mut lines) = (String::new(), BufReader::new(stream).lines());
            while let Some(Ok(line)) = lines.next() {
                if let Some(value) = line.strip_prefix("CSeq: ") {
                    number = value.to_owned();
                } else if let Some(value) = line.strip_prefix("Authorization: ") {
                    let _ = tell.try_send(value.to_owned());
                } else if line.is_empty() {
                    let demand = "WWW-Authenticate: Basic realm=\"door\"";
                    let _ = write!(answers, "RTSP/1.0 401 Unauthorized\r\nCSeq: {number}\r\n{demand}\r\n\r\n");
                }
            }
        }
    });
    (url, given)
}

#[test]
fn the_password_comes_from_its_file_and_a_wrong_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    std::fs::write(&path, "hunter2\n").unwrap();
    let (url, given) = doorkeeper();
    let site = Site::new();
    let user = Some("me".to_owned());
    let config = SourceConfig { user, password_file: Some(path.clone()), ..SourceConfig::rtsp(url) };
    let camera = site.start("a", config);
    assert_eq!(given.recv_timeout(PATIENCE).unwrap().trim_end(), "Basic bWU6aHVudGVyMg==", "me:hunter2");
    let (fault, ..) = camera.down();
    assert_eq!(fault.cause, Cause::Refused, "{fault}");
    assert!(!fault.detail.contains("hunter2"), "{fault}");
    // A changed password is used at the next try; a missing file is a failure like any other.
    std::fs::write(&path, "better").unwrap();
    while given.recv_timeout(PATIENCE).unwrap().trim_end() != "Basic bWU6YmV0dGVy" {}
    std::fs::remove_file(&path).unwrap();
    while !camera.down().0.detail.contains("password_file") {}
    assert!(camera.stop() < Duration::from_secs(5));
}

#[test]
fn an_address_that_accepts_and_says_nothing_stalls_and_stops_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("rtsp://{}/live", listener.local_addr().unwrap());
    let site = Site::new();
    let camera = site.start("a", SourceConfig { stall_timeout_s: 0.5, ..SourceConfig::rtsp(url) });
    let (fault, ..) = camera.down();
    assert_eq!(fault.cause, Cause::Stall, "{fault}");
    assert!(camera.stop() < Duration::from_secs(5));
}
