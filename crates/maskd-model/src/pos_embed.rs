//! Position embeddings for any grid: a constant bicubic matrix and two products, so that the
//! resize is exact and differentiable.

use candle_core::{Result, Tensor};

use super::Family;

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

/// Position embeddings `(1, 1 + grid * grid, C)` for a patch grid of `(rows, cols)`: `(1, 1 + rows * cols, C)`.
///
/// DINO scales by (n + 0.1) / grid, as its code does; DINOv2 by n / grid.
pub fn resize_pos_embed(pos: &Tensor, grid: usize, rows: usize, cols: usize, family: Family) -> Result<Tensor> {
    if rows == grid && cols == grid {
        return Ok(pos.clone());
    }
    let dim = pos.dim(2)?;
    let matrix = |n: usize| {
        let scale = match family {
            Family::Dino => (n as f64 + 0.1) / grid as f64,
            Family::DinoV2 => n as f64 / grid as f64,
        };
        Tensor::from_vec(bicubic_matrix(grid, n, scale), (n, grid), pos.device())?.to_dtype(pos.dtype())
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
