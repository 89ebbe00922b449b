//! What somebody means who clicks on a thing: the region around the point that stands out best from what is next to it,
//! and what further points, on the thing or not on it, change.

use rayon::prelude::*;

use super::{
    area::{Area, at_rim},
    cut::{Canvas, LEAST_ODDS, Seed},
    likeness::{INSIDE, Likeness},
};
use crate::discover::region::{self, Connect};
use maskd_types::features::Grid;

/// Sizes of the thing that are tried for a point.
const SIZES: usize = 16;
/// An area that leaves fewer patches around it is not tried: there is nothing to tell it from.
const LEAST_AROUND: usize = 30;
/// A patch is as alike to a point as it is to the patches under it, by distance in patches: a Gaussian of this.
const SPOT: f32 = 0.7;
/// What it takes from a region that it holds the rim of the picture, where things seldom end.
const RIM: f32 = 0.5;
/// Things that people click hold about this share of the picture; what it takes from a region that it holds another, by the
/// squared logarithm of how many times more or less.
const USUAL: (f32, f32) = (0.053, 0.3);
/// What each other point takes from a region that it contradicts.
const CONTRADICTED: f32 = 0.6;
/// Odds of patches as alike to the first point as those under it; a Gaussian of this share of the area's side, at least 1
/// patch.
const FIRST: (f32, f32) = (4.0, 0.3);
/// Odds that a patch is not of the thing, under a point that says so; a Gaussian of so many patches.
const NOT: (f32, f32) = (3.0, 2.0);
/// Odds of a region that a further point adds.
const ADDED: f32 = 1.5;
/// The area is so many patches wider than the region that was found, then so many cells (of 7 to a patch) wider than the cut.
const WIDER: (f32, f32) = (1.0, 2.0);

/// A point on the frame.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// From the left and from the top, in patches that are compared.
    pub at: [f32; 2],
    /// The patch under it.
    pub patch: usize,
    /// The cell under it.
    pub cell: usize,
}

/// The odds of cells `(height, width)` for the thing under `on[0]`, as all points say.
pub fn cut(likeness: &Likeness, canvas: &Canvas, on: &[Point], off: &[Point]) -> Vec<f32> {
    let grid = likeness.grid;
    let Some((first, further)) = on.split_first() else { return vec![-1.0; canvas.width() * canvas.height()] };
    let found = best_region(likeness, first, further, off);
    let mut added = vec![false; grid.len()];
    for point in further {
        if !found[point.patch] && !added[point.patch] {
            region::unite(&mut added, &best_region(likeness, point, &[], off));
        }
    }
    let mut all = found;
    region::unite(&mut all, &added);
    let factor = likeness.factor as f32;
    let seeds: Vec<Seed> = on
        .iter()
        .map(|point| Seed { cell: point.cell, inside: true })
        .chain(off.iter().map(|point| Seed { cell: point.cell, inside: false }))
        .collect();
    let cut = |area: Area| {
        let known = known(likeness, area, first, &added, off);
        // Known in patches that are compared, cut in the frame's.
        canvas.cut(area.shrunk(1.0 / factor), &likeness.odds(area, Some(&known)), (grid, likeness.factor), &seeds)
    };
    let Some(area) = Area::around(&all, grid.cols, 1.0) else { return vec![-1.0; canvas.width() * canvas.height()] };
    let mut odds = cut(area.grown(WIDER.0, grid));
    // What reached the rim of the area may go on beyond it.
    if let Some(area) = Area::around(&under(canvas, &odds, on), canvas.width(), canvas.cell() / factor) {
        odds = cut(area.grown(WIDER.1 / (7.0 * factor), grid));
    }
    let held = under(canvas, &odds, on);
    odds.iter_mut().zip(held).filter(|(_, held)| !held).for_each(|(odds, _)| *odds = odds.min(-1.0));
    odds
}

/// The connected parts of a cut under the points.
fn under(canvas: &Canvas, odds: &[f32], on: &[Point]) -> Vec<bool> {
    let grid = Grid { rows: canvas.height(), cols: canvas.width() };
    let set: Vec<bool> = odds.iter().map(|v| *v > 0.0).collect();
    parts_under(grid, &set, on.iter().map(|point| point.cell), Connect::Eight)
}

fn parts_under(grid: Grid, set: &[bool], points: impl Iterator<Item = usize>, connect: Connect) -> Vec<bool> {
    let mut parts = vec![false; set.len()];
    for point in points {
        if !parts[point] {
            region::unite(&mut parts, &region::component_of(grid, set, point, connect));
        }
    }
    parts
}

/// How alike each patch is to those under a point, as a share of those.
fn spot(likeness: &Likeness, point: &Point) -> Vec<f32> {
    let mut sum = vec![0.0; likeness.grid.len()];
    let mut total = 0.0;
    for p in 0..sum.len() {
        let weight = gaussian(likeness.grid, p, point, SPOT);
        // Others would change nothing.
        if weight > 1e-3 || p == point.patch {
            total += weight.max(1e-3);
            sum.iter_mut().zip(likeness.row(p)).for_each(|(sum, alike)| *sum += weight.max(1e-3) * alike);
        }
    }
    sum.iter_mut().for_each(|v| *v /= total);
    sum
}

