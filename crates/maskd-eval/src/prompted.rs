//! Prompts made from an annotation, as the published protocols of interactive segmentation make them: its tight box, its
//! centre-most pixel, and corrections in the middle of what is wrong the most.

use std::{fmt, str::FromStr};

use anyhow::{Context, Result};

use super::{components::Components, region};
use maskd_types::{
    frame::Size,
    instance::{BBox, Prompt},
    mask::LabelMap,
};

/// Most clicks of a protocol.
const MOST_CLICKS: u8 = 100;

/// What is made from an object's annotation in the first frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Its tight box.
    Box,
    /// So many points, at least one: the first is the centre-most pixel of the object, each further one that of the largest
    /// region that is wrong then.
    Clicks(u8),
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let clicks = |count: &str| count.parse().ok().filter(|count| (1..=MOST_CLICKS).contains(count));
        match text {
            "box" => Ok(Self::Box),
            "click" => Ok(Self::Clicks(1)),
            other => other
                .strip_prefix("clicks:")
                .and_then(clicks)
                .map(Self::Clicks)
                .ok_or_else(|| format!("use box, click or clicks:N, N from 1 to {MOST_CLICKS}")),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Box => f.write_str("box"),
            Self::Clicks(1) => f.write_str("click"),
            Self::Clicks(count) => write!(f, "clicks:{count}"),
        }
    }
}

/// The prompts for the objects of a first annotation, by label. Corrections answer to what `found` says that a prompt alone
/// marks in the first frame, row by row.
///
/// # Errors
/// Those of `found`.
pub fn prompts(
    protocol: Protocol,
    annotation: &LabelMap,
    mut found: impl FnMut(&Prompt) -> Result<Vec<bool>>,
) -> Result<Vec<(u8, Prompt)>> {
    let mut present = [false; 256];
    annotation.labels.iter().for_each(|label| present[usize::from(*label)] = true);
    let labels = (1..=255u8).filter(|label| present[usize::from(*label)]);
    labels
        .map(|label| {
            let wanted: Vec<bool> = annotation.labels.iter().map(|l| *l == label).collect();
            let prompt = match protocol {
                Protocol::Box => tight_box(&wanted, annotation.size).map(|bbox| Prompt::Box { bbox }),
                Protocol::Clicks(count) => clicks(count, &wanted, annotation.size, &mut found)?,
            };
            Ok((label, prompt.with_context(|| format!("object {label}: it has no pixels. This is a bug."))?))
        })
        .collect()
}

/// Points for `wanted`, corrected by what `found` says of those so far; none where nothing is wanted.
fn clicks(
    count: u8,
    wanted: &[bool],
    size: Size,
    mut found: impl FnMut(&Prompt) -> Result<Vec<bool>>,
) -> Result<Option<Prompt>> {
    let Some(first) = centre_most(wanted, size) else { return Ok(None) };
    let (mut positive, mut negative) = (vec![first], Vec::new());
    for _ in 1..count {
        let prompt = Prompt::Points { positive: positive.clone(), negative: negative.clone() };
        match correction(&found(&prompt)?, wanted, size) {
            Some((point, true)) => positive.push(point),
            Some((point, false)) => negative.push(point),
            None => break,
        }
    }
    Ok(Some(Prompt::Points { positive, negative }))
}

/// The least box that holds a mask `(height, width)`; none for an empty one.
pub fn tight_box(mask: &[bool], size: Size) -> Option<BBox> {
    let width = size.width.max(1) as usize;
    let held = || (0..mask.len()).filter(|&i| mask[i]);
    let (top, bottom) = ((held().next()? / width) as u32, (held().next_back()? / width) as u32);
    let (left, right) = (held().map(|i| i % width).min()? as u32, held().map(|i| i % width).max()? as u32);
    Some(BBox { x: left, y: top, width: right - left + 1, height: bottom - top + 1 })
}

