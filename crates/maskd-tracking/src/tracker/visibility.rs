//! Which instances are in sight, and what each looks like now.

use super::{
    association::MOVED, channels, frame_context::FrameContext, instances::Instances, scene::Scene, schedule::Schedule,
    static_camera,
};
use crate::discover::region;

/// Learns the empty scene, corrects labels by what moves in it, and sees who is in sight.
pub fn observe(instances: &mut Instances, scene: &mut Scene, schedule: &mut Schedule, frame: &mut FrameContext<'_>) {
    let config = frame.config;
    if config.discovery {
        let motion = scene.background.observe(&frame.features, &frame.owned(), &config.motion);
        frame.motion = Some(motion);
    }
    let motion = frame.motion.clone().filter(|motion| motion.usable && config.gating);
    if let Some(motion) = &motion {
        static_camera::correct(&instances.tracks, motion, frame);
    }
    let owners = channels::owners(&frame.soft);
    for (k, track) in instances.tracks.iter_mut().enumerate().filter(|(_, track)| track.thing.is_none()) {
        let channel = k + 1;
        let patches: Vec<bool> = owners.iter().map(|&owner| owner == channel).collect();
        if let Some(motion) = &motion {
            let changed = region::overlap(&patches, &motion.changed) as f32;
            track.has_moved |= changed > 0.0 && changed >= MOVED * region::count(&patches) as f32;
        }
        if config.gating {
            let soft = &frame.soft;
            let peak = soft.values.iter().skip(channel).step_by(soft.channels).fold(0f32, |a, &b| a.max(b));
            let moves = motion.as_ref().is_none_or(|m| !track.by_motion || region::overlap(&patches, &m.changed) > 0);
            if region::count(&patches) < config.min_patches.max(1) || peak < config.min_peak || !moves {
                schedule.lost_something |= track.visible();
                track.frames_since_seen = track.frames_since_seen.saturating_add(1);
                // A remnant must not creep over the background; older frames still know the instance.
                channels::fade(&mut frame.soft, channel, 0.0, |_| true);
                continue;
            }
            track.frames_since_seen = 0;
            track.position_unknown = false;
        }
        track.learn(&frame.features, &patches, config.prototype_rate);
    }
}
