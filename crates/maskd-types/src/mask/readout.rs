//! From soft labels on the patch grid to one label per pixel, as DINO's DAVIS script reads them out
//! (`eval_video_segmentation.py`: bilinear upsampling, `norm_mask`, `torch.max`, PIL nearest).

use rayon::prelude::*;

use super::{LabelMap, SoftLabels};
use crate::frame::Size;

/// How soft labels are read out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadoutConfig {
    /// Stretch each channel to 0..=1 over the frame before channels compete (the published protocol).
    pub min_max: bool,
}

/// One label per pixel of `source`: `soft` `(rows * cols, K)` goes up bilinearly by `patch` (as
/// `F.interpolate(scale_factor=patch, mode="bilinear", align_corners=False)`), each channel is
/// stretched where asked, the largest channel wins (the first among equals, as in `torch.max`), and
/// the winner goes to `source` size by nearest pixel. A channel with `visible[c] == false` never
/// wins; channels that `visible` does not mention are visible.
///
/// Soft labels that do not fit the grid give background only.
pub fn readout(
    soft: &SoftLabels,
    (rows, cols): (usize, usize),
    patch: usize,
    source: Size,
    config: ReadoutConfig,
    visible: &[bool],
) -> LabelMap {
    let channels = soft.channels.min(256);
    if !fits(soft, rows, cols, patch) {
        return LabelMap::new(source);
    }
    let (height, width) = (rows * patch, cols * patch);
    let (xs, ys) = (taps(cols, patch), taps(rows, patch));
    let shown: Vec<usize> = (0..channels).filter(|&c| visible.get(c).copied().unwrap_or(true)).collect();

    // Each grid row at full width, (channel, grid row, width): the vertical step then runs along memory.
    let wide: Vec<f32> = shown
        .par_iter()
        .flat_map_iter(|&c| (0..rows).map(move |row| (c, row)))
        .flat_map_iter(|(c, row)| {
            let at = move |col: usize| soft.values[(row * cols + col) * soft.channels + c];
            xs.iter().map(move |tap| tap.mix(at(tap.low), at(tap.high)))
        })
        .collect();
    let grid_row = |index: usize, row: usize| &wide[(index * rows + row) * width..][..width];

    let stretch: Vec<Stretch> = if config.min_max {
        let range = |index: usize| {
            ys.par_iter()
                .map(|tap| tap.range(grid_row(index, tap.low), grid_row(index, tap.high)))
                .reduce(|| (f32::INFINITY, f32::NEG_INFINITY), |a, b| (a.0.min(b.0), a.1.max(b.1)))
        };
        (0..shown.len()).map(range).map(Stretch::of).collect()
    } else {
        vec![Stretch::None; shown.len()]
    };

    let mut map = LabelMap::new(Size::new(width as u32, height as u32));
    map.labels.par_chunks_exact_mut(width).zip(&ys).for_each_init(
        || vec![0.0_f32; width],
        |best, (labels, tap)| {
            best.fill(f32::NEG_INFINITY);
            for (index, (&channel, stretch)) in shown.iter().zip(&stretch).enumerate() {
                let rows = (grid_row(index, tap.low), grid_row(index, tap.high));
                match *stretch {
                    Stretch::None => tap.compete(rows, best, labels, channel as u8, |value| value),
                    Stretch::Linear { low, span } => {
                        tap.compete(rows, best, labels, channel as u8, |value| (value - low) / span);
                    }
                    Stretch::Constant => tap.compete(rows, best, labels, channel as u8, |_| f32::INFINITY),
                }
            }
        },
    );
    map.resize_nearest(source)
}

