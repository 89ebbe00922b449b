//! The course of one frame: what is in sight, who ends, what is remembered, and the masks that come out.

use std::{collections::HashMap, sync::Arc};

use super::{Tracked, Tracker, channels, memory::Remembered, search::MOVED, track::Track};
use crate::{
    discover::{motion::Motion, region},
    propagate::Memory,
    refine::{self, Cells, Colours},
};
use maskd_types::{
    features::{Features, Grid},
    frame::Size,
    instance::{EndCause, Instance, InstanceId, Origin, TrackEvent},
    mask::{LabelMap, ReadoutConfig, Rle, SoftLabels, readout},
};

/// A frame on its way through the tracker.
pub struct Step {
    pub features: Arc<Features>,
    pub source: Size,
    /// Labels of the frame so far; one channel for each track and the background.
    pub soft: SoftLabels,
    /// The frame's colours, where its pixels are known and masks are refined.
    pub colours: Option<Arc<Colours>>,
    /// Labels of its cells, where patches are shared.
    pub cells: Cells,
    /// `soft` as it was when `cells` were decided.
    settled: SoftLabels,
    pub motion: Option<Motion>,
    pub events: Vec<TrackEvent>,
    /// The scene was cut before this frame.
    pub cut: bool,
    /// Labels hold more than propagation found.
    pub edited: bool,
    pub discovered: bool,
    /// Channels of tracks that are new, or found again, in this frame.
    pub new: Vec<InstanceId>,
    /// Places where instances were found without labels to propagate, by id.
    pub found: Vec<(InstanceId, Vec<bool>)>,
    /// Instances whose masks are known to the pixel in this frame.
    pub drawn: Vec<InstanceId>,
    /// Which of them holds each pixel, `(height, width)`, 0 for none; empty while nobody was drawn.
    pub drawing: Vec<InstanceId>,
}

impl Step {
    pub fn new(features: Arc<Features>, colours: Option<Colours>, source: Size) -> Self {
        let soft = channels::background(features.grid.len(), 0);
        let colours = colours.filter(|colours| colours.grid == features.grid).map(Arc::new);
        Self {
            cells: Cells::new(features.grid.len(), colours.as_ref().map_or(1, |colours| colours.side), 1),
            settled: soft.clone(),
            colours,
            features,
            source,
            soft,
            motion: None,
            events: Vec::new(),
            cut: false,
            edited: false,
            discovered: false,
            new: Vec::new(),
            found: Vec::new(),
            drawn: Vec::new(),
            drawing: Vec::new(),
        }
    }

    /// Forgets the cells of patches whose labels were edited since they were decided.
    pub fn settle(&mut self) {
        self.cells.forget_changed(&self.settled, &self.soft);
        let channels = self.soft.channels;
        self.cells.edit_channels(|labels| channels::widen(labels, channels));
        self.settled = self.soft.clone();
    }

    /// Removes a channel; what it held becomes background.
    pub fn remove_channel(&mut self, channel: usize) {
        channels::remove(&mut self.soft, channel);
        channels::remove(&mut self.settled, channel);
        self.cells.edit_channels(|labels| channels::remove(labels, channel));
    }

    /// Gives a channel exactly the pixels of `mask` `(height, width)` of the source frame, as far as cells can tell.
    pub fn paint(&mut self, channel: usize, mask: &[bool]) {
        self.settle();
        self.cells.paint(&mut self.soft, self.features.grid, mask, self.source, channel);
        self.settled = self.soft.clone();
    }

    /// Gives an instance exactly these pixels in this frame.
    pub fn draw(&mut self, id: InstanceId, mask: impl Iterator<Item = bool>) {
        self.drawing.resize(self.source.area(), 0);
        self.drawing.iter_mut().zip(mask).filter(|(_, held)| *held).for_each(|(pixel, _)| *pixel = id);
        self.drawn.push(id);
    }

    pub fn grid(&self) -> Grid {
        self.features.grid
    }

    /// The patches that a channel wins.
    pub fn patches_of(&self, channel: usize) -> Vec<bool> {
        channels::owners(&self.soft).iter().map(|&owner| owner == channel).collect()
    }

