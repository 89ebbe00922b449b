//! The plain twin: every pixel of the picture is looked at, by lists of depths.

use super::{NECK, find};

/// Divides the set pixels of `mask` `(height, width)` into pieces; pieces are counted from 1, 0 is none. Returns their number.
///
/// Two parts are one piece when the way between them is more than [`NECK`] times as wide as the narrower of both at its
/// widest place.
pub(super) fn divide(mask: &[bool], width: usize, pieces: &mut Vec<u32>) -> usize {
    let depth = depths(mask, width);
    let deepest = depth.iter().copied().max().unwrap_or(0) as usize;
    let mut levels: Vec<Vec<u32>> = vec![Vec::new(); deepest + 1];
    for (p, &d) in depth.iter().enumerate().filter(|(_, d)| **d > 0) {
        levels[d as usize].push(p as u32);
    }
    let height = mask.len() / width.max(1);
    // The piece of each pixel, by a number that may have been joined to another since.
    let mut piece: Vec<u32> = vec![0; mask.len()];
    let mut parent: Vec<u32> = vec![0];
    let mut peak: Vec<u16> = vec![0];
    for level in levels.iter().rev() {
        for &p in level {
            let p = p as usize;
            let (x, y) = (p % width, p / width);
            let mut near: [u32; 8] = [0; 8];
            let mut count = 0;
            for ny in y.saturating_sub(1)..(y + 2).min(height) {
                for nx in x.saturating_sub(1)..(x + 2).min(width) {
                    let of = piece[ny * width + nx];
                    if of > 0 {
                        let root = find(&mut parent, of);
                        if !near[..count].contains(&root) {
                            near[count] = root;
                            count += 1;
                        }
                    }
                }
            }
            let Some(&highest) = near[..count].iter().max_by_key(|r| peak[**r as usize]) else {
                parent.push(parent.len() as u32);
                peak.push(depth[p]);
                piece[p] = parent.len() as u32 - 1;
                continue;
            };
            piece[p] = highest;
            for &other in near[..count].iter().filter(|r| **r != highest) {
                if f32::from(depth[p]) > NECK * f32::from(peak[other as usize]) {
                    parent[other as usize] = highest;
                }
            }
        }
    }
    let mut names: Vec<u32> = vec![0; parent.len()];
    let mut count = 0;
    pieces.clear();
    pieces.resize(mask.len(), 0);
    for p in (0..mask.len()).filter(|&p| piece[p] > 0) {
        let root = find(&mut parent, piece[p]) as usize;
        if names[root] == 0 {
            count += 1;
            names[root] = count;
        }
        pieces[p] = names[root];
    }
    count as usize
}

/// About three times each set pixel's distance from the nearest one that is not set (chamfer 3-4); the border is not a limit.
fn depths(mask: &[bool], width: usize) -> Vec<u16> {
    let height = mask.len() / width.max(1);
    let far = 3 * (width + height) as u16;
    let mut d: Vec<u16> = mask.iter().map(|m| if *m { far } else { 0 }).collect();
    for y in 0..height {
        for x in 0..width {
            let p = y * width + x;
            if d[p] == 0 {
                continue;
            }
            let mut best = d[p];
            if x > 0 {
                best = best.min(d[p - 1] + 3);
            }
            if y > 0 {
                best = best.min(d[p - width] + 3);
                if x > 0 {
                    best = best.min(d[p - width - 1] + 4);
                }
                if x + 1 < width {
                    best = best.min(d[p - width + 1] + 4);
                }
            }
            d[p] = best;
        }
    }
    for y in (0..height).rev() {
        for x in (0..width).rev() {
            let p = y * width + x;
            if d[p] == 0 {
                continue;
            }
            let mut best = d[p];
            if x + 1 < width {
                best = best.min(d[p + 1] + 3);
            }
            if y + 1 < height {
                best = best.min(d[p + width] + 3);
                if x > 0 {
                    best = best.min(d[p + width - 1] + 4);
                }
                if x + 1 < width {
                    best = best.min(d[p + width + 1] + 4);
                }
            }
            d[p] = best;
        }
    }
    d
}
