//! What a thing looked like when it was last alone, to find it where things touch or cover each other.

use super::Blob;
use crate::planes::Planes;

/// Differences of colour (sum over luma and both chroma differences) below this are the same.
const SAME: f32 = 30.0;
/// Differences of colour count no more than this.
const MOST: f32 = 60.0;

/// Costs of all pixels together that rounding may differ by.
const SLACK: f32 = 1.0;

/// A pixel of a cut-out, in the picture that it was cut out of.
struct Point {
    x: i32,
    y: i32,
    colour: [f32; 3],
}

/// A cut-out.
#[derive(Clone, Debug, Default)]
pub struct Template {
    /// Where it was.
    pub blob: Blob,
    colours: Vec<[f32; 3]>,
}

impl Template {
    /// Cuts `blob` out of `picture`.
    pub fn cut(blob: &Blob, picture: &Planes) -> Self {
        let mut colours = Vec::with_capacity(blob.bits.len());
        for y in blob.rect.y.clone() {
            for x in blob.rect.x.clone() {
                let p = y * picture.width + x;
                colours.push([picture.y[p], picture.u[p], picture.v[p]]);
            }
        }
        Self { blob: blob.clone(), colours }
    }

    /// The shift at which it fits best, around `guess` and `reach` pixels on each side, and the share of its pixels that are
    /// seen there. Pixels that are `taken` by something before it count as hidden.
    pub fn find(&self, picture: &Planes, taken: &[bool], guess: (i32, i32), reach: i32) -> ((i32, i32), f32) {
        let step = if self.blob.area > 600 { 2 } else { 1 };
        let (w, h) = self.blob.rect.size();
        let places = (0..h).step_by(step).flat_map(|row| (0..w).step_by(step).map(move |col| (row, col)));
        let points: Vec<Point> = places
            .filter(|(row, col)| self.blob.bits[row * w + col])
            .map(|(row, col)| Point {
                x: (self.blob.rect.x.start + col) as i32,
                y: (self.blob.rect.y.start + row) as i32,
                colour: self.colours[row * w + col],
            })
            .collect();
        let n = f32::max(points.len() as f32, 1.0);
        let away = |(dx, dy): (i32, i32)| 0.3 * (((dx - guess.0).pow(2) + (dy - guess.1).pow(2)) as f32).sqrt();
        let mut best = (f32::MAX, guess, 0.0);
        // The guess is mostly near the best: what is worse than it is given up early.
        let mut limit = cost(&points, picture, taken, guess, f32::MAX).map_or(f32::MAX, |(cost, _)| cost / n);
        for dy in guess.1 - reach..=guess.1 + reach {
            for dx in guess.0 - reach..=guess.0 + reach {
                let away = away((dx, dy));
                let most = (limit - away) * n + SLACK;
                let Some((cost, seen)) = cost(&points, picture, taken, (dx, dy), most) else { continue };
                let total = cost / n + away;
                if total < best.0 {
                    best = (total, (dx, dy), seen / n);
                    limit = limit.min(total);
                }
            }
        }
        (best.1, best.2)
    }

    /// How much pixel `p` differs from it when it is moved by `shift`; `None` outside of it.
    pub fn at(&self, picture: &Planes, p: usize, (dx, dy): (i32, i32)) -> Option<f32> {
        let x = (p % picture.width) as i32 - dx - self.blob.rect.x.start as i32;
        let y = (p / picture.width) as i32 - dy - self.blob.rect.y.start as i32;
        let (w, h) = self.blob.rect.size();
        if x < 0 || y < 0 || x >= w as i32 || y >= h as i32 {
            return None;
        }
        let i = y as usize * w + x as usize;
        self.blob.bits[i].then(|| difference(self.colours[i], picture, p))
    }
}

/// What all points together differ from a picture by, moved by a shift, and how many of them are seen; `None` where they differ
/// by more than `most`.
fn cost(points: &[Point], picture: &Planes, taken: &[bool], (dx, dy): (i32, i32), most: f32) -> Option<(f32, f32)> {
    let (mut cost, mut seen) = (0f32, 0f32);
    for some in points.chunks(32) {
        for point in some {
            let (x, y) = (point.x + dx, point.y + dy);
            let inside = x >= 0 && y >= 0 && x < picture.width as i32 && y < picture.height as i32;
            let p = if inside { y as usize * picture.width + x as usize } else { 0 };
            if !inside || taken[p] {
                cost += 0.5 * MOST;
                continue;
            }
            let d = difference(point.colour, picture, p);
            cost += d.min(MOST);
            seen += f32::from(u8::from(d < SAME));
        }
        if cost > most {
            return None;
        }
    }
    Some((cost, seen))
}

