//! Frames whose features cannot be used.

use std::time::Instant;

use super::*;
use maskd_model::backbone::{BackboneConfig, DeviceChoice};
use maskd_types::{
    features::{Grid, TokenStorage, Tokens},
    frame::Quality,
};

const GRID: Grid = Grid { rows: 4, cols: 6 };
const SIZE: Size = Size::new(48, 32);

/// A device that was lost after the network had run.
struct Lost;

impl TokenStorage for Lost {
    fn read(self: Box<Self>) -> Result<Vec<f32>> {
        anyhow::bail!("the device is gone")
    }
}

fn frame(stream: &str, sequence: u64) -> Frame {
    Frame {
        stream: stream.parse().unwrap(),
        rgb: vec![90; 3 * SIZE.area()].into(),
        size: SIZE,
        source: SIZE,
        pts_ns: None,
        captured_unix_ns: 0,
        captured: Instant::now(),
        sequence,
        epoch: 0,
        quality: Quality::FULL,
    }
}

#[test]
fn features_that_cannot_be_used_fail_their_frame_alone() {
    let backbone = Backbone::load(&BackboneConfig { device: DeviceChoice::Cpu, ..BackboneConfig::default() }).unwrap();
    let mut engine = Engine::new(backbone, TrackerConfig { discovery: false, ..TrackerConfig::default() });
    let fine = || Features::new(GRID, 8, vec![0.35; 8 * GRID.len()]);
    let streams = ["fine", "lost", "not-a-number"];
    for sequence in 0..2 {
        // The second time every stream is well: nothing of the first is left.
        let features = if sequence == 1 {
            [fine(), fine(), fine()]
        } else {
            let lost = Features::new(GRID, 8, Tokens::stored(Lost));
            [fine(), lost, Features::new(GRID, 8, vec![f32::NAN; 8 * GRID.len()])]
        };
        let frames = streams.iter().enumerate().map(|(i, stream)| (i, frame(stream, sequence)));
        let mut results = [const { None }; 3];
        engine.track(frames.zip(features.map(usable)), &(), &mut results);
        let causes = results.map(|result| result.unwrap().err().map(|failure| format!("{:#}", failure.cause)));
        let [lost, numbers] = ["reading the network's features: the device is gone", "not finite numbers"];
        assert!(causes[0].is_none(), "{causes:?}");
        match sequence {
            0 => assert!(
                causes[1].as_deref() == Some(lost) && causes[2].as_ref().unwrap().contains(numbers),
                "{causes:?}"
            ),
            _ => assert_eq!(causes[1..], [None, None]),
        }
    }
}
