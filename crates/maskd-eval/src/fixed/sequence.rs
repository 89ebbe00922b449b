//! One sequence on disk: its frames, their truth, and where it is judged.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::{
    names::{Layout, identities, png},
    part::{Cut, Part},
    set::Place,
};
use crate::Job;
use maskd_types::{files, picture};

/// One sequence, as it is run and judged.
#[derive(Clone, Debug)]
pub struct Sequence {
    /// Its folder's name; in a category, `CATEGORY/NAME`.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// How its files are laid out.
    pub layout: Layout,
    /// The frames that are run, in order.
    pub shots: Vec<Shot>,
    /// The picture that says where it is judged; none where that is everywhere.
    pub region: Option<PathBuf>,
}

/// A frame that is run.
#[derive(Clone, Debug)]
pub struct Shot {
    /// The frame.
    pub frame: PathBuf,
    /// Its truth, where it is judged.
    pub truth: Option<PathBuf>,
    /// Which thing is where, where it is judged and the set says so.
    pub identities: Option<PathBuf>,
}

impl Sequence {
    /// Looks into the sequence at `place`.
    pub(super) fn open(place: &Place, cut: Cut) -> Result<Self> {
        let Place { name, folder, layout } = place.clone();
        let frames = pictures(&layout.frames(&folder))?;
        let span = match layout {
            Layout::Plain => frames.len() / 5..frames.len(),
            Layout::CdNet => temporal_region(&folder.join("temporalROI.txt"), frames.len())?,
        };
        let half = match layout {
            Layout::Plain => frames.len() / 2,
            Layout::CdNet => span.start.midpoint(span.end),
        };
        let judged = match cut.part {
            Part::All => span,
            Part::First => span.start..half.max(span.start),
            Part::Second => half.max(span.start)..span.end,
        };
        let named = identities(&folder);
        let named = named.is_dir().then_some(named);
        let shot = |(index, frame): (usize, PathBuf)| {
            let is_judged = judged.contains(&index);
            let there = |path: PathBuf| {
                ensure!(path.is_file(), "{}: missing, though {} is judged", path.display(), frame.display());
                Ok(path)
            };
            let truth = is_judged.then(|| there(layout.truth(&folder, &frame))).transpose()?;
            let identities = named.as_ref().filter(|_| is_judged).map(|named| there(named.join(png(&frame))));
            Ok(Shot { truth, identities: identities.transpose()?, frame })
        };
        let run = frames.into_iter().take(judged.end).enumerate().step_by(cut.every.max(1));
        let shots: Vec<Shot> = run.map(shot).collect::<Result<_>>()?;
        ensure!(
            shots.iter().any(|shot| shot.truth.is_some()),
            "{}: none of its frames is left to be judged",
            folder.display()
        );
        let region = ["ROI.bmp", "ROI.jpg"].map(|name| folder.join(name)).into_iter().find(|path| path.is_file());
        let region = region.filter(|_| layout == Layout::CdNet);
        Ok(Self { name, folder, layout, shots, region })
    }

    /// The frames that are judged, by their place among those that are run.
    pub fn judged(&self) -> impl Iterator<Item = (usize, &Shot)> {
        self.shots.iter().enumerate().filter(|(_, shot)| shot.truth.is_some())
    }
}

impl Job for Sequence {
    fn name(&self) -> &str {
        &self.name
    }

    fn frames(&self) -> usize {
        self.shots.len()
    }

    fn result_path(&self, results: &Path, index: usize) -> PathBuf {
        results.join(&self.name).join(self.shots.get(index).map(|shot| png(&shot.frame)).unwrap_or_default())
    }
}

/// The frames that CDnet judges: two numbers, of the first and of the last one, from 1.
fn temporal_region(path: &Path, frames: usize) -> Result<Range<usize>> {
    let text = files::read_text(path).with_context(|| path.display().to_string())?;
    let numbers: Vec<Option<usize>> = text.split_whitespace().map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [Some(first), Some(last)] if 0 < first && first <= last && last <= frames => Ok(first - 1..last),
        _ => Err(anyhow!(
            "{}: {:?} is not the numbers of two of the {frames} frames",
            path.display(),
            text.trim().chars().take(40).collect::<String>()
        )),
    }
}

/// The frames in a folder, in the order of their names.
fn pictures(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry.with_context(|| folder.display().to_string())?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if picture::is_named_so(&path) && !hidden {
            found.push(path);
        }
    }
    found.sort();
    if let Some(pair) = found.windows(2).find(|pair| png(&pair[0]) == png(&pair[1])) {
        bail!("{} and {} have one name: keep one of them", pair[0].display(), pair[1].display());
    }
    ensure!(!found.is_empty(), "{}: it holds no .jpg or .png frame", folder.display());
    Ok(found)
}
