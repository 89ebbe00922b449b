//! Cameras that outrun the engine: equal frames go through the network together, a change of resolution keeps every
//! instance, and the daemon lowers rates by weight, then the resolution, and takes both back.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use maskd::{
    backbone::{Backbone, BackboneConfig},
    davis::region,
    engine::{Engine, FrameResult, Observer},
    frame::{Frame, Quality, Size, StreamId},
    ingest::Clip,
    instance::TrackEvent,
    mask::LabelMap,
    metrics::Stage,
    tracker::TrackerConfig,
};

use crate::{
    shared::shared,
    support::{
        audit::{Statuses, audit},
        play::{ACTORS, CROSSING, SIZE},
        process::{Daemon, counter, get},
        until,
        weights::TinyVit,
    },
};

fn quality(level: f64) -> Quality {
    Quality { level, ..Quality::FULL }
}

fn frame(stream: &str, size: Size, rgb: Vec<u8>, level: f64) -> Frame {
    Frame {
        stream: stream.parse().unwrap(),
        rgb: rgb.into(),
        size,
        source: size,
        pts_ns: None,
        captured_unix_ns: 0,
        captured: Instant::now(),
        sequence: 0,
        epoch: 0,
        quality: quality(level),
    }
}

/// Results of a step, and how often the network was called.
fn step(engine: &mut Engine, frames: Vec<Frame>) -> (Vec<FrameResult>, usize) {
    let calls = Calls::default();
    let results = engine.step(frames, &calls);
    let results = results.into_iter().map(|result| result.map_err(|failure| failure.cause).unwrap()).collect();
    (results, calls.0.into_inner())
}

/// Counts calls of the network.
#[derive(Default)]
struct Calls(AtomicUsize);

impl Observer for Calls {
    fn ended(&self, stage: Stage) {
        self.0.fetch_add(usize::from(stage == Stage::Backbone), Ordering::Relaxed);
    }

    fn track(&self) -> Box<dyn FnMut(Stage) + '_> {
        Box::new(|_| ())
    }
}

#[test]
fn equal_frames_of_several_cameras_are_one_call_of_the_network() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("tiny.safetensors");
    TinyVit::default().write(&weights, 7);
    let config = BackboneConfig { weights: Some(weights), short_side: 64, ..BackboneConfig::default() };
    let tracker = TrackerConfig { discovery: false, ..TrackerConfig::default() };
    let mut engine = Engine::new(Backbone::load(&config).unwrap(), tracker);
    let (wide, tall) = (Size::new(160, 120), Size::new(120, 160));
    let picture = |size: Size, grey: u8| vec![grey; 3 * size.area()];
    let cameras = |level| (0..4u8).map(|i| frame(&format!("cam-{i}"), wide, picture(wide, 60 * i), level)).collect();
    for level in [1.0, 0.5] {
        let (results, calls) = step(&mut engine, cameras(level));
        assert_eq!(calls, 1, "four cameras at level {level}");
        let order: Vec<&str> = results.iter().map(|result| result.frame.stream.as_str()).collect();
        assert_eq!(order, ["cam-0", "cam-1", "cam-2", "cam-3"]);
        assert!(results.iter().all(|result| result.frame.quality == quality(level)));
    }
    // Another size is another call; a second frame of a stream waits for the first.
    let mixed = vec![
        frame("cam-0", wide, picture(wide, 0), 1.0),
        frame("tall", tall, picture(tall, 0), 1.0),
        frame("cam-1", wide, picture(wide, 0), 1.0),
        frame("cam-0", wide, picture(wide, 9), 1.0),
    ];
    assert_eq!(step(&mut engine, mixed).1, 3);
    // What a lower level saves: 64 x 80 pixels are 80 patches of 8, half of each side is 20.
    let patches = |level| engine.patches_of(&frame("cam-0", wide, picture(wide, 0), level));
    assert_eq!((patches(1.0), patches(0.5)), (80, 20));
    assert_eq!((engine.patches_at(wide, 1.0), engine.patches_at(wide, 0.5)), (80, 20));
}

/// The level of frame `i`, on a way down and up again.
fn down_and_up(i: usize) -> f64 {
    match i {
        8..12 | 16..20 => 0.75,
        12..16 => 0.5,
        _ => 1.0,
    }
}

/// Past the harness's capture: the figures are what these tests are for.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Follows the first masks through pictures; labels of each frame, and what happened to instances.
fn follow(
    config: &BackboneConfig,
    first: &LabelMap,
    pictures: &[(Size, Vec<u8>)],
    level: impl Fn(usize) -> f64,
) -> (Vec<LabelMap>, Vec<TrackEvent>) {
    let mut engine = Engine::new(Backbone::load(config).unwrap(), TrackerConfig::default());
    let stream: StreamId = "play".parse().unwrap();
    engine.first_mask(&stream, first.clone());
    let (mut labels, mut events) = (Vec::new(), Vec::new());
    for (i, (size, rgb)) in pictures.iter().enumerate() {
        let (mut results, _) = step(&mut engine, vec![frame("play", *size, rgb.clone(), level(i))]);
        let result = results.remove(0);
        labels.push(result.labels);
        events.extend(result.events);
    }
    (labels, events)
}

