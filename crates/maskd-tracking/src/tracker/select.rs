//! From a box, points or a mask in pixels to the patches of one instance, by features.

use crate::discover::region::{self, Connect};
use maskd_types::{
    features::{Features, Grid, cosine},
    frame::Size,
    instance::BBox,
};

/// Rounds of sorting a box's patches into object and surroundings.
const ROUNDS: usize = 4;
/// How many of the most alike patches vote.
const VOTES: usize = 3;
/// Patches of each side that are compared with.
const SAMPLE: usize = 128;
/// Least cosine to a clicked patch, whatever the histogram says.
const LEAST_SIMILARITY: f32 = 0.3;

/// The patch under a pixel of the source frame; pixels outside go to the nearest patch.
pub fn patch_at(grid: Grid, source: Size, [x, y]: [u32; 2]) -> usize {
    let along = |v: u32, side: u32, patches: usize| {
        let at = u64::from(v) * patches as u64 / u64::from(side.max(1));
        (at as usize).min(patches.saturating_sub(1))
    };
    along(y, source.height, grid.rows) * grid.cols + along(x, source.width, grid.cols)
}

/// The object in a box: of the patches whose centre lies in it, those that resemble the middle of the box more than
/// its surroundings, in rounds. A box smaller than a patch gives the patch under its centre.
pub fn in_box(features: &Features, source: Size, bbox: BBox) -> Vec<bool> {
    let grid = features.grid;
    let inside = centres_in(grid, source, bbox, 1.0);
    let mut middle = centres_in(grid, source, bbox, 0.5);
    if region::count(&middle) == 0 {
        let centre = |start: u32, length: u32| u64::from(start).saturating_add(u64::from(length / 2));
        let (x, y) = (centre(bbox.x, bbox.width), centre(bbox.y, bbox.height));
        let clamp = |v: u64, side: u32| v.min(u64::from(side.saturating_sub(1))) as u32;
        middle[patch_at(grid, source, [clamp(x, source.width), clamp(y, source.height)])] = true;
    }
    if region::count(&inside) <= 2 {
        region::unite(&mut middle, &inside);
        return middle;
    }
    let mut around = region::dilate(grid, &inside, 2);
    region::subtract(&mut around, &inside);
    if region::count(&around) == 0 {
        return inside;
    }
    let mut object = middle.clone();
    for _ in 0..ROUNDS {
        let (like, unlike) = (sample(&object), sample(&around));
        let next: Vec<bool> =
            (0..inside.len()).map(|p| inside[p] && vote(features, p, &like) > vote(features, p, &unlike)).collect();
        if next == object || region::count(&next) == 0 {
            break;
        }
        object = next;
    }
    let object = region::largest(grid, &object, Connect::Eight);
    if region::count(&object) > 0 { object } else { middle }
}

/// The connected patches that resemble the positive points more than the negative ones, and more than the rest of the
/// picture does (Otsu's threshold on the similarity).
pub fn from_points(features: &Features, source: Size, positive: &[[u32; 2]], negative: &[[u32; 2]]) -> Vec<bool> {
    let grid = features.grid;
    let marked = |points: &[[u32; 2]]| {
        let mut set = vec![false; grid.len()];
        points.iter().for_each(|&point| set[patch_at(grid, source, point)] = true);
        set
    };
    let (wanted, unwanted) = (marked(positive), marked(negative));
    let likeness = |p: usize, set: &[bool]| {
        (0..set.len()).filter(|&q| set[q]).map(|q| between(features, p, q)).fold(-1.0, f32::max)
    };
    let like: Vec<f32> = (0..grid.len()).map(|p| likeness(p, &wanted)).collect();
    let threshold = otsu(&like).max(LEAST_SIMILARITY);
    let mut region: Vec<bool> = (0..grid.len())
        .map(|p| wanted[p] || (!unwanted[p] && like[p] > threshold && like[p] > likeness(p, &unwanted)))
        .collect();
    let mut grown = vec![false; grid.len()];
    for seed in (0..grid.len()).filter(|&p| wanted[p]) {
        region::unite(&mut grown, &region::component_of(grid, &region, seed, Connect::Eight));
    }
    region.clone_from(&grown);
    region
}

/// The patches of a mask in pixels: nearest pixel, else the one that holds most of it.
pub fn from_mask(grid: Grid, source: Size, mask: &[bool]) -> Vec<bool> {
    let mut held = vec![0usize; grid.len()];
    let width = source.width.max(1) as usize;
    for pixel in (0..mask.len()).filter(|&i| mask[i]) {
        held[patch_at(grid, source, [(pixel % width) as u32, (pixel / width) as u32])] += 1;
    }
    let patch_area = (source.area() / grid.len().max(1)).max(1);
    let mut patches: Vec<bool> = held.iter().map(|&n| n * 2 >= patch_area).collect();
    let most = (0..held.len()).max_by_key(|&p| (held[p], std::cmp::Reverse(p)));
    if let Some(most) = most.filter(|_| region::count(&patches) == 0) {
        patches[most] = true;
    }
    patches
}

/// Patches whose centre lies in the box, shrunk around its middle by `scale`.
fn centres_in(grid: Grid, source: Size, bbox: BBox, scale: f64) -> Vec<bool> {
    let within = |at: f64, start: u32, length: u32| {
        let middle = f64::from(start) + f64::from(length) / 2.0;
        (at - middle).abs() <= f64::from(length) / 2.0 * scale
    };
    (0..grid.len())
        .map(|p| {
            let x = ((p % grid.cols) as f64 + 0.5) * f64::from(source.width) / grid.cols as f64;
            let y = ((p / grid.cols) as f64 + 0.5) * f64::from(source.height) / grid.rows as f64;
            within(x, bbox.x, bbox.width) && within(y, bbox.y, bbox.height)
        })
        .collect()
}

/// At most [`SAMPLE`] patches of a set, evenly spread: a box over the whole picture must not stop the stream.
fn sample(set: &[bool]) -> Vec<usize> {
    let all: Vec<usize> = (0..set.len()).filter(|&p| set[p]).collect();
    all.iter().copied().step_by(all.len().div_ceil(SAMPLE).max(1)).collect()
}

/// Mean similarity to the most alike patches of `set`, `patch` itself left out.
fn vote(features: &Features, patch: usize, set: &[usize]) -> f32 {
    let mut best = [-1f32; VOTES];
    let mut voters = 0;
    for &q in set.iter().filter(|&&q| q != patch) {
        let mut like = between(features, patch, q);
        voters += 1;
        for slot in &mut best {
            if like > *slot {
                std::mem::swap(&mut like, slot);
            }
        }
    }
    // A lone patch is as much like itself as anything can be.
    if voters == 0 { 1.0 } else { best[..voters.min(VOTES)].iter().sum::<f32>() / voters.min(VOTES) as f32 }
}

fn between(features: &Features, p: usize, q: usize) -> f32 {
    cosine(features.patch(p), features.patch(q))
}

/// Otsu's threshold (1979) between the two groups of values that differ most, on the sorted values themselves.
fn otsu(values: &[f32]) -> f32 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    let (total, n) = (sorted.iter().map(|&v| f64::from(v)).sum::<f64>(), sorted.len() as f64);
    let (mut below, mut best, mut threshold) = (0.0, f64::MIN, -1.0);
    for i in 1..sorted.len() {
        below += f64::from(sorted[i - 1]);
        let (low, high) = (i as f64, n - i as f64);
        let spread = low * high * (below / low - (total - below) / high).powi(2);
        if spread > best {
            best = spread;
            threshold = 0.5 * (sorted[i - 1] + sorted[i]);
        }
    }
    threshold
}
