//! The engine over a DAVIS set: indexed PNGs for each sequence.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use parking_lot::Mutex;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{
    Job, Marker, Protocol, RunPlan, Sequence, Task,
    prompted::{self, first_frame_iou},
    proposals::Collection,
};
use maskd_ingest::Clip;
use maskd_tracking::engine::{Engine, FrameResult, Observer};
use maskd_types::{
    frame::{Frame, Size, StreamId},
    mask::{FirstMask, LabelMap},
    stage::Stage,
};

/// Frames a second of DAVIS, as numerator and denominator.
const FPS: (u32, u32) = (24, 1);

/// The engine failed on a frame: no fault of the data.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct EngineFailed(String);

/// What a sequence starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// Objects are discovered.
    Nothing,
    /// The first annotation.
    Mask,
    /// A prompt for each object of the first annotation, made from it; nothing else is known of it.
    Prompts(Protocol),
}

impl From<Task> for Given {
    fn from(task: Task) -> Self {
        match task {
            Task::SemiSupervised => Self::Mask,
            Task::Unsupervised => Self::Nothing,
        }
    }
}

/// How long each stage took on one frame, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Pixels to the network's input.
    pub preprocess: f64,
    /// The network.
    pub backbone: f64,
    /// Propagation, discovery and masks.
    pub track: f64,
    /// Whether instances were searched for in this frame.
    pub discovered: bool,
}

/// Checks what can be checked of the frames and annotations of `sequences` before hours are spent on them.
///
/// # Errors
/// The first file that cannot be read, or is of another size than the first frame of its sequence.
pub fn check(sequences: &[&Sequence], task: Task) -> Result<()> {
    sequences.par_iter().try_for_each(|sequence| {
        let size = Clip::open(&sequence.folder)?.size();
        if task == Task::SemiSupervised {
            first_mask(sequence, size)?;
        }
        sequence.annotations.par_iter().enumerate().try_for_each(|(index, path)| {
            let found = sequence.annotation(index)?.size;
            ensure!(found == size, "{}: it is {found}, the frames are {size}", path.display());
            Ok(())
        })
    })
}

impl Job for Sequence {
    fn name(&self) -> &str {
        &self.name
    }

    fn frames(&self) -> usize {
        self.frames.len()
    }

    fn result_path(&self, results: &Path, index: usize) -> PathBuf {
        self.result_path(results, index)
    }
}

impl RunPlan {
    /// Runs one sequence as a stream of its own; `on_frame` is called after each frame. The marker says `finished` once
    /// all masks are written, so that what is interrupted is run again.
    ///
    /// # Errors
    /// Frames or a first annotation that cannot be used, an engine that fails ([`EngineFailed`]), a full disk.
    pub fn run(
        &self,
        engine: &mut Engine,
        given: impl Into<Given>,
        sequence: &Sequence,
        on_frame: &mut dyn FnMut(),
    ) -> Result<Marker> {
        let clip = Clip::open(&sequence.folder)?.at(FPS);
        let mut marker = self.begin(sequence)?;

        let stream: StreamId = "davis".parse()?;
        engine.remove_stream(&stream);
        let given = given.into();
        let first = (given != Given::Nothing).then(|| first_mask(sequence, clip.size())).transpose()?;
        // The labels of prompted objects, in the order of their identities.
        let mut prompted = Vec::new();
        match (given, &first) {
            (Given::Mask, Some(first)) => engine.first_mask(&stream, first.clone()),
            (Given::Prompts(protocol), Some(first)) => {
                prompted = prompt(engine, &stream, sequence, protocol, first)
                    .with_context(|| format!("sequence {}", sequence.name))?;
            }
            _ => {}
        }
        let mut collection = Collection::default();
        let mut identities = 0;
        for (index, (path, clip_frame)) in sequence.frames.iter().zip(clip).enumerate() {
            let clip_frame = clip_frame?;
            let expected = path.file_stem().unwrap_or_default();
            ensure!(*clip_frame.name == *expected, "{}: the folder holds other pictures too", path.display());
            let (result, timing) =
                step(engine, clip_frame.to_frame(&stream, index as u64)).with_context(|| path.display().to_string())?;
            marker.timings.push(timing);
            identities = identities.max(result.instances.len());
            match &first {
                Some(first) if prompted.is_empty() => {
                    let map = if index == 0 { first } else { &result.labels };
                    map.write_png(&sequence.result_path(&self.out, index))?;
                }
                Some(first) => {
                    let map = as_labelled(&result.labels, &prompted);
                    if index == 0 {
                        marker.first_frame = first_frame_iou(&map, first, prompted.iter().copied());
                    }
                    map.write_png(&sequence.result_path(&self.out, index))?;
                }
                None => collection.push(result),
            }
            on_frame();
        }
        if first.is_none() {
            identities = collection.identities();
            for (index, map) in collection.into_proposals().enumerate() {
                map.write_png(&sequence.result_path(&self.out, index))?;
            }
        }
        engine.remove_stream(&stream);
        marker.identities = identities;
        self.end(sequence, marker)
    }
}

