//! How far the camera has been shaken: the shift of a picture against the scene, to a fraction of a pixel.

use crate::planes::Planes;

/// How far a shake goes, in pixels.
const REACH: i32 = 32;
/// Steps of the fine search.
const STEPS: usize = 5;
/// Differences of luma above this count no more than this: they are things, not the camera.
const OUTLIER: f32 = 16.0;
/// A camera whose picture differs from the scene by less, on average, is not shaken.
const STILL: f32 = 1.0;
/// The square of the least gradient of an edge, in levels a pixel.
const EDGE2: f32 = 9.0;
/// A shift must bring edges of the scene this much nearer: noise finds some shift, too.
const BETTER: f32 = 0.85;

/// Finds shifts; what it needs for one is kept for the next.
#[derive(Debug, Default)]
pub struct Registration {
    edges: Vec<Edge>,
    /// Picture and scene at a quarter and at half of the size.
    quarter: (Small, Small),
    half: (Small, Small),
}

/// A pixel at an edge of the scene.
#[derive(Debug)]
struct Edge {
    p: usize,
    x: f32,
    y: f32,
    luma: f32,
    gradient: (f32, f32),
}

impl Registration {
    /// The shift `(x, y)` in pixels by which `picture` is displaced against `scene`, on pixels that are not `held`:
    /// `picture(p + shift)` looks like `scene(p)`. Block matching on a quarter and a half of the size, then Gauss-Newton (Lucas
    /// and Kanade 1981), all with bounded residuals; `None` where no shift explains the picture better than none.
    pub fn shift(&mut self, picture: &Planes, scene: &Planes, held: &[bool]) -> Option<(f32, f32)> {
        let (w, h) = (scene.width, scene.height);
        if picture.len() != scene.len() || w < 64 || h < 64 {
            return None;
        }
        let Self { edges, quarter, half } = self;
        quarter.0.fill(&picture.y, w, 4, &[]);
        quarter.1.fill(&scene.y, w, 4, held);
        let mut at = (0, 0);
        if cost(&quarter.0, &quarter.1, (0, 0), f32::MAX) > STILL {
            half.0.fill(&picture.y, w, 2, &[]);
            half.1.fill(&scene.y, w, 2, held);
            at = search(quarter, (0, 0), REACH / 4);
            at = search(half, (at.0 * 2, at.1 * 2), 2);
            at = (at.0 * 2, at.1 * 2);
        }
        find_edges(scene, held, edges);
        let fine = refine(picture, edges, (at.0 as f32, at.1 as f32))?;
        let within = fine.0.abs() <= REACH as f32 && fine.1.abs() <= REACH as f32;
        let better = || {
            let (moved, unmoved) = misfit(picture, edges, fine);
            moved < BETTER * unmoved
        };
        (within && better()).then_some(fine)
    }
}

/// Every other pixel of every other row that is not held and lies at an edge.
fn find_edges(scene: &Planes, held: &[bool], edges: &mut Vec<Edge>) {
    let (w, h) = (scene.width, scene.height);
    edges.clear();
    for y in (2..h - 2).step_by(2) {
        for x in (2..w - 2).step_by(2) {
            let p = y * w + x;
            let gradient = (0.5 * (scene.y[p + 1] - scene.y[p - 1]), 0.5 * (scene.y[p + w] - scene.y[p - w]));
            if gradient.0 * gradient.0 + gradient.1 * gradient.1 >= EDGE2 && held.get(p) != Some(&true) {
                edges.push(Edge { p, x: x as f32, y: y as f32, luma: scene.y[p], gradient });
            }
        }
    }
}

/// Mean bounded differences at edges of the scene: at a shift, and without it.
fn misfit(picture: &Planes, edges: &[Edge], at: (f32, f32)) -> (f32, f32) {
    let (mut moved, mut unmoved, mut n) = (0f32, 0f32, 0f32);
    for edge in edges {
        let Some(value) = sample(picture, edge.x + at.0, edge.y + at.1) else { continue };
        moved += (value - edge.luma).abs().min(OUTLIER);
        unmoved += (picture.y[edge.p] - edge.luma).abs().min(OUTLIER);
        n += 1.0;
    }
    (moved / n.max(1.0), unmoved / n.max(1.0))
}

/// A plane made smaller by averaging, without what is held.
#[derive(Debug, Default)]
struct Small {
    width: usize,
    luma: Vec<f32>,
    /// 1 where nothing is held, 0 elsewhere.
    known: Vec<f32>,
    /// How many are known.
    count: f32,
    sums: Vec<f32>,
}

