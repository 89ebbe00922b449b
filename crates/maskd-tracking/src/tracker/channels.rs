//! Soft labels whose channels come and go: channel 0 is background, channel `k + 1` the tracker's `k`-th instance.

use maskd_types::{features::Grid, mask::SoftLabels};

/// Labels of `patches` that are all background, with room for `instances`.
pub fn background(patches: usize, instances: usize) -> SoftLabels {
    let channels = instances + 1;
    let mut values = vec![0.0; patches * channels];
    values.iter_mut().step_by(channels).for_each(|v| *v = 1.0);
    SoftLabels { channels, values }
}

/// Adds empty channels at the end up to `channels`.
pub fn widen(soft: &mut SoftLabels, channels: usize) {
    if channels <= soft.channels || soft.channels == 0 {
        return;
    }
    let mut values = vec![0.0; soft.values.len() / soft.channels * channels];
    for (new, old) in values.chunks_exact_mut(channels).zip(soft.values.chunks_exact(soft.channels)) {
        new[..old.len()].copy_from_slice(old);
    }
    *soft = SoftLabels { channels, values };
}

/// Removes a channel; what it held becomes background.
pub fn remove(soft: &mut SoftLabels, channel: usize) {
    if channel == 0 || channel >= soft.channels {
        return;
    }
    let mut values = Vec::with_capacity(soft.values.len() / soft.channels * (soft.channels - 1));
    for row in soft.values.chunks_exact(soft.channels) {
        values.push(row[0] + row[channel]);
        values.extend(row.iter().enumerate().filter(|&(c, _)| c != 0 && c != channel).map(|(_, v)| v));
    }
    *soft = SoftLabels { channels: soft.channels - 1, values };
}

/// Gives the share `1 - keep` of a channel to the background, at the patches where `at` says so.
pub fn fade(soft: &mut SoftLabels, channel: usize, keep: f32, at: impl Fn(usize) -> bool) {
    for (patch, row) in soft.values.chunks_exact_mut(soft.channels).enumerate() {
        if at(patch) {
            let lost = row[channel] * (1.0 - keep);
            row[channel] -= lost;
            row[0] += lost;
        }
    }
}

/// Moves the share `weight` of the labels of `patches` to `channel`.
pub fn assign(soft: &mut SoftLabels, patches: &[bool], channel: usize, weight: f32) {
    for (row, _) in soft.values.chunks_exact_mut(soft.channels).zip(patches).filter(|(_, held)| **held) {
        row.iter_mut().for_each(|v| *v *= 1.0 - weight);
        row[channel] += weight;
    }
}

/// The strongest channel of each patch, the first of equals.
pub fn owners(soft: &SoftLabels) -> Vec<usize> {
    let strongest =
        |row: &[f32]| (1..row.len()).fold(0, |best, channel| if row[channel] > row[best] { channel } else { best });
    soft.values.chunks_exact(soft.channels).map(strongest).collect()
}

/// Whether the labels have one row for each patch of `grid`.
pub fn fits(soft: &SoftLabels, grid: Grid, channels: usize) -> bool {
    soft.channels == channels && soft.values.len() == grid.len() * channels
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_keep_their_sum(edits in prop::collection::vec((0u8..4, 0usize..6, 0.0f32..1.0), 0..30)) {
            let mut soft = background(9, 2);
            for (kind, k, weight) in edits {
                let channels = soft.channels;
                let patches: Vec<bool> = (0..9).map(|p| (p + k) % 3 == 0).collect();
                match kind {
                    0 => widen(&mut soft, (channels + k % 2).min(8)),
                    1 => remove(&mut soft, k),
                    2 => assign(&mut soft, &patches, k % channels, weight),
                    _ => fade(&mut soft, k % channels, weight, |p| patches[p]),
                }
                prop_assert_eq!(soft.values.len(), 9 * soft.channels);
                for row in soft.values.chunks_exact(soft.channels) {
                    prop_assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-4);
                }
            }
        }
    }

    #[test]
    fn a_removed_channel_becomes_background_and_the_others_move_up() {
        let mut soft = SoftLabels { channels: 3, values: vec![0.25, 0.5, 0.25, 0.0, 0.0, 1.0] };
        remove(&mut soft, 1);
        assert_eq!(soft, SoftLabels { channels: 2, values: vec![0.75, 0.25, 0.0, 1.0] });
        assert_eq!(owners(&soft), [0, 1]);
    }
}
