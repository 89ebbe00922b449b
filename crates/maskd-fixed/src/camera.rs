//! One camera that may be fixed: frame by frame from pixels to things.
//!
//! ```text
//! picture -> scene's light -> registered -> distances of pixels and patches -> evidence, mask -> fixed? -> ghosts -> things -> learn
//! ```

mod view;

pub use view::View;

use crate::{
    components,
    events::{Kind, Restart},
    foreground::{Foreground, ForegroundConfig},
    light,
    objects::{Objects, ObjectsConfig},
    patches::{self, Patches, PatchesConfig},
    planes::Planes,
    recent::{self, Recent},
    register,
    verdict::Verdict,
};
use maskd_types::{features::Grid, frame::Size};

/// Most lines of a picture that is looked at in full.
const LINES: usize = 400;
/// A pixel that looks like the scene differs from it by fewer levels of luma.
const LIKE: f32 = 20.0;
/// Seconds for which a pixel must have kept its colour before it may be a ghost.
const STILL_S: f32 = 0.3;
/// Pixels of the smallest ghost.
const LEAST_GHOST: usize = 20;

/// All that can be set.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Foreground.
    pub foreground: ForegroundConfig,
    /// Things.
    pub objects: ObjectsConfig,
    /// Features.
    pub patches: PatchesConfig,
}

/// State of one stream.
#[derive(Debug, Default)]
pub struct Camera {
    config: Config,
    foreground: Foreground,
    objects: Objects,
    patches: Patches,
    patch_distance: Vec<f32>,
    /// One minus the cosine of features to those of the scene, at each pixel.
    feature: Vec<f32>,
    recent: Recent,
    /// What dark pictures are multiplied by.
    gain: f32,
    verdict: Verdict,
    /// The frame before, while the camera is not known to be fixed.
    before: Option<Planes>,
    /// Pixels by which the picture is shifted against the scene, `(x, y)`.
    shift: (f32, f32),
    /// Share of the picture that looks like the scene.
    same: f32,
    /// Size of the pictures.
    size: Option<Size>,
    /// Pixels of the picture for each that is looked at, in a row and in a column.
    scale: usize,
    hold: Vec<bool>,
    labels: Vec<u32>,
}

impl Camera {
    /// A camera of which nothing is known.
    pub fn new(config: Config) -> Self {
        Self { config, ..Self::default() }
    }

    /// Goes by `config` from now on.
    pub fn configure(&mut self, config: Config) {
        self.config = config;
    }

    /// Forgets what features said of the scene.
    pub fn forget_features(&mut self) {
        self.patches = Patches::default();
    }

    /// Forgets all that is known: the next picture shows nothing of what the last one did. Identities are not given again.
    pub fn cut(&mut self) {
        self.objects.clear();
        self.objects.events.push(0, Kind::Restarted { why: Restart::Cut });
        let (config, objects) = (std::mem::take(&mut self.config), std::mem::take(&mut self.objects));
        *self = Self { config, objects, ..Self::default() };
    }

    /// Whether the camera is fixed.
    pub fn fixed(&self) -> bool {
        self.verdict.fixed()
    }

