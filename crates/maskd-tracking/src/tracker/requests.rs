//! What people ask for: prompts and the mask that a stream starts from.

use std::{cmp::Reverse, collections::VecDeque};

use super::{
    frame_context::FrameContext,
    instances::{Beginning, Instances},
    prompt::{self, PromptError},
    scene_snapshot::SceneSnapshot,
    select::{self, Selection, View},
    track::Track,
};
use crate::discover::region;
use maskd_types::{
    frame::Size,
    instance::{EndCause, InstanceId, Origin, Prompt},
    mask::LabelMap,
};

/// A discovered instance that loses this share of its patches to a prompt was the prompt's.
const REPLACED: f32 = 0.6;

/// What was asked for since the last frame.
#[derive(Default)]
pub struct Requests {
    prompts: VecDeque<Prompt>,
    first_mask: Option<LabelMap>,
}

impl Requests {
    /// Queues a prompt for the next frame. The last frame was of size `source`, `given` of at most `max` instances are
    /// followed because people asked for them.
    ///
    /// # Errors
    /// Any [`PromptError`].
    pub fn ask(&mut self, prompt: Prompt, source: Option<Size>, given: usize, max: usize) -> Result<(), PromptError> {
        prompt::check(&prompt, source)?;
        if self.prompts.len() >= prompt::QUEUE {
            return Err(PromptError::QueueFull);
        }
        if prompt == Prompt::Reset {
            // What was asked before is forgotten with the rest.
            *self = Self::default();
        } else {
            let reset = self.prompts.contains(&Prompt::Reset);
            let asked = self.prompts.iter().filter(|p| **p != Prompt::Reset).count();
            // Discovered instances make room for those that somebody asks for; nobody else's do.
            if asked + if reset { 0 } else { given } >= max {
                return Err(PromptError::TooManyInstances(max));
            }
        }
        self.prompts.push_back(prompt);
        Ok(())
    }

    /// Has the next frame start from a label map.
    pub fn start_from(&mut self, labels: LabelMap) {
        self.first_mask = Some(labels);
    }
}

/// The label map that a stream starts from, in place of all instances.
pub fn apply_first_mask(
    requests: &mut Requests,
    instances: &mut Instances,
    snapshot: &mut Option<SceneSnapshot>,
    frame: &mut FrameContext<'_>,
) {
    let Some(map) = requests.first_mask.take() else { return };
    if map.size != frame.source {
        tracing::warn!(mask = %map.size, frame = %frame.source, "the first mask is not of the frame's size: resized");
    }
    *snapshot = None;
    instances.end_all(frame);
    let map = map.resize_nearest(frame.source);
    let grid = frame.grid();
    // As DINO's script: the nearest pixel of the full mask for each patch.
    let small = map.resize_nearest(Size::new(grid.cols as u32, grid.rows as u32));
    let mut present = [false; 256];
    map.labels.iter().for_each(|&l| present[usize::from(l)] = true);
    let fresh = instances.fresh();
    for label in (1..=255u8).filter(|&l| present[usize::from(l)]) {
        if fresh {
            instances.set_next_id(InstanceId::from(label));
        }
        let patches: Vec<bool> = small.labels.iter().map(|&l| l == label).collect();
        let mask: Vec<bool> = map.labels.iter().map(|&l| l == label).collect();
        let beginning = Beginning { palette: Some(label), ..Beginning::new(&patches, Origin::FirstMask) };
        instances.give(beginning, &mask, frame);
    }
}

/// What people asked for since the last frame.
pub fn apply_prompts(
    requests: &mut Requests,
    instances: &mut Instances,
    snapshot: &mut Option<SceneSnapshot>,
    frame: &mut FrameContext<'_>,
) {
    while let Some(prompt) = requests.prompts.pop_front() {
        // Somebody saw this picture and says what is what.
        *snapshot = None;
        if let Err(error) = prompt::check(&prompt, Some(frame.source)) {
            tracing::warn!(%error, "a prompt came before the stream's first frame and does not fit it: dropped");
            continue;
        }
        if prompt == Prompt::Reset {
            instances.end_all(frame);
            continue;
        }
        let Some(Selection { patches, mask }) = selected(prompt, frame) else { continue };
        replace(instances, &patches, frame);
        if !instances.make_room(discovered_longest_unseen, frame) {
            tracing::warn!("a prompt found as many given instances as may live: dropped");
            continue;
        }
        let beginning = Beginning::new(&patches, Origin::Prompt);
        match mask {
            Some(mask) => instances.give(beginning, &mask, frame),
            None => instances.start(beginning, frame),
        };
    }
}

/// What a prompt means; none where it means nothing.
fn selected(prompt: Prompt, frame: &FrameContext<'_>) -> Option<Selection> {
    let view = View { features: &frame.features, colours: frame.colours.as_deref(), source: frame.source };
    match prompt {
        Prompt::Reset => None,
        Prompt::Box { bbox } => Some(select::in_box(view, bbox)),
        Prompt::Points { positive, negative } => Some(select::from_points(view, &positive, &negative)),
        Prompt::Mask { mask } => {
            let mask = mask.decode(Some(frame.source)).ok()?;
            let patches = select::from_mask(frame.grid(), frame.source, &mask);
            Some(Selection { patches, mask: Some(mask) })
        }
    }
}

/// Discovered instances make room for those that people ask for, the one longest out of sight first.
fn discovered_longest_unseen(tracks: &[Track]) -> Option<usize> {
    let discovered = (0..tracks.len()).filter(|&k| tracks[k].origin == Origin::Discovered);
    discovered.max_by_key(|&k| (tracks[k].frames_since_seen, Reverse(k)))
}

/// Ends the discovered instances that a prompt takes most of.
fn replace(instances: &mut Instances, patches: &[bool], frame: &mut FrameContext<'_>) {
    for k in (0..instances.tracks.len()).rev() {
        let held = frame.patches_of(k + 1);
        let (taken, all) = (region::overlap(&held, patches), region::count(&held));
        let discovered = instances.tracks[k].origin == Origin::Discovered;
        if discovered && taken > 0 && taken as f32 >= REPLACED * all as f32 {
            instances.end(k, EndCause::Replaced, frame);
        }
    }
}