impl Small {
    /// Takes `plane`, made smaller by `by`, a multiple of two.
    fn fill(&mut self, plane: &[f32], width: usize, by: usize, held: &[bool]) {
        let (w, h) = (width / by, plane.len() / width / by);
        self.width = w;
        self.luma.clear();
        self.known.clear();
        self.known.resize(w * h, 1.0);
        let share = 1.0 / (by * by) as f32;
        for rows in plane.chunks_exact(by * width).take(h) {
            self.sums.clear();
            self.sums.resize(width, 0.0);
            for row in rows.chunks_exact(width) {
                self.sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += v);
            }
            // The compiler knows the length of a window, and adds without a loop.
            match by {
                2 => self.luma.extend(self.sums.chunks_exact(2).map(|s| (s[0] + s[1]) * share)),
                4 => self.luma.extend(self.sums.chunks_exact(4).map(|s| (s[0] + s[1] + s[2] + s[3]) * share)),
                _ => self.luma.extend(self.sums.chunks_exact(by).map(|s| s.iter().sum::<f32>() * share)),
            }
        }
        for (known, rows) in self.known.chunks_exact_mut(w).zip(held.chunks_exact(by * width)) {
            for row in rows.chunks_exact(width) {
                for (known, held) in known.iter_mut().zip(row.chunks_exact(by)) {
                    if held.contains(&true) {
                        *known = 0.0;
                    }
                }
            }
        }
        self.count = self.known.iter().sum();
    }
}

/// Mean bounded difference where both are known; where it is certain to be above `most`, anything above that.
fn cost(picture: &Small, scene: &Small, (dx, dy): (i32, i32), most: f32) -> f32 {
    let (w, h) = (scene.width as i32, (scene.luma.len() / scene.width) as i32);
    let (mut sum, mut n) = (0f32, 0f32);
    // Even if every known pixel took part, the mean would be above `most`.
    let limit = most * scene.count;
    let columns = (-dx).max(0)..(w - dx).min(w);
    for y in (-dy).max(0)..(h - dy).min(h) {
        let to = (y * w + columns.start) as usize..(y * w + columns.end) as usize;
        let from = ((y + dy) * w + dx + columns.start) as usize..((y + dy) * w + dx + columns.end) as usize;
        let row = bounded_difference(&picture.luma[from], &scene.luma[to.clone()], &scene.known[to]);
        (sum, n) = (sum + row.0, n + row.1);
        if sum > limit {
            return f32::MAX;
        }
    }
    if n > 0.25 * (w * h) as f32 { sum / n } else { f32::MAX }
}

/// Sum of bounded differences where they are known, and their number; in lanes that a compiler can add side by side.
fn bounded_difference(a: &[f32], b: &[f32], known: &[f32]) -> (f32, f32) {
    const LANES: usize = 8;
    let (mut sums, mut counts) = ([0f32; LANES], [0f32; LANES]);
    let mut add = |i: usize, a: f32, b: f32, known: f32| {
        sums[i] += known * (a - b).abs().min(OUTLIER);
        counts[i] += known;
    };
    let (a, b, known) = (a.chunks_exact(LANES), b.chunks_exact(LANES), known.chunks_exact(LANES));
    let rest = a.remainder().iter().zip(b.remainder()).zip(known.remainder());
    rest.enumerate().for_each(|(i, ((a, b), known))| add(i, *a, *b, *known));
    for ((a, b), known) in a.zip(b).zip(known) {
        (0..LANES).for_each(|i| add(i, a[i], b[i], known[i]));
    }
    (sums.iter().sum(), counts.iter().sum())
}

fn search((picture, scene): &(Small, Small), around: (i32, i32), reach: i32) -> (i32, i32) {
    let mut best = (cost(picture, scene, around, f32::MAX), around);
    for dy in around.1 - reach..=around.1 + reach {
        for dx in around.0 - reach..=around.0 + reach {
            let found = cost(picture, scene, (dx, dy), best.0);
            if found < best.0 {
                best = (found, (dx, dy));
            }
        }
    }
    best.1
}