    /// The patches that any instance wins.
    pub fn owned(&self) -> Vec<bool> {
        channels::owners(&self.soft).iter().map(|&owner| owner != 0).collect()
    }
}

impl Tracker {
    /// Carries the labels of earlier frames over, to patches and, where those are shared, to cells.
    pub(super) fn carry(&self, step: &mut Step) {
        if self.only_things() {
            step.soft = channels::background(step.grid().len(), self.tracks.len());
            step.settled = step.soft.clone();
            return;
        }
        let mut config = self.config.propagate.clone();
        if self.config.gating && self.tracks.iter().any(|track| track.adrift) {
            // Where it was says nothing: all of the picture is asked.
            config.radius = step.grid().rows.max(step.grid().cols);
        }
        let (soft, answers) = self.memories.propagate(&step.features, self.tracks.len(), &config);
        step.soft = soft;
        if let Some(colours) = &step.colours {
            let earlier = self.memories.earlier();
            step.cells = refine::transfer(colours, &mut step.soft, &answers, &earlier, &self.config.refine);
        }
        step.settled = step.soft.clone();
    }

    /// Which instances are in sight, and what each looks like now.
    pub(super) fn observe(&mut self, step: &mut Step) {
        if self.config.discovery {
            let motion = self.background.observe(&step.features, &step.owned(), &self.config.motion);
            step.motion = Some(motion);
        }
        let still = step.motion.clone().filter(|m| m.usable && self.config.gating);
        if let Some(motion) = &still {
            self.correct_by_motion(step, motion);
        }
        let owners = channels::owners(&step.soft);
        for (k, track) in self.tracks.iter_mut().enumerate().filter(|(_, track)| track.thing.is_none()) {
            let channel = k + 1;
            let patches: Vec<bool> = owners.iter().map(|&owner| owner == channel).collect();
            if let Some(motion) = &still {
                let changed = region::overlap(&patches, &motion.changed) as f32;
                track.stirred |= changed > 0.0 && changed >= MOVED * region::count(&patches) as f32;
            }
            if self.config.gating {
                let peak =
                    step.soft.values.iter().skip(channel).step_by(step.soft.channels).fold(0f32, |a, &b| a.max(b));
                let moves =
                    still.as_ref().is_none_or(|m| !track.by_motion || region::overlap(&patches, &m.changed) > 0);
                if region::count(&patches) < self.config.min_patches.max(1) || peak < self.config.min_peak || !moves {
                    self.lost_something |= track.visible();
                    track.unseen = track.unseen.saturating_add(1);
                    // A remnant must not creep over the background; older frames still know the instance.
                    channels::fade(&mut step.soft, channel, 0.0, |_| true);
                    continue;
                }
                track.unseen = 0;
                track.adrift = false;
            }
            track.learn(&step.features, &patches, self.config.prototype_rate);
        }
    }

    /// Ends the instances that have been out of sight for too long.
    pub(super) fn end_lost(&mut self, step: &mut Step) {
        let limit = self.config.lost_after_frames;
        while let Some(k) = self.tracks.iter().position(|t| limit > 0 && t.unseen > limit) {
            self.end(k, EndCause::Lost, step);
        }
        // Before a fixed camera a cut through the first frames sees furniture too: it becomes part of the scene.
        let still = self.config.gating && step.motion.as_ref().is_some_and(|motion| motion.usable);
        let absorbed = u64::from(self.config.motion.absorb_after_frames);
        if still && absorbed > 0 {
            let furniture = |t: &Track| t.origin == Origin::Discovered && t.age >= absorbed && t.is_furniture();
            while let Some(k) = self.tracks.iter().position(furniture) {
                self.end(k, EndCause::Lost, step);
            }
        }
    }

    /// Ends one instance and frees its channel.
    pub(super) fn end(&mut self, k: usize, cause: EndCause, step: &mut Step) {
        let track = self.tracks.remove(k);
        step.remove_channel(k + 1);
        self.memories.remove_channel(k + 1);
        if let Some(aside) = &mut self.aside {
            aside.end(track.id);
        }
        step.new.retain(|&id| id != track.id);
        step.events.push(TrackEvent::Ended { id: track.id, cause });
    }

