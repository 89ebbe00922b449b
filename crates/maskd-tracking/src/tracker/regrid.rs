//! The same picture on another grid: the network sees it at another resolution, and the instances stay who they are.
//!
//! Labels are propagated between frames of one grid. So everything that is remembered is resampled to the new one, and the
//! first frame there is propagated to like any other. Only the empty scene is learnt anew: resampled features are not near
//! enough to the real ones to tell what has changed.

use std::sync::Arc;

use super::{
    frame_context::FrameContext, instances::Instances, last_frame::LastFrame, memory_bank::Remembered, scene::Scene,
    track::Track,
};
use crate::{propagate::ContextFrame, refine::Regrid};
use maskd_types::features::Grid;

/// Brings what is remembered to the frame's grid where the picture is as large as it was. Whether it is still the same scene
/// is for others to see.
pub fn follow(instances: &mut Instances, scene: &mut Scene, last: &mut LastFrame, frame: &FrameContext<'_>) {
    let Some(previous) = last.features.as_ref().filter(|_| last.source == Some(frame.source)) else { return };
    let features = &frame.features;
    if previous.grid == features.grid || previous.dim != features.dim {
        return;
    }
    let regrid = Regrid::new(previous.grid, features.grid);
    last.features = Some(Arc::new(regrid.features(previous)));
    instances.memory.follow_grid(features.grid);
    instances.tracks.iter_mut().for_each(|track| track.follow_grid(&regrid));
    scene.forget_patches();
}

impl Remembered {
    /// The same on another grid, from what it is here.
    pub(super) fn on(&self, grid: Grid) -> Self {
        let ContextFrame { features, labels } = &self.memory;
        let regrid = Regrid::new(features.grid, grid);
        let features = Arc::new(regrid.features(features));
        match &self.detail {
            None => Self::seen(ContextFrame { features, labels: regrid.labels(labels) }, None),
            Some((colours, cells)) => {
                let (labels, cells) = regrid.cells(labels, cells);
                Self::seen(ContextFrame { features, labels }, Some((Arc::new(regrid.colours(colours)), cells)))
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
        self.appearance.grow(down * across);
    }
}
