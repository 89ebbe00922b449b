//! What is known of a frame, on another grid: for when the network sees the same picture at another resolution.
//!
//! Values are resampled with a triangle filter over patch centres: linear interpolation where the grid gets finer,
//! means where it gets coarser.

use super::{Cells, Colours, cells::mean};
use maskd_types::{
    features::{Features, Grid},
    mask::SoftLabels,
};

/// Cells of a patch that differ from its mean by less than this are no cells of their own.
const ALIKE: f32 = 1e-3;

/// From one grid to another, over the same picture.
#[derive(Clone, Debug)]
pub struct Regrid {
    from: Grid,
    to: Grid,
    rows: Vec<Taps>,
    cols: Vec<Taps>,
}

/// The first source position of one output position, and the weights from there on; they sum to 1.
type Taps = (usize, Vec<f32>);

impl Regrid {
    /// Neither grid may be empty.
    pub fn new(from: Grid, to: Grid) -> Self {
        Self { from, to, rows: taps(from.rows, to.rows), cols: taps(from.cols, to.cols) }
    }

    /// The grid that values come from.
    pub fn from(&self) -> Grid {
        self.from
    }

    /// By how much a length in patches grows, down and across.
    pub fn scale(&self) -> (f32, f32) {
        (self.to.rows as f32 / self.from.rows as f32, self.to.cols as f32 / self.from.cols as f32)
    }

    /// `(N, C)` of the one grid as `(N', C)` of the other.
    pub fn values(&self, values: &[f32], channels: usize) -> Vec<f32> {
        let mut wide = vec![0.0; self.from.rows * self.to.cols * channels];
        for (line, out) in
            values.chunks_exact(self.from.cols * channels).zip(wide.chunks_exact_mut(self.to.cols * channels))
        {
            blend(line, out, &self.cols, channels);
        }
        let mut out = vec![0.0; self.to.len() * channels];
        blend(&wide, &mut out, &self.rows, self.to.cols * channels);
        out
    }

    /// A set of patches: those that it covers at least half of, and at any rate the one that it covers most of.
    pub fn set(&self, set: &[bool]) -> Vec<bool> {
        let shares = self.values(&set.iter().map(|held| f32::from(u8::from(*held))).collect::<Vec<_>>(), 1);
        let mut out: Vec<bool> = shares.iter().map(|share| *share >= 0.5).collect();
        let most = (0..out.len()).max_by(|a, b| shares[*a].total_cmp(&shares[*b]));
        if let Some(most) = most.filter(|most| shares[*most] > 0.0) {
            out[most] = true;
        }
        out
    }

    /// Features, as unit vectors again; without what discovery needs.
    pub fn features(&self, features: &Features) -> Features {
        let dim = features.dim;
        let mut tokens = self.values(features.tokens(), dim);
        for token in tokens.chunks_exact_mut(dim.max(1)) {
            let norm = token.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-12);
            token.iter_mut().for_each(|v| *v /= norm);
        }
        Features::new(self.to, dim, tokens)
    }

    /// Labels of patches alone.
    pub fn labels(&self, labels: &SoftLabels) -> SoftLabels {
        SoftLabels { channels: labels.channels, values: self.values(&labels.values, labels.channels) }
    }

    /// Labels of patches and of their cells, resampled cell by cell: a thing that is thinner than a patch stays.
    pub fn cells(&self, labels: &SoftLabels, cells: &Cells) -> (SoftLabels, Cells) {
        let (side, channels) = (cells.side(), labels.channels);
        let fine = self.finer(side);
        let mut dense = vec![0.0; fine.from.len() * channels];
        for (patch, row) in labels.values.chunks_exact(channels).enumerate() {
            let own = cells.of_patch(patch);
            for cell in 0..side * side {
                let value = own.map_or(row, |own| &own[cell * channels..][..channels]);
                dense[place(self.from, side, patch, cell) * channels..][..channels].copy_from_slice(value);
            }
        }
        let dense = fine.values(&dense, channels);
        let mut soft = SoftLabels { channels, values: Vec::with_capacity(self.to.len() * channels) };
        let mut out = Cells::new(self.to.len(), side, channels);
        let mut own = vec![0.0; side * side * channels];
        for patch in 0..self.to.len() {
            for (cell, value) in own.chunks_exact_mut(channels).enumerate() {
                value.copy_from_slice(&dense[place(self.to, side, patch, cell) * channels..][..channels]);
            }
            let row = mean(&own, channels);
            if own.chunks_exact(channels).any(|cell| cell.iter().zip(&row).any(|(a, b)| (a - b).abs() > ALIKE)) {
                out.put(patch, &own);
            }
            soft.values.extend(row);
        }
        (soft, out)
    }

    /// The colours of cells.
    pub fn colours(&self, colours: &Colours) -> Colours {
        let side = colours.side;
        let fine = self.finer(side);
        let cells = side * side;
        let mut values = vec![0.0; self.to.len() * 3 * cells];
        for channel in 0..3 {
            let plane = fine.values(&colours.plane(channel), 1);
            for (i, value) in values.iter_mut().enumerate() {
                let (patch, of, cell) = (i / (3 * cells), i / cells % 3, i % cells);
                if of == channel {
                    *value = plane[place(self.to, side, patch, cell)];
                }
            }
        }
        Colours { grid: self.to, side, values }
    }

    /// The same for grids of cells.
    fn finer(&self, side: usize) -> Self {
        let finer = |grid: Grid| Grid { rows: grid.rows * side, cols: grid.cols * side };
        Self::new(finer(self.from), finer(self.to))
    }
}

