//! Previews: pictures over zenoh for as long as somebody looks, and no longer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails; clippy.toml misses helpers and async tests"
)]

use std::io::{BufRead as _, BufReader};

use maskd::{frame::Size, ingest::Clip, publish::Publisher as _};
use tokio::time::timeout;
use zenoh::bytes::Encoding;

use crate::{
    publish::{WITHIN, asker, config, eventually, open, stream},
    support::{
        process::{Daemon, free_port, maskd, signal, spawn},
        until,
        weights::TinyVit,
    },
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn previews_are_wanted_only_while_somebody_looks() {
    let (publisher, _prompts, _, at) = open(config()).await;
    let gate = publisher.stream(stream("gate")).await.unwrap();
    assert!(!gate.wants_preview());
    let viewer = asker(&at).await;
    let subscriber = viewer.declare_subscriber("maskd/v1/*/gate/preview").await.unwrap();
    eventually(|| gate.wants_preview()).await;
    gate.publish_preview(vec![0xff, 0xd8, 0xff]).await.unwrap();
    let sample = timeout(WITHIN, subscriber.recv_async()).await.unwrap().unwrap();
    assert_eq!((&*sample.payload().to_bytes(), sample.encoding()), (&[0xff, 0xd8, 0xff][..], &Encoding::IMAGE_JPEG));
    subscriber.undeclare().await.unwrap();
    eventually(|| !gate.wants_preview()).await;
    viewer.close().await.unwrap();
    publisher.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_of_a_running_daemon_sees_its_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("tiny.safetensors");
    TinyVit::default().write(&weights, 7);
    let mut daemon = Daemon::start(folder.path(), &weights, "[streams.pic]\nkind = 'test'\n", &[]);
    daemon.wait_for_log("stream up");
    let viewer = asker(&[daemon.endpoint()]).await;
    let subscriber = viewer.declare_subscriber("maskd/v1/local/pic/preview").await.unwrap();
    for _ in 0..3 {
        let sample = timeout(WITHIN, subscriber.recv_async()).await.expect("no picture in time").unwrap();
        assert_eq!(sample.encoding(), &Encoding::IMAGE_JPEG);
        let picture = image::load_from_memory(&sample.payload().to_bytes()).unwrap();
        let size = Size::new(picture.width(), picture.height());
        // 640x480 as the network sees it: 64 lines, or as many whole patches as fit.
        assert!(size.height <= 64 && size.height > 32 && size.width > size.height, "{size}");
    }
    viewer.close().await.unwrap();
    daemon.signal("TERM");
    assert!(daemon.wait().success(), "{}", daemon.log());
    assert!(!daemon.log().contains("This is a bug"), "{}", daemon.log());
}

#[test]
fn watch_records_what_it_sees_and_sums_it_up() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("tiny.safetensors");
    TinyVit::default().write(&weights, 7);
    let mut daemon = Daemon::start(folder.path(), &weights, "[streams.pic]\nkind = 'test'\n", &[]);
    daemon.wait_for_log("stream up");
    let video = folder.path().join("seen.mp4");
    let (endpoint, path) = (daemon.endpoint(), video.to_str().unwrap());
    let seen = maskd(&["watch", "--connect", &endpoint, "--count", "40", "--timeout", "120", "--record", path]);
    let (said, errors) = (String::from_utf8_lossy(&seen.stdout), String::from_utf8_lossy(&seen.stderr));
    assert!(seen.status.success(), "{errors}");
    assert!(said.contains("local/pic: 40 frames in") && said.contains("instances: "), "{said}");
    let first = Clip::open(&video).unwrap().next().unwrap().unwrap();
    assert!(first.size.height <= 64 && first.size.width > first.size.height, "{}", first.size);

    // Nobody said when to stop, and so the daemon's end does.
    let mut child = spawn(&["watch", "--connect", &endpoint, "--until-end"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains(" up ") && !line.contains("frame - ")));
    daemon.signal("TERM");
    assert!(daemon.wait().success(), "{}", daemon.log());
    let said = lines.collect::<Vec<_>>().join("\n");
    assert!(child.wait().unwrap().success() && said.contains("a second)"), "{said}");
}

#[test]
fn a_recording_outlives_the_reader_of_its_summary_and_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("tiny.safetensors");
    TinyVit::default().write(&weights, 7);
    let mut daemon = Daemon::start(folder.path(), &weights, "[streams.pic]\nkind = 'test'\n", &[]);
    daemon.wait_for_log("stream up");
    let endpoint = daemon.endpoint();
    for end in ["no reader", "TERM", "INT"] {
        let place = tempfile::tempdir().unwrap();
        let video = place.path().join("seen.mp4");
        let mut child = spawn(&["watch", "--connect", &endpoint, "--record", video.to_str().unwrap()]);
        // It begins with the first picture.
        until("a recording", || place.path().read_dir().unwrap().next().map(drop));
        match end {
            "no reader" => drop(child.stdout.take()),
            name => signal(&child, name),
        }
        let output = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.contains("local/pic in"), "{end}: {errors}");
        assert!(Clip::open(&video).unwrap().next().unwrap().is_ok(), "{end}");
        assert_eq!(place.path().read_dir().unwrap().count(), 1, "{end}");
    }
    daemon.signal("TERM");
    assert!(daemon.wait().success(), "{}", daemon.log());
}

#[derive(clap::Parser)]
struct WatchCommand {
    #[command(flatten)]
    args: maskd::cli::watch::WatchArgs,
}

#[test]
fn watching_nobody_says_what_to_check() {
    let at = format!("tcp/127.0.0.1:{}", free_port());
    let args = <WatchCommand as clap::Parser>::parse_from(["maskd", "--connect", &at, "--timeout", "0.5"]).args;
    let error = maskd::cli::watch::run(args).unwrap_err().to_string();
    assert!(error.starts_with(&format!("nobody is publishing at {at}: check that maskd runs there")), "{error}");
}
