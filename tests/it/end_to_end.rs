//! From drawn pictures to messages at a subscriber, through the real program: encoder, GStreamer, network, tracker, zenoh.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails; clippy.toml misses async tests")]

use std::{collections::HashMap, path::Path};

use maskd::{
    frame::{Size, StreamId},
    publish::{
        Reader, Received,
        wire::{Event, MasksMessage},
    },
};
use tokio::time::timeout;

use crate::support::{
    PATIENCE,
    process::Daemon,
    rtsp::{Mount, RtspServer},
    scene::{SHAPES, Scene},
    weights::TinyVit,
};

const SCENE: Scene = Scene { size: Size::new(320, 240), frames: 150, fps: 15 };

fn tiny(folder: &Path) -> std::path::PathBuf {
    let weights = folder.join("tiny.safetensors");
    TinyVit::default().write(&weights, 7);
    weights
}

async fn reader(daemon: &Daemon) -> Reader {
    Reader::open(&[daemon.endpoint()], None, None, None).await.unwrap()
}

async fn next(reader: &Reader, awaited: &str) -> Received {
    timeout(PATIENCE, reader.next()).await.unwrap_or_else(|_| panic!("gave up waiting for {awaited}")).unwrap()
}

/// Intersection over union of each drawn shape with the instance of its number.
fn scores(message: &MasksMessage) -> [f64; SHAPES as usize] {
    let truth = SCENE.truth(message.sequence);
    assert_eq!(message.frame, SCENE.size);
    std::array::from_fn(|i| {
        let label = i as u8 + 1;
        let Some(found) = message.instances.iter().find(|instance| instance.id == u32::from(label)) else { return 0.0 };
        let mask = found.mask.decode(Some(SCENE.size)).unwrap();
        assert_eq!(mask.iter().filter(|on| **on).count() as u64, found.area);
        let count = |f: &dyn Fn(bool, bool) -> bool| {
            mask.iter().zip(&truth.labels).filter(|(on, l)| f(**on, **l == label)).count() as f64
        };
        count(&|a, b| a && b) / count(&|a, b| a || b).max(1.0)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn drawn_shapes_are_followed_and_keep_their_ids() {
    let folder = tempfile::tempdir().unwrap();
    let (film, mask) = (folder.path().join("film.mp4"), folder.path().join("first.png"));
    SCENE.write_video(&film);
    SCENE.truth(0).write_png(&mask).unwrap();
    let config = format!(
        "[tracker]\ndiscovery = false\n[streams.film]\nkind = 'file'\nlocation = '{}'\nfirst_mask = '{}'\npace = 'fast'\n",
        film.display(),
        mask.display()
    );
    let mut daemon = Daemon::start_at(240, folder.path(), &tiny(folder.path()), &config, &[]);
    let reader = reader(&daemon).await;
    let (mut sums, mut frames, mut last) = ([0.0; SHAPES as usize], 0, None);
    // Until the daemon says goodbye: it ends with the film.
    loop {
        match next(&reader, "the end of the film").await {
            Received::Masks { message, .. } => {
                assert!(last < Some(message.sequence), "{last:?} then {}", message.sequence);
                last = Some(message.sequence);
                let ids: Vec<_> = message.instances.iter().map(|instance| instance.id).collect();
                assert!(ids.iter().all(|id| (1..=u32::from(SHAPES)).contains(id)), "{ids:?}");
                scores(&message).iter().zip(&mut sums).for_each(|(score, sum)| *sum += score);
                frames += 1;
            }
            Received::Alive { stream: None, alive: false, .. } => break,
            _ => {}
        }
    }
    assert!(daemon.wait().success());
    assert!(frames >= 20, "only {frames} messages");
    let means = sums.map(|sum| sum / f64::from(frames));
    eprintln!("IoU with the drawn truth over {frames} frames: {means:.3?}");
    assert!(means.iter().all(|mean| *mean > 0.6), "{means:?}");
    reader.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_dies_comes_back_and_the_other_never_notices() {
    let folder = tempfile::tempdir().unwrap();
    let (dies, stays) = (RtspServer::start(&[Mount::new("/a", SCENE)]), RtspServer::start(&[Mount::new("/b", SCENE)]));
    let config = format!(
        "[streams.dies]\nkind = 'rtsp'\nlocation = '{}'\n[streams.stays]\nkind = 'rtsp'\nlocation = '{}'\n",
        dies.url("/a"),
        stays.url("/b")
    );
    let mut daemon = Daemon::start(folder.path(), &tiny(folder.path()), &config, &[]);
    let reader = reader(&daemon).await;
    let mut seen = Seen::default();
    while seen.count("dies") < 5 || seen.count("stays") < 5 {
        seen.hear(next(&reader, "masks of both cameras").await);
    }
    let port = dies.kill();
    while !seen.down {
        seen.hear(next(&reader, "the event that the camera is down").await);
    }
    let (before, down) = (seen.count("stays"), seen.epochs["dies"]);
    while seen.count("stays") < before + 10 {
        seen.hear(next(&reader, "masks of the other camera").await);
    }
    let _again = RtspServer::start_at(port, &[Mount::new("/a", SCENE)]);
    while seen.epochs["dies"] == down {
        seen.hear(next(&reader, "the camera's new epoch").await);
    }
    assert_eq!(seen.epochs["stays"], 0);
    daemon.signal("TERM");
    assert!(daemon.wait().success());
    reader.close().await;
}

/// What was heard so far; panics on a gap in a stream's numbers.
#[derive(Default)]
struct Seen {
    numbers: HashMap<String, Vec<u64>>,
    epochs: HashMap<String, u32>,
    down: bool,
}

impl Seen {
    fn hear(&mut self, received: Received) {
        let name = |stream: &StreamId| stream.as_str().to_owned();
        match received {
            Received::Masks { message, .. } => {
                let numbers = self.numbers.entry(name(&message.stream)).or_default();
                assert!(numbers.last().is_none_or(|last| last + 1 == message.number), "{numbers:?} {}", message.number);
                numbers.push(message.number);
                self.epochs.insert(name(&message.stream), message.epoch);
            }
            Received::Event(message) if matches!(message.event, Event::StreamDown { .. }) => {
                assert_eq!(message.stream.as_str(), "dies");
                self.down = true;
            }
            _ => {}
        }
    }

    fn count(&self, stream: &str) -> usize {
        self.numbers.get(stream).map_or(0, Vec::len)
    }
}
