//! Where labels cannot be carried from the frame before: after an outage, a cut, a change of size, another network.

use super::{
    appearance::Appearance,
    channels,
    frame_context::FrameContext,
    instances::Instances,
    last_frame::LastFrame,
    scene::{self, Scene},
    scene_snapshot::{self, SceneSnapshot},
};
use crate::discover::region;
use maskd_types::{
    features::Grid,
    instance::{EndCause, Origin},
};

/// Another epoch: frames were missed, everybody may have moved, and the new connection is not trusted yet.
pub fn notice_outage(
    instances: &mut Instances,
    scene: &mut Scene,
    snapshot: &mut Option<SceneSnapshot>,
    last: &LastFrame,
    frame: &mut FrameContext<'_>,
) {
    if last.epoch.is_none_or(|epoch| epoch == frame.epoch) {
        return;
    }
    frame.missed = true;
    scene_snapshot::doubt(snapshot, instances, scene, last, frame);
    instances.lose_position();
    scene.forget_motion();
}

/// After a scene cut, or when the picture has another size, labels cannot be carried: given instances are looked for by
/// what they look like, for a while, and all others end. After a change of size or an outage, every instance is looked
/// for.
pub fn carry_over_cut(
    instances: &mut Instances,
    scene: &mut Scene,
    snapshot: &mut Option<SceneSnapshot>,
    last: &LastFrame,
    frame: &mut FrameContext<'_>,
) {
    let Some(previous) = &last.features else { return };
    let (features, config) = (frame.features.clone(), frame.config);
    let same = previous.comparable(&features);
    if same {
        if !config.gating || !scene::is_cut(previous, &features, config) {
            return;
        }
        scene_snapshot::leave(snapshot, instances, scene, last, frame);
    }
    forget_scene(instances, scene, frame);
    let mut taken = vec![false; features.grid.len()];
    let mut k = 0;
    while k < instances.tracks.len() {
        let track = &mut instances.tracks[k];
        let wait = track.origin != Origin::Discovered || track.position_unknown;
        let wanted = !same || wait;
        match track.search(&features, &taken, config.match_similarity).filter(|_| wanted) {
            Some(patches) => {
                region::unite(&mut taken, &patches);
                frame.found.push((track.id, patches));
                k += 1;
            }
            // The first pictures after an outage, and pictures that look like a cut, are often spoiled: it is looked for
            // in the next ones, too.
            None if wait && config.gating => {
                track.position_unknown = true;
                k += 1;
            }
            None => instances.end(k, EndCause::SceneCut, frame),
        }
    }
}

/// After the network was exchanged, features cannot be compared: instances in sight keep the patches they held in the
/// frame before, one frame's motion off at most, and are learnt anew; all others end.
pub fn carry_over_exchange(
    instances: &mut Instances,
    scene: &mut Scene,
    last: &mut LastFrame,
    frame: &mut FrameContext<'_>,
) {
    let Some(before) = last.exchanged.take() else { return };
    forget_scene(instances, scene, frame);
    let mut k = 0;
    while k < instances.tracks.len() {
        let track = &mut instances.tracks[k];
        let patches = if track.visible() { resample(&track.held, before, frame.grid()) } else { Vec::new() };
        if region::count(&patches) == 0 {
            instances.end(k, EndCause::Lost, frame);
            continue;
        }
        track.prototype.clear();
        track.appearance = Appearance::new(&frame.features, &patches);
        frame.found.push((track.id, patches));
        k += 1;
    }
}

/// Gives the instances that were carried over their labels.
pub fn label_found(instances: &Instances, frame: &mut FrameContext<'_>) {
    for (id, patches) in std::mem::take(&mut frame.found) {
        let Some(k) = instances.tracks.iter().position(|t| t.id == id) else { continue };
        channels::assign(&mut frame.soft, &patches, k + 1, 1.0);
        frame.edited = true;
    }
}

fn forget_scene(instances: &mut Instances, scene: &mut Scene, frame: &mut FrameContext<'_>) {
    frame.cut = true;
    instances.memory.clear();
    scene.forget();
}

/// Patches of one grid as patches of another, by the nearest; empty where they do not fit their grid.
fn resample(patches: &[bool], from: Grid, to: Grid) -> Vec<bool> {
    if patches.len() != from.len() {
        return Vec::new();
    }
    let nearest = |at: usize, to: usize, from: usize| (2 * at + 1) * from / (2 * to);
    (0..to.len())
        .map(|p| {
            patches[nearest(p / to.cols, to.rows, from.rows) * from.cols + nearest(p % to.cols, to.cols, from.cols)]
        })
        .collect()
}
