//! The leading eigenvectors of the normalised cut, by Lanczos iteration: no dense solver, no random numbers.
//!
//! The relaxed normalised cut (Shi and Malik 2000) wants the smallest eigenvectors of `(D-A)v = lambda D v`.
//! With `v = D^-1/2 y` they are the largest of `M = D^-1/2 A D^-1/2`, whose largest is known, `D^1/2 1`, so it is
//! projected away and the largest of the rest are iterated for.

use super::graph::Graph;

/// Most Lanczos steps: real frames need 40 to 80.
const STEPS: usize = 96;
/// Fewest Lanczos steps: a start vector that is almost orthogonal to a leading vector makes a later one converge first,
/// and only further steps bring the missing one out.
const LEAST_STEPS: usize = 24;
/// The residual `|M y - theta y|` at which a vector is good enough to tell groups of patches apart.
const TOLERANCE: f64 = 1e-3;
/// Vectors of eigenvalues below this are noise: within a group whose patches are all alike every other value is 0.
const LEAST_VALUE: f64 = 2e-3;

/// Up to `wanted` leading vectors `v` `(N)` of the patches in play, 0 elsewhere, of the largest eigenvalue first; the
/// first is constant. Their signs mean nothing. Empty with fewer than three patches in play.
pub fn leading_vectors(graph: &Graph, wanted: usize) -> Vec<Vec<f64>> {
    let active = graph.active_count();
    if active < 3 || wanted == 0 {
        return Vec::new();
    }
    let root: Vec<f64> =
        (0..graph.len()).map(|i| if graph.is_active(i) { 1.0 / graph.degree(i).sqrt() } else { 0.0 }).collect();
    let mut known: Vec<f64> = root.iter().map(|&r| if r > 0.0 { 1.0 / r } else { 0.0 }).collect();
    if normalise(&mut known).is_none() {
        return Vec::new();
    }
    let mut vectors = vec![known.clone()];
    let apply = |y: &[f64]| {
        let scaled: Vec<f64> = y.iter().zip(&root).map(|(y, r)| y * r).collect();
        let mut out = vec![0.0; y.len()];
        graph.multiply(&scaled, &mut out);
        out.iter_mut().zip(&root).for_each(|(o, r)| *o *= r);
        out
    };
    let fresh = |salt: usize| -> Vec<f64> {
        (0..graph.len()).map(|i| if root[i] > 0.0 { start((salt * graph.len() + i) as u64) } else { 0.0 }).collect()
    };
    vectors.extend(lanczos(&apply, &fresh, known, active, wanted.min(active) - 1));
    for v in &mut vectors {
        v.iter_mut().zip(&root).for_each(|(v, r)| *v *= r);
    }
    vectors
}

/// The top `wanted` Ritz vectors of what `apply` does, orthogonal to `known`, within a space of `room` dimensions.
fn lanczos(
    apply: &dyn Fn(&[f64]) -> Vec<f64>,
    fresh: &dyn Fn(usize) -> Vec<f64>,
    known: Vec<f64>,
    room: usize,
    wanted: usize,
) -> Vec<Vec<f64>> {
    let len = known.len();
    // The known vector is the first of the basis, so that all others stay orthogonal to it.
    let mut basis = vec![known];
    let (mut diagonal, mut beside) = (Vec::new(), Vec::<f64>::new());
    let most = STEPS.max(2 * wanted).min(room - 1);
    let mut next = fresh(0);
    let mut scale = 0.0;
    while diagonal.len() < most && wanted > 0 {
        let size = orthogonalise(&mut next, &basis);
        // An invariant subspace is exhausted (islands, equal eigenvalues): go on from a new direction.
        if size <= 1e-10 {
            next = fresh(basis.len());
            if orthogonalise(&mut next, &basis) <= 1e-10 {
                break;
            }
            scale = 0.0;
        }
        if !diagonal.is_empty() {
            beside.push(scale);
        }
        let mut image = apply(&next);
        diagonal.push(dot(&image, &next));
        basis.push(std::mem::take(&mut next));
        scale = orthogonalise_keeping(&mut image, &basis);
        next = image;
        let steps = diagonal.len();
        if steps % 8 == 0 && steps >= LEAST_STEPS.max(wanted + 1) && scale > 1e-10 {
            let ritz = tridiagonal(&diagonal, &beside);
            if ritz.iter().take(wanted).all(|(_, s)| scale * s[steps - 1].abs() < TOLERANCE) {
                break;
            }
        }
    }
    let ritz = tridiagonal(&diagonal, &beside);
    ritz.iter()
        .take(wanted)
        .filter(|(value, _)| *value >= LEAST_VALUE)
        .map(|(_, s)| {
            let mut y = vec![0.0; len];
            for (b, s) in basis[1..].iter().zip(s) {
                y.iter_mut().zip(b).for_each(|(y, b)| *y += s * b);
            }
            y
        })
        .collect()
}

