//! Fields of features with exact truth, for tests: things of distinct random directions over a textured background.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use maskd_types::features::{Features, Grid};

/// Channels of a synthetic field.
pub const DIM: usize = 48;

/// A thing: rows and columns that it covers from its top left corner, and what it looks like.
#[derive(Clone, Copy, Debug)]
pub struct Thing {
    pub look: u64,
    pub row: i32,
    pub col: i32,
    pub rows: i32,
    pub cols: i32,
}

impl Thing {
    pub fn new(look: u64, (row, col): (i32, i32), (rows, cols): (i32, i32)) -> Self {
        Self { look, row, col, rows, cols }
    }

    pub fn patches(&self, grid: Grid) -> Vec<bool> {
        (0..grid.len())
            .map(|p| {
                let (row, col) = ((p / grid.cols) as i32, (p % grid.cols) as i32);
                (self.row..self.row + self.rows).contains(&row) && (self.col..self.col + self.cols).contains(&col)
            })
            .collect()
    }
}

/// A frame in which later things hide earlier ones. `world` picks the background, `shift` moves it (a moving camera),
/// `frame` picks the noise.
pub fn field(grid: Grid, world: u64, shift: u64, things: &[Thing], frame: u64) -> Features {
    let ground = direction(1_000_000 + world);
    let mut noise = ChaCha8Rng::seed_from_u64(frame);
    let mut tokens = Vec::with_capacity(grid.len() * DIM);
    for p in 0..grid.len() {
        let (row, col) = ((p / grid.cols) as u64, (p % grid.cols) as u64 + shift);
        let thing = things.iter().rev().find(|t| t.patches(grid)[p]);
        let (base, texture) = match thing {
            Some(t) => (direction(t.look), direction(t.look * 1000 + row + 7 * col)),
            None => (ground.clone(), direction(2_000_000 + world + row * 1000 + col)),
        };
        let mut x: Vec<f32> =
            (0..DIM).map(|c| base[c] + 0.4 * texture[c] + 0.01 * noise.random_range(-1.0..1.0)).collect();
        let length = x.iter().map(|v| v * v).sum::<f32>().sqrt();
        x.iter_mut().for_each(|v| *v /= length);
        tokens.extend(x);
    }
    Features::new(grid, DIM, tokens)
}

/// A unit vector of its own for each seed.
fn direction(seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let x: Vec<f32> = (0..DIM).map(|_| rng.random_range(-1.0f32..1.0)).collect();
    let length = x.iter().map(|v| v * v).sum::<f32>().sqrt();
    x.into_iter().map(|v| v / length).collect()
}