/// Prompts for the objects of `first` in the first frame of a stream; their labels.
fn prompt(
    engine: &mut Engine,
    stream: &StreamId,
    sequence: &Sequence,
    protocol: Protocol,
    first: &LabelMap,
) -> Result<Vec<u8>> {
    let frame = Clip::open(&sequence.folder)?.at(FPS).next().context("it has no frames")??.to_frame(stream, 0);
    let prompts = prompted::prompts(protocol, first, |prompt| {
        // Each object alone, on a stream of its own.
        engine.remove_stream(stream);
        engine.add_stream(stream);
        engine.prompt(stream, prompt.clone())?;
        let (result, _) = step(engine, frame.clone())?;
        Ok(result.labels.labels.into_iter().map(|label| label != 0).collect())
    })?;
    engine.remove_stream(stream);
    engine.add_stream(stream);
    prompts.into_iter().map(|(label, prompt)| Ok(engine.prompt(stream, prompt).map(|()| label)?)).collect()
}

/// A frame's map with the labels of the annotation: the k-th prompt of a stream became its label k.
fn as_labelled(map: &LabelMap, labels: &[u8]) -> LabelMap {
    let label = |k: &u8| usize::from(*k).checked_sub(1).and_then(|k| labels.get(k)).copied().unwrap_or(0);
    LabelMap { size: map.size, labels: map.labels.iter().map(label).collect() }
}

fn first_mask(sequence: &Sequence, size: Size) -> Result<LabelMap> {
    ensure!(!sequence.annotations.is_empty(), "sequence {}: it has no annotation of its first frame", sequence.name);
    Ok(FirstMask::of(&sequence.annotations[0], sequence.annotation(0)?)?.fit(size)?)
}

/// Times the stages of one frame.
struct Stopwatch(Mutex<(Instant, Timing)>);

impl Observer for Stopwatch {
    fn ended(&self, stage: Stage) {
        let mut state = self.0.lock();
        let (since, timing) = &mut *state;
        let now = Instant::now();
        let elapsed = 1e3 * (now - std::mem::replace(since, now)).as_secs_f64();
        match stage {
            Stage::Preprocess => timing.preprocess += elapsed,
            Stage::Backbone => timing.backbone += elapsed,
            _ => timing.track += elapsed,
        }
    }

    /// Parts are not told apart here.
    fn track(&self) -> Box<dyn FnMut(Stage) + '_> {
        Box::new(|_| ())
    }
}

/// One frame through the engine, timed.
pub(super) fn step(engine: &mut Engine, frame: Frame) -> Result<(FrameResult, Timing)> {
    let none = Timing { preprocess: 0.0, backbone: 0.0, track: 0.0, discovered: false };
    let stopwatch = Stopwatch(Mutex::new((Instant::now(), none)));
    let mut results = engine.step(vec![frame], &stopwatch);
    let (_, mut timing) = stopwatch.0.into_inner();
    match results.pop() {
        Some(Ok(result)) => {
            timing.discovered = result.discovered;
            Ok((result, timing))
        }
        Some(Err(failure)) => Err(EngineFailed(format!("{:#}", failure.cause)).into()),
        None => Err(EngineFailed("no result. This is a bug.".into()).into()),
    }
}
