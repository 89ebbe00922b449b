//! The empty scene, pixel by pixel: a few Gaussian modes of colour for each (Stauffer and Grimson 1999; Zivkovic 2004).

mod lanes;
#[cfg(test)]
mod plain;

use crate::planes::Planes;
use lanes::{LANES, Lanes, Mask, any_set, choose, lanes, larger, load, store};

/// Modes of a pixel.
pub const MODES: usize = 3;

/// How the scene is learnt.
#[derive(Clone, Debug)]
pub struct ModesConfig {
    /// A colour belongs to a mode within this many deviations of it.
    pub reach: f32,
    /// Seconds in which the scene is learnt anew.
    pub memory_s: f32,
    /// Least deviation of luma, 0..255.
    pub floor_luma: f32,
    /// Least deviation of chroma, 0..255.
    pub floor_chroma: f32,
    /// A mode is of the scene when its weight is at least this share of its pixel's heaviest.
    pub share: f32,
}

impl Default for ModesConfig {
    fn default() -> Self {
        Self { reach: 3.2, memory_s: 8.0, floor_luma: 3.0, floor_chroma: 2.0, share: 0.35 }
    }
}

/// One mode of each of [`LANES`] pixels.
#[derive(Clone, Copy, Debug)]
struct Mode {
    mean: [Lanes; 3],
    luma_var: Lanes,
    chroma_var: Lanes,
    weight: Lanes,
    /// Seconds for which it has been seen.
    seen: Lanes,
}

/// [`LANES`] pixels in a row of indices.
type Block = [Mode; MODES];

/// Variances of a mode that has been seen once, of luma and of chroma.
const FIRST_VAR: (f32, f32) = (36.0, 16.0);

impl Mode {
    /// Nothing, at each lane.
    const NONE: Self = {
        let zero = [0.0; LANES];
        Self { mean: [zero; 3], luma_var: zero, chroma_var: zero, weight: zero, seen: zero }
    };

    /// Squares of deviations from the mode.
    #[inline(always)]
    fn distance2(&self, [y, u, v]: &[Lanes; 3], config: &ModesConfig) -> Lanes {
        let floor = (config.floor_luma * config.floor_luma, config.floor_chroma * config.floor_chroma);
        lanes(|i| {
            let (dy, du, dv) = (y[i] - self.mean[0][i], u[i] - self.mean[1][i], v[i] - self.mean[2][i]);
            dy * dy / larger(self.luma_var[i], floor.0)
                + 0.5 * (du * du + dv * dv) / larger(self.chroma_var[i], floor.1)
        })
    }

    /// Which lanes' mode is of the scene.
    fn counts(&self, heaviest: &Lanes, share: f32) -> Mask {
        lanes(|i| u32::from((self.weight[i] >= share * heaviest[i]) & (self.weight[i] > 0.0)))
    }

    /// Learns colours that are its own.
    fn learn(&mut self, colours: &[Lanes; 3], seen: &Mask, rate: f32, var_rate: f32, dt: f32) {
        // Faster while the mode is young: its first colour may have been an odd one.
        let share: Lanes = lanes(|i| {
            let young = rate / larger(self.weight[i], rate);
            let young = if young < 0.25 { young } else { 0.25 };
            if seen[i] != 0 { larger(young, rate) } else { 0.0 }
        });
        let mut squares = [[0.0; LANES]; 3];
        for ((mean, colour), square) in self.mean.iter_mut().zip(colours).zip(&mut squares) {
            for i in 0..LANES {
                let away = colour[i] - mean[i];
                mean[i] += share[i] * away;
                square[i] = away * away;
            }
        }
        for i in 0..LANES {
            let (var_rate, dt) = if seen[i] != 0 { (var_rate, dt) } else { (0.0, 0.0) };
            self.luma_var[i] += var_rate * (squares[0][i] - self.luma_var[i]);
            self.chroma_var[i] += var_rate * (0.5 * (squares[1][i] + squares[2][i]) - self.chroma_var[i]);
            self.seen[i] += dt;
        }
    }

    /// Starts from a colour.
    fn start(&mut self, i: usize, colour: [f32; 3], (luma_var, chroma_var): (f32, f32), weight: f32) {
        self.mean.iter_mut().zip(colour).for_each(|(mean, c)| mean[i] = c);
        (self.luma_var[i], self.chroma_var[i], self.weight[i], self.seen[i]) = (luma_var, chroma_var, weight, 0.0);
    }
}

