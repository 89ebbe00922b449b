//! What an instance looks like: some of its patches' tokens, to know it again by.

use crate::discover::{product::dot, region};
use maskd_types::features::Features;

/// Patches that an appearance is made of.
const SAMPLE: usize = 32;
/// How many of the most alike patches of an appearance vote.
const VOTES: usize = 3;
/// An instance with less than this share of the patches that it had is partly hidden.
const WHOLE: f32 = 0.6;
/// The number of patches that it had is forgotten by this factor a frame: who walks away is not hidden for ever.
const FORGET: f32 = 0.99;

/// What an instance looked like, patch by patch: when it was new, and in the last calm frame.
#[derive(Clone, Debug, Default)]
pub struct Appearance {
    first: Vec<f32>,
    latest: Vec<f32>,
    /// Patches that it held then, as far as remembered.
    size: f32,
}

impl Appearance {
    /// The appearance of what `patches` show.
    pub fn new(features: &Features, patches: &[bool]) -> Self {
        let first = sample(features, patches, SAMPLE);
        Self { first, latest: Vec::new(), size: region::count(patches) as f32 }
    }

    /// Whether these are enough patches to be all of it.
    pub fn whole(&self, count: usize) -> bool {
        count as f32 >= WHOLE * self.size
    }

    /// Patches have become smaller by this factor: it holds as many more.
    pub fn grow(&mut self, factor: f32) {
        self.size *= factor;
    }

    /// A frame passes: the number of patches that it had counts a little less.
    pub fn forget(&mut self) {
        self.size *= FORGET;
    }

    /// What `patches` show in a calm frame is its latest look.
    pub fn renew(&mut self, features: &Features, patches: &[bool]) {
        self.latest = sample(features, patches, SAMPLE);
        self.size = self.size.max(region::count(patches) as f32);
    }

    /// How much a patch looks like it; -1 where it cannot be told.
    pub fn likeness(&self, token: &[f32]) -> f32 {
        vote(token, &self.first).max(vote(token, &self.latest))
    }
}

/// The tokens of at most `most` patches of a set, evenly spread, one after the other.
pub fn sample(features: &Features, set: &[bool], most: usize) -> Vec<f32> {
    let all: Vec<usize> = (0..set.len()).filter(|&p| set[p]).collect();
    let step = all.len().div_ceil(most).max(1);
    features.gather(all.into_iter().step_by(step))
}

/// Mean cosine to the most alike of the `tokens`; -1 where there are none of this width.
pub fn vote(token: &[f32], tokens: &[f32]) -> f32 {
    let mut best = [-1_f32; VOTES];
    for other in tokens.chunks_exact(token.len().max(1)) {
        let mut like = dot(token, other);
        for slot in &mut best {
            if like > *slot {
                std::mem::swap(&mut like, slot);
            }
        }
    }
    let known = (tokens.len() / token.len().max(1)).min(VOTES);
    if known == 0 { -1.0 } else { best[..known].iter().sum::<f32>() / known as f32 }
}
