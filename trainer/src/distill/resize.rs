//! Other sizes: patch embeddings for other patches, and pictures for another network's patches.

use anyhow::{Result, ensure};
use candle_core::Tensor;

/// A patch embedding `(C, 3, n, n)` for patches of side `patch`: `(C, 3, patch, patch)`.
///
/// With B `(patch, n)` the resize of a side as in [`pictures`], it is P w P^T with P = B (B^T B)^-1, so that a patch that is made
/// larger, B x B^T, is embedded as x was; where patches become smaller, P = (B B^T)^-1 B, the least change
/// (the pseudo-inverse resize of FlexiViT, Beyer et al. 2023).
///
/// # Errors
/// Sizes of 0.
pub fn patch_embedding(weight: &Tensor, patch: usize) -> Result<Tensor> {
    let (c, channels, n, m) = weight.dims4()?;
    ensure!(n == m && n > 0 && patch > 0, "a patch embedding of {n} x {m} pixels cannot be resized to {patch}");
    if patch == n {
        return Ok(weight.clone());
    }
    let resize = smooth_matrix(n, patch);
    let b: Vec<Vec<f64>> = resize.chunks(n).map(|row| row.iter().map(|x| f64::from(*x)).collect()).collect();
    let columns = transposed(&b);
    // The Gram matrix of the smaller side is the one that is regular.
    let p = if patch > n { transposed(&solved(gram(&columns), columns)) } else { solved(gram(&b), b) };
    let p = Tensor::from_vec(p.concat(), (patch, n), weight.device())?.to_dtype(weight.dtype())?;
    let rows = p.broadcast_left(c * channels)?.contiguous()?;
    let rows = rows.matmul(&weight.reshape((c * channels, n, n))?)?; // (3 C, patch, n)
    let columns = p.t()?.broadcast_left(c * channels)?.contiguous()?;
    Ok(rows.matmul(&columns)?.reshape((c, channels, patch, patch))?)
}

/// Pictures `(B, 3, S, S)` at side `to`: bicubic, with a filter that widens when it shrinks.
///
/// # Errors
/// No memory left.
pub fn pictures(images: &Tensor, to: usize) -> Result<Tensor> {
    let (b, channels, side, _) = images.dims4()?;
    if to == side {
        return Ok(images.clone());
    }
    let matrix = Tensor::from_vec(smooth_matrix(side, to), (to, side), images.device())?.to_dtype(images.dtype())?;
    let columns = images.reshape((b * channels * side, side))?.matmul(&matrix.t()?)?; // (3 B S, to)
    let columns = columns.reshape((b * channels, side, to))?;
    let rows = matrix.broadcast_left(b * channels)?.contiguous()?.matmul(&columns)?;
    Ok(rows.reshape((b, channels, to, to))?)
}

/// The resize of one axis as a matrix `(to, from)`: Keys' kernel with a = -0.5, as wide as what a pixel stands for.
fn smooth_matrix(from: usize, to: usize) -> Vec<f32> {
    let kernel = |t: f64| match t.abs() {
        t if t < 1.0 => (1.5 * t - 2.5) * t * t + 1.0,
        t if t < 2.0 => ((-0.5 * t + 2.5) * t - 4.0) * t + 2.0,
        _ => 0.0,
    };
    let scale = from as f64 / to as f64;
    let width = scale.max(1.0);
    let row = |i: usize| {
        let centre = (i as f64 + 0.5) * scale;
        let weights: Vec<f64> = (0..from).map(|j| kernel((j as f64 + 0.5 - centre) / width)).collect();
        let sum: f64 = weights.iter().sum();
        weights.into_iter().map(move |w| (w / sum) as f32)
    };
    (0..to).flat_map(row).collect()
}

fn transposed(rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let width = rows.first().map_or(0, Vec::len);
    (0..width).map(|j| rows.iter().map(|row| row[j]).collect()).collect()
}

/// The products of all pairs of rows.
fn gram(rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum();
    rows.iter().map(|a| rows.iter().map(|b| dot(a, b)).collect()).collect()
}