fn refine(picture: &Planes, edges: &[Edge], start: (f32, f32)) -> Option<(f32, f32)> {
    let mut at = start;
    for _ in 0..STEPS {
        let (mut xx, mut xy, mut yy, mut ex, mut ey) = (0f32, 0f32, 0f32, 0f32, 0f32);
        for edge in edges {
            let Some(value) = sample(picture, edge.x + at.0, edge.y + at.1) else { continue };
            let (gx, gy) = edge.gradient;
            let error = value - edge.luma;
            let weight = if error.abs() > OUTLIER { (OUTLIER / error.abs()).powi(2) } else { 1.0 };
            xx += weight * gx * gx;
            xy += weight * gx * gy;
            yy += weight * gy * gy;
            ex += weight * gx * error;
            ey += weight * gy * error;
        }
        let det = xx * yy - xy * xy;
        if det < 1e-3 * xx.max(yy).powi(2).max(1.0) {
            return None;
        }
        let step = ((yy * ex - xy * ey) / det, (xx * ey - xy * ex) / det);
        at = (at.0 - step.0.clamp(-1.0, 1.0), at.1 - step.1.clamp(-1.0, 1.0));
        // Further than a step of the search before it: it has lost its way.
        if (at.0 - start.0).abs() > 3.0 || (at.1 - start.1).abs() > 3.0 {
            return Some(start);
        }
        if step.0.abs() + step.1.abs() < 0.02 {
            break;
        }
    }
    Some(at)
}