    /// Takes a frame `dt` seconds after the last: 8-bit RGB `(height, width, 3)` and, where there are any, features as grid,
    /// C and L2-normalised tokens `(N, C)`. Returns the identity of the thing at each pixel `(height, width)`, 0 for none. Says
    /// nothing of value before the camera is known to be fixed. A picture that is not of `size` gives nothing.
    ///
    /// Pictures of more than [`LINES`] lines (columns, where they stand upright) are looked at smaller, by a whole number.
    pub fn step(&mut self, rgb: &[u8], size: Size, features: Option<(Grid, usize, &[f32])>, dt: f32) -> Vec<u32> {
        self.objects.events.begin();
        let by = (size.width.min(size.height) as usize).div_ceil(LINES).max(1);
        let Some(mut picture) = Planes::of(rgb, size, by) else { return vec![0; size.area()] };
        let (w, h) = (picture.width, picture.height);
        self.scale = by;
        let before = self.size.replace(size);
        if before != Some(size) {
            self.gain = light::gain(&picture);
            picture.brighten(self.gain);
            self.forget(&picture, before.map(|_| Restart::Size));
            self.recent = Recent::default();
        } else {
            picture.brighten(self.gain);
        }
        if !self.fixed() {
            let moved = self.before.as_ref().and_then(|before| register::shift(&picture, before, &[]));
            self.verdict.moved(moved.unwrap_or((0.0, 0.0)), dt);
            self.before = Some(picture.clone());
        } else {
            self.before = None;
        }
        // In the scene's light first: a change of it would look like a shift of edges.
        if self.foreground.scene.len() == picture.len() {
            light::equalise(&mut picture, &self.foreground.scene, &self.hold);
            let shift = register::shift(&picture, &self.foreground.scene, &self.hold).unwrap_or((0.0, 0.0));
            self.shift = if shift.0.abs().max(shift.1.abs()) < 0.2 { (0.0, 0.0) } else { shift };
            if self.shift != (0.0, 0.0) {
                picture = register::undo(&picture, self.shift);
            }
        }
        if let Some((grid, dim, tokens)) = features {
            self.patches.compare(tokens, grid, dim, &mut self.patch_distance);
            patches::enlarge(&self.patch_distance, grid, w, h, &mut self.feature);
        } else {
            self.feature.clear();
        }
        self.recent.step(&picture, dt);
        self.foreground.find(&picture, features.map(|_| &self.feature[..]), &self.config.foreground);
        self.outside(w, h).for_each(|p| self.foreground.mask[p] = false);
        let reach = self.config.foreground.modes.reach;
        self.hold.resize(picture.len(), false);
        // A scene that is learnt while the picture moves deviates from itself: no pixel looks like it by that alone.
        let like =
            |p: usize| self.foreground.distance[p] < reach && (picture.y[p] - self.foreground.scene.y[p]).abs() < LIKE;
        let known = (0..picture.len()).filter(|p| !self.hold[*p]);
        let (all, same) = known.fold((0f32, 0f32), |(n, k), p| (n + 1.0, k + f32::from(u8::from(like(p)))));
        if all > 0.1 * picture.len() as f32 {
            self.same = same / all;
            let another = self.verdict.step(same / all, self.shift, dt);
            if another {
                // As the picture lies: where the old scene was is of no use to the new one.
                picture = Planes::of(rgb, size, by).unwrap_or(picture);
                self.gain = light::gain(&picture);
                picture.brighten(self.gain);
                self.forget(&picture, Some(Restart::Another));
            }
        }
        self.drop_ghosts(&picture, features);
        for gone in self.objects.furniture(self.config.objects.still_s) {
            // What has stood for so long is part of the scene by now.
            gone.each((0, 0), w, h, |p| {
                self.foreground.modes.adopt(&picture, p);
                self.foreground.mask[p] = false;
            });
        }
        self.objects.step(&self.foreground.mask, &picture, dt, &self.config.objects);
        self.hold.fill(false);
        let mut ids = vec![0; picture.len()];
        for o in self.objects.list.iter().filter(|o| o.confirmed) {
            o.blob.each((0, 0), w, h, |p| {
                self.hold[p] = true;
                if o.unseen == 0.0 {
                    ids[p] = o.id;
                }
            });
        }
        // What is beside a thing is its rim, or its shadow: the scene is not learnt there either.
        dilate(&mut self.hold, w, 3);
        self.outside(w, h).for_each(|p| self.hold[p] = true);
        self.foreground.modes.learn(&picture, &self.hold, dt, &self.config.foreground.modes);
        if let Some((grid, dim, tokens)) = features {
            let mut hold = vec![false; grid.len()];
            for (p, _) in self.hold.iter().enumerate().filter(|(_, b)| **b) {
                hold[patches::patch_of(p, (w, h), grid)] = true;
            }
            self.patches.prepare(tokens, grid, dim);
            self.patches.learn(tokens, &hold, dt, &self.config.patches);
        }
        self.objects.events.end();
        enlarge(&self.back(ids, w), w, by, size)
    }

    /// Learns the scene anew, from `picture` on; nobody need be told why of the first one.
    fn forget(&mut self, picture: &Planes, why: Option<Restart>) {
        self.foreground.restart(picture);
        self.patches = Patches::default();
        self.objects.clear();
        if let Some(why) = why {
            self.objects.events.push(0, Kind::Restarted { why });
        }
        self.hold.clear();
        self.hold.resize(picture.len(), false);
        self.shift = (0.0, 0.0);
        self.before = None;
    }

