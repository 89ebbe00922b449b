//! Smooths a plane along the edges of a picture: the u that makes
//! `sum |u - f|^2 / 2 + sum w |u(x) - u(y)|` over neighbours x, y least (Rudin, Osher, Fatemi 1992), where w is small across
//! an edge. For every t, `u > t` is then the least cut for `f - t` (Chambolle 2005), so this is a minimal cut without a graph.
//! Solved in its dual by the accelerated projected gradient of Beck and Teboulle 2009.

/// Steps of the solver: more change no pixel that matters.
const STEPS: usize = 60;
/// The gradient of the dual has a Lipschitz constant of 8.
const STEP: f32 = 1.0 / 8.0;

/// How much it costs that neighbours differ, for each pair of them.
pub struct Weights {
    /// Cells in a row.
    pub width: usize,
    /// Between a cell and the one to its right `(height, width)`; the last of a row is not used.
    pub across: Vec<f32>,
    /// Between a cell and the one below it `(height, width)`; the last row is not used.
    pub down: Vec<f32>,
}

impl Weights {
    /// Neighbours of the colours `(height, width)`: as far apart as the mean pair is costs 1/e of `most`, far more `floor`
    /// of it. Without colours, all cost `most`.
    pub fn new(colours: Option<&[Vec<f32>; 3]>, (height, width): (usize, usize), most: f32, floor: f32) -> Self {
        let apart = |a: usize, b: usize| {
            colours.map_or(0.0, |planes| planes.iter().map(|plane| (plane[a] - plane[b]).powi(2)).sum::<f32>())
        };
        let pairs = |step: usize, last: &dyn Fn(usize) -> bool| -> Vec<f32> {
            (0..height * width).map(|i| if last(i) { 0.0 } else { apart(i, i + step) }).collect()
        };
        let mut across = pairs(1, &|i| i % width + 1 == width);
        let mut down = pairs(width, &|i| i / width + 1 == height);
        let mean = |values: &[f32], count: usize| values.iter().sum::<f32>() / count.max(1) as f32;
        let typical = mean(&across, height * width.saturating_sub(1)) + mean(&down, height.saturating_sub(1) * width);
        for weight in across.iter_mut().chain(&mut down) {
            *weight = most * (floor + (1.0 - floor) * (-*weight / (typical + 1e-6)).exp());
        }
        Self { width, across, down }
    }
}

/// The smoothed plane; see the head of this file.
pub fn smooth(plane: &[f32], weights: &Weights) -> Vec<f32> {
    let (width, len) = (weights.width, plane.len());
    let height = len / width.max(1);
    let mut flow = [vec![0f32; len], vec![0f32; len]];
    let mut ahead = flow.clone();
    let mut momentum = 1f32;
    let mut u = plane.to_vec();
    for _ in 0..STEPS {
        add_divergence(&mut u, plane, &ahead, width);
        let next = 0.5 * (1.0 + (1.0 + 4.0 * momentum * momentum).sqrt());
        let keep = (momentum - 1.0) / next;
        momentum = next;
        let move_on = |flow: &mut f32, ahead: &mut f32, difference: f32, limit: f32| {
            let moved = (*ahead + STEP * difference).clamp(-limit, limit);
            *ahead = moved + keep * (moved - *flow);
            *flow = moved;
        };
        let ([across, down], [across_ahead, down_ahead]) = (&mut flow, &mut ahead);
        for row in 0..height {
            let (start, end) = (row * width, (row + 1) * width);
            let (a, b) = (&u[start..end - 1], &u[start + 1..end]);
            let flows = across[start..end].iter_mut().zip(&mut across_ahead[start..end]);
            for (((flow, ahead), limit), (a, b)) in flows.zip(&weights.across[start..end]).zip(a.iter().zip(b)) {
                move_on(flow, ahead, b - a, *limit);
            }
            if row + 1 < height {
                let (a, b) = (&u[start..end], &u[end..end + width]);
                let flows = down[start..end].iter_mut().zip(&mut down_ahead[start..end]);
                for (((flow, ahead), limit), (a, b)) in flows.zip(&weights.down[start..end]).zip(a.iter().zip(b)) {
                    move_on(flow, ahead, b - a, *limit);
                }
            }
        }
    }
    add_divergence(&mut u, plane, &flow, width);
    u
}

/// `u = plane + what flows into each cell less what flows out`.
fn add_divergence(u: &mut [f32], plane: &[f32], [across, down]: &[Vec<f32>; 2], width: usize) {
    for (i, (u, plane)) in u.chunks_exact_mut(width).zip(plane.chunks_exact(width)).enumerate() {
        let row = i * width;
        let (across, down) = (&across[row..row + width], &down[row..row + width]);
        for ((u, plane), (out, below)) in u.iter_mut().zip(plane).zip(across.iter().zip(down)) {
            *u = plane + out + below;
        }
        u[1..].iter_mut().zip(across).for_each(|(u, flow)| *u -= flow);
    }
    for row in 1..u.len() / width.max(1) {
        let above = &down[(row - 1) * width..row * width];
        u[row * width..][..width].iter_mut().zip(above).for_each(|(u, flow)| *u -= flow);
    }
}
