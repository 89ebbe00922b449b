//! Connected pixels by runs: what is alike and side by side in a row is one run, and runs that touch from row to row are one set.
//! An even picture has a run for each row, where one pixel after the other would be asked for its neighbours.

use std::ops::Range;

/// Pixels of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Row.
    pub y: usize,
    /// Columns.
    pub x: Range<usize>,
    /// Its set, counted from 0 in the order of their first pixels.
    pub set: usize,
}

/// The runs of pixels of `mask` `(height, width)` that are `value`, row by row, and the number of sets; runs touch by `corners`,
/// or by sides only.
pub fn sets(mask: &[bool], width: usize, value: bool, corners: bool) -> (Vec<Run>, usize) {
    let mut runs: Vec<Run> = Vec::new();
    // Until the end a run's set is the index of an earlier run of it, or its own.
    let mut above = 0..0;
    let reach = usize::from(corners);
    for (y, row) in mask.chunks_exact(width.max(1)).enumerate() {
        let first = runs.len();
        let mut candidate = above.start;
        let mut x = 0;
        while let Some(start) = row[x..].iter().position(|set| *set == value).map(|by| x + by) {
            let end = row[start..].iter().position(|set| *set != value).map_or(width, |by| start + by);
            let at = runs.len();
            runs.push(Run { y, x: start..end, set: at });
            while candidate < above.end && runs[candidate].x.end + reach <= start {
                candidate += 1;
            }
            // The last that touches may touch the next run, too.
            let mut touching = candidate;
            while touching < above.end && runs[touching].x.start < end + reach {
                join(&mut runs, touching, at);
                touching += 1;
            }
            x = end;
        }
        above = first..runs.len();
    }
    let mut count = 0;
    for at in 0..runs.len() {
        // An earlier run has its final number by now.
        let earlier = runs[at].set;
        runs[at].set = if earlier == at { count } else { runs[earlier].set };
        count += usize::from(earlier == at);
    }
    (runs, count)
}

/// Makes the sets of two runs one, named by the earliest run.
fn join(runs: &mut [Run], a: usize, b: usize) {
    let (a, b) = (root(runs, a), root(runs, b));
    runs[a.max(b)].set = a.min(b);
}

fn root(runs: &mut [Run], of: usize) -> usize {
    let mut at = of;
    while runs[at].set != at {
        runs[at].set = runs[runs[at].set].set;
        at = runs[at].set;
    }
    at
}
