//! The published rule written down as it is published, every patch against every other: what the
//! fast way is tested against.

use super::{ContextFrame, PropagateConfig, comparable};
use maskd_types::{features::Features, mask::SoftLabels};

/// The same result as [`super::propagate`], from whole rows of the `N x (contexts * N)` affinity matrix.
pub fn propagate_plain(query: &Features, contexts: &[&ContextFrame], config: &PropagateConfig) -> SoftLabels {
    let (contexts, channels) = comparable(query, contexts);
    let (n, cols) = (query.grid.len(), query.grid.cols);
    let mut values = vec![0.0; n * channels];
    if contexts.is_empty() {
        return SoftLabels { channels, values };
    }
    for (target, out) in values.chunks_exact_mut(channels).enumerate() {
        let token = query.patch(target);
        let mut affinity = Vec::with_capacity(contexts.len() * n);
        for (_, memory) in &contexts {
            affinity.extend(memory.features.patches().enumerate().map(|(source, other)| {
                let near = (target / cols).abs_diff(source / cols) <= config.radius
                    && (target % cols).abs_diff(source % cols) <= config.radius;
                let cosine: f32 = token.iter().zip(other).map(|(a, b)| a * b).sum();
                if near { (cosine / config.temperature).exp() } else { 0.0 }
            }));
        }
        let mut ranked = affinity.clone();
        ranked.sort_by(|a, b| b.total_cmp(a));
        let least = ranked[config.top_k.clamp(1, ranked.len()) - 1];
        affinity.iter_mut().filter(|a| **a < least).for_each(|a| *a = 0.0);
        let sum: f32 = affinity.iter().sum();
        for ((_, memory), affinity) in contexts.iter().zip(affinity.chunks_exact(n)) {
            for (weight, labels) in affinity.iter().zip(memory.labels.values.chunks_exact(memory.labels.channels)) {
                out.iter_mut().zip(labels).for_each(|(out, label)| *out += weight / sum * label);
            }
        }
    }
    SoftLabels { channels, values }
}
