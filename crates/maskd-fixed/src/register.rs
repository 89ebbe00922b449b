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
/// A shift must bring edges of the scene this much nearer: noise finds some shift, too.
const BETTER: f32 = 0.85;

/// The shift `(x, y)` in pixels by which `picture` is displaced against `scene`, on pixels that are not `held`:
/// `picture(p + shift)` looks like `scene(p)`. Block matching on a quarter and a half of the size, then Gauss-Newton (Lucas
/// and Kanade 1981), all with bounded residuals; `None` where no shift explains the picture better than none.
pub fn shift(picture: &Planes, scene: &Planes, held: &[bool]) -> Option<(f32, f32)> {
    let (w, h) = (scene.width, scene.height);
    if picture.len() != scene.len() || w < 64 || h < 64 {
        return None;
    }
    let quarter = (Small::of(&picture.y, w, 4, &[]), Small::of(&scene.y, w, 4, held));
    let mut at = (0, 0);
    let still = cost(&quarter.0, &quarter.1, (0, 0));
    if still > STILL {
        let half = (Small::of(&picture.y, w, 2, &[]), Small::of(&scene.y, w, 2, held));
        at = search(&quarter, (0, 0), REACH / 4);
        at = search(&half, (at.0 * 2, at.1 * 2), 2);
        at = (at.0 * 2, at.1 * 2);
    }
    let fine = refine(picture, scene, held, (at.0 as f32, at.1 as f32))?;
    let within = fine.0.abs() <= REACH as f32 && fine.1.abs() <= REACH as f32;
    let better = || {
        let (moved, unmoved) = misfit(picture, scene, held, fine);
        moved < BETTER * unmoved
    };
    (within && better()).then_some(fine)
}

/// Mean bounded differences at edges of the scene: at a shift, and without it.
fn misfit(picture: &Planes, scene: &Planes, held: &[bool], at: (f32, f32)) -> (f32, f32) {
    let (w, h) = (scene.width, scene.height);
    let (mut moved, mut unmoved, mut n) = (0f32, 0f32, 0f32);
    for y in (2..h - 2).step_by(2) {
        for x in (2..w - 2).step_by(2) {
            let p = y * w + x;
            let (gx, gy) = (0.5 * (scene.y[p + 1] - scene.y[p - 1]), 0.5 * (scene.y[p + w] - scene.y[p - w]));
            if held.get(p) == Some(&true) || gx * gx + gy * gy < 9.0 {
                continue;
            }
            let Some(value) = sample(&picture.y, w, h, x as f32 + at.0, y as f32 + at.1) else { continue };
            moved += (value - scene.y[p]).abs().min(OUTLIER);
            unmoved += (picture.y[p] - scene.y[p]).abs().min(OUTLIER);
            n += 1.0;
        }
    }
    (moved / n.max(1.0), unmoved / n.max(1.0))
}

/// A plane made smaller by averaging, without what is held.
struct Small {
    width: usize,
    luma: Vec<f32>,
    known: Vec<bool>,
}

impl Small {
    fn of(plane: &[f32], width: usize, by: usize, held: &[bool]) -> Self {
        let (w, h) = (width / by, plane.len() / width / by);
        let mut luma = Vec::with_capacity(w * h);
        let mut known = Vec::with_capacity(w * h);
        for y in 0..h {
            for x in 0..w {
                let (mut sum, mut free) = (0f32, true);
                for row in 0..by {
                    let from = (y * by + row) * width + x * by;
                    sum += plane[from..from + by].iter().sum::<f32>();
                    free &= held.get(from..from + by).is_none_or(|held| !held.contains(&true));
                }
                luma.push(sum / (by * by) as f32);
                known.push(free);
            }
        }
        Self { width: w, luma, known }
    }
}

/// Mean bounded difference where both are known.
fn cost(picture: &Small, scene: &Small, (dx, dy): (i32, i32)) -> f32 {
    let (w, h) = (scene.width as i32, (scene.luma.len() / scene.width) as i32);
    let (mut sum, mut n) = (0f32, 0f32);
    let columns = (-dx).max(0)..(w - dx).min(w);
    for y in (-dy).max(0)..(h - dy).min(h) {
        let to = (y * w + columns.start) as usize..(y * w + columns.end) as usize;
        let from = ((y + dy) * w + dx + columns.start) as usize..((y + dy) * w + dx + columns.end) as usize;
        for ((a, b), known) in picture.luma[from].iter().zip(&scene.luma[to.clone()]).zip(&scene.known[to]) {
            if *known {
                sum += (a - b).abs().min(OUTLIER);
                n += 1.0;
            }
        }
    }
    if n > 0.25 * (w * h) as f32 { sum / n } else { f32::MAX }
}