/// X of A X = B for a symmetric positive A, by elimination.
fn solved(mut a: Vec<Vec<f64>>, mut b: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let take = |from: &[f64], to: &mut [f64], factor: f64| to.iter_mut().zip(from).for_each(|(t, f)| *t -= factor * f);
    for i in 0..a.len() {
        let pivot = a[i][i];
        a[i].iter_mut().chain(&mut b[i]).for_each(|x| *x /= pivot);
        let (own_a, own_b) = (a[i].clone(), b[i].clone());
        for j in (0..a.len()).filter(|&j| j != i) {
            let factor = a[j][i];
            take(&own_a, &mut a[j], factor);
            take(&own_b, &mut b[j], factor);
        }
    }
    b
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn wave(shape: (usize, usize, usize, usize), seed: f32) -> Tensor {
        let n = shape.0 * shape.1 * shape.2 * shape.3;
        let values: Vec<f32> = (0..n).map(|i| ((i as f32 * 12.9898 + seed).sin() * 43_758.547).fract()).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn embedded(patch: &Tensor, weight: &Tensor) -> Vec<f32> {
        let flat = |t: &Tensor| t.reshape((t.dim(0).unwrap(), ())).unwrap();
        flat(patch).matmul(&flat(weight).t().unwrap()).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    /// The furthest difference, by the largest value.
    fn apart(a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len());
        let most = b.iter().fold(0f32, |m, x| m.max(x.abs()));
        a.iter().zip(b).fold(0f32, |m, (x, y)| m.max((x - y).abs())) / most
    }

    #[test]
    fn a_patch_that_is_made_larger_is_embedded_as_before() {
        let (weight, patch) = (wave((5, 3, 14, 14), 1.0), wave((4, 3, 14, 14), 2.0));
        let enlarged = |to: usize| {
            let b = Tensor::from_vec(smooth_matrix(14, to), (to, 14), &Device::Cpu).unwrap();
            let wide = |t: &Tensor| t.broadcast_left(12).unwrap().contiguous().unwrap();
            let rows = wide(&b).matmul(&patch.reshape((12, 14, 14)).unwrap()).unwrap();
            rows.matmul(&wide(&b.t().unwrap())).unwrap().reshape((4, 3, to, to)).unwrap()
        };
        for to in [15, 16, 28] {
            let found = embedded(&enlarged(to), &patch_embedding(&weight, to).unwrap());
            assert!(apart(&found, &embedded(&patch, &weight)) < 1e-4, "{to}");
        }
    }

    #[test]
    fn the_same_size_is_the_same() {
        let weight = wave((2, 3, 8, 8), 1.0);
        let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(&patch_embedding(&weight, 8).unwrap()), values(&weight));
        assert_eq!(values(&pictures(&weight, 8).unwrap()), values(&weight));
    }

    #[test]
    fn a_smaller_patch_of_long_waves_is_embedded_nearly_alike() {
        // The same waves, seen by patches of several sizes; channels and planes differ in phase.
        let waves = |count: usize, side: usize, phase: f32| {
            let at = |i: usize| (i as f32 + 0.5) / side as f32;
            let plane = |i: usize| (i / (side * side)) as f32;
            let value = |i: usize| (2.0 * at(i / side % side) + 1.5 * at(i % side) + phase * plane(i)).sin();
            let values: Vec<f32> = (0..count * 3 * side * side).map(value).collect();
            Tensor::from_vec(values, (count, 3, side, side), &Device::Cpu).unwrap()
        };
        let (weight, pictures) = (waves(5, 14, 0.7), |side| waves(4, side, 1.1));
        let expected = embedded(&pictures(14), &weight);
        for to in [8, 10, 12] {
            let found = embedded(&pictures(to), &patch_embedding(&weight, to).unwrap());
            assert!(apart(&found, &expected) < 0.03, "{to}: {}", apart(&found, &expected));
        }
    }

    #[test]
    fn pictures_keep_what_is_even_and_what_is_a_ramp() {
        let ramp = |side: usize| {
            let value = |i: usize| ((i % side) as f32 + 0.5) / side as f32;
            let values: Vec<f32> = (0..6 * side * side).map(value).collect();
            Tensor::from_vec(values, (2, 3, side, side), &Device::Cpu).unwrap()
        };
        let inner = |t: &Tensor, side: usize| {
            t.narrow(3, side / 4, side / 2).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        for to in [28, 24, 48] {
            let found = pictures(&ramp(32), to).unwrap();
            assert_eq!(found.dims(), [2, 3, to, to]);
            assert!(apart(&inner(&found, to), &inner(&ramp(to), to)) < 2e-3, "{to}");
        }
    }
}
