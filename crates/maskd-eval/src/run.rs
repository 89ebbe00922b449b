//! The engine over a set: indexed PNGs for each sequence, and a marker beside them that says how they were made.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Context, Result, anyhow, ensure};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Dataset, Sequence, Task, proposals::Collection, written::write_text};
use maskd_ingest::Clip;
use maskd_tracking::engine::{Engine, FrameResult, Observer};
use maskd_types::{
    files,
    frame::{Frame, Size, StreamId},
    mask::{FirstMask, LabelMap, is_own_png},
    stage::Stage,
};

/// The engine failed on a frame: no fault of the data.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct EngineFailed(String);

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

/// The file `OUT/SEQUENCE.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Marker {
    /// Whether all masks of the sequence are written.
    pub finished: bool,
    /// What they were made by: what differs would give other masks.
    pub settings: Map<String, Value>,
    /// Identities in the sequence, before the unsupervised task leaves all but 20 out.
    pub identities: usize,
    /// One for each frame.
    pub timings: Vec<Timing>,
}

/// Where masks go, and what they are made by.
pub struct Plan {
    /// The folder.
    pub out: PathBuf,
    /// Compared with those of a sequence that is there already.
    pub settings: Map<String, Value>,
    /// Sequences that are finished are run again as well.
    pub again: bool,
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

impl Plan {
    /// Which sequences remain to be run, in order; before any of them is touched.
    ///
    /// # Errors
    /// Masks of other settings in the folder, masks that nobody says the making of, files that maskd did not make where
    /// it would write.
    pub fn remaining<'a>(&self, dataset: &'a Dataset) -> Result<Vec<&'a Sequence>> {
        let mut remaining = Vec::new();
        for sequence in &dataset.sequences {
            if self.again || !self.is_finished(sequence)? {
                self.check_targets(sequence)?;
                remaining.push(sequence);
            }
        }
        Ok(remaining)
    }

    fn check_targets(&self, sequence: &Sequence) -> Result<()> {
        files::check_target(&self.marker_path(sequence), &is_own_marker)?;
        (0..sequence.frames.len()).try_for_each(|index| {
            files::check_target(&sequence.result_path(&self.out, index), &is_own_png)?;
            Ok(())
        })
    }

    fn is_finished(&self, sequence: &Sequence) -> Result<bool> {
        let path = self.marker_path(sequence);
        if !path.exists() {
            let folder = self.out.join(&sequence.name);
            let strange = folder.is_dir() && fs::read_dir(&folder)?.next().is_some();
            ensure!(!strange, "{}: it holds files of unknown making: give another --out, or --again", folder.display());
            return Ok(false);
        }
        let marker = read_marker(&path)?;
        let ours = self.settings_for(sequence);
        let others = differences(&marker.settings, &ours);
        ensure!(
            others.is_empty(),
            "{}: these masks were made by other settings ({}): give another --out, or --again",
            path.display(),
            others.join(", ")
        );
        let written = |index| sequence.result_path(&self.out, index).is_file();
        Ok(marker.finished && (0..sequence.frames.len()).all(written))
    }

    /// Runs one sequence as a stream of its own; `on_frame` is called after each frame. The marker says `finished` once
    /// all masks are written, so that what is interrupted is run again.
    ///
    /// # Errors
    /// Frames or a first annotation that cannot be used, an engine that fails ([`EngineFailed`]), a full disk.
    pub fn run(
        &self,
        engine: &mut Engine,
        task: Task,
        sequence: &Sequence,
        on_frame: &mut dyn FnMut(),
    ) -> Result<Marker> {
        let clip = Clip::open(&sequence.folder)?;
        let folder = self.out.join(&sequence.name);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        if self.marker_path(sequence).exists() {
            // Of an earlier run, and perhaps more of them than will be now.
            remove_masks(&folder)?;
        }
        let settings = self.settings_for(sequence);
        let mut marker = Marker { finished: false, settings, identities: 0, timings: Vec::new() };
        self.write_marker(sequence, &marker)?;

        let stream: StreamId = "davis".parse()?;
        engine.remove_stream(&stream);
        let first = match task {
            Task::SemiSupervised => Some(first_mask(sequence, clip.size())?),
            Task::Unsupervised => None,
        };
        if let Some(first) = &first {
            engine.first_mask(&stream, first.clone());
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
                Some(first) => {
                    let map = if index == 0 { first } else { &result.labels };
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
        marker.finished = true;
        marker.identities = identities;
        self.write_marker(sequence, &marker)?;
        Ok(marker)
    }

    /// What was written about a sequence.
    ///
    /// # Errors
    /// A marker that is missing or damaged.
    pub fn marker(&self, sequence: &Sequence) -> Result<Marker> {
        read_marker(&self.marker_path(sequence))
    }

    fn marker_path(&self, sequence: &Sequence) -> PathBuf {
        self.out.join(format!("{}.json", sequence.name))
    }

    fn settings_for(&self, sequence: &Sequence) -> Map<String, Value> {
        let mut settings = self.settings.clone();
        settings.insert("frames".into(), sequence.frames.len().into());
        settings
    }

    fn write_marker(&self, sequence: &Sequence, marker: &Marker) -> Result<()> {
        Ok(write_text(&self.marker_path(sequence), &is_own_marker, &serde_json::to_string(marker)?)?)
    }
}

/// Removes the masks of maskd from `folder`, and nothing else.
fn remove_masks(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let is_mask = path.extension().is_some_and(|extension| extension == "png");
        if is_mask && files::check_target(&path, &is_own_png).is_ok_and(|ours| ours) {
            fs::remove_file(&path).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

/// Whether a file has the form of a [`Marker`].
fn is_own_marker(path: &Path) -> io::Result<bool> {
    Ok(serde_json::from_str::<Marker>(&files::read_text(path)?).is_ok())
}

fn read_marker(path: &Path) -> Result<Marker> {
    let text = files::read_text(path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text)
        .map_err(|error| anyhow!("{}: not what maskd eval writes ({error}): give another --out", path.display()))
}

/// What is not the same in two settings, in words: `preset "paper", now "best"`.
fn differences(before: &Map<String, Value>, now: &Map<String, Value>) -> Vec<String> {
    let said = |value: Option<&Value>| match value {
        Some(Value::Object(_)) => None,
        Some(value) => Some(value.to_string()),
        None => Some("unset".to_owned()),
    };
    let keys: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let differs = |key: &&&String| before.get(**key) != now.get(**key);
    let words = |key: &String| match (said(before.get(key)), said(now.get(key))) {
        (Some(before), Some(now)) => format!("{key} {before}, now {now}"),
        _ => key.clone(),
    };
    keys.iter().filter(differs).map(|key| words(key)).collect()
}

fn first_mask(sequence: &Sequence, size: Size) -> Result<LabelMap> {
    ensure!(!sequence.annotations.is_empty(), "sequence {}: it has no annotation of its first frame", sequence.name);
    Ok(FirstMask::of(&sequence.annotations[0], sequence.annotation(0)?)?.fit(size)?)
}

/// Times the stages of one frame.
struct Stopwatch(Mutex<(Instant, Timing)>);

impl Observer for Stopwatch {
    fn ended(&self, stage: Stage) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
fn step(engine: &mut Engine, frame: Frame) -> Result<(FrameResult, Timing)> {
    let none = Timing { preprocess: 0.0, backbone: 0.0, track: 0.0, discovered: false };
    let stopwatch = Stopwatch(Mutex::new((Instant::now(), none)));
    let mut results = engine.step(vec![frame], &stopwatch);
    let (_, mut timing) = stopwatch.0.into_inner().unwrap_or_else(PoisonError::into_inner);
    match results.pop() {
        Some(Ok(result)) => {
            timing.discovered = result.discovered;
            Ok((result, timing))
        }
        Some(Err(failure)) => Err(EngineFailed(format!("{:#}", failure.cause)).into()),
        None => Err(EngineFailed("no result. This is a bug.".into()).into()),
    }
}
