//! The same picture on another grid: the network sees it at another resolution, and the instances stay who they are.
//!
//! Labels are propagated between frames of one grid. So everything that is remembered is resampled to the new one, and the
//! first frame there is propagated to like any other. Only the empty scene is learnt anew: resampled features are not near
//! enough to the real ones to tell what has changed.

use std::sync::Arc;

use super::{Tracker, memory::Remembered, track::Track};
use crate::{discover::motion::Background, propagate::Memory, refine::Regrid};
use maskd_types::{
    features::{Features, Grid},
    frame::Size,
};

impl Tracker {
    /// Brings the memory to the grid of `features` where the picture, of `source` size, is as large as it was. Whether it
    /// is still the same scene is for others to see.
    pub(super) fn follow_grid(&mut self, features: &Features, source: Size) {
        let Some(previous) = self.previous.as_ref().filter(|_| self.source == Some(source)) else { return };
        if previous.grid == features.grid || previous.dim != features.dim {
            return;
        }
        let regrid = Regrid::new(previous.grid, features.grid);
        self.previous = Some(Arc::new(regrid.features(previous)));
        self.memories.follow_grid(features.grid);
        self.tracks.iter_mut().for_each(|track| track.follow_grid(&regrid));
        self.background = Background::new();
        self.previous_changed.clear();
        self.uncovered_frames = 0;
        self.history.clear();
    }
}

impl Remembered {
    /// The same on another grid, from what it is here.
    pub(super) fn on(&self, grid: Grid) -> Self {
        let Memory { features, labels } = &self.memory;
        let regrid = Regrid::new(features.grid, grid);
        let features = Arc::new(regrid.features(features));
        match &self.detail {
            None => Self::seen(Memory { features, labels: regrid.labels(labels) }, None),
            Some((colours, cells)) => {
                let (labels, cells) = regrid.cells(labels, cells);
                Self::seen(Memory { features, labels }, Some((Arc::new(regrid.colours(colours)), cells)))
            }
        }
    }
}

impl Track {
    fn follow_grid(&mut self, regrid: &Regrid) {
        let (down, across) = regrid.scale();
        // Positions are those of patch centres.
        let moved = |(row, col): (f32, f32)| ((row + 0.5) * down - 0.5, (col + 0.5) * across - 0.5);
        (self.began, self.centre) = (moved(self.began), moved(self.centre));
        if self.held.len() == regrid.from().len() {
            self.held = regrid.set(&self.held);
        }
        self.portrait.grow(down * across);
    }
}
