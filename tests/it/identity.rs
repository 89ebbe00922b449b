//! Identity with real weights on drawn plays: who crosses, hides or leaves keeps its name.
//!
//! With `MASKD_PICTURES=DIR` each run also leaves a contact sheet `DIR/PLAY-START.png`.

use std::{io::Write as _, path::Path, time::Instant};

use maskd::{
    backbone::{Backbone, BackboneConfig},
    davis::{IdentityReport, identity},
    engine::Engine,
    frame::{Frame, Quality, StreamId},
    instance::TrackEvent,
    mask::{LabelMap, overlay},
    tracker::TrackerConfig,
};

use crate::{
    shared::{SALIENCY_S14, shared},
    support::play::{ACTORS, CROSSING, HIDING, LEAVING, Play, SIZE, TURNING},
};

/// The network's short side.
const SHORT_SIDE: u32 = 224;
/// Pictures on a contact sheet.
const SHEET: u64 = 8;

/// A play as the engine saw it.
struct Run {
    truth: Vec<LabelMap>,
    found: Vec<LabelMap>,
    events: Vec<(u64, TrackEvent)>,
}

/// Plays `play` to an engine as the daemon configures it, with or without the first frame's masks.
fn run(play: &Play, given: bool) -> Option<Run> {
    let weights = shared(SALIENCY_S14)?;
    let config = BackboneConfig { weights: Some(weights), short_side: SHORT_SIDE, ..BackboneConfig::default() };
    let mut engine = Engine::new(Backbone::load(&config).unwrap(), TrackerConfig::default());
    let stream: StreamId = "play".parse().unwrap();
    engine.add_stream(&stream);
    if given {
        engine.first_mask(&stream, play.truth(0));
    }
    let mut run = Run { truth: Vec::new(), found: Vec::new(), events: Vec::new() };
    for i in 0..play.frames {
        let rgb = play.rgb(i).into();
        let frame = Frame {
            stream: stream.clone(),
            rgb,
            size: SIZE,
            source: SIZE,
            pts_ns: None,
            captured_unix_ns: 0,
            captured: Instant::now(),
            sequence: i,
            epoch: 0,
            quality: Quality::FULL,
        };
        let result = engine.step(vec![frame], &()).remove(0).map_err(|failure| failure.cause).unwrap();
        run.truth.push(play.truth(i));
        run.found.push(result.labels);
        run.events.extend(result.events.into_iter().map(|event| (i, event)));
    }
    Some(run)
}

/// Judges a run, says so, and draws it where pictures are wanted.
fn judge(play: &Play, start: &str, run: &Run) -> IdentityReport {
    let report = identity(&run.truth, &run.found).unwrap();
    // Past the harness's capture: the figures are what these tests are for.
    let _ = writeln!(
        std::io::stderr(),
        "{} from {start}: {} switches, IDF1 {:.3}, HOTA {:.3} (DetA {:.3}, AssA {:.3}), {} of {} names",
        play.name,
        report.switches,
        report.idf1,
        report.hota,
        report.deta,
        report.assa,
        report.found,
        report.truths
    );
    if let Some(folder) = std::env::var_os("MASKD_PICTURES") {
        sheet(play, run).save(Path::new(&folder).join(format!("{}-{start}.png", play.name))).unwrap();
    }
    report
}

/// Frames of the whole run in a row, with what was found drawn over them.
fn sheet(play: &Play, run: &Run) -> image::RgbImage {
    let mut sheet = image::RgbImage::new(SIZE.width * SHEET as u32, SIZE.height);
    for k in 0..SHEET {
        let i = k * (play.frames - 1) / (SHEET - 1);
        let mut rgb = play.rgb(i);
        overlay(&mut rgb, &run.found[i as usize]);
        let picture = image::RgbImage::from_raw(SIZE.width, SIZE.height, rgb).unwrap();
        image::imageops::replace(&mut sheet, &picture, i64::from(SIZE.width) * k as i64, 0);
    }
    sheet
}

/// The label that most of what is seen of a true instance has in a frame; 0 is none.
fn name(run: &Run, frame: usize, label: u8) -> u8 {
    let mut counts = [0_usize; 256];
    let pairs = run.truth[frame].labels.iter().zip(&run.found[frame].labels);
    pairs.filter(|(truth, _)| **truth == label).for_each(|(_, found)| counts[usize::from(*found)] += 1);
    (0..=255).max_by_key(|name| counts[usize::from(*name)]).unwrap_or_default()
}

/// A play whose first masks are given. The bounds are a little under what was measured.
fn given(play: &Play, idf1: f64, hota: f64) {
    let Some(run) = run(play, true) else { return };
    let report = judge(play, "masks", &run);
    assert_eq!((report.switches, report.found), (0, 3), "{report:?} {:?}", run.events);
    assert!(report.idf1 > idf1 && report.hota > hota, "{report:?}");
    for label in 1..=ACTORS {
        assert_eq!(name(&run, run.found.len() - 1, label), label, "at the end");
    }
}

/// A play of which nothing is known; `actor` is found in frame `early` and has that name in the end.
fn found(play: &Play, actor: u8, early: usize) {
    let Some(run) = run(play, false) else { return };
    let report = judge(play, "nothing", &run);
    assert_eq!(report.switches, 0, "{report:?} {:?}", run.events);
    let (before, after) = (name(&run, early, actor), name(&run, run.found.len() - 1, actor));
    assert!(before > 0 && before == after, "{before} became {after}");
}

#[test]
fn given_actors_who_cross_keep_their_names() {
    given(&CROSSING, 0.88, 0.72);
}

#[test]
fn a_given_actor_who_was_hidden_has_its_name_again() {
    given(&HIDING, 0.88, 0.77);
}

#[test]
fn a_given_actor_who_left_has_its_name_again() {
    given(&LEAVING, 0.95, 0.82);
}

#[test]
#[ignore = "not mended yet: before a fixed camera what comes in again gets another name (2 switches, 0 before)"]
fn a_found_actor_who_left_has_its_name_again() {
    found(&LEAVING, 1, 5);
}

#[test]
#[ignore = "a minute more of the network: --include-ignored"]
fn given_actors_keep_their_names_as_the_camera_turns() {
    given(&TURNING, 0.94, 0.68);
}

#[test]
#[ignore = "a minute more of the network: --include-ignored"]
fn found_actors_keep_their_names_in_the_other_plays() {
    found(&CROSSING, 1, 5);
    found(&HIDING, 1, 5);
    found(&TURNING, 1, 5);
}
