//! What the network computes of one frame: a feature vector for each patch.

/// The patch grid of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Patches from top to bottom.
    pub rows: usize,
    /// Patches from left to right.
    pub cols: usize,
}

impl Grid {
    /// Number of patches, N.
    pub const fn len(self) -> usize {
        self.rows * self.cols
    }

    /// Whether there is no patch.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// What the network says about one frame; patches row by row, without `[CLS]`.
#[derive(Clone, Debug)]
pub struct Features {
    /// The patch grid, N = rows x cols.
    pub grid: Grid,
    /// Channels, C.
    pub dim: usize,
    /// Normed tokens of the propagation block, L2-normalised, `(N, C)`: what labels are propagated by.
    pub tokens: Vec<f32>,
    /// What instances are discovered from, L2-normalised, `(N, C)`: keys of the last block for DINO,
    /// tokens of the last block for DINOv2. Computed only for key frames (`None` otherwise).
    pub discovery: Option<Vec<f32>>,
}

impl Features {
    /// Whether every number is one.
    pub fn is_finite(&self) -> bool {
        self.tokens.iter().chain(self.discovery.iter().flatten()).all(|x| x.is_finite())
    }
}