fn gaussian(grid: Grid, patch: usize, point: &Point, wide: f32) -> f32 {
    let [x, y] = [(patch % grid.cols) as f32 + 0.5, (patch / grid.cols) as f32 + 0.5];
    (-((x - point.at[0]).powi(2) + (y - point.at[1]).powi(2)) / (2.0 * wide * wide)).exp()
}

/// What points say of patches, whatever their features say of the area.
fn known(likeness: &Likeness, area: Area, first: &Point, added: &[bool], off: &[Point]) -> Vec<f32> {
    let grid = likeness.grid;
    let vote = |point: &Point, (odds, wide): (f32, f32), power: i32| -> Vec<f32> {
        let spot = spot(likeness, point);
        let most = spot.iter().fold(1e-9, |a: f32, b| a.max(*b));
        (0..grid.len()).map(|p| odds * (spot[p] / most).powi(power) * gaussian(grid, p, point, wide)).collect()
    };
    let mut known = vote(first, (FIRST.0, (FIRST.1 * area.patches().max(0.0).sqrt()).max(1.0)), 1);
    known.iter_mut().zip(added).filter(|(_, added)| **added).for_each(|(known, _)| *known += ADDED);
    for point in off {
        known.iter_mut().zip(vote(point, NOT, 2)).for_each(|(known, vote)| *known -= vote);
    }
    known
}

/// The region of patches around `point` that stands out best: patches more alike to it than a threshold have an area, and
/// the thing in that area is cut out by features; the threshold that gives the best contrast counts. Other points only help to
/// choose.
fn best_region(likeness: &Likeness, point: &Point, on: &[Point], off: &[Point]) -> Vec<bool> {
    let grid = likeness.grid;
    let contrast: Vec<f32> = spot(likeness, point)
        .iter()
        .enumerate()
        .map(|(p, alike)| (alike + 1e-9).ln() - (likeness.row(p).iter().sum::<f32>() / grid.len() as f32 + 1e-9).ln())
        .collect();
    let most = contrast[point.patch];
    let least = (contrast.iter().sum::<f32>() / contrast.len() as f32).min(most - 1e-3);
    let mut areas: Vec<Area> = (0..SIZES)
        .filter_map(|size| {
            let threshold = least + (most - least) * size as f32 / (SIZES - 1) as f32 - 1e-6;
            let above: Vec<bool> = contrast.iter().map(|v| *v >= threshold).collect();
            Area::around(&region::component_of(grid, &above, point.patch, Connect::Four), grid.cols, 1.0)
        })
        .collect();
    areas.dedup();
    let tried: Vec<(f32, Vec<bool>)> = areas
        .par_iter()
        .filter_map(|&area| {
            let cover = area.cover(grid);
            if cover.iter().filter(|v| **v < INSIDE).count() < LEAST_AROUND {
                return None;
            }
            let odds = likeness.odds(area, Some(&known(likeness, area, point, &vec![false; grid.len()], &[])));
            let set: Vec<bool> =
                (0..grid.len()).map(|p| p == point.patch || (cover[p] > INSIDE && odds[p] > LEAST_ODDS)).collect();
            let part = region::component_of(grid, &set, point.patch, Connect::Four);
            let score = stands_out(grid, &contrast, &part) - CONTRADICTED * contradicted(&part, on, off) as f32;
            Some((score, part))
        })
        .collect();
    let best = tried.into_iter().reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.map_or_else(|| (0..grid.len()).map(|p| p == point.patch).collect(), |(_, part)| part)
}

fn contradicted(part: &[bool], on: &[Point], off: &[Point]) -> usize {
    on.iter().filter(|point| !part[point.patch]).count() + off.iter().filter(|point| part[point.patch]).count()
}

/// How much more alike a region is to its point than the patches next to it, less for holding the rim of the picture and for
/// an unusual size.
fn stands_out(grid: Grid, contrast: &[f32], part: &[bool]) -> f32 {
    let mut ring = region::dilate(grid, part, 1);
    region::subtract(&mut ring, part);
    let mean = |set: &[bool]| {
        let held = || contrast.iter().zip(set).filter(|(_, held)| **held);
        held().map(|(v, _)| v).sum::<f32>() / held().count().max(1) as f32
    };
    let rim = || (0..grid.len()).filter(|&p| at_rim(grid, p));
    let held = rim().filter(|&p| part[p]).count() as f32 / rim().count().max(1) as f32;
    let (share, weight) = USUAL;
    let times = region::count(part).max(1) as f32 / grid.len() as f32 / share;
    mean(part) - mean(&ring) - RIM * held - weight * times.ln().powi(2)
}