/// Where a cell of a patch is in the picture of all cells.
fn place(grid: Grid, side: usize, patch: usize, cell: usize) -> usize {
    let (row, col) = (patch / grid.cols * side + cell / side, patch % grid.cols * side + cell % side);
    row * grid.cols * side + col
}

fn taps(from: usize, to: usize) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    let reach = scale.max(1.0);
    (0..to)
        .map(|i| {
            let centre = (i as f64 + 0.5) * scale - 0.5;
            let first = ((centre - reach).ceil().max(0.0) as usize).min(from - 1);
            let last = ((centre + reach).floor().max(0.0) as usize).clamp(first, from - 1);
            let weight = |p: usize| (1.0 - (p as f64 - centre).abs() / reach).max(0.0);
            let sum: f64 = (first..=last).map(weight).sum();
            (first, (first..=last).map(|p| (weight(p) / sum) as f32).collect())
        })
        .collect()
}

/// Each output item of `width` values as the weighted sum of source items.
fn blend(source: &[f32], out: &mut [f32], taps: &[Taps], width: usize) {
    for (out, (first, weights)) in out.chunks_exact_mut(width).zip(taps) {
        for (item, weight) in source[first * width..].chunks_exact(width).zip(weights) {
            out.iter_mut().zip(item).for_each(|(out, v)| *out += weight * v);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grid(rows: usize, cols: usize) -> Grid {
        Grid { rows, cols }
    }

    proptest! {
        #[test]
        fn labels_keep_their_sums_whatever_the_grids(
            from in (1usize..9, 1usize..9), to in (1usize..9, 1usize..9), seed in prop::collection::vec(0.0f32..1.0, 81),
        ) {
            let (from, to, side) = (grid(from.0, from.1), grid(to.0, to.1), 2);
            let row = |i: usize| [seed[i % 81], 1.0 - seed[i % 81]];
            let mut labels = SoftLabels { channels: 2, values: (0..from.len()).flat_map(row).collect() };
            let mut cells = Cells::new(from.len(), side, 2);
            let own: Vec<f32> = (0..4).flat_map(|i| row(7 * i)).collect();
            cells.put(0, &own);
            labels.values[..2].copy_from_slice(&mean(&own, 2));
            let (soft, fine) = Regrid::new(from, to).cells(&labels, &cells);
            prop_assert_eq!(soft.values.len(), 2 * to.len());
            let sums = |values: &[f32]| values.chunks_exact(2).all(|row| (row[0] + row[1] - 1.0).abs() < 1e-4);
            prop_assert!(sums(&soft.values) && sums(&Regrid::new(from, to).labels(&labels).values));
            for patch in 0..to.len() {
                let Some(own) = fine.of_patch(patch) else { continue };
                let same = mean(own, 2).iter().zip(&soft.values[2 * patch..]).all(|(a, b)| (a - b).abs() < 1e-5);
                prop_assert!(sums(own) && same, "a patch is the mean of its cells");
            }
        }
    }

    #[test]
    fn the_same_grid_changes_nothing_and_halving_takes_means() {
        let values: Vec<f32> = (0..12).map(|i| i as f32).collect();
        assert_eq!(Regrid::new(grid(3, 4), grid(3, 4)).values(&values, 1), values);
        assert_eq!(Regrid::new(grid(1, 4), grid(1, 8)).values(&[0.0, 4.0, 4.0, 0.0], 1)[..4], [0.0, 1.0, 3.0, 4.0]);
        let flat = Regrid::new(grid(6, 8), grid(3, 4)).values(&[2.5; 48], 1);
        assert!(flat.iter().all(|v| (v - 2.5).abs() < 1e-6), "{flat:?}");
    }

    #[test]
    fn a_lone_patch_is_never_lost_and_a_block_keeps_its_place() {
        let mut set = vec![false; 48];
        set[17] = true;
        let small = Regrid::new(grid(6, 8), grid(3, 4)).set(&set);
        assert_eq!(small.iter().filter(|held| **held).count(), 1);
        assert!(small[4], "row 2 of 6, column 1 of 8");
        let none = Regrid::new(grid(6, 8), grid(3, 4)).set(&[false; 48]);
        assert!(none.iter().all(|held| !held));
    }

    #[test]
    fn colours_stay_where_they_were() {
        let rgb: Vec<u8> = (0..16 * 16).flat_map(|i| if i % 16 < 8 { [255, 0, 0] } else { [0, 0, 255] }).collect();
        let size = maskd_types::frame::Size::new(16, 16);
        let colours = Colours::of(&rgb, size, grid(4, 4), 4).unwrap();
        let other = Regrid::new(grid(4, 4), grid(3, 3)).colours(&colours);
        assert_eq!((other.grid, other.side, other.values.len()), (grid(3, 3), 2, 9 * 3 * 4));
        assert!(other.of_patch(0)[0].iter().all(|red| (red - 1.0).abs() < 1e-6), "{other:?}");
        assert!(other.of_patch(2)[2].iter().all(|blue| (blue - 1.0).abs() < 1e-6), "{other:?}");
    }
}
