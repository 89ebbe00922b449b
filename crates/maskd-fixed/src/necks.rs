//! Divides what hangs together by a narrow neck only: two cars that a shadow joins are two.

/// A neck is narrower than this share of the smaller side's own width.
const NECK: f32 = 0.5;

/// Divides the set pixels of `mask` `(height, width)` into pieces; pieces are counted from 1, 0 is none. Returns their number.
///
/// Two parts are one piece when the way between them is more than [`NECK`] times as wide as the narrower of both at its
/// widest place.
pub fn divide(mask: &[bool], width: usize, pieces: &mut Vec<u32>) -> usize {
    let set: Vec<u32> = (0u32..).zip(mask).filter(|(_, set)| **set).map(|(p, _)| p).collect();
    let depth = depths(mask, &set, width);
    let height = mask.len() / width.max(1);
    // The piece of each pixel, by a number that may have been joined to another since.
    let mut piece: Vec<u32> = vec![0; mask.len()];
    let mut parent: Vec<u32> = vec![0];
    let mut peak: Vec<u16> = vec![0];
    for p in deepest_first(&set, &depth) {
        let (x, y) = (p % width, p / width);
        let mut near: [u32; 8] = [0; 8];
        let mut count = 0;
        for ny in y.saturating_sub(1)..(y + 2).min(height) {
            for nx in x.saturating_sub(1)..(x + 2).min(width) {
                let of = piece[ny * width + nx];
                if of > 0 {
                    let root = find(&mut parent, of);
                    if !near[..count].contains(&root) {
                        near[count] = root;
                        count += 1;
                    }
                }
            }
        }
        let Some(&highest) = near[..count].iter().max_by_key(|r| peak[**r as usize]) else {
            parent.push(parent.len() as u32);
            peak.push(depth[p]);
            piece[p] = parent.len() as u32 - 1;
            continue;
        };
        piece[p] = highest;
        for &other in near[..count].iter().filter(|r| **r != highest) {
            if f32::from(depth[p]) > NECK * f32::from(peak[other as usize]) {
                parent[other as usize] = highest;
            }
        }
    }
    let mut names: Vec<u32> = vec![0; parent.len()];
    let mut count = 0;
    pieces.clear();
    pieces.resize(mask.len(), 0);
    for p in set.into_iter().map(|p| p as usize) {
        let root = find(&mut parent, piece[p]) as usize;
        if names[root] == 0 {
            count += 1;
            names[root] = count;
        }
        pieces[p] = names[root];
    }
    count as usize
}

fn find(parent: &mut [u32], of: u32) -> u32 {
    let mut at = of;
    while parent[at as usize] != at {
        parent[at as usize] = parent[parent[at as usize] as usize];
        at = parent[at as usize];
    }
    at
}

/// The pixels in the order of their depths, the deepest first, those of one depth as they were.
fn deepest_first(set: &[u32], depth: &[u16]) -> impl Iterator<Item = usize> + use<> {
    let deepest = set.iter().map(|p| depth[*p as usize]).max().unwrap_or(0);
    // Where those of each depth begin: after all that are deeper.
    let mut begins = vec![0usize; usize::from(deepest) + 2];
    set.iter().for_each(|p| begins[usize::from(deepest - depth[*p as usize]) + 1] += 1);
    (1..begins.len()).for_each(|i| begins[i] += begins[i - 1]);
    let mut sorted = vec![0u32; set.len()];
    for p in set {
        let place = &mut begins[usize::from(deepest - depth[*p as usize])];
        sorted[*place] = *p;
        *place += 1;
    }
    sorted.into_iter().map(|p| p as usize)
}

/// About three times each set pixel's distance from the nearest one that is not set (chamfer 3-4); the border is not a limit.
/// `set` lists the set pixels row by row.
fn depths(mask: &[bool], set: &[u32], width: usize) -> Vec<u16> {
    let height = mask.len() / width.max(1);
    let far = 3 * (width + height) as u16;
    let mut d: Vec<u16> = mask.iter().map(|m| if *m { far } else { 0 }).collect();
    for p in set.iter().map(|p| *p as usize) {
        let (x, y) = (p % width, p / width);
        let mut best = d[p];
        if x > 0 {
            best = best.min(d[p - 1] + 3);
        }
        if y > 0 {
            best = best.min(d[p - width] + 3);
            if x > 0 {
                best = best.min(d[p - width - 1] + 4);
            }
            if x + 1 < width {
                best = best.min(d[p - width + 1] + 4);
            }
        }
        d[p] = best;
    }
    for p in set.iter().rev().map(|p| *p as usize) {
        let (x, y) = (p % width, p / width);
        let mut best = d[p];
        if x + 1 < width {
            best = best.min(d[p + 1] + 3);
        }
        if y + 1 < height {
            best = best.min(d[p + width] + 3);
            if x > 0 {
                best = best.min(d[p + width - 1] + 4);
            }
            if x + 1 < width {
                best = best.min(d[p + width + 1] + 4);
            }
        }
        d[p] = best;
    }
    d
}

