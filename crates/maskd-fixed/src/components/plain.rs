//! The plain twins: a flood from each pixel.

use super::{Component, Rect};

/// The 8-connected components of `mask` `(height, width)`; in `labels` each pixel's component counted from 1, 0 for none.
pub(super) fn label(mask: &[bool], width: usize, labels: &mut Vec<u32>) -> Vec<Component> {
    labels.clear();
    labels.resize(mask.len(), 0);
    let mut found = Vec::new();
    let mut stack = Vec::new();
    let height = mask.len() / width.max(1);
    for start in 0..mask.len() {
        if !mask[start] || labels[start] != 0 {
            continue;
        }
        let label = found.len() as u32 + 1;
        labels[start] = label;
        stack.push(start);
        let (mut area, mut sx, mut sy) = (0usize, 0f64, 0f64);
        let mut rect = Rect::default();
        while let Some(p) = stack.pop() {
            let (x, y) = (p % width, p / width);
            area += 1;
            sx += x as f64;
            sy += y as f64;
            rect.join(&Rect::pixel(x, y));
            for ny in y.saturating_sub(1)..(y + 2).min(height) {
                for nx in x.saturating_sub(1)..(x + 2).min(width) {
                    let q = ny * width + nx;
                    if mask[q] && labels[q] == 0 {
                        labels[q] = label;
                        stack.push(q);
                    }
                }
            }
        }
        let centre = ((sx / area as f64) as f32, (sy / area as f64) as f32);
        found.push(Component { area, rect, centre });
    }
    found
}

/// Fills the holes of `mask` that have at most `most` pixels (4-connected, not at the border).
pub(super) fn fill_holes(mask: &mut [bool], width: usize, most: usize) {
    let height = mask.len() / width.max(1);
    let mut seen: Vec<bool> = mask.to_vec();
    let (mut stack, mut hole) = (Vec::new(), Vec::new());
    for start in 0..mask.len() {
        if seen[start] {
            continue;
        }
        seen[start] = true;
        stack.push(start);
        hole.clear();
        let mut open = false;
        while let Some(p) = stack.pop() {
            if hole.len() <= most {
                hole.push(p);
            }
            let (x, y) = (p % width, p / width);
            open |= x == 0 || y == 0 || x + 1 == width || y + 1 == height;
            for q in [
                (x > 0).then(|| p - 1),
                (x + 1 < width).then(|| p + 1),
                (y > 0).then(|| p - width),
                (y + 1 < height).then(|| p + width),
            ]
            .into_iter()
            .flatten()
            {
                if !seen[q] {
                    seen[q] = true;
                    stack.push(q);
                }
            }
        }
        if !open && hole.len() <= most {
            hole.iter().for_each(|&p| mask[p] = true);
        }
    }
}
