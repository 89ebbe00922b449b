//! The size rule: a masks message that is too large is sent with simpler masks rather than not at all.
//!
//! Each mask is decided block by block (2, 4, then 8 pixels wide) by the majority of the block's pixels, which shortens
//! its outline, and written at the frame's size again. Only where that is not enough are the smallest instances left out.

use std::cmp::Reverse;

use super::{
    PublishError,
    wire::{self, Format, MasksMessage},
};
use crate::{
    frame::Size,
    instance::{BBox, Instance},
    mask::Rle,
};

const FACTORS: [u32; 3] = [2, 4, 8];

/// The message as bytes, not more than `limit` of them; the message returned says how that was reached.
pub(super) fn fit(
    mut message: MasksMessage,
    format: Format,
    limit: usize,
) -> Result<(MasksMessage, Vec<u8>), PublishError> {
    let mut bytes = wire::encode(&message, format)?;
    if bytes.len() <= limit {
        return Ok((message, bytes));
    }
    let original = std::mem::take(&mut message.instances);
    for factor in FACTORS {
        message.coarsened = Some(factor);
        message.instances = original.iter().map(|i| coarse(i, message.frame, factor)).collect::<Result<_, _>>()?;
        bytes = wire::encode(&message, format)?;
        if bytes.len() <= limit {
            return Ok((message, bytes));
        }
    }
    while let Some(smallest) = (0..message.instances.len()).min_by_key(|&i| (message.instances[i].area, Reverse(i))) {
        message.instances.remove(smallest);
        message.omitted += 1;
        bytes = wire::encode(&message, format)?;
        if bytes.len() <= limit {
            return Ok((message, bytes));
        }
    }
    Err(PublishError::TooLarge { bytes: bytes.len(), limit })
}

fn coarse(instance: &Instance, size: Size, factor: u32) -> Result<Instance, PublishError> {
    let mask = instance.mask.decode(Some(size)).map_err(|e| PublishError::Mask(wire::one_line(&e)))?;
    let (mask, bbox, area) = majority(&mask, size, factor as usize);
    Ok(Instance { bbox, area, mask: Rle::from_mask(size, &mask), ..instance.clone() })
}

/// `mask` (row by row) with each block of `factor` x `factor` pixels all on where more than half of it was on; with the
/// bounding box and the area of the result. A mask too thin for any majority keeps the block that holds most of it.
fn majority(mask: &[bool], size: Size, factor: usize) -> (Vec<bool>, BBox, u64) {
    let (width, height) = (size.width as usize, size.height as usize);
    let columns = width.div_ceil(factor);
    let mut counts = vec![0u32; columns * height.div_ceil(factor)];
    for (y, row) in mask.chunks_exact(width.max(1)).enumerate() {
        for (x, _) in row.iter().enumerate().filter(|(_, on)| **on) {
            counts[(y / factor) * columns + x / factor] += 1;
        }
    }
    // Blocks at the right and lower edge are cut off by the frame.
    let pixels = |block: usize| {
        let (y, x) = (block / columns * factor, block % columns * factor);
        ((height - y).min(factor) * (width - x).min(factor)) as u32
    };
    let mut on: Vec<bool> = counts.iter().enumerate().map(|(block, &count)| 2 * count > pixels(block)).collect();
    if !on.contains(&true) {
        let fullest = (0..counts.len()).max_by_key(|&block| (counts[block], Reverse(block)));
        if let Some(block) = fullest.filter(|&block| counts[block] > 0) {
            on[block] = true;
        }
    }
    let mut out = vec![false; mask.len()];
    let (mut left, mut top, mut right, mut bottom, mut area) = (width, height, 0, 0, 0);
    for block in (0..on.len()).filter(|&block| on[block]) {
        let (y0, x0) = (block / columns * factor, block % columns * factor);
        let (y1, x1) = ((y0 + factor).min(height), (x0 + factor).min(width));
        (y0..y1).for_each(|y| out[y * width + x0..y * width + x1].fill(true));
        (left, top, right, bottom) = (left.min(x0), top.min(y0), right.max(x1), bottom.max(y1));
        area += ((y1 - y0) * (x1 - x0)) as u64;
    }
    let bbox = match area {
        0 => BBox { x: 0, y: 0, width: 0, height: 0 },
        _ => BBox { x: left as u32, y: top as u32, width: (right - left) as u32, height: (bottom - top) as u32 },
    };
    (out, bbox, area)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_single_pixel_does_not_vanish() {
        let size = Size::new(11, 9);
        let mut mask = vec![false; size.area()];
        mask[8 * 11 + 10] = true;
        let (out, bbox, area) = majority(&mask, size, 8);
        // The corner block is 3 x 1 pixels.
        assert_eq!((bbox, area), (BBox { x: 8, y: 8, width: 3, height: 1 }, 3));
        assert!(out[8 * 11 + 10]);
    }

    proptest! {
        #[test]
        fn box_and_area_agree_with_the_mask(w in 1u32..40, h in 1u32..40, seed in any::<u64>(), factor in 1usize..9) {
            let size = Size::new(w, h);
            let bit = |i: usize| (seed.wrapping_mul(i as u64 * 2 + 1) >> 33) & 3 == 0;
            let mask: Vec<bool> = (0..size.area()).map(bit).collect();
            let (out, bbox, area) = majority(&mask, size, factor);
            prop_assert_eq!(out.len(), mask.len());
            prop_assert_eq!(out.iter().filter(|on| **on).count() as u64, area);
            prop_assert_eq!(mask.contains(&true), area > 0);
            let on: Vec<(u32, u32)> =
                (0..out.len()).filter(|&i| out[i]).map(|i| (i as u32 % w, i as u32 / w)).collect();
            if let (Some(x), Some(y)) = (on.iter().map(|p| p.0).min(), on.iter().map(|p| p.1).min()) {
                let (right, bottom) = on.iter().fold((0, 0), |m, p| (m.0.max(p.0 + 1), m.1.max(p.1 + 1)));
                prop_assert_eq!(bbox, BBox { x, y, width: right - x, height: bottom - y });
            }
            if factor == 1 {
                prop_assert_eq!(out, mask);
            }
        }
    }
}
