//! The order of a frame's stages, and what each may read and change.

use super::{
    association, fixed_camera, frame_context::FrameContext, instances, output, propagation, regrid, reidentification,
    requests, scene, scene_change, scene_snapshot, schedule, state::State, visibility,
};
use maskd_types::stage::Stage;

/// A stage: from the state and the frame so far to both after it.
type Run = fn(&mut State, &mut FrameContext<'_>);

/// The course of a frame: each part of [`Stage::Track`] with its stages, in order. What a stage does not name it does not
/// touch.
pub const ORDER: [(Stage, &[Run]); 5] = [
    (
        Stage::Propagate,
        &[
            // Can labels of earlier frames be carried into this one?
            |s, f| regrid::follow(&mut s.instances, &mut s.scene, &mut s.last, f),
            |s, f| scene_change::notice_outage(&mut s.instances, &mut s.scene, &mut s.snapshot, &s.last, f),
            |s, f| schedule::begin(&mut s.schedule, f),
            |s, _| instances::grow_older(&mut s.instances),
            |s, f| scene_snapshot::restore(&mut s.snapshot, &mut s.instances, &mut s.scene, &mut s.last, f),
            |s, f| scene_change::carry_over_exchange(&mut s.instances, &mut s.scene, &mut s.last, f),
            |s, f| scene_change::carry_over_cut(&mut s.instances, &mut s.scene, &mut s.snapshot, &s.last, f),
            |s, f| fixed_camera::watch(&mut s.camera, &mut s.instances, f),
            |s, f| propagation::propagate(&s.instances, &s.camera, f),
        ],
    ),
    (
        Stage::Discover,
        &[
            // Who is who, and in sight?
            |s, f| scene_change::label_found(&s.instances, f),
            |s, f| reidentification::reclaim(&s.instances, &s.scene, f),
            |s, f| visibility::observe(&mut s.instances, &mut s.scene, &mut s.schedule, f),
            // Who is new?
            |s, f| requests::apply_first_mask(&mut s.requests, &mut s.instances, &mut s.snapshot, f),
            |s, f| requests::apply_prompts(&mut s.requests, &mut s.instances, &mut s.snapshot, f),
            |s, f| fixed_camera::follow_things(&mut s.camera, &mut s.instances, f),
            |s, f| association::discover(&mut s.instances, &mut s.scene, &mut s.schedule, f),
        ],
    ),
    (
        Stage::Remember,
        &[
            |s, f| instances::end_lost(&mut s.instances, f),
            |s, f| scene_snapshot::forget_ended(&mut s.snapshot, f),
            |s, f| reidentification::learn(&mut s.instances, &mut s.scene, f),
            |s, f| propagation::remember(&mut s.instances, &s.camera, f),
            |s, f| schedule::decide(&mut s.schedule, &mut s.scene, &s.instances, &s.camera, f),
            |s, f| scene::keep(&mut s.scene, &mut s.last, f),
        ],
    ),
    (Stage::Mask, &[|s, f| output::render(&s.instances, f)]),
    (Stage::Encode, &[|s, f| output::encode(&s.instances, f)]),
];

/// Takes a frame through all stages; `on_stage` is called as each part ends.
pub fn run(state: &mut State, frame: &mut FrameContext<'_>, on_stage: &mut dyn FnMut(Stage)) {
    for (part, stages) in ORDER {
        for stage in stages {
            stage(state, frame);
        }
        on_stage(part);
    }
}
