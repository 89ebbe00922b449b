//! Position embeddings for any grid: a constant bicubic matrix and two products, so that the
//! resize is exact and differentiable.

use candle_core::{Result, Tensor};

use crate::family::Resize;

/// The bicubic resize of one axis as a matrix, `(output, input)` row by row.
///
/// PyTorch's `interpolate(mode="bicubic", align_corners=False)` without antialiasing: kernel with
/// a = -0.75, source coordinate (i + 0.5) / scale - 0.5, borders clamped.
pub fn bicubic_matrix(input: usize, output: usize, scale: f64) -> Vec<f32> {
    const A: f64 = -0.75;
    let near = |t: f64| ((A + 2.0) * t - (A + 3.0)) * t * t + 1.0; // |t| <= 1
    let far = |t: f64| ((A * t - 5.0 * A) * t + 8.0 * A) * t - 4.0 * A; // 1 < |t| < 2
    let mut matrix = vec![0f32; output * input];
    for (i, row) in matrix.chunks_mut(input).enumerate() {
        let source = (i as f64 + 0.5) / scale - 0.5;
        let (whole, t) = (source.floor(), source - source.floor());
        for (offset, weight) in [(-1.0, far(t + 1.0)), (0.0, near(t)), (1.0, near(1.0 - t)), (2.0, far(2.0 - t))] {
            let j = (whole + offset).clamp(0.0, input as f64 - 1.0) as usize;
            row[j] += weight as f32;
        }
    }
    matrix
}

/// The bicubic resize of one axis with antialiasing as a matrix, `(output, input)` row by row.
///
/// PyTorch's `interpolate(mode="bicubic", antialias=True)` to a target size: kernel with a = -0.5, as wide as the step
/// between outputs where that is more than one input, weights that sum to one.
pub fn antialiased_matrix(input: usize, output: usize) -> Vec<f32> {
    const A: f64 = -0.5;
    let kernel = |t: f64| match t.abs() {
        t if t < 1.0 => ((A + 2.0) * t - (A + 3.0)) * t * t + 1.0,
        t if t < 2.0 => ((A * t - 5.0 * A) * t + 8.0 * A) * t - 4.0 * A,
        _ => 0.0,
    };
    let step = input as f64 / output as f64;
    let width = step.max(1.0);
    let mut matrix = vec![0f32; output * input];
    for (i, row) in matrix.chunks_mut(input).enumerate() {
        let centre = step * (i as f64 + 0.5);
        let first = (centre - 2.0 * width + 0.5).max(0.0) as usize;
        let end = ((centre + 2.0 * width + 0.5) as usize).min(input);
        let weight = |j: usize| kernel((j as f64 - centre + 0.5) / width);
        let total: f64 = (first..end).map(weight).sum();
        (first..end).for_each(|j| row[j] = (weight(j) / total) as f32);
    }
    matrix
}

/// Position embeddings `(1, 1 + grid * grid, C)` for a patch grid of `(rows, cols)`: `(1, 1 + rows * cols, C)`.
pub fn resize_pos_embed(pos: &Tensor, grid: usize, rows: usize, cols: usize, resize: Resize) -> Result<Tensor> {
    if rows == grid && cols == grid {
        return Ok(pos.clone());
    }
    let dim = pos.dim(2)?;
    let matrix = |n: usize| {
        let matrix = match resize {
            Resize::Factor { offset } => bicubic_matrix(grid, n, (n as f64 + offset) / grid as f64),
            Resize::Antialiased => antialiased_matrix(grid, n),
        };
        Tensor::from_vec(matrix, (n, grid), pos.device())?.to_dtype(pos.dtype())
    };
    let cls = pos.narrow(1, 0, 1)?;
    let patches = pos.narrow(1, 1, grid * grid)?.reshape((grid, grid * dim))?;
    let by_row = matrix(rows)?.matmul(&patches)?.reshape((rows, grid, dim))?;
    let by_col = matrix(cols)?.broadcast_left(rows)?.contiguous()?.matmul(&by_row)?; // (rows, cols, C)
    Tensor::cat(&[&cls, &by_col.reshape((1, rows * cols, dim))?], 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_matrix_sum_to_one() {
        for (input, output, scale) in [(8, 13, 13.1 / 8.0), (37, 20, 20.0 / 37.0), (1, 5, 5.0), (8, 1, 0.125)] {
            for row in bicubic_matrix(input, output, scale).chunks(input) {
                assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            }
            for row in antialiased_matrix(input, output).chunks(input) {
                assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn the_native_size_is_the_identity() {
        let m = bicubic_matrix(5, 5, 1.0);
        for (i, x) in m.iter().enumerate() {
            assert_eq!(*x, if i / 5 == i % 5 { 1.0 } else { 0.0 });
        }
    }
}
