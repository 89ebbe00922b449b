//! Propagation at the price of its window: a tile of neighbouring patches is compared, in one small
//! matrix product at a time, with a strip of a context's rows that its windows can reach. Only the
//! scores of one strip and the few best of each patch are ever kept, whatever the size of the grid.

use std::{collections::HashMap, ops::Range};

use gemm::Parallelism;
use rayon::prelude::*;

use super::{ContextFrame, Match, PropagateConfig, TopMatches, comparable};
use maskd_types::{
    features::{Features, Grid},
    mask::SoftLabels,
};

/// Patches per side of a tile. A larger tile wastes work at the rim of its windows and leaves the
/// first-level cache; of a smaller one a product would not fill the vector registers.
const TILE: usize = 4;

/// The soft labels `(N, K)` of `query`, from the labels of `contexts`; K is the largest number of
/// channels among them. Contexts of another grid are left out; a patch without a match is all zero.
pub fn propagate(query: &Features, contexts: &[&ContextFrame], config: &PropagateConfig) -> SoftLabels {
    propagate_with_matches(query, contexts, config).0
}

/// As [`propagate`], with the matches.
pub fn propagate_with_matches(
    query: &Features,
    contexts: &[&ContextFrame],
    config: &PropagateConfig,
) -> (SoftLabels, TopMatches) {
    let (contexts, channels) = comparable(query, contexts);
    let mut values = vec![0.0; query.grid.len() * channels];
    let mut matches = vec![Vec::new(); query.grid.len()];
    if contexts.is_empty() {
        return (SoftLabels { channels, values }, TopMatches::from_patches(matches));
    }
    let cols = query.grid.cols;
    let finished: Vec<(Tile, Vec<Vec<Match>>)> = tiles(query.grid)
        .into_par_iter()
        .map_init(Scratch::default, |scratch, tile| {
            let matches = scratch.matches(&tile, query, &contexts, config);
            (tile, matches)
        })
        .collect();
    let place_of: HashMap<u32, &ContextFrame> =
        contexts.iter().map(|(place, memory)| (*place as u32, *memory)).collect();
    for (tile, found) in finished {
        let patches = tile.rows.flat_map(|row| tile.cols.clone().map(move |col| row * cols + col));
        for (patch, found) in patches.zip(found) {
            let out = &mut values[patch * channels..][..channels];
            for matched in &found {
                let Some(ContextFrame { labels, .. }) = place_of.get(&matched.context) else { continue };
                let labels = &labels.values[matched.source as usize * labels.channels..][..labels.channels];
                out.iter_mut().zip(labels).for_each(|(out, label)| *out += matched.weight * label);
            }
            matches[patch] = found;
        }
    }
    (SoftLabels { channels, values }, TopMatches::from_patches(matches))
}

/// Neighbouring patches that are worked on together.
struct Tile {
    rows: Range<usize>,
    cols: Range<usize>,
}

/// The grid in whole tiles, and what remains at the right and at the bottom.
fn tiles(grid: Grid) -> Vec<Tile> {
    let cut = |len: usize| (0..len).step_by(TILE).map(move |start| start..(start + TILE).min(len));
    cut(grid.rows).flat_map(|rows| cut(grid.cols).map(move |cols| Tile { rows: rows.clone(), cols })).collect()
}

/// The patches at most `radius` away from any of `range`, within `0..len`.
fn reach(range: &Range<usize>, radius: usize, len: usize) -> Range<usize> {
    range.start.saturating_sub(radius)..range.end.saturating_add(radius).min(len)
}

/// A patch that may be among the best.
struct Candidate {
    score: f32,
    context: u32,
    source: u32,
}

/// The best of one patch so far.
#[derive(Default)]
struct Best {
    /// The `top_k` largest scores, falling.
    top: Vec<f32>,
    /// All that were among the largest when they came, in order of context and place.
    candidates: Vec<Candidate>,
}

impl Best {
    fn offer(&mut self, candidate: Candidate, top_k: usize) {
        let score = candidate.score;
        if self.top.len() < top_k || score > self.top[top_k - 1] {
            let place = self.top.partition_point(|better| *better >= score);
            self.top.truncate(top_k - 1);
            self.top.insert(place, score);
        }
        self.candidates.push(candidate);
    }

    /// A score below this cannot be among the best any more.
    fn least(&self, top_k: usize) -> f32 {
        if self.top.len() < top_k { f32::NEG_INFINITY } else { self.top[top_k - 1] }
    }
}

/// What one thread works with, kept from tile to tile.
#[derive(Default)]
struct Scratch {
    /// The tile's tokens, `(C, T)`.
    tokens: Vec<f32>,
    /// Scores of one strip, `(sources, T)`.
    scores: Vec<f32>,
    /// `(T)`: [`Best::least`] of each patch, beside each other to be compared quickly.
    least: Vec<f32>,
    best: Vec<Best>,
}