fn search((picture, scene): &(Small, Small), around: (i32, i32), reach: i32) -> (i32, i32) {
    let mut best = (cost(picture, scene, around), around);
    for dy in around.1 - reach..=around.1 + reach {
        for dx in around.0 - reach..=around.0 + reach {
            let found = cost(picture, scene, (dx, dy));
            if found < best.0 {
                best = (found, (dx, dy));
            }
        }
    }
    best.1
}

fn refine(picture: &Planes, scene: &Planes, held: &[bool], start: (f32, f32)) -> Option<(f32, f32)> {
    let (w, h) = (scene.width, scene.height);
    let mut at = start;
    for _ in 0..STEPS {
        let (mut xx, mut xy, mut yy, mut ex, mut ey) = (0f32, 0f32, 0f32, 0f32, 0f32);
        for y in (2..h - 2).step_by(2) {
            for x in (2..w - 2).step_by(2) {
                let p = y * w + x;
                if held.get(p) == Some(&true) {
                    continue;
                }
                let (gx, gy) = (0.5 * (scene.y[p + 1] - scene.y[p - 1]), 0.5 * (scene.y[p + w] - scene.y[p - w]));
                if gx * gx + gy * gy < 9.0 {
                    continue;
                }
                let Some(value) = sample(&picture.y, w, h, x as f32 + at.0, y as f32 + at.1) else { continue };
                let error = value - scene.y[p];
                let weight = if error.abs() > OUTLIER { (OUTLIER / error.abs()).powi(2) } else { 1.0 };
                xx += weight * gx * gx;
                xy += weight * gx * gy;
                yy += weight * gy * gy;
                ex += weight * gx * error;
                ey += weight * gy * error;
            }
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

/// `picture` moved back by `shift`, so that it lies on the scene; what comes from outside repeats the border.
pub fn undo(picture: &Planes, (dx, dy): (f32, f32)) -> Planes {
    let (w, h) = (picture.width, picture.height);
    let mut out = picture.clone();
    for (to, from) in [(&mut out.y, &picture.y), (&mut out.u, &picture.u), (&mut out.v, &picture.v)] {
        for y in 0..h {
            let sy = (y as f32 + dy).clamp(0.0, (h - 1) as f32);
            let (y0, fy) = (sy as usize, sy - sy.floor());
            let (top, bottom) = (&from[y0 * w..][..w], &from[(y0 + 1).min(h - 1) * w..][..w]);
            for x in 0..w {
                let sx = (x as f32 + dx).clamp(0.0, (w - 1) as f32);
                let (x0, fx) = (sx as usize, sx - sx.floor());
                let x1 = (x0 + 1).min(w - 1);
                let a = top[x0] + fx * (top[x1] - top[x0]);
                let b = bottom[x0] + fx * (bottom[x1] - bottom[x0]);
                to[y * w + x] = a + fy * (b - a);
            }
        }
    }
    out
}

fn sample(plane: &[f32], w: usize, h: usize, x: f32, y: f32) -> Option<f32> {
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
    use super::*;

    const SIZE: (usize, usize) = (160, 120);

    fn planes(luma: impl Fn(f32, f32) -> f32) -> Planes {
        let (width, height) = SIZE;
        let n = width * height;
        let y = (0..n).map(|p| luma((p % width) as f32, (p / width) as f32)).collect();
        Planes { width, height, y, u: vec![0.0; n], v: vec![0.0; n] }
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

    #[test]
    fn a_shift_is_undone() {
        // Slopes are straight, so that interpolating between pixels loses nothing.
        let slopes = |x: f32, y: f32| 20.0 + x + 0.5 * y;
        let (still, moved) = (planes(slopes), planes(|x, y| slopes(x - 2.5, y + 1.25)));
        let back = undo(&moved, (2.5, -1.25));
        let inner = |p: &usize| (4..SIZE.0 - 4).contains(&(p % SIZE.0)) && (4..SIZE.1 - 4).contains(&(p / SIZE.0));
        assert!((0..still.len()).filter(inner).all(|p| (back.y[p] - still.y[p]).abs() < 1e-3));
        assert_eq!(undo(&moved, (0.0, 0.0)).y, moved.y);
    }
}
