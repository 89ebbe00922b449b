//! What each pixel has shown lately, and for how long: a ghost of the first picture stands still.

use crate::{background::Modes, components::Component, planes::Planes};

/// Colours of late.
#[derive(Debug, Default)]
pub struct Recent {
    mean: Planes,
    /// Seconds for which each pixel has kept its colour.
    pub still: Vec<f32>,
}

impl Recent {
    /// Takes a frame `dt` seconds after the last.
    pub fn step(&mut self, picture: &Planes, dt: f32) {
        if self.still.len() != picture.len() {
            self.mean = picture.clone();
            self.still = vec![0.0; picture.len()];
            return;
        }
        for p in 0..picture.len() {
            let (dy, du, dv) =
                (picture.y[p] - self.mean.y[p], picture.u[p] - self.mean.u[p], picture.v[p] - self.mean.v[p]);
            if dy.abs() < 10.0 && du.abs() < 6.0 && dv.abs() < 6.0 {
                self.still[p] += dt;
                self.mean.y[p] += 0.2 * dy;
                self.mean.u[p] += 0.2 * du;
                self.mean.v[p] += 0.2 * dv;
            } else {
                self.still[p] = 0.0;
                (self.mean.y[p], self.mean.u[p], self.mean.v[p]) = (picture.y[p], picture.u[p], picture.v[p]);
            }
        }
    }
}

/// Whether the edges along the outline of a set of still foreground pixels are in the scene or in the picture: 1 where only
/// the scene has them (a ghost), -1 where only the picture has them (a thing). Then the share of the outline that borders on
/// background.
pub fn outline(
    labels: &[u32],
    label: u32,
    comp: &Component,
    mask: &[bool],
    picture: &Planes,
    scene: &Planes,
) -> (f32, f32) {
    let (w, h) = (picture.width, picture.height);
    let (mut now, mut then, mut outer, mut all) = (0f32, 0f32, 0f32, 0f32);
    let diff =
        |a: &Planes, p: usize, q: usize| (a.y[p] - a.y[q]).abs() + (a.u[p] - a.u[q]).abs() + (a.v[p] - a.v[q]).abs();
    for y in comp.rect.y.clone() {
        for x in comp.rect.x.clone() {
            let p = y * w + x;
            if labels[p] != label {
                continue;
            }
            for (dx, dy) in [(1i32, 0i32), (-1, 0), (0, 1), (0, -1)] {
                let at = |k: i32| {
                    let (x, y) = (x as i32 + k * dx, y as i32 + k * dy);
                    (x >= 0 && y >= 0 && (x as usize) < w && (y as usize) < h).then(|| y as usize * w + x as usize)
                };
                let (Some(one), Some(out)) = (at(1), at(3)) else { continue };
                if labels[one] == label {
                    continue;
                }
                all += 1.0;
                if mask[out] {
                    continue;
                }
                outer += 1.0;
                let inside = at(-2).filter(|&q| labels[q] == label).unwrap_or(p);
                let (n, t) = (diff(picture, inside, out), diff(scene, inside, out));
                if t > n + 8.0 {
                    then += 1.0;
                } else if n > t + 8.0 {
                    now += 1.0;
                }
            }
        }
    }
    ((then - now) / (then + now).max(1.0), outer / all.max(1.0))
}

/// Forgets the scene at a set of pixels.
pub fn adopt(modes: &mut Modes, picture: &Planes, labels: &[u32], label: u32, comp: &Component) {
    let rect = comp.rect.grown(2, picture.width, picture.height);
    for y in rect.y {
        for x in rect.x.clone() {
            let near = (y.saturating_sub(2)..(y + 3).min(picture.height)).any(|y| {
                (x.saturating_sub(2)..(x + 3).min(picture.width)).any(|x| labels[y * picture.width + x] == label)
            });
            if near {
                modes.adopt(picture, y * picture.width + x);
            }
        }
    }
}
