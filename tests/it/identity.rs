//! Identity with real weights on drawn plays: who crosses, hides or leaves keeps its name.
//!
//! With `MASKD_PICTURES=DIR` each run also leaves a contact sheet `DIR/PLAY-START.png`.

use std::{io::Write as _, path::Path, time::Instant};

use maskd::{
    backbone::{Backbone, BackboneConfig},
    davis::{IdentityReport, identity},
    engine::Engine,
    frame::{Frame, StreamId},
    instance::TrackEvent,
    mask::{LabelMap, overlay},
    tracker::TrackerConfig,
};

use crate::{
    shared::shared,
    support::play::{CROSSING, HIDING, LEAVING, Play, SIZE, TURNING},
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
    let weights = shared("weights/dinov2-vits14.safetensors")?;
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
        };
        let result = engine.step(vec![frame], &mut |_| {}).remove(0).map_err(|failure| failure.cause).unwrap();
        run.truth.push(play.truth(i));
        run.found.push(result.labels);
        run.events.extend(result.events.into_iter().map(|event| (i, event)));
    }
    Some(run)
}

/// Judges a run from `from` on, says so, and draws it where pictures are wanted.
fn judge(play: &Play, start: &str, run: &Run, from: usize) -> IdentityReport {
    let report = identity(&run.truth[from..], &run.found[from..]).unwrap();
    // Past the harness's capture: the figures are what these tests are for.
    let _ = writeln!(
        std::io::stderr(),
        "{} from {start}: {} switches, IDF1 {:.3}, HOTA {:.3} (DetA {:.3}, AssA {:.3}), {} of {} names",
        play.name, report.switches, report.idf1, report.hota, report.deta, report.assa, report.found, report.truths
    );
    if std::env::var_os("MASKD_VERBOSE").is_some() {
        let _ = writeln!(std::io::stderr(), "  {:?}", run.events);
        for (i, (t, f)) in run.truth.iter().zip(&run.found).enumerate() {
            let mut line = String::new();
            for label in 1..=3u8 {
                let mut names: Vec<(u8, usize)> = (0..=255u8)
                    .map(|n| (n, t.labels.iter().zip(&f.labels).filter(|(t, f)| **t == label && **f == n).count()))
                    .filter(|(_, c)| *c > 0)
                    .collect();
                names.sort_by_key(|n| std::cmp::Reverse(n.1));
                line += &format!("  {label}: {names:?}");
            }
            let mut spill: Vec<(u8, usize)> = (1..=255u8)
                .map(|n| (n, t.labels.iter().zip(&f.labels).filter(|(t, f)| **t == 0 && **f == n).count()))
                .filter(|(_, c)| *c > 0)
                .collect();
            spill.sort();
            let _ = writeln!(std::io::stderr(), "  {i}{line} ground {spill:?}");
        }
    }
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

fn given(play: &Play) {
    let Some(run) = run(play, true) else { return };
    let report = judge(play, "masks", &run, 0);
    assert_eq!(report.switches, 0, "{report:?}");
}

fn found(play: &Play) {
    let Some(run) = run(play, false) else { return };
    let report = judge(play, "nothing", &run, 0);
    assert_eq!(report.switches, 0, "{report:?}");
}

#[test]
fn given_actors_who_cross_keep_their_names() {
    given(&CROSSING);
}

#[test]
fn a_given_actor_who_was_hidden_has_its_name_again() {
    given(&HIDING);
}

#[test]
fn a_given_actor_who_left_has_its_name_again() {
    given(&LEAVING);
}

#[test]
fn given_actors_keep_their_names_as_the_camera_turns() {
    given(&TURNING);
}

#[test]
fn found_actors_who_cross_keep_their_names() {
    found(&CROSSING);
}

#[test]
fn a_found_actor_who_was_hidden_has_its_name_again() {
    found(&HIDING);
}

#[test]
fn a_found_actor_who_left_has_its_name_again() {
    found(&LEAVING);
}

#[test]
fn found_actors_keep_their_names_as_the_camera_turns() {
    found(&TURNING);
}
