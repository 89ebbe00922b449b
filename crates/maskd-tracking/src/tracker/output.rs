//! What goes out of a frame: a label for each pixel, and the instances with their masks.

use std::collections::HashMap;

use super::{channels, frame_context::FrameContext, instances::Instances, track::Track};
use crate::refine;
use maskd_types::{
    instance::{Instance, InstanceId, Origin},
    mask::{LabelMap, ReadoutConfig, Rle, SoftLabels, readout},
};

/// Labels at the size of the source frame: each track's channel.
pub fn render(instances: &Instances, frame: &mut FrameContext<'_>) {
    let (grid, tracks) = (frame.grid(), &instances.tracks);
    if !tracks.is_empty() {
        // What is known to the pixel need not be drawn from patches.
        let shown = |t: &Track| t.visible() && (t.thing.is_none() || !frame.drawn.contains(&t.id));
        let visible: Vec<bool> = std::iter::once(true).chain(tracks.iter().map(shown)).collect();
        frame.labels = match &frame.colours {
            Some(colours) => {
                refine::render(&frame.soft, &frame.cells, colours, frame.source, &frame.config.refine, &visible)
            }
            None => {
                let config = ReadoutConfig { min_max: frame.config.min_max };
                readout(&frame.soft, (grid.rows, grid.cols), frame.patch, frame.source, config, &visible)
            }
        };
    }
    let channel_of = |id: InstanceId| tracks.iter().position(|t| t.id == id).map(|k| (k + 1) as u8);
    let drawn: Vec<u8> = frame.drawn.iter().filter_map(|&id| channel_of(id)).collect();
    let channels: HashMap<InstanceId, u8> = frame.drawn.iter().filter_map(|&id| Some((id, channel_of(id)?))).collect();
    for (label, id) in frame.labels.labels.iter_mut().zip(&frame.drawing) {
        match channels.get(id) {
            Some(&channel) => *label = channel,
            None if drawn.contains(label) => *label = 0,
            None => {}
        }
    }
}

/// Instances with their masks, and the labels by palette index, from the labels of channels.
pub fn encode(instances: &Instances, frame: &mut FrameContext<'_>) {
    let tracks = &instances.tracks;
    frame.instances = published(tracks, &frame.soft, &frame.labels);
    let palette: Vec<u8> = std::iter::once(0).chain(tracks.iter().map(|t| t.palette)).collect();
    for label in &mut frame.labels.labels {
        *label = palette.get(usize::from(*label)).copied().unwrap_or(0);
    }
    frame.salient = by_salience(tracks);
}

/// The tracks that have pixels in `map`, which holds their channels.
fn published(tracks: &[Track], soft: &SoftLabels, map: &LabelMap) -> Vec<Instance> {
    let owners = channels::owners(soft);
    let encoded = tracks.iter().zip(Rle::encode_labels(map, tracks.len())).enumerate();
    encoded
        .filter(|(_, (_, encoded))| encoded.area > 0)
        .map(|(k, (track, encoded))| Instance {
            id: track.id,
            age: track.age,
            score: score(soft, &owners, k + 1),
            bbox: encoded.bbox,
            area: encoded.area,
            mask: encoded.mask,
        })
        .collect()
}

/// Discovered instances, those first that searches found most salient, most often.
fn by_salience(tracks: &[Track]) -> Vec<InstanceId> {
    let mut found: Vec<&Track> = tracks.iter().filter(|t| t.origin == Origin::Discovered).collect();
    found.sort_by(|a, b| b.salience.total_cmp(&a.salience).then(a.id.cmp(&b.id)));
    found.iter().map(|t| t.id).collect()
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