fn colours(picture: &Planes, at: usize) -> [Lanes; 3] {
    [load(&picture.y, at), load(&picture.u, at), load(&picture.v, at)]
}

/// The index of the heaviest mode of one lane, of the last where several are.
fn heaviest(block: &Block, i: usize) -> usize {
    (1..MODES).fold(0, |top, k| if block[k].weight[i] >= block[top].weight[i] { k } else { top })
}

/// The modes of all pixels.
#[derive(Clone, Debug, Default)]
pub struct Modes {
    /// Those of pixels `LANES * i` and after at `i`; lanes beyond the last pixel are not used.
    blocks: Vec<Block>,
    pixels: usize,
    age: f32,
}

impl Modes {
    /// Seconds that it has learnt for.
    pub fn age(&self) -> f32 {
        self.age
    }

    /// How far each pixel is from the scene, in deviations `(height, width)`, and the scene's likeliest colour there.
    pub fn compare(&mut self, picture: &Planes, config: &ModesConfig, out: &mut Vec<f32>, scene: &mut Planes) {
        if self.pixels != picture.len() {
            self.start(picture);
        }
        out.resize(picture.len(), 0.0);
        scene.resize_as(picture);
        let Planes { y, u, v, .. } = scene;
        let planes = y.chunks_mut(LANES).zip(u.chunks_mut(LANES)).zip(v.chunks_mut(LANES));
        for ((b, block), (out, ((y, u), v))) in self.blocks.iter().enumerate().zip(out.chunks_mut(LANES).zip(planes)) {
            let colours = colours(picture, b * LANES);
            let most: Lanes = lanes(|i| larger(block[0].weight[i], larger(block[1].weight[i], block[2].weight[i])));
            let mut best = [f32::MAX; LANES];
            let mut likeliest = block[0].mean;
            let mut weight = block[0].weight;
            for (k, mode) in block.iter().enumerate() {
                let counts = mode.counts(&most, config.share);
                // Most places have one colour: the numbers of their other modes are not even read.
                if !any_set(&counts) {
                    continue;
                }
                let distance = mode.distance2(&colours, config);
                let nearer: Mask = lanes(|i| counts[i] & u32::from(distance[i] < best[i]));
                best = choose(&nearer, &distance, &best);
                let heavier: Mask = lanes(|i| u32::from(mode.weight[i] >= weight[i]));
                if k > 0 && any_set(&heavier) {
                    weight = choose(&heavier, &mode.weight, &weight);
                    likeliest.iter_mut().zip(&mode.mean).for_each(|(l, mean)| *l = choose(&heavier, mean, l));
                }
            }
            store(&lanes(|i| best[i].sqrt()), out);
            [y, u, v].into_iter().zip(&likeliest).for_each(|(to, lanes)| store(lanes, to));
        }
    }

    /// The scene is what `picture` shows.
    fn start(&mut self, picture: &Planes) {
        let first = |b: usize| {
            let mut block = [Mode::NONE; MODES];
            let (luma_var, chroma_var) = ([FIRST_VAR.0; LANES], [FIRST_VAR.1; LANES]);
            let mean = colours(picture, b * LANES);
            block[0] = Mode { mean, luma_var, chroma_var, weight: [1.0; LANES], seen: [0.0; LANES] };
            block
        };
        self.blocks = (0..picture.len().div_ceil(LANES)).map(first).collect();
        self.pixels = picture.len();
        self.age = 0.0;
    }

    /// Learns `dt` seconds of `picture`, except where `hold`.
    pub fn learn(&mut self, picture: &Planes, hold: &[bool], dt: f32, config: &ModesConfig) {
        self.age += dt;
        let rate = (dt / config.memory_s).max(dt / self.age.max(dt)).min(0.5);
        for (b, (block, hold)) in self.blocks.iter_mut().zip(hold.chunks(LANES)).enumerate() {
            let learns: Mask = match <&[bool; LANES]>::try_from(hold) {
                Ok(hold) => hold.map(|hold| u32::from(!hold)),
                // Lanes beyond the last pixel are held.
                Err(_) => lanes(|i| u32::from(hold.get(i) == Some(&false))),
            };
            if any_set(&learns) {
                learn_block(block, &colours(picture, b * LANES), &learns, (rate, dt), config);
            }
        }
    }

