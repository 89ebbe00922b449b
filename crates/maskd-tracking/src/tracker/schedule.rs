//! When a stream is searched for new instances.

use super::{
    fixed_camera::FixedCamera,
    frame_context::FrameContext,
    instances::Instances,
    scene::{REVISITS, Scene},
};
use maskd_types::instance::Origin;

/// Whether the next frame is searched, and what that depends on.
#[derive(Default)]
pub struct Schedule {
    /// The next frame is to be searched.
    pub due: bool,
    /// Something went out of sight since the last search was asked for.
    pub lost_something: bool,
    /// Frames since the last search.
    pub since_search: u32,
}

impl Schedule {
    /// Before the first frame; `due` says whether it is searched.
    pub fn new(due: bool) -> Self {
        Self { due, ..Self::default() }
    }
}

/// Takes up what was decided after the frame before.
pub fn begin(schedule: &mut Schedule, frame: &mut FrameContext<'_>) {
    frame.search = std::mem::take(&mut schedule.due) && frame.config.discovery;
}

/// Decides whether the next frame is searched, from what this one showed.
pub fn decide(
    schedule: &mut Schedule,
    scene: &mut Scene,
    instances: &Instances,
    camera: &FixedCamera,
    frame: &FrameContext<'_>,
) {
    let config = frame.config;
    if !config.discovery || (camera.fixed() && !config.discover.include_static) {
        return;
    }
    let since = schedule.since_search;
    let again = config.rediscover_every > 0 && since.saturating_add(1) >= config.rediscover_every;
    let lost = schedule.lost_something && since >= config.rediscover_gap;
    scene.frames = scene.frames.saturating_add(1);
    // Where people said what matters, only what moves later, or a later search, adds to it.
    let asked = instances.tracks.iter().any(|track| track.origin != Origin::Discovered);
    let revisit = REVISITS.contains(&scene.frames) && !asked;
    schedule.due |= frame.cut || frame.missed || again || lost || revisit;
    if schedule.due {
        schedule.lost_something = false;
    }
}
