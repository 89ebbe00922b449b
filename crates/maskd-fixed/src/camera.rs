//! One camera that may be fixed: frame by frame from pixels to things.
//!
//! ```text
//! picture -> scene's light -> registered -> distances of pixels and patches -> evidence, mask -> fixed? -> ghosts -> things -> learn
//! ```

mod ablation;
mod config;
mod view;

pub use ablation::Ablation;
pub use config::Config;
pub use view::View;

use crate::{
    boxes,
    events::{Kind, Restart},
    foreground::Foreground,
    ghosts::Ghosts,
    light,
    objects::Objects,
    patches::{self, Patches},
    planes::{Planes, Reader},
    recent::Recent,
    register::Registration,
    shifted,
    verdict::Verdict,
};
use maskd_types::{features::Grid, frame::Size};

/// Most lines of a picture that is looked at in full.
const LINES: usize = 400;
/// A pixel that looks like the scene differs from it by fewer levels of luma.
const LIKE: f32 = 20.0;
/// Shifts of fewer pixels are not undone: interpolating would blur more than they do.
const LEAST_SHIFT: f32 = 0.2;
/// Share of the picture that must be free of things before it says whether the camera is fixed.
const LEAST_KNOWN: f32 = 0.1;
/// Pixels around a thing that may be its rim or its shadow.
const RIM: usize = 3;

/// Features of a picture: grid, C, and L2-normalised tokens `(N, C)`.
pub type Features<'a> = (Grid, usize, &'a [f32]);

/// The parts of a step, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// From RGB to planes.
    Picture,
    /// Into the scene's light.
    Light,
    /// Into the scene's place.
    Registration,
    /// Features against those of the scene.
    Features,
    /// For how long each pixel has kept its colour.
    Recent,
    /// Colours against those of the scene.
    Distance,
    /// What all cues say.
    Evidence,
    /// The foreground.
    Mask,
    /// Whether the camera is fixed.
    Verdict,
    /// What has left is taken out of the scene.
    Ghosts,
    /// Things and their identities.
    Objects,
    /// The scene is learnt where nothing is.
    Scene,
    /// Identities at the picture's place and size.
    Labels,
}

impl Stage {
    /// All of them, in their order.
    pub const ALL: [Self; 13] = [
        Self::Picture,
        Self::Light,
        Self::Registration,
        Self::Features,
        Self::Recent,
        Self::Distance,
        Self::Evidence,
        Self::Mask,
        Self::Verdict,
        Self::Ghosts,
        Self::Objects,
        Self::Scene,
        Self::Labels,
    ];
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
    ghosts: Ghosts,
    registration: Registration,
    reader: Reader,
    /// The frame, and another that it is made of.
    picture: Planes,
    spare: Planes,
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
    /// Where the scene is not learnt: things, what is beside them, and what the picture does not show.
    hold: Vec<bool>,
    things: Vec<bool>,
    rows: Vec<bool>,
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

    /// Takes a frame `dt` seconds after the last: 8-bit RGB `(height, width, 3)` and, where there are any, features. Returns the
    /// identity of the thing at each pixel `(height, width)`, 0 for none. Says nothing of value before the camera is known to be
    /// fixed. A picture that is not of `size` gives nothing.
    ///
    /// Pictures of more than [`LINES`] lines (columns, where they stand upright) are looked at smaller, by a whole number.
    pub fn step(&mut self, rgb: &[u8], size: Size, features: Option<Features>, dt: f32) -> Vec<u32> {
        self.step_in_stages(rgb, size, features, dt, &mut |_| {})
    }

