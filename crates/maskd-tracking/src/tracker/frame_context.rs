//! What is known of a frame on its way through the stages: what came in, what stages found, what goes out.

use std::sync::Arc;

use super::{Tracked, TrackerConfig, channels};
use crate::{
    discover::motion::Motion,
    refine::{Cells, Colours},
    tracker::Picture,
};
use maskd_types::{
    features::{Features, Grid},
    frame::Size,
    instance::{Instance, InstanceId, TrackEvent},
    mask::{LabelMap, SoftLabels},
};

/// What moves in a frame of a fixed camera: the thing of each pixel of the picture, 0 for none.
pub struct Things {
    /// Row by row, `(height, width)`.
    pub of_pixels: Vec<u32>,
    /// Size of the picture.
    pub size: Size,
}

/// A frame as it comes to a tracker.
pub struct Input {
    /// What the network says of it.
    pub features: Arc<Features>,
    /// Its colours, where its pixels are known.
    pub colours: Option<Colours>,
    /// Its pixels.
    pub picture: Option<Picture>,
    /// Its size.
    pub source: Size,
    /// The connection that it came over.
    pub epoch: u32,
}

/// A frame on its way through the stages.
pub struct FrameContext<'a> {
    /// How the stream is tracked.
    pub config: &'a TrackerConfig,
    /// The network's patch size in pixels of its input.
    pub patch: usize,
    pub features: Arc<Features>,
    pub source: Size,
    pub epoch: u32,
    /// Its pixels, where the tracker wants them.
    pub picture: Option<Picture>,
    /// Its colours, where its pixels are known and masks are refined.
    pub colours: Option<Arc<Colours>>,
    /// It is searched for new instances.
    pub search: bool,
    /// Frames were missed just before it.
    pub missed: bool,
    /// The scene was cut before it.
    pub cut: bool,
    /// What moves in it, by features; none where nothing is discovered.
    pub motion: Option<Motion>,
    /// What moves in it, by pixels; none where the camera is not known to be fixed.
    pub things: Option<Things>,
    /// Places where instances were found without labels to propagate, by id.
    pub found: Vec<(InstanceId, Vec<bool>)>,
    /// Its labels so far; one channel for each track and the background.
    pub soft: SoftLabels,
    /// Labels of its cells, where patches are shared.
    pub cells: Cells,
    /// `soft` as it was when `cells` were decided.
    settled: SoftLabels,
    /// Labels hold more than propagation found.
    pub edited: bool,
    /// Instances that are new, or found again, in it.
    pub new: Vec<InstanceId>,
    /// Instances whose masks are known to the pixel.
    pub drawn: Vec<InstanceId>,
    /// Which of them holds each pixel, `(height, width)`, 0 for none; empty while nobody was drawn.
    pub drawing: Vec<InstanceId>,
    /// It was searched.
    pub discovered: bool,
    /// Who appeared and who ended, in this order of happening.
    pub events: Vec<TrackEvent>,
    /// Labels of its pixels: channels after [`super::output::render`], palette indices after [`super::output::encode`].
    pub labels: LabelMap,
    /// What is published of the instances.
    pub instances: Vec<Instance>,
    /// Discovered instances, the most salient first.
    pub salient: Vec<InstanceId>,
}

impl<'a> FrameContext<'a> {
    /// A frame of which nothing is known but its input.
    pub fn new(input: Input, config: &'a TrackerConfig, patch: usize) -> Self {
        let Input { features, colours, picture, source, epoch } = input;
        let (grid, soft) = (features.grid, channels::background(features.grid.len(), 0));
        let colours = colours.filter(|colours| config.refine.enabled && colours.grid == grid).map(Arc::new);
        Self {
            config,
            patch,
            cells: Cells::new(grid.len(), colours.as_ref().map_or(1, |colours| colours.side), 1),
            settled: soft.clone(),
            colours,
            picture,
            features,
            source,
            epoch,
            search: false,
            missed: false,
            cut: false,
            motion: None,
            things: None,
            found: Vec::new(),
            soft,
            edited: false,
            new: Vec::new(),
            drawn: Vec::new(),
            drawing: Vec::new(),
            discovered: false,
            events: Vec::new(),
            labels: LabelMap::new(source),
            instances: Vec::new(),
            salient: Vec::new(),
        }
    }

    /// What goes out.
    pub fn into_tracked(self) -> Tracked {
        let Self { labels, instances, events, discovered, salient, .. } = self;
        Tracked { labels, instances, events, discovered, salient }
    }

    /// The frame's patch grid.
    pub fn grid(&self) -> Grid {
        self.features.grid
    }

    /// Labels as they were carried into the frame; `cells` were decided with them.
    pub fn set_labels(&mut self, soft: SoftLabels) {
        self.settled.clone_from(&soft);
        self.soft = soft;
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

    /// The patches that a channel wins.
    pub fn patches_of(&self, channel: usize) -> Vec<bool> {
        channels::owners(&self.soft).iter().map(|&owner| owner == channel).collect()
    }

    /// The patches that any instance wins.
    pub fn owned(&self) -> Vec<bool> {
        channels::owners(&self.soft).iter().map(|&owner| owner != 0).collect()
    }
}
