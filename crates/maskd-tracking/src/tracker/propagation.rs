//! Labels from earlier frames into this one, and this one's into the memory bank.

use super::{
    channels, correction, fixed_camera::FixedCamera, frame_context::FrameContext, instances::Instances,
    memory_bank::Remembered,
};
use crate::{propagate::ContextFrame, refine};

/// Carries the labels of earlier frames over, to patches and, where those are shared, to cells.
pub fn propagate(instances: &Instances, camera: &FixedCamera, frame: &mut FrameContext<'_>) {
    let (config, tracks) = (frame.config, &instances.tracks);
    // Where nothing is followed but what moves, labels need not be carried over.
    if camera.fixed() && tracks.iter().all(|track| track.thing.is_some()) {
        frame.set_labels(channels::background(frame.grid().len(), tracks.len()));
        return;
    }
    let mut propagate = config.propagate.clone();
    if config.gating && tracks.iter().any(|track| track.position_unknown) {
        // Where it was says nothing: all of the picture is asked.
        propagate.radius = frame.grid().rows.max(frame.grid().cols);
    }
    let (mut soft, matches) = instances.memory.propagate(&frame.features, tracks.len(), &propagate);
    if let Some(colours) = &frame.colours {
        let earlier = instances.memory.earlier();
        frame.cells = refine::transfer(colours, &mut soft, &matches, &earlier, &config.refine);
    }
    if uses_target_model(instances, camera, frame)
        && let Some(scores) = instances.memory.scores(&frame.features, tracks.len())
    {
        let grid = frame.grid();
        correction::correct(&mut soft, &mut frame.cells, &scores, grid);
    }
    frame.set_labels(soft);
}

/// What somebody asked for is an instance as long as it lives. What was discovered may be a mistake, which a target model would
/// keep alive; and before a fixed camera it is known from pixels what is an instance.
fn uses_target_model(instances: &Instances, camera: &FixedCamera, frame: &FrameContext<'_>) -> bool {
    frame.config.propagate.target_model && instances.given() > 0 && !camera.fixed()
}

/// Puts the frame into the memory bank.
pub fn remember(instances: &mut Instances, camera: &FixedCamera, frame: &mut FrameContext<'_>) {
    if instances.tracks.is_empty() {
        // Nothing to carry: the frame in which the next instance appears is the new anchor.
        instances.memory.clear();
        return;
    }
    frame.settle();
    let memory = ContextFrame { features: frame.features.clone(), labels: frame.soft.clone() };
    let is_new = |&k: &usize| frame.new.contains(&instances.tracks[k].id);
    let new: Vec<usize> = (0..instances.tracks.len()).filter(is_new).map(|k| k + 1).collect();
    if !new.is_empty() {
        instances.memory.label_back(&memory, &new, &frame.config.propagate);
    }
    let detail = frame.colours.clone().map(|colours| (colours, frame.cells.clone()));
    instances.memory.keep(Remembered::seen(memory, detail), frame.edited, frame.config.propagate.context);
    if uses_target_model(instances, camera, frame) {
        instances.memory.learn(frame.edited);
    }
}
