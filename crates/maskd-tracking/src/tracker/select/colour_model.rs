//! Which colours a thing has, and which its surroundings: smoothed histograms of both, and the logarithm of their ratio.

/// Steps of each of R, G and B.
const BINS: usize = 24;
/// Shares of a bin's own step and of its neighbours, of a Gaussian of 0.7 steps.
const BLUR: [f32; 3] = [0.5630, 0.2030, 0.0095];
/// What a colour counts that was never seen, as a share of all.
const UNSEEN: f32 = 1e-4;
/// One cell's colour says no more than this.
const MOST: f32 = 5.0;

/// Bins of the cells of a picture.
pub struct Palette {
    bins: Vec<u16>,
}

impl Palette {
    /// Of the planes R, G and B, 0..1.
    pub fn of([red, green, blue]: &[Vec<f32>; 3]) -> Self {
        let step = |v: f32| ((v * BINS as f32) as usize).min(BINS - 1);
        let bin = |((r, g), b): ((&f32, &f32), &f32)| ((step(*r) * BINS + step(*g)) * BINS + step(*b)) as u16;
        Self { bins: red.iter().zip(green).zip(blue).map(bin).collect() }
    }

    /// For each cell how much likelier its colour is among cells weighted by `thing` than by `around`, as a logarithm.
    pub fn odds(&self, thing: &[f32], around: &[f32]) -> Vec<f32> {
        let (thing, around) = (self.histogram(thing), self.histogram(around));
        let table: Vec<f32> =
            thing.iter().zip(&around).map(|(a, b)| ((a + UNSEEN) / (b + UNSEEN)).ln().clamp(-MOST, MOST)).collect();
        self.bins.iter().map(|&bin| table[usize::from(bin)]).collect()
    }

    fn histogram(&self, weights: &[f32]) -> Vec<f32> {
        let mut histogram = vec![0f32; BINS * BINS * BINS];
        for (&bin, weight) in self.bins.iter().zip(weights) {
            histogram[usize::from(bin)] += weight;
        }
        for stride in [1, BINS, BINS * BINS] {
            histogram = blur(&histogram, stride);
        }
        let sum = histogram.iter().sum::<f32>().max(1e-9);
        histogram.iter_mut().for_each(|v| *v /= sum);
        histogram
    }
}

/// Blurs along the axis whose neighbours are `stride` apart.
fn blur(histogram: &[f32], stride: usize) -> Vec<f32> {
    let mut out: Vec<f32> = histogram.iter().map(|v| v * BLUR[0]).collect();
    for (i, &value) in histogram.iter().enumerate().filter(|(_, v)| **v > 0.0) {
        let at = i / stride % BINS;
        for (steps, share) in BLUR.iter().enumerate().skip(1) {
            if at >= steps {
                out[i - steps * stride] += value * share;
            }
            if at + steps < BINS {
                out[i + steps * stride] += value * share;
            }
        }
    }
    out
}