/// What [`readout`] is, pixel by pixel with whole channels in memory: what it is tested against.
pub fn readout_plain(
    soft: &SoftLabels,
    (rows, cols): (usize, usize),
    patch: usize,
    source: Size,
    config: ReadoutConfig,
    visible: &[bool],
) -> LabelMap {
    if !fits(soft, rows, cols, patch) {
        return LabelMap::new(source);
    }
    let (height, width) = (rows * patch, cols * patch);
    let (xs, ys) = (taps(cols, patch), taps(rows, patch));
    let mut map = LabelMap::new(Size::new(width as u32, height as u32));
    let mut best = vec![f32::NEG_INFINITY; height * width];
    for channel in (0..soft.channels.min(256)).filter(|&c| visible.get(c) != Some(&false)) {
        let at = |row: usize, col: usize| soft.values[(row * cols + col) * soft.channels + channel];
        let mut values: Vec<f32> = Vec::with_capacity(height * width);
        for y in &ys {
            let row = |row: usize| xs.iter().map(move |x| x.mix(at(row, x.low), at(row, x.high)));
            values.extend(row(y.low).zip(row(y.high)).map(|(low, high)| y.mix(low, high)));
        }
        if config.min_max {
            let low = values.iter().copied().fold(f32::INFINITY, f32::min);
            let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            match Stretch::of((low, high)) {
                Stretch::None => {}
                Stretch::Linear { low, span } => values.iter_mut().for_each(|v| *v = (*v - low) / span),
                Stretch::Constant => values.fill(f32::INFINITY),
            }
        }
        for ((value, best), label) in values.into_iter().zip(&mut best).zip(&mut map.labels) {
            if value > *best {
                (*best, *label) = (value, channel as u8);
            }
        }
    }
    map.resize_nearest(source)
}

fn fits(soft: &SoftLabels, rows: usize, cols: usize, patch: usize) -> bool {
    soft.channels > 0 && rows * cols * patch > 0 && soft.values.len() == rows * cols * soft.channels
}

/// What min-max does to one channel (`norm_mask`).
#[derive(Clone, Copy)]
enum Stretch {
    /// A channel that is nowhere above zero is left as it is.
    None,
    Linear {
        low: f32,
        span: f32,
    },
    /// The same value everywhere: the script divides zero by zero, and `torch.max` takes the NaN.
    Constant,
}

impl Stretch {
    fn of((low, high): (f32, f32)) -> Self {
        match high - low {
            _ if high <= 0.0 => Self::None,
            0.0 => Self::Constant,
            span => Self::Linear { low, span },
        }
    }
}

/// Where one output pixel reads along one axis.
#[derive(Clone, Copy)]
struct Tap {
    low: usize,
    high: usize,
    weight_low: f32,
    weight_high: f32,
}

impl Tap {
    fn mix(&self, low: f32, high: f32) -> f32 {
        low * self.weight_low + high * self.weight_high
    }

    /// The smallest and the largest value of the row between `low` and `high`.
    fn range(&self, low: &[f32], high: &[f32]) -> (f32, f32) {
        // Lanes of their own, or the compiler must keep the order of comparisons.
        const LANES: usize = 16;
        let (mut min, mut max) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
        for (low, high) in low.chunks(LANES).zip(high.chunks(LANES)) {
            for (((low, high), min), max) in low.iter().zip(high).zip(&mut min).zip(&mut max) {
                let value = self.mix(*low, *high);
                *min = if value < *min { value } else { *min };
                *max = if value > *max { value } else { *max };
            }
        }
        (min.into_iter().fold(f32::INFINITY, f32::min), max.into_iter().fold(f32::NEG_INFINITY, f32::max))
    }

    /// Gives the pixels of a row to `channel` where its value, `stretched`, is above the best so far.
    fn compete(
        &self,
        (low, high): (&[f32], &[f32]),
        best: &mut [f32],
        labels: &mut [u8],
        channel: u8,
        stretched: impl Fn(f32) -> f32,
    ) {
        for (((low, high), best), label) in low.iter().zip(high).zip(best).zip(labels) {
            let value = stretched(self.mix(*low, *high));
            let wins = value > *best;
            *best = if wins { value } else { *best };
            *label = if wins { channel } else { *label };
        }
    }
}

