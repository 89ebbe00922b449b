//! From a box, points or a mask in pixels to one instance: its patches, and its pixels where the frame's colours are known.
//!
//! ```text
//! Features -> Likeness -> odds of patches in an area (a box, or the region around a point that stands out best) ┐
//! Colours -> Canvas -> odds of cells: patches, colours of the thing and around it, smooth but for edges -> pixels
//! ```

mod area;
mod colour_model;
mod cut;
mod likeness;
mod otsu;
mod points;
mod smooth;
#[cfg(test)]
mod tests;

use crate::{discover::region, refine::Colours};
use area::Area;
use cut::Canvas;
use likeness::Likeness;
use maskd_types::{
    features::{Features, Grid},
    frame::Size,
    instance::BBox,
};

/// A frame that something is selected in.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// What the network says of it.
    pub features: &'a Features,
    /// Its colours, where its pixels are known.
    pub colours: Option<&'a Colours>,
    /// Its size.
    pub source: Size,
}

/// What was selected.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// Its patches, at least one.
    pub patches: Vec<bool>,
    /// Its pixels, row by row; none where only patches can be told.
    pub mask: Option<Vec<bool>>,
}

/// The thing in a box. A box smaller than a patch gives the patch under its centre.
pub fn in_box(view: View<'_>, bbox: BBox) -> Selection {
    let grid = view.features.grid;
    let area = Area::of_box(bbox, view.source, grid);
    if area.patches() < 1.0 {
        return Selection::patch(grid, patch_at(grid, view.source, centre(bbox, view.source)));
    }
    let (likeness, canvas) = (Likeness::of(view.features), Canvas::new(grid, view.colours));
    let patches = likeness.odds(area.shrunk(likeness.factor as f32), None);
    let odds = canvas.cut(area, &patches, (likeness.grid, likeness.factor), &[]);
    view.selection(&canvas, &odds).unwrap_or_else(|| {
        // Nothing in it differs from what is around: then the box is all that is known.
        let all = |i: usize| {
            let place = |at: usize| (at as f32 + 0.5) * canvas.cell();
            if area.holds(place(i % canvas.width()), place(i / canvas.width())) { 1.0 } else { -1.0 }
        };
        let odds: Vec<f32> = (0..odds.len()).map(all).collect();
        let under_centre = patch_at(grid, view.source, centre(bbox, view.source));
        view.selection(&canvas, &odds).unwrap_or_else(|| Selection::patch(grid, under_centre))
    })
}

/// The thing under the positive points (at least one), without what the negative ones are on. The first positive point says
/// what it is, the others correct that.
pub fn from_points(view: View<'_>, positive: &[[u32; 2]], negative: &[[u32; 2]]) -> Selection {
    let (grid, source) = (view.features.grid, view.source);
    let (likeness, canvas) = (Likeness::of(view.features), Canvas::new(grid, view.colours));
    let cells = Grid { rows: canvas.height(), cols: canvas.width() };
    let along = |at: u32, side: u32, patches: usize| {
        (at as f32 + 0.5) * patches as f32 / (side.max(1) as f32 * likeness.factor as f32)
    };
    let point = |&[x, y]: &[u32; 2]| {
        let at = [along(x, source.width, grid.cols), along(y, source.height, grid.rows)];
        let (col, row) = ((at[0] as usize).min(likeness.grid.cols - 1), (at[1] as usize).min(likeness.grid.rows - 1));
        points::Point { at, patch: row * likeness.grid.cols + col, cell: patch_at(cells, source, [x, y]) }
    };
    let (on, off): (Vec<_>, Vec<_>) = (positive.iter().map(point).collect(), negative.iter().map(point).collect());
    let odds = points::cut(&likeness, &canvas, &on, &off);
    let clicked = positive.first().map_or(0, |&first| patch_at(grid, source, first));
    view.selection(&canvas, &odds).unwrap_or_else(|| Selection::patch(grid, clicked))
}

impl View<'_> {
    /// The cells whose odds are above 0; none where there are none.
    fn selection(&self, canvas: &Canvas, odds: &[f32]) -> Option<Selection> {
        if self.colours.is_none() {
            // Each patch is a cell.
            let patches: Vec<bool> = odds.iter().map(|v| *v > 0.0).collect();
            return patches.contains(&true).then_some(Selection { patches, mask: None });
        }
        let mask = canvas.pixels(odds, self.source);
        let patches = from_mask(self.features.grid, self.source, &mask);
        mask.contains(&true).then_some(Selection { patches, mask: Some(mask) })
    }
}

impl Selection {
    /// One patch.
    fn patch(grid: Grid, patch: usize) -> Self {
        Self { patches: (0..grid.len()).map(|p| p == patch).collect(), mask: None }
    }
}

/// The pixel in the middle of a box, in the frame.
fn centre(bbox: BBox, source: Size) -> [u32; 2] {
    let along = |start: u32, length: u32, side: u32| {
        let end = start.saturating_add(length).min(side);
        (start + end.saturating_sub(start) / 2).min(side.saturating_sub(1))
    };
    [along(bbox.x, bbox.width, source.width), along(bbox.y, bbox.height, source.height)]
}

/// The patch under a pixel of the source frame; pixels outside go to the nearest patch.
pub fn patch_at(grid: Grid, source: Size, [x, y]: [u32; 2]) -> usize {
    let along = |v: u32, side: u32, patches: usize| {
        let at = u64::from(v) * patches as u64 / u64::from(side.max(1));
        (at as usize).min(patches.saturating_sub(1))
    };
    along(y, source.height, grid.rows) * grid.cols + along(x, source.width, grid.cols)
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