fn difference(c: [f32; 3], picture: &Planes, p: usize) -> f32 {
    (c[0] - picture.y[p]).abs() + (c[1] - picture.u[p]).abs() + (c[2] - picture.v[p]).abs()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WIDTH: usize = 80;

    /// A thing with texture, its top left corner at a place, on a flat scene.
    fn picture(at: (usize, usize)) -> Planes {
        let n = WIDTH * 60;
        let mut picture = Planes { width: WIDTH, height: 60, y: vec![200.0; n], u: vec![0.0; n], v: vec![0.0; n] };
        for (col, row) in pixels() {
            let p = (at.1 + row) * WIDTH + at.0 + col;
            picture.y[p] = 80.0 + 25.0 * (0.8 * col as f32).sin() + 25.0 * (0.9 * row as f32).cos();
            (picture.u[p], picture.v[p]) = (20.0 + col as f32, -10.0 - row as f32);
        }
        picture
    }

    fn pixels() -> impl Iterator<Item = (usize, usize)> {
        (0..24).flat_map(|row| (0..16).map(move |col| (col, row)))
    }

    fn cut() -> Template {
        let blob = Blob::of(&pixels().map(|(x, y)| (y + 20) * WIDTH + x + 30).collect::<Vec<_>>(), WIDTH);
        Template::cut(&blob, &picture((30, 20)))
    }

    /// Every shift to its end.
    fn plain_find(
        template: &Template,
        picture: &Planes,
        taken: &[bool],
        guess: (i32, i32),
        reach: i32,
    ) -> ((i32, i32), f32) {
        let step = if template.blob.area > 600 { 2 } else { 1 };
        let mut best = (f32::MAX, guess, 0.0);
        for dy in guess.1 - reach..=guess.1 + reach {
            for dx in guess.0 - reach..=guess.0 + reach {
                let (mut cost, mut seen, mut n) = (0f32, 0f32, 0f32);
                let w = template.blob.rect.x.len();
                for row in (0..template.blob.rect.y.len()).step_by(step) {
                    let y = template.blob.rect.y.start as i32 + row as i32 + dy;
                    for col in (0..w).step_by(step) {
                        let i = row * w + col;
                        if !template.blob.bits[i] {
                            continue;
                        }
                        n += 1.0;
                        let x = template.blob.rect.x.start as i32 + col as i32 + dx;
                        if x < 0 || y < 0 || x >= picture.width as i32 || y >= picture.height as i32 {
                            cost += 0.5 * MOST;
                            continue;
                        }
                        let p = y as usize * picture.width + x as usize;
                        if taken[p] {
                            cost += 0.5 * MOST;
                            continue;
                        }
                        let d = difference(template.colours[i], picture, p);
                        cost += d.min(MOST);
                        seen += f32::from(u8::from(d < SAME));
                    }
                }
                let away = ((dx - guess.0).pow(2) + (dy - guess.1).pow(2)) as f32;
                let total = cost / f32::max(n, 1.0) + 0.3 * away.sqrt();
                if total < best.0 {
                    best = (total, (dx, dy), seen / f32::max(n, 1.0));
                }
            }
        }
        (best.1, best.2)
    }

    proptest! {
        #[test]
        fn a_search_that_gives_up_early_finds_the_same(
            (x, y) in (0usize..60, 0usize..35), guess in (-30i32..30, -30i32..30), reach in 0i32..9,
            (from, to) in (0usize..WIDTH, 0usize..WIDTH),
        ) {
            let (template, picture) = (cut(), picture((x, y)));
            let taken: Vec<bool> = (0..picture.len()).map(|p| (from..to).contains(&(p % WIDTH))).collect();
            let plain = plain_find(&template, &picture, &taken, guess, reach);
            prop_assert_eq!(template.find(&picture, &taken, guess, reach), plain);
        }
    }

    #[test]
    fn a_cut_out_is_found_where_it_moved() {
        let (found, seen) = cut().find(&picture((33, 18)), &[false; WIDTH * 60], (0, 0), 5);
        assert_eq!((found, seen), ((3, -2), 1.0));
    }

    #[test]
    fn a_cut_out_is_found_though_half_of_it_is_covered() {
        let mut covered = picture((33, 18));
        let half = |p: &usize| p % WIDTH >= 33 + 8;
        for p in (0..covered.len()).filter(half) {
            (covered.y[p], covered.u[p], covered.v[p]) = (20.0, -40.0, 30.0);
        }
        // By something that is known, and by something that is not.
        let known: Vec<bool> = (0..covered.len()).map(|p| half(&p)).collect();
        for taken in [known, vec![false; WIDTH * 60]] {
            let (found, seen) = cut().find(&covered, &taken, (1, 0), 4);
            assert_eq!((found, seen), ((3, -2), 0.5));
        }
    }

    #[test]
    fn what_is_gone_is_not_seen() {
        let (_, seen) =
            cut().find(&Planes { y: vec![200.0; WIDTH * 60], ..picture((0, 0)) }, &[false; WIDTH * 60], (0, 0), 4);
        assert!(seen < 0.2, "{seen}");
        // Beyond the border, too.
        assert_eq!(cut().find(&picture((30, 20)), &[false; WIDTH * 60], (200, 0), 2).1, 0.0);
    }

    #[test]
    fn differences_are_known_inside_of_it_only() {
        let (template, moved) = (cut(), picture((33, 18)));
        assert_eq!(template.at(&moved, 18 * WIDTH + 33, (3, -2)), Some(0.0));
        assert_eq!(template.at(&moved, 18 * WIDTH + 32, (3, -2)), None);
        assert_eq!(template.at(&moved, 42 * WIDTH + 33, (3, -2)), None);
        assert!(template.at(&moved, 20 * WIDTH + 40, (0, 0)).is_some_and(|d| d > 5.0));
    }
}
