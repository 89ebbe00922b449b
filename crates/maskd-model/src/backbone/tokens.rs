//! Tokens as the network leaves them, cut up into frames: on the host where that is the network's device, else where they are
//! until somebody reads them.

use anyhow::Result;
use candle_core::{DType, Tensor};
use maskd_types::features::{TokenStorage, Tokens};

/// `(B, P + N, C)` to the L2-normalised `(N, C)` of each image, without `[CLS]` and registers, P tokens.
///
/// # Errors
/// Out of memory, or a broken device.
pub fn of_images(tokens: &Tensor, prefix: usize) -> Result<Vec<Tokens>> {
    if tokens.device().is_cpu() { on_host(tokens, prefix) } else { on_device(tokens, prefix) }
}

fn on_host(tokens: &Tensor, prefix: usize) -> Result<Vec<Tokens>> {
    let (_, n, dim) = tokens.dims3()?;
    let images = tokens.narrow(1, prefix, n - prefix)?.to_dtype(DType::F32)?.flatten_from(1)?.to_vec2()?;
    Ok(images.into_iter().map(|image| unit_rows(image, dim).into()).collect())
}

fn on_device(tokens: &Tensor, prefix: usize) -> Result<Vec<Tokens>> {
    let (batch, n, dim) = tokens.dims3()?;
    let image = |i| Ok(Tokens::stored(OnDevice { rows: tokens.get(i)?.narrow(0, prefix, n - prefix)?, dim }));
    (0..batch).map(image).collect()
}

/// Tokens of one image on its device, `(N, C)`, not normalised. It keeps the memory of its batch.
struct OnDevice {
    rows: Tensor,
    dim: usize,
}

impl TokenStorage for OnDevice {
    fn read(self: Box<Self>) -> Result<Vec<f32>> {
        Ok(unit_rows(self.rows.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?, self.dim))
    }
}

fn unit_rows(mut rows: Vec<f32>, dim: usize) -> Vec<f32> {
    for row in rows.chunks_mut(dim) {
        let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
        row.iter_mut().for_each(|x| *x /= norm);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn both_ways_give_the_same_rows_of_the_same_images() {
        // Two images of [CLS], a register and three patches.
        let values: Vec<f32> = (0..2 * 5 * 4).map(|i| ((i * 37 + 11) % 23) as f32 - 9.5).collect();
        for dtype in [DType::F32, DType::BF16] {
            let tokens = Tensor::from_slice(&values, (2, 5, 4), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            let (host, device) = (on_host(&tokens, 2).unwrap(), on_device(&tokens, 2).unwrap());
            assert_eq!((host.len(), device.len()), (2, 2));
            for (i, (host, device)) in host.iter().zip(&device).enumerate() {
                assert_eq!(format!("{host:?}, {device:?}"), "12 numbers, not read");
                assert_eq!(host.on_host(), device.on_host(), "image {i}");
                let first = &values[(i * 5 + 2) * 4..][..4];
                let norm = first.iter().map(|x| x * x).sum::<f32>().sqrt();
                assert!(host.on_host()[..4].iter().zip(first).all(|(a, b)| (a - b / norm).abs() < 1e-6), "image {i}");
            }
        }
    }
}
