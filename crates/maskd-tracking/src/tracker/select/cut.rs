//! The cut between a thing and its surroundings, cell by cell, by features, colours and edges.

use super::{
    area::{self, Area},
    colour_model::Palette,
    smooth::{Weights, smooth},
};
use crate::refine::Colours;
use maskd_types::{features::Grid, frame::Size};

/// Rounds of learning the colours of the thing and of what is around it.
const ROUNDS: usize = 2;
/// Added to the odds everywhere: what is as likely as not is not the thing.
const BIAS: f32 = -0.6;
/// Odds of a cell outside the area.
const OUTSIDE: f32 = -6.0;
/// Odds of a cell that a point names, and how many cells of 7 to a patch it is wide in each direction.
const NAMED: (f32, f32) = (6.0, 2.0);
/// How surely odds say what a cell is, when colours are learnt.
const SHARP: f32 = 2.5;
/// What it costs that two cells of 7 to a patch differ, at most, and which share of it at the sharpest edge.
const EDGE: (f32, f32) = (4.0, 0.03);
/// Odds beyond this do not move the line between two cells.
const CLEAR: f32 = 3.0;

/// Odds at or below this are none, for patches that are judged without cells.
pub const LEAST_ODDS: f32 = -BIAS;

/// The cells of a frame; without colours each patch is one.
pub struct Canvas {
    /// The frame's patches.
    grid: Grid,
    /// Cells along a side of a patch.
    side: usize,
    /// R, G and B `(height, width)`.
    colours: Option<[Vec<f32>; 3]>,
}

/// A cell that is known to be of the thing, or not to be.
#[derive(Clone, Copy, Debug)]
pub struct Seed {
    /// Its cell, row by row.
    pub cell: usize,
    /// Whether it is.
    pub inside: bool,
}

impl Canvas {
    /// Of a frame with these patches.
    pub fn new(grid: Grid, colours: Option<&Colours>) -> Self {
        let planes = colours.map(|colours| [0, 1, 2].map(|channel| colours.plane(channel)));
        Self { grid, side: colours.map_or(1, |colours| colours.side), colours: planes }
    }

    /// Cells from left to right.
    pub fn width(&self) -> usize {
        self.grid.cols * self.side
    }

    /// Cells from top to bottom.
    pub fn height(&self) -> usize {
        self.grid.rows * self.side
    }

    /// Patches along a side of a cell.
    pub fn cell(&self) -> f32 {
        1.0 / self.side as f32
    }

    /// The cells of the thing in `area` (in the frame's patches) as their odds, above 0 where they are of it. `patches` are
    /// the odds of patches `(grid)`, each `factor` of the frame's a side.
    pub fn cut(&self, area: Area, patches: &[f32], (grid, factor): (Grid, usize), seeds: &[Seed]) -> Vec<f32> {
        let (width, height) = (self.width(), self.height());
        let mut odds = vec![OUTSIDE; width * height];
        // One cell more than the area on each side, so that its rim borders on what is outside.
        let Some(part) = self.part(area, 1) else { return odds };
        let scale = self.cell() / factor as f32;
        let prior = area::enlarge(patches, (grid.rows, grid.cols), (height, width), (scale, scale));
        let inside = |i: usize| area.holds(self.place(i % width), self.place(i / width));
        let mut named = vec![0.0; width * height];
        for seed in seeds {
            self.name(*seed, &mut named);
        }
        let (most, floor) = EDGE;
        let colours = self.colours.as_ref().map(|planes| [0, 1, 2].map(|c: usize| part.take(&planes[c], width)));
        let weights = Weights::new(colours.as_ref(), part.size(), most * self.side as f32 / 7.0, floor);
        // Colours are learnt from the area and a patch's width around it.
        let seen = self.part(area, self.side).unwrap_or_else(|| part.clone());
        let palette =
            self.colours.as_ref().map(|planes| Palette::of(&[0, 1, 2].map(|c: usize| seen.take(&planes[c], width))));
        let seen_cells: Vec<usize> = seen.cells(width).collect();
        let sure = |odds: f32| 1.0 / (1.0 + (-SHARP * odds).exp());
        let mut belief: Vec<f32> =
            (0..width * height).map(|i| if inside(i) { sure(prior[i] + named[i]) } else { 0.0 }).collect();
        let rounds = if palette.is_some() { ROUNDS } else { 0 };
        for round in 0..=rounds {
            let mut plane: Vec<f32> =
                (0..width * height).map(|i| if inside(i) { prior[i] + BIAS + named[i] } else { OUTSIDE }).collect();
            if let Some(palette) = palette.as_ref().filter(|_| round > 0) {
                let thing: Vec<f32> = seen_cells.iter().map(|&i| belief[i]).collect();
                let around: Vec<f32> = thing.iter().map(|v| 1.0 - v).collect();
                for (&i, said) in seen_cells.iter().zip(palette.odds(&thing, &around)) {
                    plane[i] += if inside(i) { said } else { 0.0 };
                }
            }
            let smoothed = smooth(&part.take(&plane, width), &weights);
            for (i, value) in part.cells(width).zip(smoothed) {
                odds[i] = if inside(i) { value } else { value.min(-CLEAR) };
                belief[i] = if inside(i) { sure(value) } else { 0.0 };
            }
        }
        // What somebody said holds, whatever is next to it.
        for (odds, named) in odds.iter_mut().zip(&named).filter(|(_, named)| **named != 0.0) {
            *odds = if *named > 0.0 { odds.max(1.0) } else { odds.min(-1.0) };
        }
        odds
    }

