use proptest::prelude::*;

use super::*;
use crate::propagate::{Match, TopMatches};
use maskd_types::{features::Grid, frame::Size, mask::SoftLabels};

/// Numbers in 0..1 that a test can repeat.
fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    (0..len).map(|_| next()).collect()
}

fn colours(grid: Grid, side: usize, seed: u64) -> Colours {
    Colours { grid, side, values: noise(seed, grid.len() * 3 * side * side) }
}

fn rows(len: usize, channels: usize, seed: u64) -> SoftLabels {
    let mut values = noise(seed, len * channels);
    for row in values.chunks_exact_mut(channels) {
        let sum: f32 = row.iter().sum::<f32>().max(1e-6);
        row.iter_mut().for_each(|v| *v /= sum);
    }
    SoftLabels { channels, values }
}

fn far(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Matches of `each` random patches for every patch.
fn matches(n: usize, contexts: usize, each: usize, seed: u64) -> TopMatches {
    let picks = noise(seed, n * each * 2);
    TopMatches::from_patches(picks.chunks_exact(each * 2).map(|picks| {
        let pick = |p: &[f32]| Match {
            context: (p[0] * contexts as f32) as u32,
            source: (p[1] * n as f32) as u32,
            weight: 1.0 / each as f32,
        };
        picks.chunks_exact(2).map(pick).collect()
    }))
}

proptest! {
    #[test]
    fn transfer_is_its_formula(
        (grid_rows, grid_cols, side, channels) in (1usize..5, 1usize..5, 1usize..8, 1usize..5),
        (contexts, each, sigma, seed) in (1usize..4, 1usize..6, 0.02f32..0.5, any::<u64>()),
    ) {
        let grid = Grid { rows: grid_rows, cols: grid_cols };
        let n = grid.len();
        let mine = colours(grid, side, seed);
        let frames: Vec<(SoftLabels, Cells, Colours)> = (0..contexts as u64).map(|i| {
            let mut cells = Cells::new(n, side, channels);
            for patch in (0..n).filter(|patch| (patch + i as usize).is_multiple_of(2)) {
                cells.put(patch, &rows(side * side, channels, seed ^ i ^ ((patch as u64) << 9)).values);
            }
            (rows(n, channels, seed ^ (i << 3)), cells, colours(grid, side, seed ^ (i << 5)))
        }).collect();
        let earlier: Vec<Option<Earlier>> =
            frames.iter().map(|(labels, cells, colours)| Some(Earlier { labels, cells, colours })).collect();
        let asked = matches(n, contexts, each, seed ^ 77);
        let config = RefineConfig { colour_sigma: sigma, band: 0.05, ..RefineConfig::default() };
        let (mut fast, mut plain) = (rows(n, channels, seed ^ 5), rows(n, channels, seed ^ 5));
        let fast_cells = transfer(&mine, &mut fast, &asked, &earlier, &config);
        let plain_cells = transfer_plain(&mine, &mut plain, &asked, &earlier, &config);
        prop_assert!(far(&fast.values, &plain.values) < 1e-4);
        for patch in 0..n {
            let (a, b) = (fast_cells.of_patch(patch), plain_cells.of_patch(patch));
            prop_assert_eq!(a.is_some(), b.is_some());
            if let (Some(a), Some(b)) = (a, b) {
                prop_assert!(far(a, b) < 1e-4);
                // Shares of 1, and the patch's label is the mean of its cells.
                for cell in a.chunks_exact(channels) {
                    prop_assert!((cell.iter().sum::<f32>() - 1.0).abs() < 1e-3);
                }
                let mean = cells::mean(a, channels);
                prop_assert!(far(&mean, &fast.values[patch * channels..][..channels]) < 1e-5);
            }
        }
    }

    #[test]
    fn the_guided_filter_is_its_definition(
        (grid_rows, grid_cols, side) in (1usize..5, 1usize..5, 1usize..5),
        (radius, seed) in (1usize..4, any::<u64>()),
        held in (0usize..8, 0usize..8),
    ) {
        let grid = Grid { rows: grid_rows, cols: grid_cols };
        let colours = colours(grid, side, seed);
        let width = grid_cols * side;
        // Zero but for a corner, so that the part that is filtered is smaller than the picture.
        let mut plane = noise(seed ^ 3, grid.len() * side * side);
        for (i, v) in plane.iter_mut().enumerate() {
            if i / width > held.0 || i % width > held.1 { *v = 0.0 }
        }
        let plain = guided_plain(&colours, &plane, radius, 1e-2);
        let guide = Guide::new(&colours, radius, 1e-2);
        let part = guide.reach(&plane).unwrap();
        let part_values = guide.filter(&plane, &part);
        let mut fast = vec![0.0; plane.len()];
        for (i, v) in part_values.into_iter().enumerate() {
            fast[(part.rows.start + i / part.cols.len()) * width + part.cols.start + i % part.cols.len()] = v;
        }
        prop_assert!(far(&fast, &plain) < 2e-3, "{}", far(&fast, &plain));
    }
}

/// A picture of one colour left of `edge` and another right of it.
fn two_colours(size: Size, edge: u32) -> Vec<u8> {
    let pixel = |i: u32| if i % size.width < edge { [200, 40, 40] } else { [30, 60, 180] };
    (0..size.width * size.height).flat_map(pixel).collect()
}

#[test]
fn an_edge_inside_a_patch_is_found_again_where_it_moved_to() {
    // One row of three patches of 8 pixels; an instance is left of pixel 11 in the first frame, of 14 in the second.
    let (grid, patch, size) = (Grid { rows: 1, cols: 3 }, 8, Size::new(24, 8));
    let before = Colours::of(&two_colours(size, 11), size, grid, patch).unwrap();
    let now = Colours::of(&two_colours(size, 14), size, grid, patch).unwrap();
    let mut labels = SoftLabels { channels: 2, values: [1.0, 0.0].repeat(3) };
    let mut cells = Cells::new(3, before.side, 2);
    let mask: Vec<bool> = (0..size.area()).map(|i| i % 24 < 11).collect();
    cells.paint(&mut labels, grid, &mask, size, 1);
    assert_eq!(labels.values[1], 1.0);
    assert!((labels.values[3] - 3.0 / 8.0).abs() < 1e-6 && labels.values[5] == 0.0);

    let own = |p: u32| vec![Match { context: 0, source: p, weight: 1.0 }];
    let asked = TopMatches::from_patches([own(0), own(1), own(2)]);
    let mut soft = labels.clone();
    let earlier = [Some(Earlier { labels: &labels, cells: &cells, colours: &before })];
    let config = RefineConfig { guided_radius: 0, ..RefineConfig::default() };
    let found = transfer(&now, &mut soft, &asked, &earlier, &config);
    assert!((soft.values[3] - 6.0 / 8.0).abs() < 0.05, "{:?}", soft.values);
    let map = render(&soft, &found, &now, size, &config, &[]);
    let wrong = map.labels.iter().enumerate().filter(|(i, label)| (i % 24 < 14) != (**label == 1)).count();
    assert_eq!(wrong, 0, "{:?}", &map.labels[..24]);
}

#[test]
fn a_frame_of_another_grid_or_without_colours_lends_nothing() {
    let (grid, other) = (Grid { rows: 2, cols: 2 }, Grid { rows: 1, cols: 4 });
    let (mine, theirs) = (colours(grid, 2, 1), colours(other, 2, 2));
    let labels = rows(4, 2, 3);
    let cells = Cells::new(4, 2, 2);
    let asked = matches(4, 2, 3, 4);
    let mut soft = labels.clone();
    let earlier = [Some(Earlier { labels: &labels, cells: &cells, colours: &theirs }), None];
    let found = transfer(&mine, &mut soft, &asked, &earlier, &RefineConfig::default());
    assert_eq!(soft, labels);
    assert!((0..4).all(|patch| found.of_patch(patch).is_none()));
}

#[test]
fn hidden_channels_never_win_and_the_background_has_what_is_left() {
    let grid = Grid { rows: 1, cols: 2 };
    let colours = colours(grid, 2, 9);
    let soft = SoftLabels { channels: 3, values: vec![0.1, 0.6, 0.3, 0.6, 0.4, 0.0] };
    let cells = Cells::new(2, 2, 3);
    let config = RefineConfig { guided_radius: 0, ..RefineConfig::default() };
    let draw = |visible: &[bool]| render(&soft, &cells, &colours, Size::new(8, 4), &config, visible).labels;
    assert_eq!(draw(&[])[..8], [1, 1, 1, 1, 0, 0, 0, 0]);
    assert_eq!(draw(&[true, false])[..8], [0; 8], "0.3 is less than what is left of 1");
    assert_eq!(render(&soft, &cells, &colours, Size::new(0, 0), &config, &[]).labels, [0u8; 0]);
}

#[test]
fn cells_of_edited_patches_are_forgotten_and_the_others_kept() {
    let before = rows(4, 2, 11);
    let mut cells = Cells::new(4, 2, 2);
    (0..4).for_each(|patch| cells.put(patch, &rows(4, 2, patch as u64).values));
    let mut now = before.clone();
    now.values[2] += 0.25;
    cells.forget_changed(&before, &now);
    assert_eq!((0..4).map(|p| cells.of_patch(p).is_some()).collect::<Vec<_>>(), [true, false, true, true]);
    // A new channel that holds nothing is no edit.
    let wider =
        SoftLabels { channels: 3, values: now.values.chunks_exact(2).flat_map(|r| [r[0], r[1], 0.0]).collect() };
    cells.forget_changed(&now, &wider);
    assert!(cells.of_patch(0).is_some());
}

#[test]
fn a_picture_that_does_not_hold_its_size_has_no_colours() {
    assert!(Colours::of(&[0; 10], Size::new(2, 2), Grid { rows: 1, cols: 1 }, 14).is_none());
    assert!(Colours::of(&[], Size::new(0, 0), Grid { rows: 1, cols: 1 }, 14).is_none());
}
