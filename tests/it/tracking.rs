//! The tracker under the published protocol against the public PyTorch code: label maps equal, pixel for pixel.

use std::sync::Arc;

use maskd::{
    features::{Features, Grid},
    frame::Size,
    mask::LabelMap,
    tracker::{Tracker, TrackerConfig},
};
use safetensors::SafeTensors;

use crate::shared::shared;

fn floats(tensors: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let bytes = tensors.tensor(name).unwrap().data().to_vec();
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

#[test]
fn a_first_mask_is_followed_as_the_public_code_does() {
    let Some(path) = shared("golden/label_propagation.safetensors") else { return };
    let bytes = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let (grid, patch, radius) = (Grid { rows: 12, cols: 17 }, 8, 4);
    let source = Size::new(136, 96);

    let mut config = TrackerConfig::protocol();
    config.propagate.radius = radius;
    let mut tracker = Tracker::new(config, patch);
    let first = LabelMap {
        size: Size::new(grid.cols as u32, grid.rows as u32),
        labels: floats(&tensors, "first_labels").iter().map(|v| *v as u8).collect(),
    };
    let first = first.resize_nearest(source);
    tracker.first_mask(first.clone());

    let dim = tensors.tensor("features").unwrap().shape()[2];
    let mut all = floats(&tensors, "features");
    for token in all.chunks_exact_mut(dim) {
        let norm = token.iter().map(|v| v * v).sum::<f32>().sqrt();
        token.iter_mut().for_each(|v| *v /= norm);
    }
    let mut frames = 0;
    for (index, tokens) in all.chunks_exact(grid.len() * dim).enumerate() {
        assert!(!tracker.needs_discovery());
        let features = Features::new(grid, dim, tokens.to_vec());
        let tracked = tracker.step(Arc::new(features), source, 0);
        if index == 0 {
            assert_eq!(tracked.labels, first);
        } else {
            assert_eq!(tracked.labels.labels, tensors.tensor(&format!("labels_{index}")).unwrap().data(), "{index}");
            assert!(tracked.events.is_empty() && !tracked.discovered);
        }
        frames += 1;
    }
    assert_eq!(frames, 10);
}
