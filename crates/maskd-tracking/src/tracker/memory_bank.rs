//! The memory bank: the frames that a stream remembers, with their labels. An anchor, the last frame whose labels were edited, and the newest few.

use std::{collections::VecDeque, sync::Arc};

use super::{channels, target_model::TargetModel};
use crate::{
    propagate::{ContextFrame, PropagateConfig, TopMatches, propagate, propagate_with_matches},
    refine::{Cells, Colours, Earlier},
};
use maskd_types::{
    features::{Features, Grid},
    mask::SoftLabels,
};

/// A remembered frame: its labels by patches and, where its pixels were seen, by cells.
#[derive(Clone)]
pub struct Remembered {
    pub memory: ContextFrame,
    pub detail: Option<(Arc<Colours>, Cells)>,
    /// The frame as it was seen, where it is here on another grid: for when that grid returns.
    pub native: Option<Box<Remembered>>,
}

impl Remembered {
    /// A frame on the grid that it was seen on.
    pub fn seen(memory: ContextFrame, detail: Option<(Arc<Colours>, Cells)>) -> Self {
        Self { memory, detail, native: None }
    }
}

/// What labels are propagated from. All labels have the same channels: background and one for each track, in order.
#[derive(Clone, Default)]
pub struct MemoryBank {
    /// The frame in which the first of the instances appeared; it stays while any of them lives.
    anchor: Option<Remembered>,
    /// The last frame in which an instance was added or corrected.
    edited: Option<Remembered>,
    /// The newest frames, oldest first; the other two are never among them.
    recent: VecDeque<Remembered>,
    /// What the instances look like by all of them and by frames that are forgotten.
    target_model: TargetModel,
}

impl MemoryBank {
    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// All of them, in the order in which matches number them.
    fn all(&self) -> impl Iterator<Item = &Remembered> {
        self.anchor.iter().chain(&self.edited).chain(&self.recent)
    }

    /// Labels of a new frame with `instances` channels beside background, and the matches of its patches.
    pub fn propagate(
        &self,
        features: &Features,
        instances: usize,
        config: &PropagateConfig,
    ) -> (SoftLabels, TopMatches) {
        let contexts: Vec<&ContextFrame> = self.all().map(|remembered| &remembered.memory).collect();
        let nothing = || (channels::background(features.grid.len(), instances), TopMatches::default());
        if instances == 0 || contexts.is_empty() {
            return nothing();
        }
        let (mut soft, matches) = propagate_with_matches(features, &contexts, config);
        channels::widen(&mut soft, instances + 1);
        if channels::fits(&soft, features.grid, instances + 1) { (soft, matches) } else { nothing() }
    }

