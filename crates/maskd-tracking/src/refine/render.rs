//! From the labels of cells to one label per pixel.

use rayon::prelude::*;

use super::{Cells, Colours, Guide, RefineConfig, guided::Part};
use maskd_types::{
    frame::Size,
    mask::{LabelMap, SoftLabels},
};

/// One label per pixel of `source`: each visible instance's cells are smoothed along the edges of the frame, enlarged
/// bilinearly, and the largest share wins, the background having what is left of 1. A channel with
/// `visible[c] == false` never wins; channels that `visible` does not mention are visible.
pub fn render(
    soft: &SoftLabels,
    cells: &Cells,
    colours: &Colours,
    source: Size,
    config: &RefineConfig,
    visible: &[bool],
) -> LabelMap {
    let mut map = LabelMap::new(source);
    let grid = colours.grid;
    if soft.values.len() != grid.len() * soft.channels || cells.side() != colours.side || source.area() == 0 {
        return map;
    }
    let guide = (config.guided_radius > 0).then(|| Guide::new(colours, config.guided_radius, config.guided_epsilon));
    let shares: Vec<Share> = (1..soft.channels.min(256))
        .filter(|&channel| visible.get(channel) != Some(&false))
        .filter_map(|channel| Share::of(channel, soft, cells, colours, guide.as_ref()))
        .collect();
    let (rows, cols) = (grid.rows * colours.side, grid.cols * colours.side);
    let (ys, xs) = (taps(rows, source.height as usize), taps(cols, source.width as usize));
    let width = source.width as usize;
    map.labels.par_chunks_exact_mut(width).zip(&ys).for_each_init(
        || (vec![0f32; width], vec![0f32; width], Vec::new()),
        |(best, sum, line), (labels, y)| {
            best.fill(0.0);
            sum.fill(0.0);
            for share in &shares {
                share.compete(y, &xs, line, (best, sum, labels));
            }
            for ((label, best), sum) in labels.iter_mut().zip(&*best).zip(&*sum) {
                if *best <= 1.0 - *sum {
                    *label = 0;
                }
            }
        },
    );
    map
}

/// What an instance has of each cell, in the part of the picture where it has anything.
struct Share {
    channel: u8,
    part: Part,
    values: Vec<f32>,
}

impl Share {
    fn of(channel: usize, soft: &SoftLabels, cells: &Cells, colours: &Colours, guide: Option<&Guide>) -> Option<Self> {
        let (grid, side) = (colours.grid, colours.side);
        let width = grid.cols * side;
        let mut plane = vec![0f32; grid.len() * side * side];
        for (patch, row) in soft.values.chunks_exact(soft.channels).enumerate() {
            let corner = patch / grid.cols * side * width + patch % grid.cols * side;
            let own = cells.of_patch(patch).filter(|_| channel < cells.channels());
            if row[channel] == 0.0 && own.is_none() {
                continue;
            }
            for cell in 0..side * side {
                let value = own.map_or(row[channel], |own| own[cell * cells.channels() + channel]);
                // A trace is nothing: it would only widen the part that has to be filtered.
                plane[corner + cell / side * width + cell % side] = if value < 1e-3 { 0.0 } else { value };
            }
        }
        let channel = channel as u8;
        Some(match guide {
            Some(guide) => {
                let part = guide.reach(&plane)?;
                let values = guide.filter(&plane, &part);
                Self { channel, part, values }
            }
            None => Self { channel, part: Part { rows: 0..grid.rows * side, cols: 0..width }, values: plane },
        })
    }

    /// Enters the instance for one row of pixels.
    fn compete(
        &self,
        y: &Tap,
        xs: &[Tap],
        line: &mut Vec<f32>,
        (best, sum, labels): (&mut [f32], &mut [f32], &mut [u8]),
    ) {
        let Part { rows, cols } = &self.part;
        if y.high < rows.start || y.low >= rows.end {
            return;
        }
        let row = |at: usize| rows.contains(&at).then(|| &self.values[(at - rows.start) * cols.len()..][..cols.len()]);
        let (low, high) = (row(y.low), row(y.high));
        line.clear();
        line.extend((0..cols.len()).map(|i| {
            let of = |row: Option<&[f32]>| row.map_or(0.0, |row| row[i]);
            of(low) * (1.0 - y.weight) + of(high) * y.weight
        }));
        // The pixels that read inside the part.
        let first = xs.partition_point(|x| x.high < cols.start);
        let end = xs.partition_point(|x| x.low < cols.end);
        for (i, x) in xs.iter().enumerate().take(end).skip(first) {
            let at = |col: usize| if cols.contains(&col) { line[col - cols.start] } else { 0.0 };
            let value = at(x.low) * (1.0 - x.weight) + at(x.high) * x.weight;
            sum[i] += value;
            if value > best[i] {
                (best[i], labels[i]) = (value, self.channel);
            }
        }
    }
}

/// Where one pixel reads along one axis.
struct Tap {
    low: usize,
    high: usize,
    /// Of `high`.
    weight: f32,
}

/// The reads of `to` pixels over `from` cells, centres aligned.
fn taps(from: usize, to: usize) -> Vec<Tap> {
    let scale = from as f64 / to as f64;
    (0..to)
        .map(|at| {
            let centre = ((at as f64 + 0.5) * scale - 0.5).clamp(0.0, (from - 1) as f64);
            let low = centre as usize;
            Tap { low, high: (low + 1).min(from - 1), weight: (centre - low as f64) as f32 }
        })
        .collect()
}
