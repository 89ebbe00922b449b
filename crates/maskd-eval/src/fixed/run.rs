//! The engine over a set of fixed cameras: indexed PNGs for each sequence.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use rayon::prelude::*;

use super::{Sequence, Shot, truth::Region};
use crate::{Job as _, Marker, RunPlan, run::step};
use maskd_ingest::Clip;
use maskd_tracking::{engine::Engine, tracker::Tracker};
use maskd_types::{
    frame::StreamId,
    picture::{self, MOST_PIXELS},
};

/// Checks what can be checked before hours are spent.
///
/// # Errors
/// The first frame, truth or region that cannot be read, or is of another size than the first frame of its sequence.
pub fn check(sequences: &[Sequence]) -> Result<()> {
    sequences.par_iter().try_for_each(|sequence| {
        let size = sequence.clip()?.size();
        sequence.judged().filter_map(|(_, shot)| shot.truth.as_ref()).try_for_each(|path| {
            let found = picture::size(path, MOST_PIXELS).with_context(|| path.display().to_string())?;
            ensure!(found == size, "{}: it is {found}, the frames are {size}", path.display());
            Ok(())
        })?;
        sequence.region.as_deref().map(Region::read).transpose().map(drop)
    })
}

/// Runs one sequence as a stream of its own, its pictures `rate` (numerator, denominator) a second apart; `on_frame` is
/// called after each, with what the tracker knows by then.
///
/// # Errors
/// Frames that cannot be used, an engine that fails ([`crate::EngineFailed`]), a full disk.
pub fn run(
    plan: &RunPlan,
    engine: &mut Engine,
    sequence: &Sequence,
    rate: (u32, u32),
    on_frame: &mut dyn FnMut(&Shot, &Tracker) -> Result<()>,
) -> Result<Marker> {
    let clip = sequence.clip()?.at(rate);
    let mut marker = plan.begin(sequence)?;
    let stream: StreamId = "fixed".parse()?;
    engine.remove_stream(&stream);
    let mut ids = BTreeSet::new();
    for (index, (shot, picture)) in sequence.shots.iter().zip(clip).enumerate() {
        let frame = picture?.to_frame(&stream, index as u64);
        let (result, timing) = step(engine, frame).with_context(|| shot.frame.display().to_string())?;
        marker.timings.push(timing);
        ids.extend(result.instances.iter().map(|instance| instance.id));
        result.labels.write_png(&sequence.result_path(&plan.out, index))?;
        if let Some(tracker) = engine.tracker(&stream) {
            on_frame(shot, tracker)?;
        }
    }
    engine.remove_stream(&stream);
    marker.identities = ids.len();
    plan.end(sequence, marker)
}

impl Sequence {
    /// The frames that are run.
    ///
    /// # Errors
    /// One that is no picture, or of another size than the first.
    pub fn clip(&self) -> Result<Clip> {
        Clip::pictures(self.shots.iter().map(|shot| shot.frame.clone()).collect())
    }
}
