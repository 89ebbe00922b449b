//! A picture that is shifted against the scene: brought to the scene's place, what of the scene it does not show, and labels
//! brought back to the picture's place.

use std::ops::Range;

use crate::planes::Planes;

/// `picture` moved back by `shift`, so that it lies on the scene; what comes from outside repeats the border.
pub fn undo(picture: &Planes, (dx, dy): (f32, f32), out: &mut Planes) {
    let (w, h) = (picture.width, picture.height);
    out.resize_as(picture);
    let (left, fx) = (dx.floor() as isize, dx - dx.floor());
    // A row between two of the picture, from `left` on, and one pixel more.
    let mut row = vec![0.0; w + 1];
    let known = columns(left, w, w + 1);
    for (to, from) in [(&mut out.y, &picture.y), (&mut out.u, &picture.u), (&mut out.v, &picture.v)] {
        for (y, to) in to.chunks_exact_mut(w.max(1)).enumerate() {
            let sy = (y as f32 + dy).clamp(0.0, (h - 1) as f32);
            let (y0, fy) = (sy as usize, sy - sy.floor());
            let (top, bottom) = (&from[y0 * w..][..w], &from[(y0 + 1).min(h - 1) * w..][..w]);
            let between = |x: usize| top[x] + fy * (bottom[x] - top[x]);
            row[..known.start].fill(between(0));
            row[known.end..].fill(between(w - 1));
            let start = (known.start as isize + left) as usize;
            let inner = top[start.min(w)..].iter().zip(&bottom[start.min(w)..]);
            row[known.clone()].iter_mut().zip(inner).for_each(|(r, (t, b))| *r = t + fy * (b - t));
            to.iter_mut().zip(row.windows(2)).for_each(|(to, r)| *to = r[0] + fx * (r[1] - r[0]));
        }
    }
}

/// Of `count` places that begin at column `left`, those that lie in a row of `width`.
fn columns(left: isize, width: usize, count: usize) -> Range<usize> {
    let at = |column: isize| (column - left).clamp(0, count as isize) as usize;
    at(0)..at(width as isize)
}

/// Sets the pixels of the scene `(height, width)` that a picture with this shift does not show.
pub fn mark_unseen(marks: &mut [bool], width: usize, (dx, dy): (f32, f32), value: bool) {
    if (dx, dy) == (0.0, 0.0) {
        return;
    }
    let height = marks.len() / width.max(1);
    let (columns, rows) = (seen(dx, width), seen(dy, height));
    for (y, row) in marks.chunks_exact_mut(width.max(1)).enumerate() {
        if rows.contains(&y) {
            row[..columns.start].fill(value);
            row[columns.end..].fill(value);
        } else {
            row.fill(value);
        }
    }
}

/// Of `n` pixels in a row or column those that are seen by at least a pixel from the border.
fn seen(d: f32, n: usize) -> Range<usize> {
    let inside = |at: usize| {
        let at = at as f32 + d;
        d == 0.0 || (at >= 1.0 && at <= n as f32 - 2.0)
    };
    let start = (0..n).find(|&at| inside(at)).unwrap_or(n);
    start..(start..n).find(|&at| !inside(at)).unwrap_or(n)
}

/// Labels `(height, width)` as the picture lies, from as the scene lies; what comes from outside repeats the border.
pub fn back(labels: Vec<u32>, width: usize, (dx, dy): (f32, f32)) -> Vec<u32> {
    let (dx, dy) = (dx.round() as isize, dy.round() as isize);
    let height = labels.len() / width.max(1);
    if (dx, dy) == (0, 0) || labels.is_empty() {
        return labels;
    }
    let mut out = vec![0; labels.len()];
    let known = columns(-dx, width, width);
    for (y, row) in out.chunks_exact_mut(width).enumerate() {
        let from = (y as isize - dy).clamp(0, height as isize - 1) as usize;
        let from = &labels[from * width..][..width];
        row[..known.start].fill(from[0]);
        row[known.end..].fill(from[width - 1]);
        let start = (known.start as isize - dx) as usize;
        row[known.clone()].copy_from_slice(&from[start.min(width)..][..known.len()]);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE: (usize, usize) = (160, 120);

    fn planes((width, height): (usize, usize), luma: impl Fn(f32, f32) -> f32) -> Planes {
        let n = width * height;
        let y = (0..n).map(|p| luma((p % width) as f32, (p / width) as f32)).collect();
        Planes { width, height, y, u: vec![0.0; n], v: vec![0.0; n] }
    }

    proptest! {
        #[test]
        fn shifts_are_those_of_plain_loops(
            (w, h) in (1usize..30, 1usize..20), shift in (-40f32..40.0, -40f32..40.0), whole in any::<(bool, bool)>(),
        ) {
            let shift = (if whole.0 { shift.0.round() } else { shift.0 }, if whole.1 { 0.0 } else { shift.1 });
            let picture = planes((w, h), |x, y| 100.0 + 50.0 * (0.9 * x + 1.7 * y).sin());
            let mut out = planes((3, 3), |_, _| 7.0);
            undo(&picture, shift, &mut out);
            let tap = |at: usize, d: f32, n: usize| {
                let at = (at as f32 + d).clamp(0.0, (n - 1) as f32);
                (at as usize, (at as usize + 1).min(n - 1), at.fract())
            };
            let mut marks = vec![false; w * h];
            mark_unseen(&mut marks, w, shift, true);
            let labels: Vec<u32> = (0..(w * h) as u32).collect();
            let moved = back(labels.clone(), w, shift);
            for p in 0..w * h {
                let (x0, x1, fx) = tap(p % w, shift.0, w);
                let (y0, y1, fy) = tap(p / w, shift.1, h);
                let at = |x: usize, y: usize| picture.y[y * w + x];
                let (a, b) = (at(x0, y0) + fx * (at(x1, y0) - at(x0, y0)), at(x0, y1) + fx * (at(x1, y1) - at(x0, y1)));
                prop_assert!((out.y[p] - (a + fy * (b - a))).abs() < 2e-2, "at {p}");
                let inside = |at: usize, d: f32, n: usize| {
                    d == 0.0 || (at as f32 + d >= 1.0 && at as f32 + d <= n as f32 - 2.0)
                };
                prop_assert_eq!(marks[p], !inside(p % w, shift.0, w) || !inside(p / w, shift.1, h));
                let near = |at: usize, d: f32, n: usize| (at as i64 - d.round() as i64).clamp(0, n as i64 - 1) as usize;
                prop_assert_eq!(moved[p], labels[near(p / w, shift.1, h) * w + near(p % w, shift.0, w)]);
            }
        }
    }

    #[test]
    fn a_shift_is_undone() {
        // Slopes are straight, so that interpolating between pixels loses nothing.
        let slopes = |x: f32, y: f32| 20.0 + x + 0.5 * y;
        let (still, moved) = (planes(SIZE, slopes), planes(SIZE, |x, y| slopes(x - 2.5, y + 1.25)));
        let mut back = Planes::default();
        undo(&moved, (2.5, -1.25), &mut back);
        let inner = |p: &usize| (4..SIZE.0 - 4).contains(&(p % SIZE.0)) && (4..SIZE.1 - 4).contains(&(p / SIZE.0));
        assert!((0..still.len()).filter(inner).all(|p| (back.y[p] - still.y[p]).abs() < 1e-3));
        undo(&moved, (0.0, 0.0), &mut back);
        assert_eq!(back.y, moved.y);
    }
}
