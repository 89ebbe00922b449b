//! What the offline commands read, to keep their outputs away from it, and which names their outputs will have.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use maskd_ingest::Clip;
use maskd_model::WeightsSource;
use maskd_types::files::Inputs;

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
    pub(super) fn of(clip: &Clip, most: Option<usize>) -> Self {
        let most = most.unwrap_or(usize::MAX);
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