    /// As [`Self::step`]; `on_stage` is called as each part ends, and more than once for a part that is done in two places.
    pub fn step_in_stages(
        &mut self,
        rgb: &[u8],
        size: Size,
        features: Option<Features>,
        dt: f32,
        on_stage: &mut dyn FnMut(Stage),
    ) -> Vec<u32> {
        self.objects.events.begin();
        let features = features.filter(|_| self.config.use_features);
        let by = (size.width.min(size.height) as usize).div_ceil(LINES).max(1);
        if !self.reader.read(rgb, size, by, &mut self.picture) {
            return vec![0; size.area()];
        }
        self.scale = by;
        let before = self.size.replace(size);
        if before == Some(size) {
            self.picture.brighten(self.gain);
        } else {
            self.forget(before.map(|_| Restart::Size));
            self.recent = Recent::default();
        }
        on_stage(Stage::Picture);
        self.follow_camera(dt);
        on_stage(Stage::Registration);
        // In the scene's light first: a change of it would look like a shift of edges.
        let scene_is_known = self.foreground.scene.len() == self.picture.len();
        if scene_is_known && self.config.follow_light {
            light::equalise(&mut self.picture, &self.foreground.scene, &self.hold);
        }
        on_stage(Stage::Light);
        if scene_is_known && self.config.register {
            self.register();
        }
        on_stage(Stage::Registration);
        self.compare_features(features);
        on_stage(Stage::Features);
        self.recent.step(&self.picture, dt);
        on_stage(Stage::Recent);
        self.foreground.compare(&self.picture, &self.config.foreground);
        on_stage(Stage::Distance);
        self.foreground.weigh(&self.picture, features.map(|_| &self.feature[..]), &self.config.foreground);
        on_stage(Stage::Evidence);
        self.foreground.decide(&self.picture, &self.config.foreground);
        shifted::mark_unseen(&mut self.foreground.mask, self.picture.width, self.shift, false);
        on_stage(Stage::Mask);
        if self.judge(dt) {
            // As the picture lies: where the old scene was is of no use to the new one.
            self.reader.read(rgb, size, by, &mut self.picture);
            self.forget(Some(Restart::Another));
        }
        on_stage(Stage::Verdict);
        if self.config.drop_ghosts {
            self.drop_ghosts(features);
        }
        on_stage(Stage::Ghosts);
        self.adopt_furniture();
        self.objects.step(&self.foreground.mask, &self.picture, dt, &self.config.objects);
        on_stage(Stage::Objects);
        let ids = self.draw_things();
        self.learn(features, dt);
        on_stage(Stage::Scene);
        let labels = enlarge(shifted::back(ids, self.picture.width, self.shift), self.picture.width, by, size);
        on_stage(Stage::Labels);
        self.objects.events.end();
        labels
    }

    /// Learns the scene anew, from this picture on; nobody need be told why of the first one.
    fn forget(&mut self, why: Option<Restart>) {
        self.gain = if self.config.follow_light { light::gain(&self.picture) } else { 1.0 };
        self.picture.brighten(self.gain);
        self.foreground.restart(&self.picture);
        self.patches = Patches::default();
        self.objects.clear();
        if let Some(why) = why {
            self.objects.events.push(0, Kind::Restarted { why });
        }
        self.hold.clear();
        self.hold.resize(self.picture.len(), false);
        self.shift = (0.0, 0.0);
        self.before = None;
    }

    /// Tells the verdict how the picture moves from frame to frame, while the camera is not known to be fixed.
    fn follow_camera(&mut self, dt: f32) {
        if self.fixed() {
            self.before = None;
            return;
        }
        let before = self.before.as_ref();
        let moved = before.and_then(|before| self.registration.shift(&self.picture, before, &[]));
        self.verdict.moved(moved.unwrap_or((0.0, 0.0)), dt);
        self.before = Some(self.picture.clone());
    }

    /// Brings the picture to the scene's place.
    fn register(&mut self) {
        let shift = self.registration.shift(&self.picture, &self.foreground.scene, &self.hold).unwrap_or((0.0, 0.0));
        self.shift = if shift.0.abs().max(shift.1.abs()) < LEAST_SHIFT { (0.0, 0.0) } else { shift };
        if self.shift != (0.0, 0.0) {
            shifted::undo(&self.picture, self.shift, &mut self.spare);
            std::mem::swap(&mut self.picture, &mut self.spare);
        }
    }

    fn compare_features(&mut self, features: Option<Features>) {
        let Some((grid, dim, tokens)) = features else {
            self.feature.clear();
            return;
        };
        self.patches.compare(tokens, grid, dim, &mut self.patch_distance);
        patches::enlarge(&self.patch_distance, grid, self.picture.width, self.picture.height, &mut self.feature);
    }

    /// Whether the camera is fixed, by how much of the picture looks like the scene. True where that is another one by now.
    fn judge(&mut self, dt: f32) -> bool {
        let Foreground { distance, scene, .. } = &self.foreground;
        let reach = self.config.foreground.modes.reach;
        self.hold.resize(self.picture.len(), false);
        let (mut known, mut same) = (0u32, 0u32);
        for (((y, scene), distance), hold) in self.picture.y.iter().zip(&scene.y).zip(distance).zip(&self.hold) {
            // A scene that is learnt while the picture moves deviates from itself: no pixel looks like it by that alone.
            let like = (*distance < reach) & ((y - scene).abs() < LIKE);
            known += u32::from(!hold);
            same += u32::from(!hold & like);
        }
        if known as f32 <= LEAST_KNOWN * self.picture.len() as f32 {
            return false;
        }
        self.same = same as f32 / known as f32;
        self.verdict.step(self.same, self.shift, dt)
    }

