//! The size rule: a masks message that is too large is sent with simpler masks rather than not at all.
//!
//! Each mask is decided block by block (2, 4, then 8 pixels wide) by the majority of the block's pixels, which shortens
//! its outline, and written at the frame's size again. Only where that is not enough are the smallest instances left out.

use std::cmp::Reverse;

use crate::wire::{self, Format, MasksMessage, WireError};
use maskd_types::{
    instance::Instance,
    mask::{LabelMap, Rle},
};

const FACTORS: [usize; 3] = [2, 4, 8];

/// A message that cannot be made to fit.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// It is too large however coarse its masks are.
    #[error("{bytes} bytes are more than max_message_bytes = {limit}, even with coarsened masks")]
    TooLarge {
        /// Bytes of the smallest form.
        bytes: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// It cannot be written.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Its masks are not what they say.
    #[error("{0}")]
    Mask(String),
}

/// The message as bytes, not more than `limit` of them; the message returned says how that was reached.
///
/// # Errors
/// [`FitError`].
pub fn fit(mut message: MasksMessage, format: Format, limit: usize) -> Result<(MasksMessage, Vec<u8>), FitError> {
    let bytes = wire::encode(&message, format)?;
    if bytes.len() <= limit {
        return Ok((message, bytes));
    }
    // A label map has 255 labels; a tracker has no more instances.
    while message.instances.len() > 255 {
        omit_smallest(&mut message);
    }
    let labels = paint(&message)?;
    let fine = message.instances.clone();
    for factor in FACTORS {
        let coarse = Rle::encode_labels(&majority(&labels, fine.len(), factor), fine.len());
        let coarse =
            fine.iter().zip(coarse).map(|(i, c)| Instance { mask: c.mask, bbox: c.bbox, area: c.area, ..i.clone() });
        // Of two specks in one block, only one is left.
        message.instances = coarse.filter(|i| i.area > 0).collect();
        message.coarsened = Some(factor as u32);
        if wire::encode(&message, format)?.len() <= limit {
            break;
        }
    }
    message.omitted += (fine.len() - message.instances.len()) as u32;
    loop {
        let bytes = wire::encode(&message, format)?;
        if bytes.len() <= limit {
            return Ok((message, bytes));
        }
        if message.instances.is_empty() {
            return Err(FitError::TooLarge { bytes: bytes.len(), limit });
        }
        omit_smallest(&mut message);
    }
}

fn omit_smallest(message: &mut MasksMessage) {
    let smallest = (0..message.instances.len()).min_by_key(|&i| (message.instances[i].area, Reverse(i)));
    message.omitted += u32::from(smallest.map(|i| message.instances.remove(i)).is_some());
}

/// The masks on one map, the first instance as label 1. Masks of one frame do not overlap.
fn paint(message: &MasksMessage) -> Result<LabelMap, FitError> {
    let mut labels = LabelMap::new(message.frame);
    let width = message.frame.width as usize;
    for (label, Instance { mask, bbox, .. }) in (1..=255).zip(&message.instances) {
        let mask = mask.decode(Some(message.frame)).map_err(|e| FitError::Mask(wire::one_line(&e)))?;
        // The box is our own, but it costs nothing not to trust it.
        let right = (bbox.x as usize).saturating_add(bbox.width as usize).min(width);
        let left = (bbox.x as usize).min(right);
        for y in bbox.y..bbox.y.saturating_add(bbox.height).min(message.frame.height) {
            let row = y as usize * width;
            let (from, to) = (&mask[row + left..row + right], &mut labels.labels[row + left..row + right]);
            from.iter().zip(to).filter(|(on, _)| **on).for_each(|(_, to)| *to = label);
        }
    }
    Ok(labels)
}