/// Eigenvalues, largest first, and unit eigenvectors of a symmetric tridiagonal matrix, by QL with implicit shifts
/// (Wilkinson and Reinsch 1971).
fn tridiagonal(diagonal: &[f64], beside: &[f64]) -> Vec<(f64, Vec<f64>)> {
    let n = diagonal.len();
    let mut d = diagonal.to_vec();
    let mut e = beside.to_vec();
    e.resize(n, 0.0);
    // Row `k` is the eigenvector of `d[k]`.
    let mut z: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| f64::from(i == j)).collect()).collect();
    for l in 0..n {
        for _ in 0..60 {
            let negligible = |k: usize| e[k].abs() <= f64::EPSILON * (d[k].abs() + d[k + 1].abs());
            let m = (l..n - 1).find(|&k| negligible(k)).unwrap_or(n - 1);
            if m == l {
                break;
            }
            let g = (d[l + 1] - d[l]) / (2.0 * e[l]);
            let mut g = d[m] - d[l] + e[l] / (g + g.hypot(1.0).copysign(g));
            let (mut s, mut c, mut p) = (1.0, 1.0, 0.0);
            let mut underflow = false;
            for i in (l..m).rev() {
                let (f, b) = (s * e[i], c * e[i]);
                let r = f.hypot(g);
                e[i + 1] = r;
                if r == 0.0 {
                    d[i + 1] -= p;
                    e[m] = 0.0;
                    underflow = true;
                    break;
                }
                (s, c) = (f / r, g / r);
                let shifted = d[i + 1] - p;
                let r = (d[i] - shifted) * s + 2.0 * c * b;
                p = s * r;
                d[i + 1] = shifted + p;
                g = c * r - b;
                let (low, high) = z.split_at_mut(i + 1);
                for (a, b) in low[i].iter_mut().zip(&mut high[0]) {
                    (*a, *b) = (c * *a - s * *b, s * *a + c * *b);
                }
            }
            if !underflow {
                d[l] -= p;
                e[l] = g;
                e[m] = 0.0;
            }
        }
    }
    let mut pairs: Vec<_> = d.into_iter().zip(z).collect();
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    pairs
}