impl Scratch {
    /// The matches of each of a tile's patches.
    fn matches(
        &mut self,
        tile: &Tile,
        query: &Features,
        contexts: &[(usize, &ContextFrame)],
        config: &PropagateConfig,
    ) -> Vec<Vec<Match>> {
        self.take(tile, query);
        let grid = query.grid;
        let top_k = config.top_k.clamp(1, contexts.len() * grid.len());
        let window = reach(&tile.cols, config.radius, grid.cols);
        for &(place, memory) in contexts {
            for row in reach(&tile.rows, config.radius, grid.rows) {
                let first = row * grid.cols + window.start;
                self.score(&memory.features.tokens()[first * query.dim..][..window.len() * query.dim], query.dim);
                // Rows of the tile whose window holds this row of the context.
                let rows = reach(&(row..row + 1), config.radius, grid.rows);
                let rows = rows.start.max(tile.rows.start)..rows.end.min(tile.rows.end);
                for (nth, col) in window.clone().enumerate() {
                    let cols = reach(&(col..col + 1), config.radius, grid.cols);
                    let cols = cols.start.max(tile.cols.start)..cols.end.min(tile.cols.end);
                    for target_row in rows.clone() {
                        let from = (target_row - tile.rows.start) * tile.cols.len() + cols.start - tile.cols.start;
                        self.select(nth, from..from + cols.len(), place, first + nth, top_k);
                    }
                }
            }
        }
        self.weighed(config.temperature)
    }

    /// Lays out the tile's tokens and forgets the tile before.
    fn take(&mut self, tile: &Tile, query: &Features) {
        let places = tile.rows.len() * tile.cols.len();
        self.tokens.clear();
        self.tokens.resize(places * query.dim, 0.0);
        for (place, patch) in
            tile.rows.clone().flat_map(|row| tile.cols.clone().map(move |col| row * query.grid.cols + col)).enumerate()
        {
            let token = query.patch(patch);
            for (channel, value) in token.iter().enumerate() {
                self.tokens[channel * places + place] = *value;
            }
        }
        self.least.clear();
        self.least.resize(places, f32::NEG_INFINITY);
        self.best.resize_with(places, Best::default);
        for best in &mut self.best {
            best.top.clear();
            best.candidates.clear();
        }
    }

    /// Compares the tile's patches with those of `strip` `(sources, C)`.
    fn score(&mut self, strip: &[f32], dim: usize) {
        let (places, sources) = (self.least.len(), strip.len() / dim);
        self.scores.resize(places * sources, 0.0);
        assert!(self.tokens.len() == places * dim && strip.len() == sources * dim, "This is a bug.");
        // SAFETY: the three buffers have the sizes that the strides below walk, as asserted, and the
        // destination overlaps neither operand.
        unsafe {
            gemm::gemm(
                places,
                sources,
                dim,
                self.scores.as_mut_ptr(),
                places as isize,
                1,
                false,
                self.tokens.as_ptr(),
                places as isize,
                1,
                strip.as_ptr(),
                dim as isize,
                1,
                0.0,
                1.0,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    }

    /// Offers the strip's `nth` patch, which is `source` in `context`, to the tile's patches `places`.
    fn select(&mut self, nth: usize, places: Range<usize>, context: usize, source: usize, top_k: usize) {
        let scores = &self.scores[nth * self.least.len()..][..self.least.len()];
        for place in places {
            let score = scores[place];
            if score >= self.least[place] {
                let best = &mut self.best[place];
                best.offer(Candidate { score, context: context as u32, source: source as u32 }, top_k);
                self.least[place] = best.least(top_k);
            }
        }
    }

    /// Weighs the best.
    fn weighed(&self, temperature: f32) -> Vec<Vec<Match>> {
        let weighed = |(best, &least): (&Best, &f32)| {
            // The largest exponent is 0: no temperature overflows.
            let Some(&highest) = best.top.first() else { return Vec::new() };
            let weigh = |score: f32| ((score - highest) / temperature).exp();
            let kept = || best.candidates.iter().filter(|candidate| candidate.score >= least);
            let sum: f32 = kept().map(|candidate| weigh(candidate.score)).sum();
            // Not so for scores that are infinite: nothing can be said then.
            if sum.is_nan() {
                return Vec::new();
            }
            kept()
                .map(|&Candidate { score, context, source }| Match { context, source, weight: weigh(score) / sum })
                .collect()
        };
        self.best.iter().zip(&self.least).map(weighed).collect()
    }
}