    /// What each of them can lend, in the order in which matches number them.
    pub fn earlier(&self) -> Vec<Option<Earlier<'_>>> {
        let mut all = Vec::new();
        for Remembered { memory, detail, .. } in self.all() {
            all.push(detail.as_ref().map(|(colours, cells)| Earlier { labels: &memory.labels, cells, colours }));
        }
        all
    }

    /// What the labels of a frame with `instances` should be by what its patches look like `(N, K)`; `None` where nothing is
    /// known of them.
    pub fn scores(&self, features: &Features, instances: usize) -> Option<SoftLabels> {
        self.target_model.scores(features, instances + 1)
    }

    /// Learns what instances look like from the frame that was kept last; `edited` as in [`Self::keep`].
    pub fn learn(&mut self, edited: bool) {
        let newest = self.recent.back().map(|remembered| &remembered.memory);
        match newest.filter(|newest| !edited && self.target_model.fits(newest)) {
            Some(newest) => self.target_model.learn(newest),
            // Labels of the frames that stay were written anew, or have other channels.
            None => {
                let given = self.anchor.iter().chain(&self.edited).map(|remembered| &remembered.memory);
                self.target_model = TargetModel::of(given, newest);
            }
        }
    }

    /// Keeps a frame; `edited` says that its labels hold more than propagation found.
    pub fn keep(&mut self, memory: Remembered, edited: bool, context: usize) {
        if self.anchor.is_none() {
            self.anchor = Some(memory);
        } else if edited {
            self.edited = Some(memory);
        } else {
            self.recent.push_back(memory);
        }
        while self.recent.len() > context {
            self.recent.pop_front();
        }
    }

    /// Forgets how things moved: of the newest frames only the last is kept.
    pub fn forget_course(&mut self) {
        self.recent.drain(..self.recent.len().saturating_sub(1));
    }

    /// Makes room for one more track at the end.
    pub fn add_channel(&mut self, channels: usize) {
        self.each(|labels| channels::widen(labels, channels));
    }

    /// Removes a track's channel. An anchor in which nothing is left gives its place up.
    pub fn remove_channel(&mut self, channel: usize) {
        self.each(|labels| channels::remove(labels, channel));
        let hollow = |Remembered { memory: ContextFrame { labels, .. }, .. }: &Remembered| {
            labels.values.chunks_exact(labels.channels).all(|row| row[1..].iter().all(|&v| v == 0.0))
        };
        if self.anchor.as_ref().is_some_and(hollow) {
            self.anchor = self.edited.take();
        }
    }

    /// Finds new instances in the remembered frames too. They were in view there without a name, and frames that
    /// remember them as background would outvote the one that knows better.
    pub fn label_back(&mut self, from: &ContextFrame, new_channels: &[usize], config: &PropagateConfig) {
        let features = from.features.clone();
        let all = self.anchor.iter_mut().chain(&mut self.edited).chain(&mut self.recent);
        for Remembered { memory, detail, native } in all {
            if Arc::ptr_eq(&memory.features, &features) {
                continue;
            }
            let back = propagate(&memory.features, &[from], config);
            if back.channels != memory.labels.channels || back.values.len() != memory.labels.values.len() {
                continue;
            }
            // As it was seen, it knows nothing of them.
            *native = None;
            let rows = memory.labels.values.chunks_exact_mut(back.channels);
            for (patch, (row, found)) in rows.zip(back.values.chunks_exact(back.channels)).enumerate() {
                for &channel in new_channels {
                    // Only unnamed ground changes hands: other instances keep what they had.
                    let moved = found[channel].min(row[0]);
                    if let (true, Some((_, cells))) = (moved > 0.0, detail.as_mut()) {
                        cells.forget(patch);
                    }
                    row[0] -= moved;
                    row[channel] += moved;
                }
            }
        }
    }

    /// Brings every remembered frame to another grid. The two that stay for long are kept as they were seen, too:
    /// resampling there and back would blur them.
    pub fn follow_grid(&mut self, grid: Grid) {
        self.recent.iter_mut().for_each(|remembered| *remembered = remembered.on(grid));
        for kept in self.anchor.iter_mut().chain(&mut self.edited) {
            let native = match kept.native.take() {
                Some(native) => native,
                None => Box::new(Remembered::seen(kept.memory.clone(), kept.detail.clone())),
            };
            *kept = match native.memory.features.grid == grid {
                true => *native,
                // From what was seen, whatever grids came between.
                false => {
                    let here = native.on(grid);
                    Remembered { native: Some(native), ..here }
                }
            };
        }
    }

    fn each(&mut self, mut edit: impl FnMut(&mut SoftLabels)) {
        for remembered in self.anchor.iter_mut().chain(&mut self.edited).chain(&mut self.recent) {
            let mut next = Some(remembered);
            while let Some(Remembered { memory, detail, native }) = next {
                edit(&mut memory.labels);
                if let Some((_, cells)) = detail {
                    cells.edit_channels(&mut edit);
                }
                next = native.as_deref_mut();
            }
        }
    }

    /// Number of channels of each remembered frame, for tests.
    #[cfg(test)]
    pub fn channels(&self) -> Vec<usize> {
        self.all().map(|m| m.memory.labels.channels).collect()
    }
}