/// A fixed start without symmetry (the mixer of SplitMix64), in -1..1.
fn start(i: u64) -> f64 {
    let mut z = (i + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// Eight sums side by side, which the compiler can vectorise.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (head, tail) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = head.remainder().iter().zip(tail.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in head.zip(tail) {
        for k in 0..8 {
            sums[k] += a[k] * b[k];
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// Makes `x` orthogonal to the unit vectors of `basis`; its length then.
fn orthogonalise_keeping(x: &mut [f64], basis: &[Vec<f64>]) -> f64 {
    let before = dot(x, x).sqrt();
    for pass in 0..2 {
        for unit in basis {
            let along = dot(x, unit);
            x.iter_mut().zip(unit).for_each(|(x, u)| *x -= along * u);
        }
        // Rounding lets found vectors creep back in where little is left: then once more.
        if pass == 0 && dot(x, x).sqrt() > 0.1 * before {
            break;
        }
    }
    dot(x, x).sqrt()
}

/// Makes `x` a unit vector orthogonal to `basis`; what its length was before.
fn orthogonalise(x: &mut [f64], basis: &[Vec<f64>]) -> f64 {
    let size = orthogonalise_keeping(x, basis);
    if normalise(x).is_some() { size } else { 0.0 }
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
        fn they_are_the_dense_solvers(
            len in 4usize..48,
            wanted in 1usize..7,
            edges in prop::collection::vec((0usize..48, 0usize..48), 0..150),
            gone in prop::collection::vec(prop::bool::weighted(0.1), 48),
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
            let found = leading_vectors(&graph, wanted);
            prop_assert!(!found.is_empty() && found.len() <= wanted.min(kept.len()));
            let ys: Vec<Vec<f64>> = found.iter().map(|v| {
                kept.iter().map(|&i| v[i] * graph.degree(i).sqrt()).collect()
            }).collect();
            for (k, y) in ys.iter().enumerate() {
                for i in 0..len {
                    prop_assert!(!gone[i] || found[k][i] == 0.0);
                }
                for (l, other) in ys.iter().enumerate() {
                    prop_assert!((dot(y, other) - f64::from(k == l)).abs() < 1e-8, "not orthonormal");
                }
                let my: Vec<f64> = m.iter().map(|row| dot(row, y)).collect();
                let value = dot(y, &my);
                // Of equal eigenvalues one may be missed: never more than the dense solver's, and the first is it.
                prop_assert!(value < pairs[k].0 + 1e-9, "{k}: {value} for {}", pairs[k].0);
                prop_assert!(k > 1 || value > pairs[k].0 - TOLERANCE, "{k}: {value} for {}", pairs[k].0);
                let residual = my.iter().zip(y).map(|(a, b)| (a - value * b).powi(2)).sum::<f64>().sqrt();
                prop_assert!(residual < 2.0 * TOLERANCE, "{k}: {residual}");
            }
        }
    }

    /// After eight steps the second vector of this graph had converged and the first had not been seen: the start is
    /// almost orthogonal to it.
    #[test]
    fn a_later_vector_that_converges_first_does_not_hide_the_leading_one() {
        let edges =
            [(4, 6), (11, 12), (1, 3), (2, 6), (6, 7), (6, 13), (0, 11), (7, 10), (6, 8), (9, 11), (2, 9), (3, 9)];
        let mut graph = Graph::from_edges(16, &edges);
        let gone: Vec<bool> = (0..16).map(|i| i == 5 || i == 14).collect();
        graph.remove(&gone);
        let v = &leading_vectors(&graph, 2)[1];
        // Patch 15 is linked to nothing: cutting it off is the cheapest cut.
        let rest = (0..16).filter(|&i| !gone[i] && i != 15).map(|i| v[i].abs()).fold(0.0, f64::max);
        assert!(v[15].abs() > 10.0 * rest, "{v:?}");
    }

    #[test]
    fn three_groups_with_bridges_are_told_apart() {
        let mut edges = vec![(9, 10), (19, 20)];
        for base in [0, 10, 20] {
            edges.extend((0..10).flat_map(|i| (i + 1..10).map(move |j| (base + i, base + j))));
        }
        let v = leading_vectors(&Graph::from_edges(30, &edges), 3);
        let apart = |i: usize, j: usize| v.iter().map(|v| (v[i] - v[j]).powi(2)).sum::<f64>();
        assert!(apart(2, 5) < 1e-4 && apart(2, 12) > 1e-3 && apart(12, 22) > 1e-3, "{v:?}");
        assert_eq!(v, leading_vectors(&Graph::from_edges(30, &edges), 3), "not deterministic");
        assert!(leading_vectors(&Graph::from_edges(2, &[]), 3).is_empty());
    }
}
