//! Rectangles in units of patches, and planes of numbers that are read between their places.

use maskd_types::{features::Grid, frame::Size, instance::BBox};

/// A rectangle in patches: `(1.0, 2.0)` is the corner that the patches left of column 1 and above row 2 end at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Area {
    pub left: f32,
    pub top: f32,
    pub right: f32,
    pub bottom: f32,
}

impl Area {
    /// The part of a box that is in the frame.
    pub fn of_box(bbox: BBox, source: Size, grid: Grid) -> Self {
        let along = |start: u32, length: u32, side: u32, patches: usize| {
            let scale = patches as f32 / side.max(1) as f32;
            (start.min(side) as f32 * scale, start.saturating_add(length).min(side) as f32 * scale)
        };
        let (left, right) = along(bbox.x, bbox.width, source.width, grid.cols);
        let (top, bottom) = along(bbox.y, bbox.height, source.height, grid.rows);
        Self { left, top, right, bottom }
    }

    /// The least one that holds a set of places `(_, width)`, `scale` patches each; none for an empty set.
    pub fn around(set: &[bool], width: usize, scale: f32) -> Option<Self> {
        let places = || (0..set.len()).filter(|&i| set[i]);
        let (top, bottom) = (places().next()? / width, places().next_back()? / width + 1);
        let (left, right) = (places().map(|i| i % width).min()?, places().map(|i| i % width).max()? + 1);
        let [left, top, right, bottom] = [left, top, right, bottom].map(|v| v as f32 * scale);
        Some(Self { left, top, right, bottom })
    }

    /// Wider by `patches` on each side, as far as the grid goes.
    pub fn grown(self, patches: f32, grid: Grid) -> Self {
        Self {
            left: (self.left - patches).max(0.0),
            top: (self.top - patches).max(0.0),
            right: (self.right + patches).min(grid.cols as f32),
            bottom: (self.bottom + patches).min(grid.rows as f32),
        }
    }

    /// The same on a grid whose patches are `factor` times as long.
    pub fn shrunk(self, factor: f32) -> Self {
        let Self { left, top, right, bottom } = self;
        Self { left: left / factor, top: top / factor, right: right / factor, bottom: bottom / factor }
    }

    /// Its size in patches.
    pub fn patches(&self) -> f32 {
        (self.right - self.left) * (self.bottom - self.top)
    }

    /// Whether it holds a place.
    pub fn holds(&self, x: f32, y: f32) -> bool {
        x >= self.left && x <= self.right && y >= self.top && y <= self.bottom
    }

    /// How much of each patch lies in it, 0..1.
    pub fn cover(&self, grid: Grid) -> Vec<f32> {
        let along = |from: f32, to: f32, i: usize| ((i as f32 + 1.0).min(to) - (i as f32).max(from)).clamp(0.0, 1.0);
        let share =
            |p: usize| along(self.left, self.right, p % grid.cols) * along(self.top, self.bottom, p / grid.cols);
        (0..grid.len()).map(share).collect()
    }

    /// How far the middle of a patch is from it, in patches; 0 inside.
    pub fn distance(&self, grid: Grid, patch: usize) -> f32 {
        let (x, y) = ((patch % grid.cols) as f32 + 0.5, (patch / grid.cols) as f32 + 0.5);
        let dx = (self.left - x).max(x - self.right).max(0.0);
        let dy = (self.top - y).max(y - self.bottom).max(0.0);
        dx.hypot(dy)
    }
}

/// Whether a patch is at the rim of the picture.
pub fn at_rim(grid: Grid, patch: usize) -> bool {
    let (row, col) = (patch / grid.cols, patch % grid.cols);
    row == 0 || col == 0 || row + 1 == grid.rows || col + 1 == grid.cols
}

/// Reads `plane` `(height, width)` bilinearly at `to` `(height, width)` places that lie `scale` of its own places apart.
pub fn enlarge(plane: &[f32], from: (usize, usize), to: (usize, usize), scale: (f32, f32)) -> Vec<f32> {
    let taps = |count: usize, side: usize, scale: f32| -> Vec<(usize, usize, f32)> {
        (0..count)
            .map(|i| {
                let at = ((i as f32 + 0.5) * scale - 0.5).clamp(0.0, (side - 1) as f32);
                let low = at as usize;
                (low, (low + 1).min(side - 1), at - low as f32)
            })
            .collect()
    };
    let (rows, cols) = (taps(to.0, from.0, scale.0), taps(to.1, from.1, scale.1));
    let mut out = Vec::with_capacity(to.0 * to.1);
    for (top, bottom, below) in rows {
        let (top, bottom) = (&plane[top * from.1..][..from.1], &plane[bottom * from.1..][..from.1]);
        let at = |i: usize| top[i] + below * (bottom[i] - top[i]);
        out.extend(cols.iter().map(|&(left, right, share)| at(left) + share * (at(right) - at(left))));
    }
    out
}
