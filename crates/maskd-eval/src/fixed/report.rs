//! All that is known after an evaluation of fixed cameras, for programs: `report.json` and a CSV file.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    Part, Sequence, SequenceFigures,
    figures::{Figures, Identities},
    table::csv,
};
use crate::{
    Marker, Milliseconds, now,
    report::MADE_BY,
    written::{check_files, write_files},
};
use maskd_types::files::OutputError;

/// The table beside the report.
const TABLE: &str = "fixed_results.csv";

/// What `report.json` holds.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Always `maskd`: what bears another name or none is not replaced.
    made_by: &'static str,
    /// When, UTC.
    date: String,
    /// This program's version.
    version: &'static str,
    /// What was judged.
    task: &'static str,
    /// The folder of the set.
    set: String,
    /// The folder of the masks.
    results: String,
    /// Which part of each sequence was judged.
    part: Part,
    /// One frame in so many.
    every: usize,
    /// What the masks were made by; none where somebody else made them.
    pub settings: Option<Map<String, Value>>,
    /// Where the network ran, for people to read.
    pub device: Option<String>,
    /// Threads that were computed with.
    threads: usize,
    /// The mean over sequences.
    mean: Option<Figures>,
    /// The mean over the sequences that say which thing is which.
    mean_identities: Option<Identities>,
    sequences: Vec<Line>,
    /// Medians over all frames of all sequences.
    milliseconds: Option<Milliseconds>,
    tables: BTreeMap<String, String>,
    #[serde(skip)]
    figures: Vec<SequenceFigures>,
}

/// One sequence in the report.
#[derive(Clone, Debug, Serialize)]
struct Line {
    #[serde(flatten)]
    figures: SequenceFigures,
    frames: usize,
    milliseconds: Option<Milliseconds>,
}

impl Report {
    /// What is known of the masks in `results`; `markers` has one for each sequence, or none at all where somebody else
    /// made them.
    pub fn new(
        set: &Path,
        results: &Path,
        cut: super::Cut,
        sequences: &[Sequence],
        figures: Vec<SequenceFigures>,
        markers: &[Marker],
    ) -> Self {
        let line = |(i, (figures, sequence)): (usize, (&SequenceFigures, &Sequence))| Line {
            figures: figures.clone(),
            frames: sequence.shots.len(),
            milliseconds: markers.get(i).and_then(|marker| Milliseconds::of(marker.timings.iter())),
        };
        Self {
            made_by: MADE_BY,
            date: now(),
            version: env!("CARGO_PKG_VERSION"),
            task: "fixed",
            set: set.display().to_string(),
            results: results.display().to_string(),
            part: cut.part,
            every: cut.every,
            settings: None,
            device: None,
            threads: rayon::current_num_threads(),
            mean: Figures::mean(&figures.iter().map(|one| one.figures).collect::<Vec<_>>()),
            mean_identities: Identities::mean(&figures.iter().filter_map(|one| one.identities).collect::<Vec<_>>()),
            sequences: figures.iter().zip(sequences).enumerate().map(line).collect(),
            milliseconds: Milliseconds::of(markers.iter().flat_map(|marker| &marker.timings)),
            tables: BTreeMap::new(),
            figures,
        }
    }

    /// The table for people.
    pub fn for_people(&self) -> String {
        let milliseconds: Vec<Milliseconds> =
            self.sequences.iter().map(|line| line.milliseconds).chain([self.milliseconds]).flatten().collect();
        super::for_people(&self.figures, &milliseconds)
    }

    /// Writes the table and the report, which vouches for it, to `folder`.
    ///
    /// # Errors
    /// As [`check_written`], and a folder that cannot be written to.
    pub fn write(mut self, folder: &Path) -> Result<()> {
        let table = (TABLE.to_owned(), csv(&self.figures));
        write_files(folder, &[table], |tables| {
            self.tables = tables;
            serde_json::to_string_pretty(&self).context("This is a bug: the report cannot be written as JSON")
        })
    }
}

/// Checks that the report and the table can be written to `folder`.
///
/// # Errors
/// One of them is there and is not maskd's.
pub fn check_written(folder: &Path) -> Result<(), OutputError> {
    check_files(folder, &[TABLE.to_owned()])
}
