//! Label propagation against the public PyTorch code: ten frames, three labels.

use std::{collections::VecDeque, sync::Arc};

use maskd::{
    features::{Features, Grid},
    frame::Size,
    mask::{LabelMap, ReadoutConfig, SoftLabels, readout, readout_plain},
    propagate::{ContextFrame, PropagateConfig, propagate, propagate_plain},
};
use safetensors::SafeTensors;

use crate::shared::shared;

fn floats(tensors: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let bytes = tensors.tensor(name).unwrap().data().to_vec();
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn integers(tensors: &SafeTensors<'_>, name: &str) -> Vec<usize> {
    let bytes = tensors.tensor(name).unwrap().data().to_vec();
    bytes.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as usize).collect()
}

#[test]
fn propagation_is_that_of_the_public_code() {
    let Some(path) = shared("golden/label_propagation.safetensors") else { return };
    let bytes = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let [rows, cols] = integers(&tensors, "grid").try_into().unwrap();
    let grid = Grid { rows, cols };
    let radius = integers(&tensors, "radius")[0];
    let config = PropagateConfig { radius, top_k: 5, temperature: 0.1, context: 7, target_model: false };

    // The golden features are raw tokens: normalise, as the script does before comparing.
    let shape = tensors.tensor("features").unwrap().shape().to_vec();
    let dim = shape[2];
    let mut all = floats(&tensors, "features");
    for token in all.chunks_exact_mut(dim) {
        let norm = token.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-12);
        token.iter_mut().for_each(|v| *v /= norm);
    }
    let frames: Vec<Arc<Features>> =
        all.chunks_exact(grid.len() * dim).map(|tokens| Arc::new(Features::new(grid, dim, tokens.to_vec()))).collect();
    assert_eq!(frames.len(), 10);

    let first = LabelMap {
        size: Size::new(cols as u32, rows as u32),
        labels: floats(&tensors, "first_labels").iter().map(|v| *v as u8).collect(),
    };
    let channels = 3;
    let anchor = ContextFrame { features: frames[0].clone(), labels: SoftLabels::one_hot(&first, channels) };
    let mut previous: VecDeque<ContextFrame> = VecDeque::new();
    let (mut worst, mut pixels) = (0.0_f32, 0);
    for (index, frame) in frames.iter().enumerate().skip(1) {
        let contexts: Vec<&ContextFrame> = std::iter::once(&anchor).chain(&previous).collect();
        let soft = propagate(frame, &contexts, &config);
        let plain = propagate_plain(frame, &contexts, &config);
        let golden = floats(&tensors, &format!("soft_{index}"));
        for (patch, channel) in (0..grid.len()).flat_map(|p| (0..channels).map(move |c| (p, c))) {
            let expected = golden[channel * grid.len() + patch];
            for found in [&soft, &plain] {
                worst = worst.max((found.values[patch * channels + channel] - expected).abs());
            }
        }
        assert!(worst < 1e-5, "frame {index}: {worst}");

        let expected = tensors.tensor(&format!("labels_{index}")).unwrap();
        let size = Size::new(expected.shape()[1] as u32, expected.shape()[0] as u32);
        let min_max = ReadoutConfig { min_max: true };
        let map = readout(&soft, (rows, cols), 8, size, min_max, &[]);
        assert_eq!(map.labels, expected.data(), "frame {index}");
        assert_eq!(map, readout_plain(&soft, (rows, cols), 8, size, min_max, &[]), "frame {index}");
        pixels += map.labels.len();

        previous.push_back(ContextFrame { features: frame.clone(), labels: soft });
        if previous.len() > config.context {
            previous.pop_front();
        }
    }
    println!("largest difference of soft labels {worst:e}, {pixels} pixels equal");
}