/// Mean J over frames and the true labels that are in sight, in per cent.
fn mean_j(found: &[LabelMap], truth: &[LabelMap], frames: std::ops::Range<usize>) -> f64 {
    let mut scores = Vec::new();
    for i in frames {
        let most = truth[i].labels.iter().copied().max().unwrap_or(0);
        for label in 1..=most {
            let mask = |map: &LabelMap| map.labels.iter().map(|l| *l == label).collect::<Vec<bool>>();
            let true_mask = mask(&truth[i]);
            if true_mask.iter().any(|on| *on) {
                scores.push(100.0 * region(&mask(&found[i]), &true_mask, None));
            }
        }
    }
    scores.iter().sum::<f64>() / scores.len() as f64
}

#[test]
fn drawn_actors_keep_their_names_through_a_change_of_resolution() {
    // The weights that maskd carries.
    let config = BackboneConfig { short_side: 224, ..BackboneConfig::default() };
    let pictures: Vec<_> = (0..26).map(|i| (SIZE, CROSSING.rgb(i))).collect();
    let truth: Vec<LabelMap> = (0..26).map(|i| CROSSING.truth(i)).collect();
    let (steady, _) = follow(&config, &truth[0], &pictures, |_| 1.0);
    let (changed, events) = follow(&config, &truth[0], &pictures, down_and_up);
    let ended: Vec<_> = events.iter().filter(|event| matches!(event, TrackEvent::Ended { .. })).collect();
    assert!(ended.is_empty(), "{ended:?}");
    for (what, frames) in [("before", 1..8), ("3/4", 8..12), ("half", 12..16), ("3/4 again", 16..20), ("after", 20..26)]
    {
        let (a, b) = (mean_j(&steady, &truth, frames.clone()), mean_j(&changed, &truth, frames));
        say(&format!("crossing, {what}: J {b:.1}, {a:.1} without a change"));
        // A patch is a tenth of an actor at half of 224 pixels.
        assert!(b > a - if what == "half" { 25.0 } else { 12.0 }, "{what}: {b:.1} and {a:.1}");
    }
    for label in 1..=ACTORS {
        let held = |map: &LabelMap| map.labels.iter().map(|l| *l == label).collect::<Vec<bool>>();
        let j = region(&held(changed.last().unwrap()), &held(truth.last().unwrap()), None);
        assert!(j > 0.2, "actor {label} is another at the end: {j:.2}");
    }
}

#[test]
fn real_objects_are_followed_through_a_change_of_resolution() {
    let Some(davis) = shared("data/davis") else { return };
    let config = BackboneConfig { short_side: 336, ..BackboneConfig::default() };
    for name in ["dog", "car-shadow"] {
        let pictures: Vec<_> = Clip::open(&davis.join("JPEGImages/480p").join(name))
            .unwrap()
            .take(26)
            .map(|picture| picture.unwrap())
            .map(|picture| (picture.size, picture.rgb.to_vec()))
            .collect();
        let annotation = |i| davis.join("Annotations/480p").join(name).join(format!("{i:05}.png"));
        let truth: Vec<LabelMap> = (0..26).map(|i| LabelMap::read_png(&annotation(i)).unwrap()).collect();
        let (steady, _) = follow(&config, &truth[0], &pictures, |_| 1.0);
        let (changed, events) = follow(&config, &truth[0], &pictures, down_and_up);
        let given = |event: &&TrackEvent| matches!(event, TrackEvent::Ended { id: 1, .. });
        assert!(!events.iter().any(|event| given(&event)), "{name}: {events:?}");
        let parts = [1..8, 8..12, 12..16, 16..20, 20..26];
        let row = |found: &[LabelMap]| parts.clone().map(|part| mean_j(found, &truth, part));
        let (a, b) = (row(&steady), row(&changed));
        say(&format!("{name}: J at 1, 3/4, 1/2, 3/4, 1: {b:.1?}; without a change {a:.1?}"));
        assert!(b[4] > a[4] - 5.0 && b[2] > a[2] - 15.0, "{name}: {b:.1?} and {a:.1?}");
    }
}

/// A daemon whose engine is slow beside its cameras.
fn daemon(home: &Path, overload: &str, streams: &str) -> Daemon {
    let weights = home.join("tiny.safetensors");
    TinyVit { dim: 128, depth: 4, ..TinyVit::default() }.write(&weights, 7);
    let config = format!(
        "[runtime]\nstatus_seconds = 0.2\nreload_on_change = false\n[tracker]\ndiscovery = false\n\
         [overload]\ndwell_seconds = 0.5\n{overload}\n{streams}"
    );
    Daemon::start_at(336, home, &weights, &config, &[])
}

/// Cameras of these weights.
fn cameras(weights: &[u32]) -> String {
    let camera = |(i, weight): (usize, &u32)| {
        format!(
            "[streams.cam-{i}]\nkind = 'test'\nweight = {weight}\n\
             [streams.cam-{i}.properties.mode]\ncaps = 'video/x-raw,width=448,height=336,framerate=60/1'\n"
        )
    };
    weights.iter().enumerate().map(camera).collect()
}