/// The pixel of a mask that is farthest from all that is not of it, the outside of the picture included: the first of equals.
pub fn centre_most(mask: &[bool], size: Size) -> Option<[u32; 2]> {
    let distance = squared_distances(mask, size);
    let held = (0..mask.len()).filter(|&i| mask[i]);
    let most = held.max_by_key(|&i| (distance[i], std::cmp::Reverse(i)))?;
    let width = size.width.max(1) as usize;
    Some([(most % width) as u32, (most / width) as u32])
}

/// The next point where `found` is to become `wanted`: the middle of the largest connected region that is missing (true) or
/// too much (false); none where nothing is wrong.
pub fn correction(found: &[bool], wanted: &[bool], size: Size) -> Option<([u32; 2], bool)> {
    let largest = |missing: bool| {
        let wrong: Vec<bool> = found.iter().zip(wanted).map(|(f, w)| f != w && *w == missing).collect();
        let parts = Components::new(&wrong, size.width.max(1) as usize);
        let most = (0..parts.areas.len()).max_by_key(|&k| (parts.areas[k], std::cmp::Reverse(k)))?;
        let part: Vec<bool> = parts.of.iter().map(|&of| of as usize == most + 1).collect();
        Some((parts.areas[most], part, missing))
    };
    // A draw goes to what is missing.
    let (_, part, missing) = [largest(false), largest(true)].into_iter().flatten().max_by_key(|(area, ..)| *area)?;
    Some((centre_most(&part, size)?, missing))
}

/// The squared distance of each pixel of a mask to the nearest one that is not of it, 0 for those; a rim around the picture is
/// not of it. Exact: the lower envelope of parabolas (Felzenszwalb and Huttenlocher 2012), columns and then rows.
fn squared_distances(mask: &[bool], size: Size) -> Vec<u64> {
    let (width, height) = (size.width as usize, size.height as usize);
    let mut distance = vec![0u64; mask.len()];
    for x in 0..width {
        // Down and up: the distance to the nearest pixel of the column that is not of it.
        for order in [true, false] {
            let mut steps = 0u64;
            for y in (0..height).map(|y| if order { y } else { height - 1 - y }) {
                let at = y * width + x;
                steps = if mask[at] { steps + 1 } else { 0 };
                distance[at] = if order { steps } else { distance[at].min(steps) };
            }
        }
    }
    for row in distance.chunks_exact_mut(width.max(1)) {
        let heights: Vec<f64> =
            std::iter::once(0).chain(row.iter().map(|d| d * d)).chain([0]).map(|d| d as f64).collect();
        for (x, nearest) in envelope(&heights).into_iter().skip(1).take(width).enumerate() {
            row[x] = nearest as u64;
        }
    }
    distance
}

/// For each place x the least of `(x - q)^2 + heights[q]`.
fn envelope(heights: &[f64]) -> Vec<f64> {
    let value = |q: usize, x: usize| (x as f64 - q as f64).powi(2) + heights[q];
    // Parabolas of the envelope, and from where on each is the least.
    let mut parabolas: Vec<(usize, f64)> = Vec::with_capacity(heights.len());
    for q in 0..heights.len() {
        let meet = |p: usize| {
            let (a, b) = (heights[q] + (q * q) as f64, heights[p] + (p * p) as f64);
            (a - b) / (2.0 * (q as f64 - p as f64))
        };
        while parabolas.last().is_some_and(|&(p, from)| meet(p) <= from) {
            parabolas.pop();
        }
        let from = parabolas.last().map_or(f64::NEG_INFINITY, |&(p, _)| meet(p));
        parabolas.push((q, from));
    }
    let mut k = 0;
    (0..heights.len())
        .map(|x| {
            while parabolas.get(k + 1).is_some_and(|&(_, from)| from < x as f64) {
                k += 1;
            }
            value(parabolas[k].0, x)
        })
        .collect()
}

