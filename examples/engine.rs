//! The engine by itself, without a daemon: finds and follows instances in a folder of pictures or a video.
//!
//!     cargo run --release --example engine -- frames/

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use maskd::{
    backbone::{Backbone, BackboneConfig},
    engine::Engine,
    frame::StreamId,
    ingest::Clip,
    tracker::TrackerConfig,
};

fn main() -> Result<()> {
    let input: PathBuf =
        std::env::args_os().nth(1).context("say pictures: engine frames/, or engine video.mp4")?.into();
    // The weights that maskd carries, on the first GPU, else on the CPU.
    let backbone = Backbone::load(&BackboneConfig::default())?;
    let mut engine = Engine::new(backbone, TrackerConfig::default());
    let stream: StreamId = "example".parse()?;
    for (i, picture) in Clip::open(&input)?.enumerate() {
        let picture = picture?;
        // Frames of several streams may go through the network together; here it is one at a time.
        for result in engine.step(vec![picture.to_frame(&stream, i as u64)], &()) {
            let result = result.map_err(|failure| anyhow::anyhow!("{:#}", failure.cause))?;
            let ids: Vec<_> = result.instances.iter().map(|instance| instance.id).collect();
            println!("{}: instances {ids:?}", picture.name);
        }
    }
    Ok(())
}
