//! The second eigenvector of the normalised cut, by Lanczos iteration: no dense solver, no random numbers.
//!
//! The relaxed normalised cut (Shi and Malik 2000) wants the second smallest eigenvector of `(D-A)v = lambda D v`.
//! With `v = D^-1/2 y` it is the second largest of `M = D^-1/2 A D^-1/2`, whose largest is known, `D^1/2 1`, so it is
//! projected away and the largest of the rest is iterated for.

use super::graph::Graph;

/// Lanczos steps before a restart from the best vector so far.
const STEPS: usize = 96;
/// Restarts; the graphs of real frames need none.
const RESTARTS: usize = 6;
/// The residual `|M y - theta y|` at which it is good enough.
const TOLERANCE: f64 = 1e-8;

/// The second eigenvector `v` `(N)` of the patches in play, 0 elsewhere; its sign and length mean nothing.
/// `None` with fewer than three patches in play.
pub fn second_eigenvector(graph: &Graph) -> Option<Vec<f64>> {
    if graph.active_count() < 3 {
        return None;
    }
    let root: Vec<f64> =
        (0..graph.len()).map(|i| if graph.is_active(i) { 1.0 / graph.degree(i).sqrt() } else { 0.0 }).collect();
    let mut known: Vec<f64> = root.iter().map(|&r| if r > 0.0 { 1.0 / r } else { 0.0 }).collect();
    normalise(&mut known)?;
    let apply = |y: &[f64]| {
        let scaled: Vec<f64> = y.iter().zip(&root).map(|(y, r)| y * r).collect();
        let mut out = vec![0.0; y.len()];
        graph.multiply(&scaled, &mut out);
        out.iter_mut().zip(&root).for_each(|(o, r)| *o *= r);
        out
    };
    let mut best: Vec<f64> = (0..graph.len()).map(|i| if root[i] > 0.0 { start(i as u64) } else { 0.0 }).collect();
    for _ in 0..RESTARTS {
        remove(&mut best, &known);
        normalise(&mut best)?;
        let (y, residual) = lanczos(&apply, &best, &known);
        best = y;
        if residual < TOLERANCE {
            break;
        }
    }
    Some(best.iter().zip(&root).map(|(y, r)| y * r).collect())
}

/// One run of Lanczos from unit `start` with full reorthogonalisation: the top Ritz vector and its residual.
fn lanczos(apply: &dyn Fn(&[f64]) -> Vec<f64>, start: &[f64], known: &[f64]) -> (Vec<f64>, f64) {
    let mut basis = vec![start.to_vec()];
    let (mut diagonal, mut beside) = (Vec::new(), Vec::<f64>::new());
    let (ritz, residual) = loop {
        let last = &basis[basis.len() - 1];
        let mut next = apply(last);
        diagonal.push(dot(&next, last));
        // Twice: rounding lets the known vector and found ones creep back in.
        for _ in 0..2 {
            remove(&mut next, known);
            basis.iter().for_each(|b| remove(&mut next, b));
        }
        let beta = dot(&next, &next).sqrt();
        let exhausted = beta < 1e-12 || diagonal.len() == STEPS;
        if exhausted || diagonal.len() % 8 == 0 {
            let ritz = top_of_tridiagonal(&diagonal, &beside);
            let residual = beta * ritz[ritz.len() - 1].abs();
            if exhausted || residual < TOLERANCE {
                break (ritz, residual);
            }
        }
        next.iter_mut().for_each(|x| *x /= beta);
        beside.push(beta);
        basis.push(next);
    };
    let mut y = vec![0.0; start.len()];
    for (b, s) in basis.iter().zip(&ritz) {
        y.iter_mut().zip(b).for_each(|(y, b)| *y += s * b);
    }
    (y, residual)
}

/// The unit eigenvector of the largest eigenvalue of a symmetric tridiagonal matrix: bisection by Sturm's count for
/// the value, inverse iteration from just above it for the vector.
fn top_of_tridiagonal(diagonal: &[f64], beside: &[f64]) -> Vec<f64> {
    let n = diagonal.len();
    let off = |i: usize| beside.get(i).copied().unwrap_or(0.0);
    let reach = |i: usize| off(i).abs() + if i > 0 { off(i - 1).abs() } else { 0.0 };
    let bound = |sign: f64| (0..n).map(|i| sign * diagonal[i] + reach(i)).fold(f64::MIN, f64::max);
    let (mut low, mut high) = (-bound(-1.0), bound(1.0));
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        // Every pivot of T - middle is negative exactly when no eigenvalue lies above.
        let mut pivot = diagonal[0] - middle;
        let mut all_below = pivot < 0.0;
        for (i, d) in diagonal.iter().enumerate().skip(1) {
            pivot = d - middle - off(i - 1).powi(2) / pivot;
            all_below &= pivot < 0.0;
        }
        if all_below { high = middle } else { low = middle }
    }
    let shift = high + 1e-14 * high.abs().max(1.0);
    let mut x = vec![1.0; n];
    for _ in 0..4 {
        let mut pivots = vec![diagonal[0] - shift; n];
        for i in 1..n {
            pivots[i] = diagonal[i] - shift - off(i - 1).powi(2) / pivots[i - 1];
            x[i] -= off(i - 1) / pivots[i - 1] * x[i - 1];
        }
        x[n - 1] /= pivots[n - 1];
        for i in (0..n - 1).rev() {
            x[i] = (x[i] - off(i) * x[i + 1]) / pivots[i];
        }
        if normalise(&mut x).is_none() {
            x = vec![1.0; n];
        }
    }
    x
}

