//! The colours of a frame's cells.

use super::planes::shrink;
use maskd_types::{features::Grid, frame::Size};

/// Mean colours of the cells of a frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Colours {
    /// The patch grid.
    pub grid: Grid,
    /// Cells along a side of a patch, S.
    pub side: usize,
    /// R, G and B in 0..1, patch by patch `(N, 3, S * S)`.
    pub values: Vec<f32>,
}

impl Colours {
    /// The colours of `rgb` (interleaved, 8 bits, of `size`) for a network whose patches have `patch` pixels a side,
    /// so that a cell is 2 x 2 of them; `None` for a picture that does not hold its own size, or an empty grid.
    pub fn of(rgb: &[u8], size: Size, grid: Grid, patch: usize) -> Option<Self> {
        if size.area() == 0 || rgb.len() != 3 * size.area() || grid.is_empty() {
            return None;
        }
        let side = patch.div_ceil(2).max(1);
        let (rows, cols) = (grid.rows * side, grid.cols * side);
        let mut values = vec![0.0; grid.len() * 3 * side * side];
        for channel in 0..3 {
            let at = |i: usize| f32::from(rgb[3 * i + channel]) / 255.0;
            let plane = shrink(at, (size.height as usize, size.width as usize), (rows, cols));
            for (row, line) in plane.chunks_exact(cols).enumerate() {
                for (col, &value) in line.iter().enumerate() {
                    let patch = row / side * grid.cols + col / side;
                    values[(patch * 3 + channel) * side * side + row % side * side + col % side] = value;
                }
            }
        }
        Some(Self { grid, side, values })
    }

    /// R, G and B of one patch, each `(S * S)`.
    pub fn of_patch(&self, patch: usize) -> [&[f32]; 3] {
        let cells = self.side * self.side;
        [0, 1, 2].map(|channel| &self.values[(patch * 3 + channel) * cells..][..cells])
    }

    /// One colour as a picture of cells, `(rows * S, cols * S)`.
    pub fn plane(&self, channel: usize) -> Vec<f32> {
        let (side, width) = (self.side, self.grid.cols * self.side);
        let mut plane = vec![0.0; self.grid.len() * side * side];
        for patch in 0..self.grid.len() {
            let corner = patch / self.grid.cols * side * width + patch % self.grid.cols * side;
            for (row, cells) in self.of_patch(patch)[channel].chunks_exact(side).enumerate() {
                plane[corner + row * width..][..side].copy_from_slice(cells);
            }
        }
        plane
    }
}
