//! The report on a clip: it takes frame after frame, writes pictures as they come, and page and log at the end.

use std::path::PathBuf;

use maskd_tracking::{engine::FrameResult, tracker::Inspection};
use maskd_types::files::OutputError;

use crate::{
    folder::Folder,
    log::log,
    page::{Facts, Page, Shot},
    pictures,
    record::Moment,
    story::Story,
};

/// When pictures are taken: beside those of frames in which something happened to instances or to the verdict.
#[derive(Clone, Copy, Debug)]
pub struct When {
    /// Seconds between two.
    pub each: f64,
    /// Pictures at most.
    pub most: usize,
}

/// A report that grows.
pub struct Report {
    facts: Facts,
    when: When,
    folder: Folder,
    story: Story,
    shots: Vec<Shot>,
    left_out: usize,
    /// Seconds at which the next picture is due.
    due: f64,
}

/// What a report holds.
#[derive(Clone, Debug)]
pub struct PageSummary {
    /// Frames.
    pub frames: usize,
    /// Published instances.
    pub instances: usize,
    /// Frames in which the camera was taken for fixed.
    pub fixed: usize,
    /// Pictures that were taken, and those that were left out since there were enough.
    pub pictures: (usize, usize),
    /// The page.
    pub page: PathBuf,
}

impl Report {
    /// Begins a report on a clip. What an earlier one left in the folder is taken away.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn begin(facts: Facts, when: When, folder: Folder) -> Result<Self, OutputError> {
        folder.clear()?;
        Ok(Self { facts, when, folder, story: Story::default(), shots: Vec::new(), left_out: 0, due: 0.0 })
    }

    /// Takes a frame's result, and a look into the tracker after it.
    ///
    /// # Errors
    /// A picture cannot be written.
    pub fn take(&mut self, moment: Moment, result: &FrameResult, inspection: &Inspection) -> Result<(), OutputError> {
        let instances = result.instances.iter().map(|instance| instance.id).collect();
        let happened = self.story.take(&moment, instances, &result.events, inspection);
        let due = moment.seconds >= self.due;
        if due {
            self.due = (moment.seconds / self.when.each).floor() * self.when.each + self.when.each;
        }
        if happened.is_empty() && !due {
            return Ok(());
        }
        if self.shots.len() >= self.when.most {
            self.left_out += 1;
            return Ok(());
        }
        let why = happened.iter().map(|record| self.story.sentence(record)).collect();
        let drawn = pictures::jpeg(&pictures::draw(result, &inspection.view));
        let jpeg = drawn.map_err(|source| OutputError::Io { path: self.folder.page(), source })?;
        let file = self.folder.picture(moment.frame, &jpeg)?;
        self.shots.push(Shot { moment, file, why });
        Ok(())
    }

    /// Writes log and page; `cut_short` says why the clip was not looked at to its end.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn finish(self, cut_short: Option<&str>) -> Result<PageSummary, OutputError> {
        let Self { facts, story, shots, left_out, folder, .. } = self;
        let page = Page { facts: &facts, story: &story, shots: &shots, left_out, cut_short };
        folder.finish(&log(&facts, &story), &page.html())?;
        Ok(PageSummary {
            frames: story.measures.len(),
            instances: story.palette.len(),
            fixed: story.measures.iter().filter(|measured| measured.camera.fixed).count(),
            pictures: (shots.len(), left_out),
            page: folder.page(),
        })
    }
}
