//! Which sequences are yet to be run, and the marker beside each one's masks that says how they were made.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{run::Timing, written::write_text};
use maskd_types::{files, mask::is_own_png};

/// A sequence that masks are made of, as a [`RunPlan`] sees it.
pub trait Job {
    /// Its name: where its masks are, below the folder of results.
    fn name(&self) -> &str;

    /// How many masks there will be.
    fn frames(&self) -> usize;

    /// Where the mask of a frame lies, below the folder of results.
    fn result_path(&self, results: &Path, index: usize) -> PathBuf;
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
    /// Where prompts were made from the first annotation: how much of each object the first frame has then, as its
    /// intersection over union.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first_frame: Vec<f64>,
    /// One for each frame.
    pub timings: Vec<Timing>,
}

/// Where masks go, and what they are made by.
pub struct RunPlan {
    /// The folder.
    pub out: PathBuf,
    /// Compared with those of a sequence that is there already.
    pub settings: Map<String, Value>,
    /// Sequences that are finished are run again as well.
    pub again: bool,
}

impl RunPlan {
    /// Which sequences remain to be run, in order; before any of them is touched.
    ///
    /// # Errors
    /// Masks of other settings in the folder, masks that nobody says the making of, files that maskd did not make where
    /// it would write.
    pub fn remaining<'a, J: Job>(&self, jobs: &'a [J]) -> Result<Vec<&'a J>> {
        let mut remaining = Vec::new();
        for job in jobs {
            if self.again || !self.is_finished(job)? {
                self.check_targets(job)?;
                remaining.push(job);
            }
        }
        Ok(remaining)
    }

    fn check_targets(&self, job: &impl Job) -> Result<()> {
        files::check_target(&self.marker_path(job), &is_own_marker)?;
        (0..job.frames()).try_for_each(|index| {
            files::check_target(&job.result_path(&self.out, index), &is_own_png)?;
            Ok(())
        })
    }

    fn is_finished(&self, job: &impl Job) -> Result<bool> {
        let path = self.marker_path(job);
        if !path.exists() {
            let folder = self.out.join(job.name());
            let strange = folder.is_dir() && fs::read_dir(&folder)?.next().is_some();
            ensure!(
                !strange,
                "{}: it holds files that are not known to be made by maskd: give another --out, or --again",
                folder.display()
            );
            return Ok(false);
        }
        let marker = read_marker(&path)?;
        let ours = self.settings_for(job);
        let others = differences(&marker.settings, &ours);
        ensure!(
            others.is_empty(),
            "{}: these masks were made by other settings ({}): give another --out, or --again",
            path.display(),
            others.join(", ")
        );
        let written = |index| job.result_path(&self.out, index).is_file();
        Ok(marker.finished && (0..job.frames()).all(written))
    }

    /// Makes the folder of a sequence's masks, without those of an earlier run, and notes that they are not finished.
    ///
    /// # Errors
    /// A folder that cannot be written to.
    pub(super) fn begin(&self, job: &impl Job) -> Result<Marker> {
        let folder = self.out.join(job.name());
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        if self.marker_path(job).exists() {
            // Of an earlier run, and perhaps more of them than will be now.
            remove_masks(&folder)?;
        }
        let marker = Marker {
            finished: false,
            settings: self.settings_for(job),
            identities: 0,
            first_frame: Vec::new(),
            timings: Vec::new(),
        };
        self.write_marker(job, &marker)?;
        Ok(marker)
    }

    /// Notes that all masks of a sequence are written.
    ///
    /// # Errors
    /// A folder that cannot be written to.
    pub(super) fn end(&self, job: &impl Job, mut marker: Marker) -> Result<Marker> {
        marker.finished = true;
        self.write_marker(job, &marker)?;
        Ok(marker)
    }

    /// What was written about a sequence.
    ///
    /// # Errors
    /// A marker that is missing or damaged.
    pub fn marker(&self, job: &impl Job) -> Result<Marker> {
        read_marker(&self.marker_path(job))
    }

    fn marker_path(&self, job: &impl Job) -> PathBuf {
        self.out.join(format!("{}.json", job.name()))
    }

    fn settings_for(&self, job: &impl Job) -> Map<String, Value> {
        let mut settings = self.settings.clone();
        settings.insert("frames".into(), job.frames().into());
        settings
    }

    fn write_marker(&self, job: &impl Job, marker: &Marker) -> Result<()> {
        Ok(write_text(&self.marker_path(job), &is_own_marker, &serde_json::to_string(marker)?)?)
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
