//! The similarity graph of a frame's patches, one bit per pair, and its product with a vector.
//!
//! TokenCut's weights are 1 where two patches are alike and `FAR` where not, so a bit per pair says it all: 60 KB for
//! 700 patches where a matrix of floats takes 2 MB, and a product that looks eight columns up at once.

use rayon::prelude::*;

use super::product;

/// The weight between patches that are not alike (TokenCut, appendix): keeps the graph in one piece.
pub const FAR: f64 = 1e-5;

/// Rows of similarities computed at a time: what keeps the scratch memory independent of N x N.
const BLOCK: usize = 64;

/// An undirected graph over the patches that are still in play. A patch is its own neighbour.
pub struct Graph {
    len: usize,
    words: usize,
    /// `(len, words)`: bit `j` of row `i` says that `i` and `j` are alike.
    rows: Vec<u64>,
    /// Bit `j` says that `j` is in play.
    active: Vec<u64>,
}

impl Graph {
    /// The graph of `len` patches from their L2-normalised `features` `(len, dim)`: alike means a cosine above `tau`.
    ///
    /// A slice of another length than `len * dim` gives a graph without neighbours.
    pub fn new(features: &[f32], len: usize, dim: usize, tau: f32) -> Self {
        let words = len.div_ceil(64);
        let mut graph = Self { len, words, rows: vec![0; len * words], active: vec![0; words] };
        for i in 0..len {
            set(&mut graph.active, i);
        }
        if words > 0 && features.len() == len * dim {
            graph.rows.par_chunks_mut(BLOCK * words).enumerate().for_each(|(block, rows)| {
                compare(features, dim, block * BLOCK, rows, words, tau);
            });
            graph.mirror();
        }
        graph
    }

    /// The graph of explicit pairs, for the tests of the solver.
    #[cfg(test)]
    pub fn from_edges(len: usize, edges: &[(usize, usize)]) -> Self {
        let mut graph = Self::new(&[], len, 1, 0.0);
        for &(i, j) in edges {
            set(&mut graph.rows[i * graph.words..][..graph.words], j);
        }
        for i in 0..len {
            set(&mut graph.rows[i * graph.words..][..graph.words], i);
        }
        graph.mirror();
        graph
    }

    /// Rounding may call a pair alike in one order only: the lower index decides, so that the graph is symmetric.
    fn mirror(&mut self) {
        for i in 0..self.len {
            for j in 0..i {
                let bit = get(&self.rows[j * self.words..], i);
                put(&mut self.rows[i * self.words..], j, bit);
            }
            set(&mut self.rows[i * self.words..], i);
        }
    }