    /// Pixels of the scene that the picture does not show.
    fn outside(&self, w: usize, h: usize) -> impl Iterator<Item = usize> + use<> {
        let (dx, dy) = self.shift;
        let inside = move |at: usize, d: f32, n: usize| {
            let at = at as f32 + d;
            d == 0.0 || (at >= 1.0 && at <= n as f32 - 2.0)
        };
        (0..w * h).filter(move |p| !inside(p % w, dx, w) || !inside(p / w, dy, h))
    }

    /// Ids as the picture lies, from as the scene lies.
    fn back(&self, ids: Vec<u32>, w: usize) -> Vec<u32> {
        let (dx, dy) = (self.shift.0.round() as i64, self.shift.1.round() as i64);
        if (dx, dy) == (0, 0) {
            return ids;
        }
        let h = ids.len() / w;
        let mut out = vec![0; ids.len()];
        for y in 0..h as i64 {
            for x in 0..w as i64 {
                let (sx, sy) = ((x - dx).clamp(0, w as i64 - 1), (y - dy).clamp(0, h as i64 - 1));
                out[y as usize * w + x as usize] = ids[sy as usize * w + sx as usize];
            }
        }
        out
    }

    /// What was in the first picture and has left is not there now: the scene is mended at once.
    fn drop_ghosts(&mut self, picture: &Planes, features: Option<(Grid, usize, &[f32])>) {
        let (w, h) = (picture.width, picture.height);
        let still: Vec<bool> =
            self.foreground.mask.iter().zip(&self.recent.still).map(|(m, s)| *m && *s >= STILL_S).collect();
        for (i, comp) in
            components::label(&still, w, &mut self.labels).iter().enumerate().filter(|(_, c)| c.area >= LEAST_GHOST)
        {
            let label = i as u32 + 1;
            let (score, outer) =
                recent::outline(&self.labels, label, comp, &self.foreground.mask, picture, &self.foreground.scene);
            let (mut proof, mut stood) = (0f32, 0f32);
            for p in (0..picture.len()).filter(|&p| self.labels[p] == label) {
                proof += self.foreground.modes.proof(p);
                stood += self.recent.still[p];
            }
            let unproven = ((stood + 0.1) / (proof + 0.1)).ln().clamp(0.0, 1.0);
            let n = comp.area as f32;
            let unknown = proof < 0.5 * n && stood > n.max(4.0 * proof);
            if outer >= 0.6 - 0.2 * unproven && (unknown || score > 0.6 - 0.8 * unproven) {
                recent::adopt(&mut self.foreground.modes, picture, &self.labels, label, comp);
                for p in (0..picture.len()).filter(|&p| self.labels[p] == label) {
                    self.foreground.mask[p] = false;
                }
                if let Some((grid, _, tokens)) = features {
                    let mut count = vec![0usize; grid.len()];
                    for p in (0..picture.len()).filter(|&p| self.labels[p] == label) {
                        count[patches::patch_of(p, (w, h), grid)] += 1;
                    }
                    let most = picture.len() / grid.len();
                    for (patch, _) in count.iter().enumerate().filter(|(_, n)| **n * 2 > most) {
                        self.patches.adopt(tokens, patch);
                    }
                }
            }
        }
    }
}

/// Labels `(height / by, width / by)` at full size.
fn enlarge(labels: &[u32], width: usize, by: usize, size: Size) -> Vec<u32> {
    let height = labels.len() / width.max(1);
    let (w, h) = (size.width as usize, size.height as usize);
    let at = |x: usize, y: usize| labels[(y / by).min(height - 1) * width + (x / by).min(width - 1)];
    (0..h).flat_map(|y| (0..w).map(move |x| at(x, y))).collect()
}

/// Sets what is within `radius` pixels of a set pixel in each direction.
fn dilate(mask: &mut [bool], width: usize, radius: usize) {
    let height = mask.len() / width.max(1);
    let mut rows = vec![false; mask.len()];
    for (row, out) in mask.chunks_exact(width).zip(rows.chunks_exact_mut(width)) {
        for (i, _) in row.iter().enumerate().filter(|(_, b)| **b) {
            out[i.saturating_sub(radius)..(i + radius + 1).min(width)].fill(true);
        }
    }
    for y in 0..height {
        for x in 0..width {
            mask[y * width + x] = (y.saturating_sub(radius)..(y + radius + 1).min(height)).any(|y| rows[y * width + x]);
        }
    }
}
