//! From the identities of a whole sequence to the few labels that the unsupervised task allows.

use std::{cmp::Reverse, collections::HashMap};

use super::MAX_PROPOSALS;
use maskd_tracking::engine::FrameResult;
use maskd_types::{instance::InstanceId, mask::LabelMap};

/// One identity over its sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Its identity.
    pub id: InstanceId,
    /// Frames that it has a pixel in.
    pub frames: u64,
    /// Its pixels, summed over all frames.
    pub area: u64,
    /// Frames in which the tracker found no other instance more salient.
    pub leading: u64,
}

/// The identities from the most salient on: who led in more frames comes first, then who is seen in more, then the
/// older one.
pub fn by_saliency(lives: &[Life]) -> Vec<InstanceId> {
    let mut lives = lives.to_vec();
    lives.sort_by_key(|life| (Reverse(life.leading), Reverse(life.frames), life.id));
    lives.into_iter().map(|life| life.id).collect()
}

/// The proposals of a sequence: the `most` identities with the greatest area over all frames, from the most salient on.
pub fn choose(lives: &[Life], most: usize) -> Vec<InstanceId> {
    let mut kept = lives.to_vec();
    kept.sort_by_key(|life| (Reverse(life.area), life.id));
    kept.truncate(most);
    by_saliency(&kept)
}

/// The masks of a sequence while it runs. Labels are used again after an instance ends, identities are not.
#[derive(Default)]
pub struct Collection {
    /// Each frame's map, and the identity behind each of its labels.
    frames: Vec<(LabelMap, Vec<(u8, InstanceId)>)>,
    lives: HashMap<InstanceId, Life>,
}

impl Collection {
    /// Adds the next frame.
    pub fn push(&mut self, result: FrameResult) {
        let labels = result.labels;
        let leader = result.salient.first().copied();
        let mut owners = Vec::with_capacity(result.instances.len());
        for instance in &result.instances {
            let pixel = instance.mask.decode(Some(labels.size)).ok().and_then(|mask| mask.iter().position(|on| *on));
            let Some(label) = pixel.and_then(|pixel| labels.labels.get(pixel)) else { continue };
            owners.push((*label, instance.id));
            let life =
                self.lives.entry(instance.id).or_insert(Life { id: instance.id, frames: 0, area: 0, leading: 0 });
            life.frames += 1;
            life.area += instance.area;
            life.leading += u64::from(leader == Some(instance.id));
        }
        self.frames.push((labels, owners));
    }

    /// How many identities there were.
    pub fn identities(&self) -> usize {
        self.lives.len()
    }

    /// Each frame's map with the chosen proposals as labels 1, 2, ...: 1 is the most salient.
    pub fn into_proposals(self) -> impl Iterator<Item = LabelMap> {
        let lives: Vec<Life> = self.lives.into_values().collect();
        let chosen = choose(&lives, usize::from(MAX_PROPOSALS));
        let label_of: HashMap<InstanceId, u8> = chosen.into_iter().zip(1..).collect();
        self.frames.into_iter().map(move |(mut map, owners)| {
            let mut labels = [0; 256];
            for (label, id) in owners {
                labels[usize::from(label)] = label_of.get(&id).copied().unwrap_or(0);
            }
            map.labels.iter_mut().for_each(|label| *label = labels[usize::from(*label)]);
            map
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_are_kept_and_who_led_longest_comes_first() {
        let life = |id, frames, area| Life { id, frames, area, leading: 0 };
        let lives = [life(1, 2, 10), life(2, 9, 90), life(3, 9, 50), life(4, 30, 1), life(5, 9, 70)];
        assert_eq!(by_saliency(&lives), [4, 2, 3, 5, 1]);
        let led = lives.map(|life| Life { leading: u64::from(life.id == 1), ..life });
        assert_eq!(by_saliency(&led), [1, 4, 2, 3, 5]);
        assert_eq!(choose(&lives, 3), [2, 3, 5]);
        assert_eq!(choose(&lives, 20), [4, 2, 3, 5, 1]);
        assert!(choose(&[], 20).is_empty());
    }
}