#[cfg(test)]
mod plain;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WIDTH: usize = 80;

    fn drawn(inside: impl Fn(f32, f32) -> bool) -> Vec<bool> {
        (0..WIDTH * 50).map(|p| inside((p % WIDTH) as f32, (p / WIDTH) as f32)).collect()
    }

    fn disc(x: f32, y: f32, radius: f32) -> impl Fn(f32, f32) -> bool {
        move |px, py| (px - x).hypot(py - y) <= radius
    }

    fn pieces(mask: &[bool]) -> (usize, Vec<u32>) {
        let mut pieces = Vec::new();
        let count = divide(mask, WIDTH, &mut pieces);
        assert!(mask.iter().zip(&pieces).all(|(m, p)| *m == (*p > 0) && *p as usize <= count));
        (count, pieces)
    }

    proptest! {
        #[test]
        fn pieces_are_those_of_the_plain_twin(
            discs in prop::collection::vec((0f32..80.0, 0f32..50.0, 0.5f32..14.0), 0..9), width in 1usize..120,
        ) {
            let discs: Vec<_> = discs.into_iter().map(|(x, y, radius)| disc(x, y, radius)).collect();
            let mask = drawn(|x, y| discs.iter().any(|inside| inside(x, y)));
            // Any width: what is drawn is then slanted, or in stripes.
            let mask = &mask[..mask.len() / width * width];
            let (mut found, mut plain) = (vec![3; 7], Vec::new());
            let count = divide(mask, width, &mut found);
            prop_assert_eq!(count, plain::divide(mask, width, &mut plain));
            prop_assert_eq!(found, plain);
        }
    }

    #[test]
    fn discs_that_a_thin_bar_joins_are_two() {
        let (a, b) = (disc(18.0, 25.0, 12.0), disc(60.0, 25.0, 10.0));
        for half in [0.0, 1.0, 2.0] {
            let (count, pieces) =
                pieces(&drawn(|x, y| a(x, y) || b(x, y) || ((18.0..60.0).contains(&x) && (y - 25.0).abs() <= half)));
            assert_eq!(count, 2, "a bar of {} pixels", 2.0 * half + 1.0);
            assert_ne!(pieces[25 * WIDTH + 18], pieces[25 * WIDTH + 60]);
        }
    }

    #[test]
    fn a_wide_way_between_them_makes_them_one() {
        let (a, b) = (disc(18.0, 25.0, 12.0), disc(60.0, 25.0, 10.0));
        let joined = drawn(|x, y| a(x, y) || b(x, y) || ((18.0..60.0).contains(&x) && (y - 25.0).abs() <= 8.0));
        assert_eq!(pieces(&joined).0, 1);
    }

    #[test]
    fn whole_shapes_are_one_piece() {
        for (a, b) in [(20.0, 10.0), (6.0, 20.0), (30.0, 5.0)] {
            let ellipse = drawn(|x, y| ((x - 40.0) / a).powi(2) + ((y - 25.0) / b).powi(2) <= 1.0);
            assert_eq!(pieces(&ellipse).0, 1, "half axes {a} and {b}");
        }
        assert_eq!(pieces(&drawn(|x, y| (10.0..60.0).contains(&x) && (8.0..15.0).contains(&y))).0, 1);
        // Cut off by the border of the picture.
        assert_eq!(pieces(&drawn(disc(0.0, 25.0, 14.0))).0, 1);
    }

    #[test]
    fn nothing_and_everything_have_no_necks() {
        assert_eq!(pieces(&drawn(|_, _| false)).0, 0);
        assert_eq!(pieces(&drawn(|_, _| true)).0, 1);
    }
}
