//! All that is known after an evaluation, for programs: `report.json`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};
use tracing_subscriber::fmt::{
    format::Writer,
    time::{FormatTime, SystemTime},
};

use super::{Dataset, Marker, Report, Row, Timing};

/// Who made a report, as it says itself.
pub(super) const MADE_BY: &str = "maskd";

/// Median milliseconds per frame.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Milliseconds {
    /// Pixels to the network's input.
    pub preprocess: f64,
    /// The network.
    pub backbone: f64,
    /// Propagation, discovery and masks.
    pub track: f64,
}

impl Milliseconds {
    /// The medians of some frames; none of no frame.
    pub fn of<'a>(timings: impl Iterator<Item = &'a Timing>) -> Option<Self> {
        let timings: Vec<&Timing> = timings.collect();
        let of = |field: fn(&Timing) -> f64| median(timings.iter().map(|timing| field(timing)).collect());
        Some(Self { preprocess: of(|t| t.preprocess)?, backbone: of(|t| t.backbone)?, track: of(|t| t.track)? })
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some((lower + upper) / 2.0)
}

/// One sequence in the report.
#[derive(Clone, Debug, Serialize)]
struct SequenceSummary {
    name: String,
    frames: usize,
    identities: Option<usize>,
    /// Intersection over union of each prompted object in the first frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_frame_iou: Option<Vec<f64>>,
    milliseconds: Option<Milliseconds>,
}

/// What `report.json` holds.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Always `maskd`: what bears another name or none is not replaced.
    made_by: &'static str,
    /// When, UTC.
    pub date: String,
    /// This program's version.
    pub version: &'static str,
    /// `semi-supervised` or `unsupervised`.
    pub task: String,
    /// The set.
    pub set: String,
    /// The folder of the annotations.
    pub annotations: String,
    /// The folder of the masks.
    pub results: String,
    /// What the masks were made by; none where somebody else made them.
    pub settings: Option<Map<String, Value>>,
    /// Where the network ran, for people to read.
    pub device: Option<String>,
    /// Threads that were computed with.
    pub threads: usize,
    /// J&F, J and F over all objects, and of each.
    pub scores: Option<Scores>,
    /// The same where only label 1 is judged: the most salient proposal. Unsupervised only.
    pub most_salient: Option<Scores>,
    /// Mean intersection over union of all prompted objects in their first frames, where there were prompts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_frame_iou: Option<f64>,
    /// Medians over all frames of all sequences.
    pub milliseconds: Option<Milliseconds>,
    /// Medians over the frames that instances were searched for in.
    pub milliseconds_where_discovered: Option<Milliseconds>,
    sequences: Vec<SequenceSummary>,
    /// SHA-256 of the tables beside the report, by name: these are maskd's.
    pub(super) tables: BTreeMap<String, String>,
}

/// A report with the figure that methods are ranked by.
#[derive(Clone, Debug, Serialize)]
pub struct Scores {
    j_and_f: f64,
    #[serde(flatten)]
    report: Report,
}

impl From<&Report> for Scores {
    fn from(report: &Report) -> Self {
        Self { j_and_f: report.j_and_f(), report: report.clone() }
    }
}

impl Summary {
    /// What is known of a dataset's masks in `results`; `markers` has one for each sequence, or none at all where
    /// somebody else made them.
    pub fn new(dataset: &Dataset, results: &std::path::Path, markers: &[Marker]) -> Self {
        let timings = || markers.iter().flat_map(|marker| &marker.timings);
        let sequence = |(i, sequence): (usize, &super::Sequence)| SequenceSummary {
            name: sequence.name.clone(),
            frames: sequence.frames.len(),
            identities: markers.get(i).map(|marker| marker.identities),
            first_frame_iou: markers.get(i).map(|marker| marker.first_frame.clone()).filter(|iou| !iou.is_empty()),
            milliseconds: markers.get(i).and_then(|marker| Milliseconds::of(marker.timings.iter())),
        };
        Self {
            made_by: MADE_BY,
            date: now(),
            version: env!("CARGO_PKG_VERSION"),
            task: dataset.task.to_string(),
            set: dataset.set.clone(),
            annotations: dataset.annotations.display().to_string(),
            results: results.display().to_string(),
            settings: None,
            device: None,
            threads: rayon::current_num_threads(),
            scores: None,
            most_salient: None,
            first_frame_iou: mean(&markers.iter().flat_map(|marker| marker.first_frame.clone()).collect::<Vec<_>>()),
            milliseconds: Milliseconds::of(timings()),
            milliseconds_where_discovered: Milliseconds::of(timings().filter(|timing| timing.discovered)),
            sequences: dataset.sequences.iter().enumerate().map(sequence).collect(),
            tables: BTreeMap::new(),
        }
    }

    /// What the table for people says of each sequence.
    pub fn rows(&self) -> Vec<Row> {
        let row = |sequence: &SequenceSummary| Row {
            sequence: sequence.name.clone(),
            frames: sequence.frames,
            first_frame: sequence.first_frame_iou.as_deref().and_then(mean),
            milliseconds: sequence.milliseconds.map(|ms| (ms.backbone, ms.track)),
        };
        self.sequences.iter().map(row).collect()
    }
}

/// The time now, UTC, RFC 3339.
pub fn now() -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_of_each_stage() {
        let timing = |backbone, track| Timing { preprocess: 1.0, backbone, track, discovered: false };
        let timings = [timing(5.0, 1.0), timing(1.0, 9.0), timing(2.0, 2.0), timing(4.0, 3.0)];
        let all = Milliseconds::of(timings.iter()).unwrap();
        assert_eq!((all.preprocess, all.backbone, all.track), (1.0, 3.0, 2.5));
        assert_eq!(Milliseconds::of([].iter()), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
    }

    #[test]
    fn the_date_is_a_date() {
        let now = now();
        assert!(now.starts_with("20") && now.contains('T') && now.ends_with('Z'), "{now}");
    }
}