/// Luma between pixels.
fn sample(picture: &Planes, x: f32, y: f32) -> Option<f32> {
    let (plane, w, h) = (&picture.y, picture.width, picture.height);
    if x < 0.0 || y < 0.0 || x >= (w - 1) as f32 || y >= (h - 1) as f32 {
        return None;
    }
    let (x0, y0) = (x as usize, y as usize);
    let (fx, fy) = (x - x0 as f32, y - y0 as f32);
    let p = y0 * w + x0;
    let a = plane[p] + fx * (plane[p + 1] - plane[p]);
    let b = plane[p + w] + fx * (plane[p + w + 1] - plane[p + w]);
    Some(a + fy * (b - a))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE: (usize, usize) = (160, 120);

    fn planes(luma: impl Fn(f32, f32) -> f32) -> Planes {
        let (width, height) = SIZE;
        let n = width * height;
        let y = (0..n).map(|p| luma((p % width) as f32, (p / width) as f32)).collect();
        Planes { width, height, y, u: vec![0.0; n], v: vec![0.0; n] }
    }

    fn shift(picture: &Planes, scene: &Planes, held: &[bool]) -> Option<(f32, f32)> {
        Registration::default().shift(picture, scene, held)
    }

    /// A scene that does not repeat within the reach of a shake.
    fn scene(x: f32, y: f32) -> f32 {
        120.0
            + 30.0 * (0.11 * x + 0.05 * y).sin()
            + 25.0 * (0.13 * y - 0.07 * x).cos()
            + 20.0 * (0.003 * x * x + 0.31 * y).sin()
            + 15.0 * (0.004 * y * y + 0.37 * x).cos()
    }

    /// Even noise of both signs, smoothed a little as pictures are.
    fn noise(seed: u32, by: f32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        let raw: Vec<f32> = (0..SIZE.0 * SIZE.1 + SIZE.0 + 1).map(|_| 2.0 * by * next()).collect();
        (0..SIZE.0 * SIZE.1).map(|p| 0.25 * (raw[p] + raw[p + 1] + raw[p + SIZE.0] + raw[p + SIZE.0 + 1])).collect()
    }

    /// [`Small`] and [`cost`] by their definitions: pixel by pixel.
    fn plain_cost(picture: &Planes, scene: &Planes, held: &[bool], by: usize, (dx, dy): (i32, i32)) -> f32 {
        let (w, h) = (scene.width / by, scene.height / by);
        let square = |x: usize, y: usize| (0..by * by).map(move |i| (y * by + i / by) * scene.width + x * by + i % by);
        let mean = |plane: &[f32], x, y| square(x, y).map(|p| plane[p]).sum::<f32>() / (by * by) as f32;
        let mut found = Vec::new();
        for (x, y) in (0..w * h).map(|p| (p % w, p / w)) {
            let (fx, fy) = (x as i32 + dx, y as i32 + dy);
            let inside = (0..w as i32).contains(&fx) && (0..h as i32).contains(&fy);
            if inside && square(x, y).all(|p| held.get(p) != Some(&true)) {
                found.push((mean(&picture.y, fx as usize, fy as usize) - mean(&scene.y, x, y)).abs().min(OUTLIER));
            }
        }
        let n = found.len() as f32;
        if n > 0.25 * (w * h) as f32 { found.iter().sum::<f32>() / n } else { f32::MAX }
    }

    proptest! {
        #[test]
        fn costs_are_those_of_plain_loops(
            seed in any::<u32>(), (dx, dy) in (-9i32..9, -9i32..9), half in any::<bool>(), (from, to) in (0usize..160, 0usize..160),
        ) {
            let (mut picture, scene) = (planes(scene), planes(scene));
            picture.y.iter_mut().zip(noise(seed, 60.0)).for_each(|(y, n)| *y += n);
            let held: Vec<bool> = (0..scene.len()).map(|p| (from..to).contains(&(p % SIZE.0))).collect();
            let by = if half { 2 } else { 4 };
            let small = |plane: &[f32], held: &[bool]| {
                let mut small = Small { luma: vec![3.0; 9], known: vec![3.0; 9], ..Small::default() };
                small.fill(plane, SIZE.0, by, held);
                small
            };
            let (a, b) = (small(&picture.y, &[]), small(&scene.y, &held));
            let plain = plain_cost(&picture, &scene, &held, by, (dx, dy));
            let found = cost(&a, &b, (dx, dy), f32::MAX);
            prop_assert!((found - plain).abs() <= 1e-3 * plain.min(100.0), "{found}, not {plain}");
            // It may stop early only where it is above what was found before.
            prop_assert!(cost(&a, &b, (dx, dy), 1.01 * plain) == found);
            prop_assert!(cost(&a, &b, (dx, dy), 0.5 * plain) > 0.5 * plain);
        }
    }

    #[test]
    fn a_shift_is_found_to_a_fraction_of_a_pixel() {
        let still = planes(scene);
        for (dx, dy) in [(0.5, 0.0), (-1.3, 0.8), (4.0, -4.0), (-3.6, 2.25), (9.4, -6.7), (-21.0, 14.5), (2.0, 25.0)] {
            let mut moved = planes(|x, y| scene(x - dx, y - dy));
            moved.y.iter_mut().zip(noise(5, 6.0)).for_each(|(y, n)| *y += n);
            let (x, y) = shift(&moved, &still, &[]).expect("a shift");
            assert!((x - dx).abs() < 0.2 && (y - dy).abs() < 0.2, "({x}, {y}), not ({dx}, {dy})");
        }
    }

    #[test]
    fn things_do_not_take_the_camera_with_them() {
        let still = planes(scene);
        let (dx, dy) = (2.4, -1.6);
        // A large thing that has moved the other way, once known and once not.
        let thing = |x: f32, y: f32| (30.0..80.0).contains(&x) && (30.0..90.0).contains(&y);
        let moved = planes(|x, y| if thing(x, y) { scene(x + 9.0, y + 40.0) } else { scene(x - dx, y - dy) });
        let known: Vec<bool> = (0..still.len()).map(|p| thing((p % SIZE.0) as f32, (p / SIZE.0) as f32)).collect();
        for held in [&known[..], &[]] {
            let (x, y) = shift(&moved, &still, held).expect("a shift");
            assert!((x - dx).abs() < 0.2 && (y - dy).abs() < 0.2, "({x}, {y}), not ({dx}, {dy})");
        }
    }

    #[test]
    fn noise_and_another_scene_have_no_shift() {
        let still = planes(scene);
        for seed in 0..8 {
            let mut noisy = planes(|_, _| 120.0);
            noisy.y.iter_mut().zip(noise(seed, 80.0)).for_each(|(y, n)| *y += n);
            assert_eq!(shift(&noisy, &still, &[]), None, "noise of seed {seed}");
            let mut other = planes(|_, _| 120.0);
            other.y.iter_mut().zip(noise(seed + 100, 80.0)).for_each(|(y, n)| *y += n);
            assert_eq!(shift(&noisy, &other, &[]), None, "noise against noise, seed {seed}");
            let mut still_with_noise = still.clone();
            still_with_noise.y.iter_mut().zip(noise(seed, 10.0)).for_each(|(y, n)| *y += n);
            assert_eq!(shift(&still_with_noise, &still, &[]), None, "a still camera, seed {seed}");
        }
    }

    #[test]
    fn where_nothing_can_be_seen_there_is_no_shift() {
        let still = planes(scene);
        let moved = planes(|x, y| scene(x - 3.0, y));
        assert_eq!(shift(&moved, &still, &vec![true; still.len()]), None);
        assert_eq!(shift(&planes(|_, _| 90.0), &planes(|_, _| 90.0), &[]), None);
    }
}
