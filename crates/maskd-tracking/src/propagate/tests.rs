use proptest::prelude::*;

use super::*;
use maskd_types::{features::Grid, frame::Size, mask::LabelMap};

fn features(grid: Grid, dim: usize, tokens: Vec<f32>) -> Features {
    Features::new(grid, dim, tokens)
}

/// Numbers in 0..1 that a test can repeat.
fn noise(seed: u64) -> impl Iterator<Item = f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    })
}

/// Features whose products are small whole numbers: sums are exact in any order, and ties are many.
fn whole_features(grid: Grid, dim: usize, seed: u64) -> Features {
    features(grid, dim, noise(seed).map(|v| (v * 4.0).floor() - 1.5).take(grid.len() * dim).collect())
}

fn unit_features(grid: Grid, dim: usize, seed: u64) -> Features {
    let mut tokens: Vec<f32> = noise(seed).map(|v| v - 0.5).take(grid.len() * dim).collect();
    for token in tokens.chunks_exact_mut(dim) {
        let norm = token.iter().map(|v| v * v).sum::<f32>().sqrt();
        token.iter_mut().for_each(|v| *v /= norm);
    }
    features(grid, dim, tokens)
}

fn labels(grid: Grid, channels: usize, seed: u64) -> SoftLabels {
    let mut values: Vec<f32> = noise(seed).take(grid.len() * channels).collect();
    for row in values.chunks_exact_mut(channels) {
        let sum: f32 = row.iter().sum();
        row.iter_mut().for_each(|v| *v /= sum.max(1e-6));
    }
    SoftLabels { channels, values }
}

