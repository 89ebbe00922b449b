//! What colours a thing has.

use crate::planes::Planes;

/// Steps of luma, and of each chroma difference.
const BINS: usize = 8;

/// Colours of a thing: a histogram of luma, and of both chroma differences.
#[derive(Clone, Debug)]
pub struct Look {
    bins: Vec<f32>,
    filled: bool,
}

impl Default for Look {
    fn default() -> Self {
        Self { bins: vec![0.0; BINS * BINS * BINS], filled: false }
    }
}

impl Look {
    /// Learns the colours of `pixels`.
    pub fn learn(&mut self, planes: &Planes, pixels: &[usize], rate: f32) {
        if pixels.is_empty() {
            return;
        }
        let rate = if self.filled { rate } else { 1.0 };
        self.filled = true;
        self.bins.iter_mut().for_each(|b| *b *= 1.0 - rate);
        let share = rate / pixels.len() as f32;
        pixels.iter().for_each(|&p| self.bins[bin(planes, p)] += share);
    }

    /// Share of it that has the colour of a pixel.
    pub fn of(&self, planes: &Planes, p: usize) -> f32 {
        self.bins[bin(planes, p)]
    }

    /// Overlap with the histogram of `pixels`, 0..1.
    pub fn like(&self, planes: &Planes, pixels: &[usize]) -> f32 {
        let mut other = Look::default();
        other.learn(planes, pixels, 1.0);
        self.bins.iter().zip(&other.bins).map(|(a, b)| a.min(*b)).sum()
    }
}

fn bin(planes: &Planes, p: usize) -> usize {
    let q = |v: f32, scale: f32| ((v / scale) as i32).clamp(0, BINS as i32 - 1) as usize;
    let (y, u, v) = (q(planes.y[p], 32.0), q(planes.u[p] + 40.0, 10.0), q(planes.v[p] + 40.0, 10.0));
    (y * BINS + u) * BINS + v
}