    /// Puts the frame into the memory.
    pub(super) fn remember(&mut self, step: &mut Step) {
        if self.tracks.is_empty() {
            // Nothing to carry: the frame in which the next instance appears is the new anchor.
            self.memories.clear();
            return;
        }
        step.settle();
        let memory = Memory { features: step.features.clone(), labels: step.soft.clone() };
        let new: Vec<usize> =
            (0..self.tracks.len()).filter(|&k| step.new.contains(&self.tracks[k].id)).map(|k| k + 1).collect();
        if !new.is_empty() {
            self.memories.label_back(&memory, &new, &self.config.propagate);
        }
        let detail = step.colours.clone().map(|colours| (colours, step.cells.clone()));
        self.memories.keep(Remembered::seen(memory, detail), step.edited, self.config.propagate.context);
    }

    /// Labels at the size of the source frame: each track's channel.
    pub(super) fn render(&self, step: &Step) -> LabelMap {
        let grid = step.grid();
        let mut map = LabelMap::new(step.source);
        if !self.tracks.is_empty() {
            // What is known to the pixel need not be drawn from patches.
            let shown = |t: &Track| t.visible() && (t.thing.is_none() || !step.drawn.contains(&t.id));
            let visible: Vec<bool> = std::iter::once(true).chain(self.tracks.iter().map(shown)).collect();
            map = match &step.colours {
                Some(colours) => {
                    refine::render(&step.soft, &step.cells, colours, step.source, &self.config.refine, &visible)
                }
                None => {
                    let config = ReadoutConfig { min_max: self.config.min_max };
                    readout(&step.soft, (grid.rows, grid.cols), self.patch, step.source, config, &visible)
                }
            };
        }
        let channel_of = |id: InstanceId| self.tracks.iter().position(|t| t.id == id).map(|k| (k + 1) as u8);
        let drawn: Vec<u8> = step.drawn.iter().filter_map(|&id| channel_of(id)).collect();
        let channels: HashMap<InstanceId, u8> =
            step.drawn.iter().filter_map(|&id| Some((id, channel_of(id)?))).collect();
        for (label, id) in map.labels.iter_mut().zip(&step.drawing) {
            match channels.get(id) {
                Some(&channel) => *label = channel,
                None if drawn.contains(label) => *label = 0,
                None => {}
            }
        }
        map
    }

    /// Instances with their masks, and the labels by palette index, from the labels of channels.
    pub(super) fn encode(&self, step: Step, mut map: LabelMap) -> Tracked {
        let owners = channels::owners(&step.soft);
        let instances = self
            .tracks
            .iter()
            .zip(Rle::encode_labels(&map, self.tracks.len()))
            .enumerate()
            .filter(|(_, (_, encoded))| encoded.area > 0)
            .map(|(k, (track, encoded))| Instance {
                id: track.id,
                age: track.age,
                score: score(&step.soft, &owners, k + 1),
                bbox: encoded.bbox,
                area: encoded.area,
                mask: encoded.mask,
            })
            .collect();
        let palette: Vec<u8> = std::iter::once(0).chain(self.tracks.iter().map(|t| t.palette)).collect();
        for label in &mut map.labels {
            *label = palette.get(usize::from(*label)).copied().unwrap_or(0);
        }
        Tracked { labels: map, instances, events: step.events, discovered: step.discovered, salient: Vec::new() }
    }
}

/// Mean soft label over the patches that a channel wins, else its largest.
fn score(soft: &SoftLabels, owners: &[usize], channel: usize) -> f32 {
    let value = |p: usize| soft.values[p * soft.channels + channel];
    let held: Vec<f32> = (0..owners.len()).filter(|&p| owners[p] == channel).map(value).collect();
    let score = if held.is_empty() {
        (0..owners.len()).map(value).fold(0.0, f32::max)
    } else {
        held.iter().sum::<f32>() / held.len() as f32
    };
    score.clamp(0.0, 1.0)
}