fn far(a: &SoftLabels, b: &SoftLabels) -> f32 {
    assert_eq!((a.channels, a.values.len()), (b.channels, b.values.len()));
    a.values.iter().zip(&b.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

proptest! {
    #[test]
    fn tiled_is_plain_on_any_grid(
        (rows, cols, dim) in (1usize..22, 1usize..22, 1usize..20),
        (radius, top_k, contexts, channels) in (0usize..9, 1usize..12, 1usize..4, 1usize..4),
        seed: u64,
    ) {
        let grid = Grid { rows, cols };
        let query = whole_features(grid, dim, seed);
        let memories: Vec<ContextFrame> = (1..=contexts as u64)
            .map(|i| ContextFrame {
                features: Arc::new(whole_features(grid, dim, seed ^ (i << 32))),
                labels: labels(grid, channels, seed ^ (i << 16)),
            })
            .collect();
        let contexts: Vec<&ContextFrame> = memories.iter().collect();
        let config = PropagateConfig { radius, top_k, temperature: 3.0, context: 7, target_model: false };
        let tiled = propagate(&query, &contexts, &config);
        prop_assert!(far(&tiled, &propagate_plain(&query, &contexts, &config)) < 1e-5);
        for row in tiled.values.chunks_exact(channels) {
            prop_assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn a_frozen_video_ties_exactly_and_keeps_its_labels(
        (rows, cols) in (1usize..20, 1usize..20), copies in 1usize..8, seed: u64,
    ) {
        // Every copy of a patch equals the best: with ties kept, all of them are matches, and nothing else is.
        let grid = Grid { rows, cols };
        let frame = Arc::new(unit_features(grid, 48, seed));
        let memory = ContextFrame { features: frame.clone(), labels: labels(grid, 3, seed ^ 1) };
        let config = PropagateConfig { top_k: 1, ..PropagateConfig::default() };
        let kept = propagate(&frame, &vec![&memory; copies], &config);
        prop_assert!(far(&kept, &memory.labels) < 1e-6);
    }
}

#[test]
fn ties_at_the_last_place_all_match() {
    let grid = Grid { rows: 1, cols: 4 };
    let query = features(grid, 1, vec![1.0; 4]);
    let one = |label: u8| ContextFrame {
        features: Arc::new(features(grid, 1, vec![1.0; 4])),
        labels: SoftLabels::one_hot(&LabelMap { size: Size::new(4, 1), labels: vec![label; 4] }, 4),
    };
    let (a, b, c) = (one(1), one(2), one(3));
    let config = PropagateConfig { top_k: 2, radius: 0, ..PropagateConfig::default() };
    let soft = propagate(&query, &[&a, &b, &c], &config);
    for row in soft.values.chunks_exact(4) {
        assert!(row.iter().zip([0.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0]).all(|(a, b)| (a - b).abs() < 1e-6), "{row:?}");
    }
}

#[test]
fn contexts_with_fewer_channels_or_another_grid_do_no_harm() {
    let grid = Grid { rows: 3, cols: 3 };
    let query = unit_features(grid, 8, 1);
    let poor = ContextFrame { features: Arc::new(query.clone()), labels: labels(grid, 2, 2) };
    let rich = ContextFrame { features: Arc::new(unit_features(grid, 8, 3)), labels: labels(grid, 4, 4) };
    let other = Grid { rows: 2, cols: 3 };
    let foreign = ContextFrame { features: Arc::new(unit_features(other, 8, 3)), labels: labels(other, 9, 4) };
    let config = PropagateConfig::default();
    let soft = propagate(&query, &[&foreign, &poor, &rich], &config);
    assert_eq!(soft.channels, 4);
    assert_eq!(soft, propagate(&query, &[&poor, &rich], &config));
    let nothing = propagate(&query, &[&foreign], &config);
    assert_eq!((nothing.channels, nothing.values), (1, vec![0.0; 9]));
}

#[test]
fn features_that_are_not_numbers_match_nothing() {
    let grid = Grid { rows: 2, cols: 2 };
    let memory = ContextFrame { features: Arc::new(unit_features(grid, 2, 1)), labels: labels(grid, 2, 2) };
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30] {
        let query = features(grid, 2, vec![bad; 8]);
        let soft = propagate(&query, &[&memory], &PropagateConfig::default());
        assert!(soft.values.iter().all(|value| value.is_finite()), "{bad}: {:?}", soft.values);
    }
}

#[test]
fn a_strict_config_has_defaults_and_the_protocol_is_as_published() {
    let config: PropagateConfig = toml::from_str("radius = 6").unwrap();
    assert_eq!(config, PropagateConfig { radius: 6, ..PropagateConfig::default() });
    let protocol = PropagateConfig { radius: 12, top_k: 5, temperature: 0.1, context: 7, target_model: false };
    assert_eq!(PropagateConfig::protocol(), protocol);
    assert!(toml::from_str::<PropagateConfig>("radios = 6").is_err());
}

/// `VmHWM`, the most memory the process ever held, in bytes.
#[cfg(target_os = "linux")]
fn peak_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

#[test]
#[cfg(target_os = "linux")]
fn memory_does_not_grow_with_the_square_of_the_grid() {
    // The whole affinity with one context alone would be 25600 * 25600 * 4 bytes = 2.4 GiB.
    let grid = Grid { rows: 160, cols: 160 };
    let query = unit_features(grid, 16, 1);
    let memories: Vec<ContextFrame> = (2..4)
        .map(|seed| ContextFrame { features: Arc::new(unit_features(grid, 16, seed)), labels: labels(grid, 2, seed) })
        .collect();
    let before = peak_memory();
    let soft = propagate(&query, &memories.iter().collect::<Vec<_>>(), &PropagateConfig::default());
    let grown = peak_memory() - before;
    assert_eq!(soft.values.len(), grid.len() * 2);
    // Generous: other tests of this process run at the same time, and a failing one reads its debug symbols.
    assert!(grown < 1 << 30, "{} MiB", grown >> 20);
}

#[test]
#[ignore = "a timing, not a check: cargo test --release -- --ignored --nocapture propagate_time"]
fn propagate_time() {
    for (rows, cols) in [(34, 60), (20, 35)] {
        let grid = Grid { rows, cols };
        let query = unit_features(grid, 384, 1);
        let memories: Vec<ContextFrame> = (2..10)
            .map(|seed| ContextFrame {
                features: Arc::new(unit_features(grid, 384, seed)),
                labels: labels(grid, 4, seed),
            })
            .collect();
        let contexts: Vec<&ContextFrame> = memories.iter().collect();
        for _ in 0..5 {
            let start = std::time::Instant::now();
            let soft = propagate(&query, &contexts, &PropagateConfig::default());
            println!("{rows}x{cols}x384, 8 contexts, radius 12: {:?} ({})", start.elapsed(), soft.values[0]);
        }
    }
}