    /// Number of patches, those out of play included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Number of patches in play.
    pub fn active_count(&self) -> usize {
        self.active.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// Whether `patch` is in play.
    pub fn is_active(&self, patch: usize) -> bool {
        get(&self.active, patch)
    }

    /// Takes the patches of `set` out of play.
    pub fn remove(&mut self, set: &[bool]) {
        for patch in (0..self.len.min(set.len())).filter(|&p| set[p]) {
            put(&mut self.active, patch, false);
        }
    }

    /// Patches in play that are alike `patch`, itself included.
    pub fn neighbour_count(&self, patch: usize) -> usize {
        self.row(patch).iter().zip(&self.active).map(|(r, a)| (r & a).count_ones() as usize).sum()
    }

    /// Sum of `patch`'s weights to all patches in play.
    pub fn degree(&self, patch: usize) -> f64 {
        let near = self.neighbour_count(patch) as f64;
        near + FAR * (self.active_count() as f64 - near)
    }

    /// Takes the groups out of play that are linked to nothing else and have fewer than `least` patches: a lone odd
    /// patch is the best of all cuts, and never an object.
    pub fn remove_small_islands(&mut self, least: usize) {
        let mut left = self.active.clone();
        for start in 0..self.len {
            if !get(&left, start) {
                continue;
            }
            let mut island = vec![start];
            put(&mut left, start, false);
            let mut next = 0;
            while next < island.len() {
                let row = &self.rows[island[next] * self.words..][..self.words];
                for (w, (row, left)) in row.iter().zip(&mut left).enumerate() {
                    let mut fresh = row & *left;
                    *left &= !fresh;
                    while fresh != 0 {
                        island.push(w * 64 + fresh.trailing_zeros() as usize);
                        fresh &= fresh - 1;
                    }
                }
                next += 1;
            }
            if island.len() < least {
                island.iter().for_each(|&p| put(&mut self.active, p, false));
            }
        }
    }

    /// `out = A x` over the patches in play; `x` must be 0 elsewhere, and `out` is.
    pub fn multiply(&self, x: &[f64], out: &mut [f64]) {
        let far = FAR * x.iter().sum::<f64>();
        let bytes = self.words * 8;
        // tables[b][m] = the sum of those of x[8b..8b+8] that are set in m ("four Russians").
        let mut tables = vec![0.0; bytes * 256];
        for (b, table) in tables.chunks_exact_mut(256).enumerate() {
            for m in 1..256usize {
                let value = x.get(b * 8 + m.trailing_zeros() as usize).copied().unwrap_or(0.0);
                table[m] = table[m & (m - 1)] + value;
            }
        }
        out.par_chunks_mut(128).enumerate().for_each(|(chunk, out)| {
            for (k, out) in out.iter_mut().enumerate() {
                let i = chunk * 128 + k;
                *out = 0.0;
                if self.is_active(i) {
                    let mut near = 0.0;
                    for (w, word) in self.row(i).iter().enumerate() {
                        for (b, m) in word.to_le_bytes().into_iter().enumerate() {
                            near += tables[(w * 8 + b) * 256 + usize::from(m)];
                        }
                    }
                    *out = far + (1.0 - FAR) * near;
                }
            }
        });
    }

    fn row(&self, patch: usize) -> &[u64] {
        &self.rows[patch * self.words..][..self.words]
    }
}

/// Fills the bits of the patches from `first` on: one row of `words` for each in `rows`.
fn compare(features: &[f32], dim: usize, first: usize, rows: &mut [u64], words: usize, tau: f32) {
    let (count, len) = (rows.len() / words, features.len() / dim.max(1));
    let cosines = product::similarities(&features[first * dim..(first + count) * dim], features, dim);
    for (row, cosines) in rows.chunks_exact_mut(words).zip(cosines.chunks_exact(len)) {
        for (word, cosines) in row.iter_mut().zip(cosines.chunks(64)) {
            *word = cosines.iter().enumerate().fold(0, |word, (bit, &cos)| word | u64::from(cos > tau) << bit);
        }
    }
}

fn get(bits: &[u64], at: usize) -> bool {
    bits[at / 64] >> (at % 64) & 1 == 1
}

fn set(bits: &mut [u64], at: usize) {
    bits[at / 64] |= 1 << (at % 64);
}

fn put(bits: &mut [u64], at: usize, value: bool) {
    bits[at / 64] = bits[at / 64] & !(1 << (at % 64)) | u64::from(value) << (at % 64);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_packed_product_is_the_plain_one(
            len in 1usize..140,
            edges in prop::collection::vec((0usize..140, 0usize..140), 0..400),
            gone in prop::collection::vec(any::<bool>(), 140),
            x in prop::collection::vec(-1.0f64..1.0, 140),
        ) {
            let edges: Vec<_> = edges.into_iter().filter(|&(i, j)| i < len && j < len && i < j).collect();
            let mut graph = Graph::from_edges(len, &edges);
            graph.remove(&gone[..len]);
            let x: Vec<f64> = (0..len).map(|i| if gone[i] { 0.0 } else { x[i] }).collect();
            let mut out = vec![9.0; len];
            graph.multiply(&x, &mut out);
            for i in 0..len {
                let weight = |j| if i == j || edges.contains(&(i.min(j), i.max(j))) { 1.0 } else { FAR };
                let plain = if gone[i] { 0.0 } else { (0..len).map(|j| weight(j) * x[j]).sum() };
                prop_assert!((out[i] - plain).abs() < 1e-9, "{} {}", out[i], plain);
                let degree: f64 = (0..len).filter(|&j| !gone[j]).map(weight).sum();
                prop_assert!(gone[i] || (graph.degree(i) - degree).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn patches_are_alike_above_tau_and_islands_go() {
        // Three directions: 0..3 along x, 3..70 along y, 70 alone.
        let mut features = vec![0.0; 71 * 3];
        for p in 0..71 {
            features[p * 3
                + if p < 3 {
                    0
                } else if p < 70 {
                    1
                } else {
                    2
                }] = 1.0;
        }
        let mut graph = Graph::new(&features, 71, 3, 0.5);
        assert_eq!((graph.neighbour_count(0), graph.neighbour_count(69), graph.neighbour_count(70)), (3, 67, 1));
        graph.remove_small_islands(3);
        assert!(graph.is_active(0) && !graph.is_active(70));
        graph.remove_small_islands(4);
        assert_eq!(graph.active_count(), 67);
    }
}