/// A fixed start without symmetry (the mixer of SplitMix64), in -1..1.
fn start(i: u64) -> f64 {
    let mut z = (i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn remove(x: &mut [f64], unit: &[f64]) {
    let along = dot(x, unit);
    x.iter_mut().zip(unit).for_each(|(x, u)| *x -= along * u);
}

fn normalise(x: &mut [f64]) -> Option<()> {
    let length = dot(x, x).sqrt();
    (length.is_normal()).then(|| x.iter_mut().for_each(|x| *x /= length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::discover::graph::FAR;

    /// Eigenvalues and vectors of a symmetric matrix by Jacobi's rotations: the naive dense twin.
    fn jacobi(mut a: Vec<Vec<f64>>) -> Vec<(f64, Vec<f64>)> {
        let n = a.len();
        let mut v: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| f64::from(i == j)).collect()).collect();
        for _ in 0..100 {
            for p in 0..n {
                for q in p + 1..n {
                    if a[p][q].abs() < 1e-18 {
                        continue;
                    }
                    let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
                    let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                    let t = if theta == 0.0 { 1.0 } else { t };
                    let c = 1.0 / (t * t + 1.0).sqrt();
                    let s = t * c;
                    for row in &mut a {
                        (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
                    }
                    for k in 0..n {
                        (a[p][k], a[q][k]) = (c * a[p][k] - s * a[q][k], s * a[p][k] + c * a[q][k]);
                        (v[k][p], v[k][q]) = (c * v[k][p] - s * v[k][q], s * v[k][p] + c * v[k][q]);
                    }
                }
            }
        }
        let mut pairs: Vec<_> = (0..n).map(|j| (a[j][j], (0..n).map(|i| v[i][j]).collect())).collect();
        pairs.sort_by(|x: &(f64, Vec<f64>), y| y.0.total_cmp(&x.0));
        pairs
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn it_is_the_dense_solvers(
            len in 4usize..28,
            edges in prop::collection::vec((0usize..28, 0usize..28), 0..150),
            gone in prop::collection::vec(prop::bool::weighted(0.1), 28),
        ) {
            let edges: Vec<_> = edges.into_iter().filter(|&(i, j)| i < len && j < len && i < j).collect();
            let mut graph = Graph::from_edges(len, &edges);
            graph.remove(&gone[..len]);
            let kept: Vec<usize> = (0..len).filter(|&i| !gone[i]).collect();
            prop_assume!(kept.len() >= 3);
            let m: Vec<Vec<f64>> = kept.iter().map(|&i| kept.iter().map(|&j| {
                let near = i == j || edges.contains(&(i.min(j), i.max(j)));
                (if near { 1.0 } else { FAR }) / (graph.degree(i) * graph.degree(j)).sqrt()
            }).collect()).collect();
            let pairs = jacobi(m.clone());
            let found = second_eigenvector(&graph).unwrap();
            for i in 0..len {
                prop_assert!(!gone[i] || found[i] == 0.0);
            }
            let mut y: Vec<f64> = kept.iter().map(|&i| found[i] * graph.degree(i).sqrt()).collect();
            normalise(&mut y).unwrap();
            let my: Vec<f64> = m.iter().map(|row| dot(row, &y)).collect();
            prop_assert!((dot(&y, &my) - pairs[1].0).abs() < 1e-7, "{} for {}", dot(&y, &my), pairs[1].0);
            // Eigenvalues may coincide: what must hold is that y lies in the eigenspace.
            let inside: f64 = pairs.iter().skip(1).filter(|p| (p.0 - pairs[1].0).abs() < 1e-5)
                .map(|p| dot(&p.1, &y).powi(2)).sum();
            prop_assert!(inside > 1.0 - 1e-6, "{inside}");
        }
    }

    #[test]
    fn two_groups_with_a_bridge_get_opposite_signs() {
        let mut edges = vec![(9, 10)];
        for base in [0, 10] {
            edges.extend((0..10).flat_map(|i| (i + 1..10).map(move |j| (base + i, base + j))));
        }
        let v = second_eigenvector(&Graph::from_edges(20, &edges)).unwrap();
        assert!((0..10).all(|i| v[i] * v[19 - i] < 0.0), "{v:?}");
        assert_eq!(v, second_eigenvector(&Graph::from_edges(20, &edges)).unwrap(), "not deterministic");
    }

    #[test]
    fn a_long_chain_converges() {
        // The smallest gap of all: lambda_2 ~ 1/n^2.
        let edges: Vec<_> = (0..299).map(|i| (i, i + 1)).collect();
        let v = second_eigenvector(&Graph::from_edges(300, &edges)).unwrap();
        assert!((0..150).all(|i| v[i] * v[299 - i] < 0.0));
    }
}