/// A gauge of each stream.
fn gauge(metrics: &str, name: &str) -> BTreeMap<String, f64> {
    let prefix = format!("{name}{{stream=\"");
    let sample = |line: &str| {
        let (stream, value) = line.strip_prefix(&prefix)?.split_once("\"} ")?;
        Some((stream.to_owned(), value.parse().unwrap()))
    };
    metrics.lines().filter_map(sample).collect()
}

#[test]
fn the_daemon_lowers_rates_by_weight_and_says_so() {
    let home = tempfile::tempdir().unwrap();
    // Only the rates: no floor, no resolution to give up.
    let mut daemon = daemon(home.path(), "min_fps = 0", &cameras(&[4, 1, 1, 1]));
    let admin = daemon.admin();
    let statuses = Statuses::follow(&daemon.endpoint());
    let limits = until("rates that are held", || {
        let text = get(admin, "/metrics").1;
        let limits = gauge(&text, "maskd_stream_rate_limit");
        let paced = counter(&text, "maskd_frames_dropped", &["stream=\"cam-1\"", "cause=\"Paced\""]);
        audit(&text);
        (limits.len() == 4 && paced > 20).then_some(limits)
    });
    let light = limits["cam-1"];
    // Up to the dead band, where a small change is none.
    assert!((3.5..4.5).contains(&(limits["cam-0"] / light)), "{limits:?}");
    assert!((limits["cam-2"] / light - 1.0).abs() < 0.12, "{limits:?}");
    // The messages and the status say what a camera is held to.
    let told =
        until("a status that says so", || statuses.take(1).into_iter().find(|status| status.quality.rate.is_some()));
    assert!(told.account.balances() && told.quality.level == 1.0, "{told:?}");
    let args = ["watch", "--json", "--count", "12", "--timeout", "60", "--connect", &daemon.endpoint()];
    let heard = String::from_utf8(crate::support::process::maskd(&args).stdout).unwrap();
    let rated = heard.lines().filter(|line| line.contains("\"quality\":{\"level\":1.0,\"rate\":")).count();
    assert!(rated > 0, "{heard}");
    daemon.wait_for_log("the cameras outrun the engine: their rates are lowered, by weight");
    daemon.signal("TERM");
    assert!(daemon.wait().success(), "{}", daemon.log());
    assert!(!daemon.log().contains("a lower resolution"), "{}", daemon.log());
}

#[test]
fn the_daemon_lowers_the_resolution_where_the_rate_may_not_fall_and_takes_it_back() {
    let home = tempfile::tempdir().unwrap();
    // No engine of this size gives six cameras 60 frames a second each; one camera alone asks for one frame in ten.
    let many = cameras(&[1; 6]);
    let mut daemon = daemon(home.path(), "min_fps = 60", &many);
    let admin = daemon.admin();
    let level = |wanted: f64| {
        until(&format!("level {wanted}"), || {
            let text = get(admin, "/metrics").1;
            audit(&text);
            let levels = gauge(&text, "maskd_stream_level");
            (!levels.is_empty() && levels.values().all(|level| *level == wanted)).then_some(())
        });
    };
    level(0.5);
    let lowest = daemon.wait_for_log("a lower resolution");
    assert!(lowest.contains("\"level\":0.75"), "one level at a time: {lowest}");
    // All cameras but one go, and that one becomes slow: the resolution comes back.
    let path = home.path().join("maskd.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let calm = cameras(&[1]).replace("framerate=60/1", "framerate=1/1");
    std::fs::write(&path, format!("{}{calm}", &text[..text.find("[streams").unwrap()])).unwrap();
    daemon.signal("HUP");
    level(1.0);
    let ups = until("both steps up in the log", || {
        let ups = daemon.log().lines().filter(|line| line.contains("a higher resolution")).count();
        (ups >= 2).then_some(ups)
    });
    assert_eq!(ups, 2);
    daemon.signal("TERM");
    assert!(daemon.wait().success(), "{}", daemon.log());
    assert!(!daemon.log().contains("This is a bug"), "{}", daemon.log());
}

#[test]
fn switched_off_nothing_is_held_back() {
    let home = tempfile::tempdir().unwrap();
    let mut daemon = daemon(home.path(), "enabled = false\nmin_fps = 60", &cameras(&[4, 1, 1, 1]));
    let admin = daemon.admin();
    until("frames that were superseded", || {
        let text = get(admin, "/metrics").1;
        let superseded = |i: usize| counter(&text, "maskd_frames_dropped", &[&format!("cam-{i}"), "Superseded"]);
        let paced = counter(&text, "maskd_frames_dropped", &["Paced"]);
        assert!(paced == 0 && gauge(&text, "maskd_stream_rate_limit").is_empty());
        (0..4).all(|i| superseded(i) > 20).then_some(())
    });
    assert!(!daemon.log().contains("outrun"), "{}", daemon.log());
}
