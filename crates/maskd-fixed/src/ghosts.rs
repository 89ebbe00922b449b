//! Ghosts: what stood in the first picture and has left. Where it was, the picture differs from the scene for ever, and nothing
//! moves there; the scene is mended as soon as the outline says so.

use crate::{
    background::Modes,
    boxes,
    components::{self, Component},
    planes::Planes,
};

/// Seconds for which a pixel must have kept its colour before it may be of a ghost.
const STILL_S: f32 = 0.3;
/// Pixels of the smallest ghost.
const LEAST_AREA: usize = 20;
/// Share of a ghost's outline that borders on background, and how much less will do where the scene is not proven: what the
/// rest borders on moves, and may have uncovered it only now.
const FREE: (f32, f32) = (0.6, 0.2);
/// Score of an outline (see [`outline`]) that is a ghost's, and how much less will do where the scene is not proven.
const SCORE: (f32, f32) = (0.6, 0.8);
/// Seconds for which the scene's colour must have been seen, on average, to be known at all.
const KNOWN_S: f32 = 0.5;
/// Seconds for which a colour must have stood to replace a scene that is not known, and how many times longer than the scene's.
const STOOD_S: f32 = 1.0;
const STOOD_TIMES: f32 = 4.0;
/// An edge is in the picture or in the scene alone when it is stronger there by so many levels, over all planes.
const EDGE: f32 = 8.0;
/// Pixels around a ghost at which the scene is mended, too: smoothing has carried its colour there.
const RIM: usize = 2;

/// Buffers.
#[derive(Debug, Default)]
pub struct Ghosts {
    still: Vec<bool>,
    labels: Vec<u32>,
    near: Vec<bool>,
    rows: Vec<bool>,
}

impl Ghosts {
    /// Takes ghosts out of `mask` `(height, width)` and what they show into `modes`. `still` is for how many seconds each pixel
    /// has kept its colour. Returns the pixels of each ghost.
    pub fn drop(
        &mut self,
        mask: &mut [bool],
        modes: &mut Modes,
        picture: &Planes,
        scene: &Planes,
        still: &[f32],
    ) -> Vec<Vec<usize>> {
        self.still.clear();
        self.still.extend(mask.iter().zip(still).map(|(m, s)| *m && *s >= STILL_S));
        let found = components::label(&self.still, picture.width, &mut self.labels);
        let mut ghosts = Vec::new();
        for (label, comp) in (1u32..).zip(&found).filter(|(_, comp)| comp.area >= LEAST_AREA) {
            let pixels: Vec<usize> = self.pixels(label, comp, picture.width).collect();
            let seconds = |of: &dyn Fn(usize) -> f32| pixels.iter().map(|&p| of(p)).sum::<f32>();
            let (proof, stood) = (seconds(&|p| modes.proof(p)), seconds(&|p| still[p]));
            let outline = outline(&self.labels, label, comp, mask, picture, scene);
            if is_ghost(outline, proof, stood, comp.area as f32) {
                self.adopt(modes, picture, label, comp);
                pixels.iter().for_each(|&p| mask[p] = false);
                ghosts.push(pixels);
            }
        }
        ghosts
    }

    /// The pixels of a component, row by row.
    fn pixels<'a>(&'a self, label: u32, comp: &Component, width: usize) -> impl Iterator<Item = usize> + use<'a> {
        let columns = comp.rect.x.clone();
        let all = comp.rect.y.clone().flat_map(move |y| columns.clone().map(move |x| y * width + x));
        all.filter(move |&p| self.labels[p] == label)
    }

    /// Forgets the scene at a component and its rim.
    fn adopt(&mut self, modes: &mut Modes, picture: &Planes, label: u32, comp: &Component) {
        let rect = comp.rect.grown(RIM, picture.width, picture.height);
        let (columns, labels) = (rect.x.len(), &self.labels);
        let at = |y: usize| y * picture.width + rect.x.start;
        self.still.clear();
        self.still.extend(rect.y.clone().flat_map(|y| labels[at(y)..][..columns].iter().map(|l| *l == label)));
        boxes::dilate(&self.still, columns, RIM, &mut self.near, &mut self.rows);
        for (i, _) in self.near.iter().enumerate().filter(|(_, near)| **near) {
            modes.adopt(picture, at(rect.y.start + i / columns) + i % columns);
        }
    }
}

/// By the score and the free share of its outline, by the seconds that the scene was seen and that this has stood for, over all
/// pixels, and by the number of those.
fn is_ghost((score, free): (f32, f32), proof: f32, stood: f32, area: f32) -> bool {
    // 0 where the scene was seen for as long as this stands, 1 where it was seen for next to no time.
    let unproven = ((stood + 0.1) / (proof + 0.1)).ln().clamp(0.0, 1.0);
    let unknown = proof < KNOWN_S * area && stood > (STOOD_S * area).max(STOOD_TIMES * proof);
    free >= FREE.0 - FREE.1 * unproven && (unknown || score > SCORE.0 - SCORE.1 * unproven)
}

/// Whether the edges along the outline of a set of still foreground pixels are in the scene or in the picture: 1 where only
/// the scene has them (a ghost), -1 where only the picture has them (a thing). Then the share of the outline that borders on
/// background.
fn outline(
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
                if t > n + EDGE {
                    then += 1.0;
                } else if n > t + EDGE {
                    now += 1.0;
                }
            }
        }
    }
    ((then - now) / (then + now).max(1.0), outer / all.max(1.0))
}