    /// The pixels of cells whose odds are above 0.
    pub fn pixels(&self, odds: &[f32], source: Size) -> Vec<bool> {
        let (from, to) = ((self.height(), self.width()), (source.height as usize, source.width as usize));
        let clear: Vec<f32> = odds.iter().map(|v| v.clamp(-CLEAR, CLEAR)).collect();
        let scale = (from.0 as f32 / to.0.max(1) as f32, from.1 as f32 / to.1.max(1) as f32);
        area::enlarge(&clear, from, to, scale).into_iter().map(|v| v > 0.0).collect()
    }

    /// The middle of a cell, in patches.
    fn place(&self, cell: usize) -> f32 {
        (cell as f32 + 0.5) * self.cell()
    }

    fn name(&self, seed: Seed, named: &mut [f32]) {
        let (width, (odds, wide)) = (self.width(), NAMED);
        let far = wide * self.side as f32 / 7.0;
        let (row, col, reach) = (seed.cell / width, seed.cell % width, far as usize);
        for y in row.saturating_sub(reach)..=(row + reach).min(self.height() - 1) {
            for x in col.saturating_sub(reach)..=(col + reach).min(width - 1) {
                if (y.abs_diff(row).pow(2) + x.abs_diff(col).pow(2)) as f32 <= far * far {
                    named[y * width + x] += if seed.inside { odds } else { -odds };
                }
            }
        }
    }

    /// The cells whose middle is in `area`, and `more` on each side; none where there is none.
    fn part(&self, area: Area, more: usize) -> Option<Part> {
        let held = |from: f32, to: f32, count: usize| {
            let first = (0..count).find(|&i| self.place(i) >= from)?;
            let last = (0..count).rev().find(|&i| self.place(i) <= to)?;
            (first <= last).then(|| first.saturating_sub(more)..(last + 1 + more).min(count))
        };
        let (rows, cols) = (held(area.top, area.bottom, self.height())?, held(area.left, area.right, self.width())?);
        Some(Part { rows, cols })
    }
}

/// Rows and columns of a plane.
#[derive(Clone)]
struct Part {
    rows: std::ops::Range<usize>,
    cols: std::ops::Range<usize>,
}

impl Part {
    fn size(&self) -> (usize, usize) {
        (self.rows.len(), self.cols.len())
    }

    fn cells(&self, width: usize) -> impl Iterator<Item = usize> + '_ {
        self.rows.clone().flat_map(move |row| self.cols.clone().map(move |col| row * width + col))
    }

    fn take(&self, plane: &[f32], width: usize) -> Vec<f32> {
        self.rows.clone().flat_map(|row| &plane[row * width..][self.cols.clone()]).copied().collect()
    }
}
