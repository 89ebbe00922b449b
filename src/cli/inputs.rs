//! What the offline commands read, to keep their outputs away from it, and which names their outputs will have.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use super::{Exit, Failure, OrExit as _};
use maskd_ingest::{Clip, ClipFrame};
use maskd_model::{WeightsSource, backbone::Backbone};
use maskd_types::{files::Inputs, frame::Size};

/// Frames a second of a folder of pictures where nobody says how many they are.
pub(super) const PICTURES_A_SECOND: u32 = 25;

/// The input of a command, its frames, and the network's weights as they were given.
pub(super) fn of_clip(input: &Path, clip: &Clip, weights: Option<&Path>) -> Inputs {
    let mut inputs = Inputs::default();
    inputs.add("the input", input);
    clip.files().iter().for_each(|file| inputs.add("the input picture", file));
    add_weights(&mut inputs, "--weights", weights);
    inputs
}

/// The first frame of the clip in `input`; one without frames is an error.
pub(super) fn first_frame(clip: &mut Clip, input: &Path) -> Result<ClipFrame, Failure> {
    let first = clip.next().transpose().or_exit(Exit::Data)?;
    first.ok_or_else(|| Failure::new(Exit::Data, anyhow::anyhow!("{}: no frames", input.display())))
}

/// Tells people which network looks at frames of `size`, and at what size it sees them.
pub(super) fn announce(backbone: &Backbone, size: Size) {
    let (model, device) = (backbone.model_id(), backbone.device());
    eprintln!("{model} on {device}, frames of {size} seen at {}", backbone.input_size(size));
}

/// Notes the weights that `given` means, where they are a file.
pub(super) fn add_weights(inputs: &mut Inputs, role: &str, given: Option<&Path>) {
    if let Ok(WeightsSource::File(path)) = WeightsSource::of(given) {
        inputs.add(role, &path);
    }
}

/// The names of the frames of a clip, as far as they are known before the frames come.
pub(super) struct FrameNames {
    /// Those of pictures; none of a video, whose frames have numbers of five digits or more.
    pictures: Option<HashSet<String>>,
    /// Frames of a video at most.
    most: usize,
}

impl FrameNames {
    /// Those of the first `most` frames that are yet to come.
    pub(super) fn of(clip: &Clip, most: usize) -> Self {
        let name = |path: &PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let pictures = (!clip.is_video()).then(|| clip.files().iter().take(most).filter_map(name).collect());
        Self { pictures, most: most.min(clip.len_hint().unwrap_or(usize::MAX)) }
    }

    /// Whether a frame will have this name.
    pub(super) fn hold(&self, name: &str) -> bool {
        match &self.pictures {
            Some(names) => names.contains(name),
            None => name.parse().is_ok_and(|number: usize| number < self.most && name == format!("{number:05}")),
        }
    }
}