/// How much of each object a first frame holds: the intersection over union with its annotation, in the order of `labels`.
pub fn first_frame_iou(found: &LabelMap, annotation: &LabelMap, labels: impl Iterator<Item = u8>) -> Vec<f64> {
    let of = |map: &LabelMap, label: u8| map.labels.iter().map(|l| *l == label).collect::<Vec<_>>();
    labels.map(|label| region(&of(found, label), &of(annotation, label), None)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drawn(rows: &[&str]) -> (Vec<bool>, Size) {
        (rows.concat().chars().map(|c| c == '#').collect(), Size::new(rows[0].len() as u32, rows.len() as u32))
    }

    #[test]
    fn protocols_are_said_as_they_are_printed() {
        for one in [Protocol::Box, Protocol::Clicks(1), Protocol::Clicks(3)] {
            assert_eq!(one.to_string().parse(), Ok(one));
        }
        for bad in ["", "clicks", "clicks:0", "clicks:101", "clicks:x", "point"] {
            assert!(bad.parse::<Protocol>().unwrap_err().contains("clicks:N"), "{bad}");
        }
    }

    #[test]
    fn the_box_is_tight_and_the_click_in_the_thickest_part() {
        let (mask, size) = drawn(&["........", ".#####..", ".#####..", ".#####..", "......##"]);
        assert_eq!(tight_box(&mask, size), Some(BBox { x: 1, y: 1, width: 7, height: 4 }));
        assert_eq!(centre_most(&mask, size), Some([2, 2]), "the first of those that are 2 from the border");
        // The rim of the picture is a border too.
        let (all, size) = drawn(&["#####", "#####", "#####"]);
        assert_eq!(centre_most(&all, size), Some([1, 1]));
        assert_eq!((tight_box(&[false; 4], Size::new(2, 2)), centre_most(&[false; 4], Size::new(2, 2))), (None, None));
    }

    #[test]
    fn a_correction_is_in_the_largest_wrong_region() {
        let (wanted, size) = drawn(&["###.......", "###.......", "###......."]);
        let (found, _) = drawn(&["#..####...", "#..####...", "#........."]);
        // Missing: 2 x 3; too much: 4 x 2.
        let (point, on) = correction(&found, &wanted, size).unwrap();
        assert!(!on && (3..7).contains(&point[0]) && point[1] < 2, "{point:?}");
        let nothing = vec![false; wanted.len()];
        assert_eq!(correction(&nothing, &wanted, size), Some(([1, 1], true)));
        assert_eq!(correction(&wanted, &wanted, size), None);
    }

    #[test]
    fn clicks_answer_to_what_was_found() {
        let (wanted, size) = drawn(&["###....", "###....", "###...."]);
        let mut asked = 0;
        let prompt = clicks(3, &wanted, size, |_| {
            asked += 1;
            // First nothing but the right part, then all that is wanted.
            Ok(if asked == 1 { wanted.iter().map(|w| !w).collect() } else { wanted.clone() })
        });
        let Ok(Some(Prompt::Points { positive, negative })) = prompt else { panic!("{prompt:?}") };
        assert_eq!((positive, negative.len(), asked), (vec![[1, 1]], 1, 2));
    }

    proptest! {
        #[test]
        fn distances_are_those_of_the_definition(
            mask in prop::collection::vec(prop::bool::weighted(0.8), 1..120),
            width in 1_usize..16,
        ) {
            let height = mask.len() / width;
            let mask = &mask[..height * width];
            let found = squared_distances(mask, Size::new(width as u32, height as u32));
            for (at, &found) in found.iter().enumerate() {
                let (x, y) = ((at % width) as i64, (at / width) as i64);
                let (w, h) = (width as i64, height as i64);
                let apart = |(u, v): (i64, i64)| ((x - u).pow(2) + (y - v).pow(2)) as u64;
                let outside = |(u, v): &(i64, i64)| {
                    !(0..w).contains(u) || !(0..h).contains(v) || !mask[(v * w + u) as usize]
                };
                let all = (-1..=h).flat_map(|v| (-1..=w).map(move |u| (u, v)));
                prop_assert_eq!(found, all.filter(outside).map(apart).min().unwrap());
            }
        }
    }
}
