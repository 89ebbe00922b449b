//! Re-identification: instances that are out of sight, or partly hidden, get the patches back that look like them.
//!
//! Propagated labels follow the newest frames. What comes out from behind another instance touches it there, and would
//! take its name; what comes back far away is nobody's neighbour. The appearance of each instance, kept from calm frames,
//! says whose those patches are.

use rayon::prelude::*;

use super::{
    appearance::{sample, vote},
    channels,
    frame_context::FrameContext,
    instances::Instances,
    scene::Scene,
    track::Track,
};
use crate::discover::{
    product::dot,
    region::{self, Connect},
};
use maskd_types::features::cosine;

/// Patches that the appearance of the ground is made of.
const GROUND: usize = 96;
/// Least cosine of a patch to the appearance that claims it.
const LEAST: f32 = 0.5;
/// And by how much it must be above all other appearances, that of the ground included.
const MARGIN: f32 = 0.06;
/// Patches that look worse than this against the mean feature are not asked about.
const FAR: f32 = 0.2;
/// Patches together that bring an instance back that was out of sight.
const GROUP: usize = 2;
/// How far, in patches, an instance may turn up from where it went out of sight; it grows with each frame.
const REACH: f32 = 3.0;

/// Takes patches for instances out of sight or partly hidden, from whoever holds them by mistake.
pub fn reclaim(instances: &Instances, scene: &Scene, frame: &mut FrameContext<'_>) {
    if !frame.config.gating {
        return;
    }
    let tracks = &instances.tracks;
    let owners = channels::owners(&frame.soft);
    let counts: Vec<usize> =
        (1..=tracks.len()).map(|channel| owners.iter().filter(|&&owner| owner == channel).count()).collect();
    let wanted: Vec<usize> = (0..tracks.len())
        .filter(|&k| {
            let track = &tracks[k];
            // Before a fixed camera, motion knows better: people look alike. It knows nothing of an outage.
            (!track.by_motion || track.position_unknown) && (!track.visible() || !track.appearance.whole(counts[k]))
        })
        .collect();
    if wanted.is_empty() {
        return;
    }
    let (grid, dim) = (frame.grid(), frame.features.dim);
    let choice: Vec<Option<usize>> = frame
        .features
        .tokens()
        .par_chunks_exact(dim)
        .map(|token| whose(tracks, &scene.ground, token, &wanted))
        .collect();
    for k in wanted {
        let track = &tracks[k];
        let mine: Vec<bool> = choice.iter().map(|&c| c == Some(k)).collect();
        let group = region::largest(grid, &mine, Connect::Eight);
        if region::count(&group) < GROUP {
            continue;
        }
        if !track.visible() {
            frame.new.push(track.id);
            frame.edited = true;
        }
        channels::assign(&mut frame.soft, &group, k + 1, 1.0);
    }
}

/// The instance of `wanted` that a patch looks like, clearly more than like anything else that is known.
fn whose(tracks: &[Track], ground: &[f32], token: &[f32], wanted: &[usize]) -> Option<usize> {
    let mut best: Option<(f32, usize)> = None;
    for &k in wanted {
        let track = &tracks[k];
        if track.prototype.len() != token.len() || dot(token, &track.prototype) < FAR {
            continue;
        }
        let like = track.appearance.likeness(token);
        if like >= LEAST && best.is_none_or(|(least, _)| like > least) {
            best = Some((like, k));
        }
    }
    let (like, k) = best?;
    let rival = (0..tracks.len())
        .filter(|&other| other != k)
        .map(|other| tracks[other].appearance.likeness(token))
        .fold(vote(token, ground), f32::max);
    (like >= rival + MARGIN).then_some(k)
}

/// Learns what instances look like from a frame in which nobody is hidden: then labels can be trusted.
pub fn learn(instances: &mut Instances, scene: &mut Scene, frame: &FrameContext<'_>) {
    if !frame.config.gating {
        return;
    }
    let tracks = &mut instances.tracks;
    let owners = channels::owners(&frame.soft);
    let held = |k: usize| owners.iter().map(|&owner| owner == k + 1).collect::<Vec<bool>>();
    let sets: Vec<Vec<bool>> = (0..tracks.len()).map(held).collect();
    let calm =
        tracks.iter().zip(&sets).all(|(track, held)| track.visible() && track.appearance.whole(region::count(held)));
    if calm || scene.ground.is_empty() {
        let bare: Vec<bool> = owners.iter().map(|&owner| owner == 0).collect();
        scene.ground = sample(&frame.features, &bare, GROUND);
    }
    for (track, held) in tracks.iter_mut().zip(&sets).filter(|(track, _)| track.visible()) {
        track.appearance.forget();
        if calm {
            track.appearance.renew(&frame.features, held);
        }
    }
}

/// An instance that was out of sight holds these patches.
pub fn welcome_back(tracks: &mut [Track], k: usize, patches: &[bool], frame: &mut FrameContext<'_>) {
    (tracks[k].frames_since_seen, tracks[k].position_unknown) = (0, false);
    tracks[k].learn(&frame.features, patches, frame.config.prototype_rate);
    channels::assign(&mut frame.soft, patches, k + 1, 1.0);
    frame.new.push(tracks[k].id);
    frame.edited = true;
}

/// The instance out of sight that looks most like these patches and was last seen near them.
pub fn find_again(tracks: &[Track], patches: &[bool], frame: &FrameContext<'_>) -> Option<usize> {
    let look = frame.features.mean(patches)?;
    let (row, col) = region::centre(frame.grid(), patches)?;
    (0..tracks.len())
        .filter(|&k| !tracks[k].visible() && tracks[k].prototype.len() == look.len())
        .filter(|&k| {
            let track = &tracks[k];
            track.position_unknown
                || (row - track.centre.0).hypot(col - track.centre.1) <= REACH + track.frames_since_seen as f32
        })
        .map(|k| (cosine(&look, &tracks[k].prototype), k))
        .filter(|(like, _)| *like >= frame.config.match_similarity)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}
