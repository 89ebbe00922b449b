//! A person points at something in a running daemon's picture, and it is followed from then on.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails; clippy.toml misses async tests")]

use std::{path::Path, process::Output};

use maskd::{
    davis::region,
    frame::Size,
    instance::{EndCause, InstanceId, Origin, TrackEvent},
    mask::LabelMap,
    publish::{
        Reader, Received,
        wire::{Event, MasksMessage},
    },
};
use tokio::time::timeout;

use crate::support::{
    PATIENCE,
    process::{Daemon, maskd},
    scene::Scene,
    weights::TinyVit,
};

/// Slow: a shape moves a pixel a frame, so that it is still where it was when the prompt arrives.
const SCENE: Scene = Scene { size: Size::new(320, 240), frames: 300, fps: 5 };

/// The frame of the film that a message is about; the film plays in a loop.
fn index(message: &MasksMessage) -> u64 {
    let period = 1_000_000_000 / u64::from(SCENE.fps);
    (message.pts_ns.unwrap() + period / 2) / period % SCENE.frames
}

/// IoU of an instance's mask with the drawn shape `label`.
fn score(message: &MasksMessage, id: InstanceId, label: u8) -> f64 {
    let instance = message.instances.iter().find(|instance| instance.id == id).unwrap();
    let mask = instance.mask.decode(Some(SCENE.size)).unwrap();
    let truth: Vec<bool> = SCENE.truth(index(message)).labels.iter().map(|l| *l == label).collect();
    region(&mask, &truth, None)
}

/// A daemon that only follows what it is told to, and somebody who listens.
struct Stage {
    daemon: Daemon,
    reader: Reader,
}

impl Stage {
    async fn open(folder: &Path) -> Self {
        let film = folder.join("film.mp4");
        SCENE.write_video(&film);
        let weights = folder.join("tiny.safetensors");
        TinyVit::default().write(&weights, 7);
        let config = format!(
            "[tracker]\ndiscovery = false\n[streams.film]\nkind = 'file'\nlocation = '{}'\nloop = true\n",
            film.display()
        );
        let daemon = Daemon::start_at(240, folder, &weights, &config, &[]);
        let reader = Reader::open(&[daemon.endpoint()], None, None, None).await.unwrap();
        Self { daemon, reader }
    }

    /// The first thing heard that `pick` wants.
    async fn hear<T>(&self, awaited: &str, mut pick: impl FnMut(Received) -> Option<T>) -> T {
        let search = async {
            loop {
                if let Some(found) = pick(self.reader.next().await.unwrap()) {
                    return found;
                }
            }
        };
        timeout(PATIENCE, search).await.unwrap_or_else(|_| panic!("gave up waiting for {awaited}"))
    }

    /// The next masks for which `wanted` holds.
    async fn masks(&self, awaited: &str, wanted: impl Fn(&MasksMessage) -> bool) -> MasksMessage {
        let pick = |received| match received {
            Received::Masks { message, .. } if wanted(&message) => Some(message),
            _ => None,
        };
        self.hear(awaited, pick).await
    }

    /// Runs `maskd prompt film` with `args` while this side listens on.
    async fn prompt(&self, args: &[&str]) -> Output {
        let at = self.daemon.endpoint();
        let args = [&["prompt", "film", "--connect", &at, "--timeout", "30"], args].concat();
        let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
        let run = move || maskd(&args.iter().map(String::as_str).collect::<Vec<_>>());
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    /// Sends a prompt that must be taken; the id of what appeared because of it.
    async fn follow(&self, args: &[&str]) -> InstanceId {
        let output = self.prompt(args).await;
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "accepted\n");
        let pick = |received| match received {
            Received::Event(message) => match message.event {
                Event::Instance(TrackEvent::Appeared { id, origin }) => {
                    assert_eq!(origin, Origin::Prompt);
                    Some(id)
                }
                _ => None,
            },
            _ => None,
        };
        self.hear("the event that an instance appeared", pick).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_points_at_is_followed_until_the_reset() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::open(folder.path()).await;
    let now = stage.masks("the first masks", |_| true).await;
    assert!(now.instances.is_empty(), "nobody asked for anything yet");

    let [left, top, side] = <[i64; 3]>::from(SCENE.shapes(index(&now))[0]);
    let boxed = stage.follow(&["--box", &format!("{left},{top},{side},{side}")]).await;

    let now = stage.masks("masks", |_| true).await;
    let [left, top, side] = <[i64; 3]>::from(SCENE.shapes(index(&now))[1]);
    let centre = format!("{},{}", left + side / 2, top + side / 2);
    let pointed = stage.follow(&["--point", &centre, "--not-point", "4,4"]).await;

    let now = stage.masks("masks", |_| true).await;
    let mut drawn = SCENE.truth(index(&now));
    drawn.labels.iter_mut().for_each(|label| *label = u8::from(*label == 3));
    let file = folder.path().join("triangle.png");
    drawn.write_png(&file).unwrap();
    let masked = stage.follow(&["--mask", file.to_str().unwrap()]).await;

    assert!(boxed != pointed && pointed != masked && masked != boxed);
    // Followed, not only taken: some frames later all three are still there.
    let old = |message: &MasksMessage| message.instances.iter().filter(|i| i.age >= 5).count() == 3;
    let later = stage.masks("three instances that are followed", old).await;
    let scores = [(boxed, 1), (pointed, 2), (masked, 3)].map(|(id, label)| score(&later, id, label));
    eprintln!("IoU with the drawn truth of what box, point and mask asked for: {scores:.3?}");
    assert!(scores.iter().all(|score| *score > 0.4), "{scores:?}");

    let (small, size) = (folder.path().join("small.png"), Size::new(32, 24));
    LabelMap { size, labels: vec![1; size.area()] }.write_png(&small).unwrap();
    for (args, word) in [
        (["--box", "400,10,20,20"], "outside the 320x240 frame"),
        (["--point", "10,240"], "outside the 320x240 frame"),
        (["--box", "10,10,0,20"], "0x20"),
        (["--mask", small.to_str().unwrap()], "32x24"),
    ] {
        let output = stage.prompt(&args).await;
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(65), "{args:?}: {text}");
        assert!(text.starts_with("maskd: error: ") && text.contains(word), "{args:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{args:?}: {text}");
    }
    let now = stage.masks("masks", |_| true).await;
    assert_eq!(now.instances.len(), 3, "a refused prompt changes nothing");

    assert!(stage.prompt(&["--reset"]).await.status.success());
    let mut ended = Vec::new();
    let pick = |received| {
        if let Received::Event(message) = received
            && let Event::Instance(TrackEvent::Ended { id, cause }) = message.event
        {
            assert_eq!(cause, EndCause::Replaced);
            ended.push(id);
        }
        (ended.len() == 3).then_some(())
    };
    stage.hear("the end of all three", pick).await;
    ended.sort_unstable();
    let mut all = [boxed, pointed, masked];
    all.sort_unstable();
    assert_eq!(ended, all);
    let now = stage.masks("masks without instances", |message| message.instances.is_empty()).await;
    let next = stage.masks("the next masks", |_| true).await;
    assert!(next.number > now.number && next.instances.is_empty());

    let Stage { mut daemon, reader } = stage;
    daemon.signal("TERM");
    assert!(daemon.wait().success());
    reader.close().await;
}
