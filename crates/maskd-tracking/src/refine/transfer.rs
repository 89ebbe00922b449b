//! Labels carried from cell to cell, by colour, inside the patches that match.
//!
//! A cell x of a patch P with the matches Q (weights w) takes the labels m of their cells y:
//! `sum_Q w sum_y k(x, y) m(y) / sum_Q w sum_y k(x, y)`, with
//! `k = exp(-|colour(x) - colour(y)|^2 / 2 colour_sigma^2 - |place(x) - place(y)|^2 / 2 place_sigma^2)`:
//! the joint bilateral weights of Petschnigg et al. 2004, over places that the features say correspond.

use rayon::prelude::*;

use super::{Cells, Colours, RefineConfig, cells::mean};
use crate::propagate::{Match, TopMatches};
use maskd_kernels as kernels;
use maskd_types::mask::SoftLabels;

/// What the same place would say, as a share of a perfect match: it decides where no colour is alike.
const PRIOR: f32 = 1e-3;

/// An earlier frame that lends the labels of its cells.
#[derive(Clone, Copy, Debug)]
pub struct Earlier<'a> {
    /// Its patches' labels `(N, K)`.
    pub labels: &'a SoftLabels,
    /// Its cells' labels.
    pub cells: &'a Cells,
    /// Its cells' colours.
    pub colours: &'a Colours,
}

impl Earlier<'_> {
    fn fits(&self, colours: &Colours, channels: usize) -> bool {
        let (grid, side) = (colours.grid, colours.side);
        (self.colours.grid, self.colours.side, self.cells.side()) == (grid, side, side)
            && self.labels.channels <= channels
            && self.cells.channels() == self.labels.channels
            && self.labels.values.len() == grid.len() * self.labels.channels
    }
}

/// Cells for the patches of a frame that channels share, decided by the cells of the frames that it matches;
/// `earlier` has one entry for each context that `matches` numbers, `None` where that frame's colours are not known.
/// The patches' labels `soft` `(N, K)` become the means of their cells.
pub fn transfer(
    colours: &Colours,
    soft: &mut SoftLabels,
    matches: &TopMatches,
    earlier: &[Option<Earlier>],
    config: &RefineConfig,
) -> Cells {
    decide(colours, soft, matches, earlier, config, weigh)
}

/// The same as [`transfer`], each weight by the formula.
pub fn transfer_plain(
    colours: &Colours,
    soft: &mut SoftLabels,
    matches: &TopMatches,
    earlier: &[Option<Earlier>],
    config: &RefineConfig,
) -> Cells {
    decide(colours, soft, matches, earlier, config, weigh_plain)
}

/// Writes `k(x, y)` for all cells y of another patch; see the head of this file.
type Weigh = fn(out: &mut [f32], colour: [f32; 3], others: [&[f32]; 3], place: &[f32], sharpness: f32);

fn weigh(out: &mut [f32], colour: [f32; 3], others: [&[f32]; 3], place: &[f32], sharpness: f32) {
    let [red, green, blue] = others;
    for ((((out, r), g), b), place) in out.iter_mut().zip(red).zip(green).zip(blue).zip(place) {
        let (r, g, b) = (colour[0] - r, colour[1] - g, colour[2] - b);
        *out = sharpness * (r * r + g * g + b * b) + place;
    }
    kernels::exp(out);
}

fn weigh_plain(out: &mut [f32], colour: [f32; 3], others: [&[f32]; 3], place: &[f32], sharpness: f32) {
    for (y, out) in out.iter_mut().enumerate() {
        let distance: f32 = (0..3).map(|c| (colour[c] - others[c][y]).powi(2)).sum();
        *out = (sharpness * distance).exp() * place[y].exp();
    }
}

fn decide(
    colours: &Colours,
    soft: &mut SoftLabels,
    matches: &TopMatches,
    earlier: &[Option<Earlier>],
    config: &RefineConfig,
    weigh: Weigh,
) -> Cells {
    let (n, channels, side) = (colours.grid.len(), soft.channels, colours.side);
    let mut cells = Cells::new(n, side, channels);
    if soft.values.len() != n * channels || matches.len() != n {
        return cells;
    }
    let earlier: Vec<Option<Earlier>> =
        earlier.iter().map(|e| e.filter(|earlier| earlier.fits(colours, channels))).collect();
    let place = places(side, config.place_sigma);
    let sharpness = -0.5 / (config.colour_sigma * config.colour_sigma);
    let shared = |row: &[f32]| row.iter().any(|v| *v > config.band && *v < 1.0 - config.band);
    let decided: Vec<(usize, Vec<f32>)> = soft
        .values
        .par_chunks_exact(channels)
        .enumerate()
        .filter(|(_, row)| shared(row))
        .filter_map(|(patch, _)| {
            let lent: Vec<(&Match, Earlier)> = matches
                .of_patch(patch)
                .iter()
                .filter_map(|matched| Some((matched, (*earlier.get(matched.context as usize)?)?)))
                .collect();
            if lent.is_empty() {
                return None;
            }
            Some((patch, decide_patch(colours.of_patch(patch), &lent, channels, &place, sharpness, weigh)))
        })
        .collect();
    for (patch, labels) in decided {
        soft.values[patch * channels..][..channels].copy_from_slice(&mean(&labels, channels));
        cells.put(patch, &labels);
    }
    cells
}

/// The labels of one patch's cells `(S * S, K)`.
fn decide_patch(
    mine: [&[f32]; 3],
    lent: &[(&Match, Earlier)],
    channels: usize,
    place: &[f32],
    sharpness: f32,
    weigh: Weigh,
) -> Vec<f32> {
    let count = mine[0].len();
    let mut out = vec![0.0; count * channels];
    let mut weights = vec![0.0; count];
    for (x, label) in out.chunks_exact_mut(channels).enumerate() {
        let colour = [0, 1, 2].map(|c| mine[c][x]);
        let mut total = 0.0;
        for (matched, earlier) in lent {
            let (source, theirs) = (matched.source as usize, earlier.labels.channels);
            weigh(&mut weights, colour, earlier.colours.of_patch(source), &place[x * count..][..count], sharpness);
            let sum: f32 = weights.iter().sum();
            total += matched.weight * (sum + PRIOR);
            match earlier.cells.of_patch(source) {
                None => {
                    let row = &earlier.labels.values[source * theirs..][..theirs];
                    add(label, row, matched.weight * (sum + PRIOR));
                }
                Some(cells) => {
                    add(label, &cells[x * theirs..][..theirs], matched.weight * PRIOR);
                    for (row, weight) in cells.chunks_exact(theirs).zip(&weights) {
                        add(label, row, matched.weight * weight);
                    }
                }
            }
        }
        label.iter_mut().for_each(|v| *v /= total);
    }
    out
}

fn add(label: &mut [f32], row: &[f32], weight: f32) {
    label.iter_mut().zip(row).for_each(|(label, v)| *label += weight * v);
}

/// The exponents of the distance of places, `(S * S, S * S)`.
fn places(side: usize, sigma: f32) -> Vec<f32> {
    let cells = || (0..side).flat_map(|row| (0..side).map(move |col| (row, col)));
    cells()
        .flat_map(|a| {
            cells().map(move |b| {
                let distance = a.0.abs_diff(b.0).pow(2) + a.1.abs_diff(b.1).pow(2);
                -(distance as f32) / (2.0 * sigma * sigma)
            })
        })
        .collect()
}
