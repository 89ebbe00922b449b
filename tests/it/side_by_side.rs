//! Trackers of several streams work side by side: what comes out is the same, to the bit, as one after the other.

use std::{collections::BTreeSet, sync::Mutex, thread::ThreadId, time::Instant};

use maskd::{
    backbone::{Backbone, BackboneConfig},
    engine::{Engine, FrameResult, Observer},
    frame::{Frame, Quality, StreamId},
    metrics::Stage,
    tracker::TrackerConfig,
};

use crate::support::{
    play::{CROSSING, SIZE},
    weights::TinyVit,
};

const CAMERAS: u64 = 4;
const FRAMES: u64 = 24;

fn engine(folder: &std::path::Path) -> Engine {
    let weights = folder.join("tiny.safetensors");
    TinyVit::default().write(&weights, 7);
    let config = BackboneConfig { weights: Some(weights), short_side: 96, ..BackboneConfig::default() };
    let mut engine = Engine::new(Backbone::load(&config).unwrap(), TrackerConfig::default());
    // Given masks and discovery: both ways of tracking.
    for camera in 0..CAMERAS / 2 {
        engine.first_mask(&stream(camera), CROSSING.truth(camera));
    }
    engine
}

fn stream(camera: u64) -> StreamId {
    format!("camera-{camera}").parse().unwrap()
}

/// The `t`-th frame of a camera: each is at another place of the same play.
fn frame(camera: u64, t: u64) -> Frame {
    Frame {
        stream: stream(camera),
        rgb: CROSSING.rgb((camera + t) % CROSSING.frames).into(),
        size: SIZE,
        source: SIZE,
        pts_ns: None,
        captured_unix_ns: 0,
        captured: Instant::now(),
        sequence: t,
        epoch: 0,
        quality: Quality::FULL,
    }
}

fn step(engine: &mut Engine, frames: Vec<Frame>, observer: &dyn Observer) -> Vec<FrameResult> {
    engine.step(frames, observer).into_iter().map(|result| result.map_err(|f| f.cause).unwrap()).collect()
}

/// The threads that track, and how many parts each frame's tracking has told.
#[derive(Default)]
struct Seen(Mutex<(BTreeSet<String>, usize)>);

impl Observer for Seen {
    fn ended(&self, _: Stage) {}

    fn track(&self) -> Box<dyn FnMut(Stage) + '_> {
        let id: ThreadId = std::thread::current().id();
        self.0.lock().unwrap().0.insert(format!("{id:?}"));
        Box::new(|_| self.0.lock().unwrap().1 += 1)
    }
}

#[test]
fn trackers_side_by_side_give_the_same_bits_as_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let (mut together, mut alone) = (engine(folder.path()), engine(folder.path()));
    let seen = Seen::default();
    let mut instances = 0;
    for t in 0..FRAMES {
        let frames = || (0..CAMERAS).map(|camera| frame(camera, t)).collect::<Vec<_>>();
        let batch = pool(4).install(|| step(&mut together, frames(), &seen));
        // The same batch for the network, whose sums may depend on it; one tracker at a time.
        let single = pool(1).install(|| step(&mut alone, frames(), &()));
        for (a, b) in batch.iter().zip(&single) {
            assert_eq!(a.frame.stream, b.frame.stream);
            assert_eq!(a.labels, b.labels, "{} frame {t}", a.frame.stream);
            assert_eq!(a.instances, b.instances, "{} frame {t}", a.frame.stream);
            assert_eq!(a.events, b.events, "{} frame {t}", a.frame.stream);
            instances += a.instances.len();
        }
    }
    let (threads, parts) = seen.0.into_inner().unwrap();
    assert!(instances > 0, "nothing was tracked");
    assert!(threads.len() > 1, "all trackers ran on one thread");
    assert_eq!(parts as u64, 5 * CAMERAS * FRAMES, "parts told of each frame");
}

#[test]
fn each_stream_is_tracked_by_its_own_settings_from_the_next_frame_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = engine(folder.path());
    let (blind, seeing) = (CAMERAS - 2, CAMERAS - 1);
    engine.configure(&stream(blind), TrackerConfig { discovery: false, ..TrackerConfig::default() });
    let mut searched = [0, 0];
    for t in 0..FRAMES {
        if t == FRAMES / 2 {
            assert!(searched[0] == 0 && searched[1] > 0, "{searched:?}");
            engine.configure(&stream(blind), TrackerConfig::default());
            engine.configure(&stream(seeing), TrackerConfig { discovery: false, ..TrackerConfig::default() });
            searched = [0, 0];
        }
        for result in step(&mut engine, vec![frame(blind, t), frame(seeing, t)], &()) {
            searched[usize::from(result.frame.stream == stream(seeing))] += usize::from(result.discovered);
        }
    }
    assert!(searched[0] > 0 && searched[1] == 0, "{searched:?}");
    // Forgotten with its stream.
    engine.remove_stream(&stream(seeing));
    assert!(step(&mut engine, vec![frame(seeing, 0)], &())[0].discovered);
}