    /// What was in the first picture and has left is not there now: the scene is mended at once.
    fn drop_ghosts(&mut self, features: Option<Features>) {
        let Foreground { mask, modes, scene, .. } = &mut self.foreground;
        let ghosts = self.ghosts.drop(mask, modes, &self.picture, scene, &self.recent.still);
        let Some((grid, _, tokens)) = features else { return };
        for pixels in ghosts {
            let mut count = vec![0usize; grid.len()];
            let size = (self.picture.width, self.picture.height);
            pixels.into_iter().for_each(|p| count[patches::patch_of(p, size, grid)] += 1);
            let most = self.picture.len() / grid.len();
            for (patch, _) in count.iter().enumerate().filter(|(_, n)| **n * 2 > most) {
                self.patches.adopt(tokens, patch);
            }
        }
    }

    /// What has stood for so long is part of the scene by now.
    fn adopt_furniture(&mut self) {
        for gone in self.objects.furniture(self.config.objects.still_s) {
            gone.each((0, 0), self.picture.width, self.picture.height, |p| {
                self.foreground.modes.adopt(&self.picture, p);
                self.foreground.mask[p] = false;
            });
        }
    }

    /// The identity of the thing at each pixel, as the scene lies; and where the scene is not to be learnt.
    fn draw_things(&mut self) -> Vec<u32> {
        let (w, h) = (self.picture.width, self.picture.height);
        self.things.clear();
        self.things.resize(self.picture.len(), false);
        let mut ids = vec![0; self.picture.len()];
        for o in self.objects.list.iter().filter(|o| o.confirmed) {
            o.blob.each((0, 0), w, h, |p| {
                self.things[p] = true;
                if o.unseen == 0.0 {
                    ids[p] = o.id;
                }
            });
        }
        // What is beside a thing is its rim, or its shadow: the scene is not learnt there either.
        if !self.config.hold {
            self.things.fill(false);
        }
        boxes::dilate(&self.things, w, RIM, &mut self.hold, &mut self.rows);
        shifted::mark_unseen(&mut self.hold, w, self.shift, true);
        ids
    }

    /// Learns the scene where nothing is.
    fn learn(&mut self, features: Option<Features>, dt: f32) {
        self.foreground.modes.learn(&self.picture, &self.hold, dt, &self.config.foreground.modes);
        let Some((grid, dim, tokens)) = features else { return };
        let hold = patches::touched(&self.hold, self.picture.width, grid);
        self.patches.prepare(tokens, grid, dim);
        self.patches.learn(tokens, &hold, dt, &self.config.patches);
    }
}

/// Labels `(height / by, width / by)` at full size; what was left over at the right and below is as its neighbours are.
fn enlarge(labels: Vec<u32>, width: usize, by: usize, size: Size) -> Vec<u32> {
    if by == 1 {
        return labels;
    }
    let (w, h) = (size.width as usize, size.height as usize);
    let mut out = Vec::with_capacity(w * h);
    for row in labels.chunks_exact(width) {
        let from = out.len();
        row.iter().for_each(|label| out.extend(std::iter::repeat_n(*label, by)));
        out.resize(from + w, row[width - 1]);
        (1..by).for_each(|_| out.extend_from_within(from..from + w));
    }
    while out.len() < w * h {
        out.extend_from_within(out.len() - w..);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn labels_are_enlarged_by_the_nearest_pixel(width in 1usize..9, height in 1usize..9, by in 1usize..4, more in (0usize..3, 0usize..3)) {
            let labels: Vec<u32> = (0..(width * height) as u32).collect();
            let (w, h) = (width * by + more.0.min(by - 1), height * by + more.1.min(by - 1));
            let found = enlarge(labels.clone(), width, by, Size::new(w as u32, h as u32));
            let at = |p: usize| labels[(p / w / by).min(height - 1) * width + (p % w / by).min(width - 1)];
            prop_assert_eq!(found, (0..w * h).map(at).collect::<Vec<_>>());
        }
    }
}
