//! The plain twin: one pixel after the other, mode by mode.

use super::{MODES, ModesConfig};
use crate::planes::Planes;

#[derive(Clone, Copy, Debug, Default)]
struct Mode {
    mean: [f32; 3],
    luma_var: f32,
    chroma_var: f32,
    weight: f32,
    /// Seconds for which it has been seen.
    seen: f32,
}

impl Mode {
    fn distance2(&self, c: [f32; 3], config: &ModesConfig) -> f32 {
        let (dy, du, dv) = (c[0] - self.mean[0], c[1] - self.mean[1], c[2] - self.mean[2]);
        dy * dy / self.luma_var.max(config.floor_luma * config.floor_luma)
            + 0.5 * (du * du + dv * dv) / self.chroma_var.max(config.floor_chroma * config.floor_chroma)
    }
}

/// The modes of all pixels.
#[derive(Clone, Debug, Default)]
pub(super) struct Modes {
    modes: Vec<[Mode; MODES]>,
    age: f32,
}

impl Modes {
    /// Seconds that it has learnt for.
    pub fn age(&self) -> f32 {
        self.age
    }

    /// How far each pixel is from the scene, in deviations `(height, width)`, and the scene's likeliest colour there.
    pub fn compare(&mut self, picture: &Planes, config: &ModesConfig, out: &mut Vec<f32>, scene: &mut Planes) {
        if self.modes.len() != picture.len() {
            self.modes = (0..picture.len())
                .map(|p| {
                    let mut modes = [Mode::default(); MODES];
                    modes[0] = Mode {
                        mean: [picture.y[p], picture.u[p], picture.v[p]],
                        luma_var: 36.0,
                        chroma_var: 16.0,
                        weight: 1.0,
                        seen: 0.0,
                    };
                    modes
                })
                .collect();
            self.age = 0.0;
        }
        out.clear();
        out.reserve(picture.len());
        (scene.width, scene.height) = (picture.width, picture.height);
        for plane in [&mut scene.y, &mut scene.u, &mut scene.v] {
            plane.resize(picture.len(), 0.0);
        }
        for (p, modes) in self.modes.iter().enumerate() {
            let c = [picture.y[p], picture.u[p], picture.v[p]];
            let heaviest = modes.iter().fold(0f32, |a, m| a.max(m.weight));
            let mut best = f32::MAX;
            for m in modes.iter().filter(|m| m.weight >= config.share * heaviest && m.weight > 0.0) {
                best = best.min(m.distance2(c, config));
            }
            out.push(best.sqrt());
            let top = modes.iter().max_by(|a, b| a.weight.total_cmp(&b.weight)).unwrap_or(&modes[0]);
            (scene.y[p], scene.u[p], scene.v[p]) = (top.mean[0], top.mean[1], top.mean[2]);
        }
    }

    /// Learns `dt` seconds of `picture`, except where `hold`.
    pub fn learn(&mut self, picture: &Planes, hold: &[bool], dt: f32, config: &ModesConfig) {
        self.age += dt;
        let rate = (dt / config.memory_s).max(dt / self.age.max(dt)).min(0.5);
        let reach2 = config.reach * config.reach;
        for (p, modes) in self.modes.iter_mut().enumerate() {
            if hold[p] {
                continue;
            }
            let c = [picture.y[p], picture.u[p], picture.v[p]];
            let mut best = (f32::MAX, 0);
            for (k, m) in modes.iter().enumerate().filter(|(_, m)| m.weight > 0.0) {
                let d = m.distance2(c, config);
                if d < best.0 {
                    best = (d, k);
                }
            }
            if best.0 < reach2 {
                for (k, m) in modes.iter_mut().enumerate() {
                    m.weight += rate * (f32::from(u8::from(k == best.1)) - m.weight);
                }
                let m = &mut modes[best.1];
                m.seen += dt;
                // Faster while the mode is young: its first colour may have been an odd one.
                let r = (rate / m.weight.max(rate)).min(0.25).max(rate);
                let (dy, du, dv) = (c[0] - m.mean[0], c[1] - m.mean[1], c[2] - m.mean[2]);
                m.mean[0] += r * dy;
                m.mean[1] += r * du;
                m.mean[2] += r * dv;
                m.luma_var += rate.clamp(0.01, 0.25) * (dy * dy - m.luma_var);
                m.chroma_var += rate.clamp(0.01, 0.25) * (0.5 * (du * du + dv * dv) - m.chroma_var);
            } else {
                for m in modes.iter_mut() {
                    m.weight *= 1.0 - rate;
                }
                let weakest =
                    modes.iter().enumerate().min_by(|a, b| a.1.weight.total_cmp(&b.1.weight)).map_or(0, |(k, _)| k);
                modes[weakest] = Mode { mean: c, luma_var: 36.0, chroma_var: 16.0, weight: rate, seen: 0.0 };
            }
        }
    }

    /// Seconds for which the scene's likeliest colour at a pixel has been seen.
    pub fn proof(&self, p: usize) -> f32 {
        self.modes[p].iter().max_by(|a, b| a.weight.total_cmp(&b.weight)).map_or(0.0, |m| m.seen)
    }

    /// Makes what is seen at a pixel the scene there.
    pub fn adopt(&mut self, picture: &Planes, p: usize) {
        let c = [picture.y[p], picture.u[p], picture.v[p]];
        let modes = &mut self.modes[p];
        let old = *modes.iter().max_by(|a, b| a.weight.total_cmp(&b.weight)).unwrap_or(&modes[0]);
        *modes = [Mode::default(); MODES];
        modes[0] = Mode { mean: c, luma_var: old.luma_var, chroma_var: old.chroma_var, weight: 1.0, seen: 0.0 };
    }
}