/// `labels` (1 to `k`) with each block of `factor` x `factor` pixels given to the label that more than half of it has.
/// A label too thin for any majority gets the block that holds most of it.
fn majority(labels: &LabelMap, k: usize, factor: usize) -> LabelMap {
    let (width, height) = (labels.size.width as usize, labels.size.height as usize);
    let columns = width.div_ceil(factor);
    let mut out = LabelMap::new(labels.size);
    // Of each label: whether it has a block, and its fullest block (pixels, block).
    let mut seen = [false; 256];
    let mut fullest = [(0u32, 0usize); 256];
    let mut counts = vec![[0u32; 256]; columns];
    let mut touched: Vec<Vec<u8>> = vec![Vec::new(); columns];
    for y0 in (0..height).step_by(factor) {
        let y1 = (y0 + factor).min(height);
        for row in labels.labels[y0 * width..y1 * width].chunks_exact(width) {
            for (x, &label) in row.iter().enumerate().filter(|(_, label)| **label != 0) {
                let count = &mut counts[x / factor][label as usize];
                if *count == 0 {
                    touched[x / factor].push(label);
                }
                *count += 1;
            }
        }
        for (column, labels) in touched.iter_mut().enumerate() {
            let x0 = column * factor;
            let pixels = ((y1 - y0) * (factor.min(width - x0))) as u32;
            for label in labels.drain(..) {
                let count = std::mem::take(&mut counts[column][label as usize]);
                if 2 * count > pixels {
                    seen[label as usize] = true;
                    fill(&mut out, factor, y0, x0, label);
                }
                if count > fullest[label as usize].0 {
                    fullest[label as usize] = (count, y0 / factor * columns + column);
                }
            }
        }
    }
    for label in (1..=k.min(255)).filter(|&label| !seen[label] && fullest[label].0 > 0) {
        let block = fullest[label].1;
        fill(&mut out, factor, block / columns * factor, block % columns * factor, label as u8);
    }
    out
}

/// Gives the block at (`y0`, `x0`) to `label`; the frame's edge may cut it off.
fn fill(out: &mut LabelMap, factor: usize, y0: usize, x0: usize, label: u8) {
    let (width, height) = (out.size.width as usize, out.size.height as usize);
    for y in y0..(y0 + factor).min(height) {
        out.labels[y * width + x0..y * width + (x0 + factor).min(width)].fill(label);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use maskd_types::frame::Size;

    #[test]
    fn a_single_pixel_does_not_vanish() {
        let mut labels = LabelMap::new(Size::new(11, 9));
        labels.labels[8 * 11 + 10] = 2;
        let out = majority(&labels, 2, 8);
        // The corner block is 3 x 1 pixels.
        let on: Vec<usize> = (0..99).filter(|&i| out.labels[i] == 2).collect();
        assert_eq!(on, [8 * 11 + 8, 8 * 11 + 9, 8 * 11 + 10]);
        assert_eq!(out.labels.iter().filter(|l| **l != 0).count(), 3);
    }

    proptest! {
        #[test]
        fn each_block_goes_to_its_majority(w in 1u32..40, h in 1u32..40, seed in any::<u64>(), factor in 1usize..9) {
            let mut labels = LabelMap::new(Size::new(w, h));
            for (i, label) in labels.labels.iter_mut().enumerate() {
                // Coherent in places, so that there are majorities.
                *label = (seed.wrapping_mul((i as u64 / 5) * 2 + 1) >> 40) as u8 % 3;
            }
            let out = majority(&labels, 2, factor);
            if factor == 1 {
                prop_assert_eq!(&out, &labels);
            }
            let (w, h) = (w as usize, h as usize);
            let mut rescued = Vec::new();
            for (y0, x0) in (0..h).step_by(factor).flat_map(|y| (0..w).step_by(factor).map(move |x| (y, x))) {
                let block: Vec<usize> = (y0..(y0 + factor).min(h))
                    .flat_map(|y| (x0..(x0 + factor).min(w)).map(move |x| y * w + x))
                    .collect();
                let most = (1..=2).find(|l| 2 * block.iter().filter(|&&i| labels.labels[i] == *l).count() > block.len());
                let given = out.labels[block[0]];
                prop_assert!(block.iter().all(|&i| out.labels[i] == given), "a block has one label");
                if given != most.unwrap_or(0) {
                    rescued.push(given);
                }
            }
            // Only labels without any majority may take a block that is not theirs, and one each.
            prop_assert!(rescued.len() <= 2 && !rescued.contains(&0));
            prop_assert!(rescued.len() < 2 || rescued[0] != rescued[1]);
            for label in rescued {
                prop_assert!(labels.labels.contains(&label));
                prop_assert!(out.labels.iter().filter(|l| **l == label).count() <= factor * factor);
            }
        }
    }
}