/// The reads of `len * factor` output pixels, pixel centres aligned (`align_corners=False`).
fn taps(len: usize, factor: usize) -> Vec<Tap> {
    let scale = (1.0 / factor as f64) as f32;
    (0..len * factor)
        .map(|at| {
            let centre = (scale * (at as f32 + 0.5) - 0.5).max(0.0);
            let low = (centre as usize).min(len - 1);
            let weight_high = centre - low as f32;
            Tap { low, high: (low + 1).min(len - 1), weight_low: 1.0 - weight_high, weight_high }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIN_MAX: ReadoutConfig = ReadoutConfig { min_max: true };
    const RAW: ReadoutConfig = ReadoutConfig { min_max: false };

    fn soft(channels: usize, values: &[f32]) -> SoftLabels {
        SoftLabels { channels, values: values.to_vec() }
    }

    #[test]
    fn the_first_of_equal_channels_wins_and_hidden_ones_never() {
        let equal = soft(3, &[0.2, 0.4, 0.4]);
        let size = Size::new(2, 2);
        assert_eq!(readout(&equal, (1, 1), 2, size, RAW, &[]).labels, [1; 4]);
        assert_eq!(readout(&equal, (1, 1), 2, size, RAW, &[true, false]).labels, [2; 4]);
        assert_eq!(readout(&equal, (1, 1), 2, size, RAW, &[true, false, false]).labels, [0; 4]);
        assert_eq!(readout(&equal, (1, 1), 2, size, RAW, &[false; 3]).labels, [0; 4]);
    }

    #[test]
    fn an_object_that_fills_the_frame_is_kept_by_min_max() {
        let full = soft(2, &[0.0, 1.0, 0.0, 1.0]);
        assert_eq!(readout(&full, (1, 2), 2, Size::new(4, 2), MIN_MAX, &[]).labels, [1; 8]);
        // A constant channel becomes NaN in the script, and NaN wins in torch.max.
        let constant = soft(2, &[1.0, 0.5, 0.0, 0.5]);
        assert_eq!(readout(&constant, (1, 2), 2, Size::new(4, 2), MIN_MAX, &[]).labels, [1; 8]);
    }

    #[test]
    fn min_max_lets_a_weak_channel_win() {
        let weak = soft(2, &[1.0, 0.0, 0.7, 0.3]);
        assert_eq!(readout(&weak, (1, 2), 2, Size::new(4, 2), RAW, &[]).labels, [0; 8]);
        assert_eq!(readout(&weak, (1, 2), 2, Size::new(4, 2), MIN_MAX, &[]).labels, [0, 0, 1, 1, 0, 0, 1, 1]);
    }

    #[test]
    fn what_does_not_fit_is_background() {
        assert_eq!(readout(&soft(2, &[0.0, 1.0]), (2, 1), 2, Size::new(2, 2), RAW, &[]).labels, [0; 4]);
        assert_eq!(readout(&soft(2, &[]), (0, 0), 2, Size::new(1, 1), RAW, &[]).labels, [0]);
        assert!(readout(&soft(1, &[1.0]), (1, 1), 2, Size::new(0, 0), RAW, &[]).labels.is_empty());
    }

    proptest! {
        #[test]
        fn the_fast_way_and_the_plain_one_agree_to_the_pixel(
            (rows, cols, channels) in (1usize..9, 1usize..9, 1usize..5),
            seed in proptest::collection::vec(0u8..5, 256),
            patch in 1usize..17,
            (width, height) in (1u32..150, 1u32..150),
            min_max: bool,
            visible in proptest::collection::vec(any::<bool>(), 0..5),
        ) {
            // Few distinct values: equal channels and constant ones occur.
            let values = seed.iter().map(|v| f32::from(*v) / 4.0).take(rows * cols * channels).collect();
            let soft = SoftLabels { channels, values };
            let (size, config) = (Size::new(width, height), ReadoutConfig { min_max });
            let fast = readout(&soft, (rows, cols), patch, size, config, &visible);
            prop_assert_eq!(fast, readout_plain(&soft, (rows, cols), patch, size, config, &visible));
        }
    }

    #[test]
    #[ignore = "a timing, not a check: cargo test --release -- --ignored --nocapture readout_time"]
    fn readout_time() {
        let values = (0..34 * 60 * 6).map(|i| ((i * 7919) % 1000) as f32 / 1000.0).collect();
        let soft = SoftLabels { channels: 6, values };
        for _ in 0..5 {
            let start = std::time::Instant::now();
            let map = readout(&soft, (34, 60), 14, Size::new(854, 480), MIN_MAX, &[]);
            println!("34x60 patches of 14, 6 channels: {:?} ({})", start.elapsed(), map.labels[0]);
        }
    }
}