    /// Seconds for which the scene's likeliest colour at a pixel has been seen.
    pub fn proof(&self, p: usize) -> f32 {
        let (block, i) = (&self.blocks[p / LANES], p % LANES);
        block[heaviest(block, i)].seen[i]
    }

    /// Makes what is seen at a pixel the scene there.
    pub fn adopt(&mut self, picture: &Planes, p: usize) {
        let (block, i) = (&mut self.blocks[p / LANES], p % LANES);
        let old = &block[heaviest(block, i)];
        let var = (old.luma_var[i], old.chroma_var[i]);
        block[0].start(i, [picture.y[p], picture.u[p], picture.v[p]], var, 1.0);
        block[1..].iter_mut().for_each(|mode| mode.start(i, [0.0; 3], (0.0, 0.0), 0.0));
    }
}

/// Learns `colours` in the lanes that learn, at a share `rate` of what is known.
fn learn_block(block: &mut Block, colours: &[Lanes; 3], learns: &Mask, (rate, dt): (f32, f32), config: &ModesConfig) {
    let mut best = [f32::MAX; LANES];
    let mut nearest = [0u32; LANES];
    for (k, mode) in (0u32..).zip(block.iter()) {
        // A mode that has never been used at any of these places.
        if !any_set(&lanes(|i| u32::from(mode.weight[i] > 0.0))) {
            continue;
        }
        let distance = mode.distance2(colours, config);
        for i in 0..LANES {
            let nearer = (mode.weight[i] > 0.0) & (distance[i] < best[i]);
            best[i] = if nearer { distance[i] } else { best[i] };
            nearest[i] = if nearer { k } else { nearest[i] };
        }
    }
    let reach2 = config.reach * config.reach;
    let known: Mask = lanes(|i| learns[i] & u32::from(best[i] < reach2));
    let var_rate = rate.clamp(0.01, 0.25);
    for (k, mode) in (0u32..).zip(block.iter_mut()) {
        let seen: Mask = lanes(|i| known[i] & u32::from(nearest[i] == k));
        let learnt = lanes(|i| {
            let (weight, target) = (mode.weight[i], if seen[i] != 0 { 1.0 } else { 0.0 });
            if known[i] != 0 { weight + rate * (target - weight) } else { weight * (1.0 - rate) }
        });
        mode.weight = choose(learns, &learnt, &mode.weight);
        if any_set(&seen) {
            mode.learn(colours, &seen, rate, var_rate, dt);
        }
    }
    // A colour that no mode explains takes the place of the lightest mode.
    let unknown: Mask = lanes(|i| learns[i] & !known[i]);
    if any_set(&unknown) {
        for i in (0..LANES).filter(|&i| unknown[i] != 0) {
            let lightest = (1..MODES).fold(0, |low, k| if block[k].weight[i] < block[low].weight[i] { k } else { low });
            block[lightest].start(i, colours.map(|c| c[i]), FIRST_VAR, rate);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flat(luma: f32) -> Planes {
        Planes { width: 4, height: 3, y: vec![luma; 12], u: vec![2.0; 12], v: vec![-3.0; 12] }
    }

    /// The greatest distance from the scene, and the scene's luma at the first pixel.
    fn seen(modes: &mut Modes, luma: f32) -> (f32, f32) {
        let (mut distance, mut scene) = (Vec::new(), Planes::default());
        modes.compare(&flat(luma), &ModesConfig::default(), &mut distance, &mut scene);
        (distance.iter().fold(0f32, |a, d| a.max(*d)), scene.y[0])
    }

    fn learn(modes: &mut Modes, luma: f32, hold: bool, dt: f32, seconds: f32) {
        for _ in 0..(seconds / dt) as usize {
            seen(modes, luma);
            modes.learn(&flat(luma), &[hold; 12], dt, &ModesConfig::default());
        }
    }

    proptest! {
        #[test]
        fn modes_are_those_of_the_plain_twin(
            seed in any::<u32>(), width in 1usize..50, frames in 1usize..40, dt in 0.02f32..0.6, most in 4f32..200.0,
        ) {
            let mut state = seed;
            let mut next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 24) as f32
            };
            let config = ModesConfig::default();
            let (mut modes, mut plain) = (Modes::default(), plain::Modes::default());
            let (mut distance, mut plain_distance) = (vec![7.0; 3], Vec::new());
            let (mut scene, mut plain_scene) = (Planes::default(), Planes::default());
            for _ in 0..frames {
                // Few colours, so that modes are met again, and some noise.
                let mut plane = |of: f32| (0..width).map(|_| of * (3.0 * next()).floor() + 4.0 * next()).collect::<Vec<f32>>();
                let picture = Planes { width, height: 1, y: plane(most), u: plane(6.0), v: plane(3.0) };
                modes.compare(&picture, &config, &mut distance, &mut scene);
                plain.compare(&picture, &config, &mut plain_distance, &mut plain_scene);
                // To the last bit: weights that are alike at first would otherwise be told apart by rounding.
                prop_assert_eq!(&distance, &plain_distance);
                prop_assert_eq!((&scene.y, &scene.u, &scene.v), (&plain_scene.y, &plain_scene.u, &plain_scene.v));
                let hold: Vec<bool> = (0..width).map(|_| next() < 0.2).collect();
                modes.learn(&picture, &hold, dt, &config);
                plain.learn(&picture, &hold, dt, &config);
                let adopted = (next() * width as f32) as usize;
                modes.adopt(&picture, adopted);
                plain.adopt(&picture, adopted);
                let proofs = |of: &dyn Fn(usize) -> f32| (0..width).map(of).collect::<Vec<f32>>();
                prop_assert_eq!(proofs(&|p| modes.proof(p)), proofs(&|p| plain.proof(p)));
                prop_assert_eq!(modes.age(), plain.age());
            }
        }
    }

    #[test]
    fn the_first_picture_is_the_scene() {
        let mut modes = Modes::default();
        assert_eq!(seen(&mut modes, 100.0), (0.0, 100.0));
        assert!(seen(&mut modes, 160.0).0 > 3.2);
    }

    #[test]
    fn a_colour_that_stays_becomes_the_scene_unless_it_is_held() {
        for dt in [0.04, 0.1, 0.5] {
            let mut modes = Modes::default();
            learn(&mut modes, 100.0, false, dt, 20.0);
            learn(&mut modes, 180.0, true, dt, 20.0);
            assert!(seen(&mut modes, 180.0).0 > 3.2, "dt {dt}: held");
            learn(&mut modes, 180.0, false, dt, 1.0);
            assert!(seen(&mut modes, 180.0).0 > 3.2, "dt {dt}: after a second");
            learn(&mut modes, 180.0, false, dt, 20.0);
            let (distance, scene) = seen(&mut modes, 180.0);
            assert!(distance < 1.0 && (scene - 180.0).abs() < 2.0, "dt {dt}: {distance}, {scene}");
        }
    }

    #[test]
    fn two_colours_in_turn_are_both_the_scene() {
        let mut modes = Modes::default();
        for i in 0..200 {
            learn(&mut modes, if i / 5 % 2 == 0 { 60.0 } else { 200.0 }, false, 0.1, 0.1);
        }
        assert!(seen(&mut modes, 60.0).0 < 3.2 && seen(&mut modes, 200.0).0 < 3.2);
        assert!(seen(&mut modes, 130.0).0 > 3.2, "but not what lies between");
    }

    #[test]
    fn what_is_adopted_is_the_scene_at_once_and_unproven() {
        let mut modes = Modes::default();
        learn(&mut modes, 100.0, false, 0.1, 5.0);
        assert!(modes.proof(3) > 4.0);
        (0..12).for_each(|p| modes.adopt(&flat(30.0), p));
        let (distance, scene) = seen(&mut modes, 30.0);
        assert!(distance < 0.1 && scene == 30.0 && modes.proof(3) == 0.0);
        assert!(seen(&mut modes, 100.0).0 > 3.2);
    }

    #[test]
    fn another_size_starts_anew() {
        let mut modes = Modes::default();
        learn(&mut modes, 100.0, false, 0.1, 5.0);
        let small = Planes { width: 2, height: 1, y: vec![9.0; 2], u: vec![0.0; 2], v: vec![0.0; 2] };
        let (mut distance, mut scene) = (Vec::new(), Planes::default());
        modes.compare(&small, &ModesConfig::default(), &mut distance, &mut scene);
        assert_eq!((distance, scene.width, scene.height, modes.age()), (vec![0.0; 2], 2, 1, 0.0));
    }
}
