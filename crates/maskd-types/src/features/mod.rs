//! What the network says of one frame: a vector for each patch, and what is asked of them.

mod tokens;

use std::sync::Arc;

pub use tokens::{TokenStorage, Tokens, Unreadable};

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

/// What the network says about one frame; patches row by row, without `[CLS]`. Clones share the vectors.
///
/// The vectors lie where the network made them until somebody asks for something that needs them. [`Self::load`] is the one
/// place where that can fail: after it, everything else is there.
#[derive(Clone, Debug)]
pub struct Features {
    /// The patch grid, N = rows x cols.
    pub grid: Grid,
    /// Channels, C.
    pub dim: usize,
    tokens: Arc<Tokens>,
    discovery: Option<Arc<Tokens>>,
}

impl Features {
    /// From the normed tokens of the propagation block, L2-normalised, `(N, C)`: what labels are propagated by.
    pub fn new(grid: Grid, dim: usize, tokens: impl Into<Tokens>) -> Self {
        Self { grid, dim, tokens: Arc::new(tokens.into()), discovery: None }
    }

    /// With what instances are discovered from, L2-normalised, `(N, C)`: keys of the last block for DINO, tokens of the last
    /// block for DINOv2. Only key frames have it.
    pub fn with_discovery(self, vectors: impl Into<Tokens>) -> Self {
        Self { discovery: Some(Arc::new(vectors.into())), ..self }
    }

    /// A key frame where labels are propagated by the same vectors that instances are discovered from.
    pub fn discovered_by_tokens(self) -> Self {
        Self { discovery: Some(self.tokens.clone()), ..self }
    }

    /// Brings all vectors to the host, where they are not there yet.
    ///
    /// # Errors
    /// A device that is lost or out of memory. Nothing can be asked of these features then.
    pub fn load(&self) -> Result<(), Unreadable> {
        self.tokens.load()?;
        self.discovery.as_ref().map_or(Ok(()), |vectors| vectors.load().map(|_| ()))
    }

    /// What labels are propagated by `(N, C)`, on the host. Empty where it cannot be read, see [`Self::load`].
    pub fn tokens(&self) -> &[f32] {
        self.tokens.on_host()
    }

    /// What instances are discovered from `(N, C)`, on the host; `None` where this is no key frame.
    pub fn discovery(&self) -> Option<&[f32]> {
        self.discovery.as_ref().map(|vectors| vectors.on_host())
    }

    /// Whether there is one vector of `dim` channels for each patch of the grid, and at least one.
    pub fn fits(&self) -> bool {
        let numbers = self.grid.len() * self.dim;
        numbers > 0 && self.tokens().len() == numbers
    }

    /// Whether patches can be compared with those of `other` place by place: one grid, one width.
    pub fn comparable(&self, other: &Self) -> bool {
        (self.grid, self.dim) == (other.grid, other.dim)
    }

    /// Whether every number is one.
    pub fn is_finite(&self) -> bool {
        self.tokens().iter().chain(self.discovery().into_iter().flatten()).all(|x| x.is_finite())
    }

    /// The token of one patch `(C)`.
    ///
    /// # Panics
    /// Where there is no such patch.
    #[inline]
    pub fn patch(&self, patch: usize) -> &[f32] {
        &self.tokens()[patch * self.dim..][..self.dim]
    }

    /// The tokens of all patches, in order.
    pub fn patches(&self) -> std::slice::ChunksExact<'_, f32> {
        self.tokens().chunks_exact(self.dim.max(1))
    }

    /// The tokens of some patches, one after the other.
    ///
    /// # Panics
    /// Where there is no such patch.
    pub fn gather(&self, patches: impl Iterator<Item = usize>) -> Vec<f32> {
        let mut gathered = Vec::with_capacity(patches.size_hint().0 * self.dim);
        patches.for_each(|patch| gathered.extend_from_slice(self.patch(patch)));
        gathered
    }

    /// The mean token `(C)` of a set of patches `(N)`; `None` for an empty one.
    pub fn mean(&self, set: &[bool]) -> Option<Vec<f32>> {
        let mut sum = vec![0.0; self.dim];
        let mut n = 0;
        for (token, _) in self.patches().zip(set).filter(|(_, held)| **held) {
            sum.iter_mut().zip(token).for_each(|(s, x)| *s += x);
            n += 1;
        }
        sum.iter_mut().for_each(|s| *s /= n as f32);
        (n > 0).then_some(sum)
    }

    /// The cosine of each patch's token to `vector` `(C)`, in order.
    pub fn similarities<'a>(&'a self, vector: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
        self.patches().map(move |token| cosine(token, vector))
    }

    /// The cosine of each patch's token to that of the same place in a [`Self::comparable`] frame, in order.
    pub fn similarities_by_place<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = f32> + 'a {
        self.patches().zip(other.patches()).map(|(a, b)| cosine(a, b))
    }
}

/// Cosine of two vectors of any length; 0 with a zero vector.
#[inline]
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let (mut ab, mut aa, mut bb) = (0f32, 0f32, 0f32);
    for (a, b) in a.iter().zip(b) {
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    let length = (aa * bb).sqrt();
    if length > 0.0 { ab / length } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const GRID: Grid = Grid { rows: 1, cols: 3 };

    /// Vectors elsewhere, which counts how often they are read.
    struct Elsewhere(Arc<AtomicUsize>, Option<Vec<f32>>);

    impl TokenStorage for Elsewhere {
        fn read(self: Box<Self>) -> anyhow::Result<Vec<f32>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            self.1.ok_or_else(|| anyhow::anyhow!("the device is gone").context("copying"))
        }
    }

    fn elsewhere(vectors: Option<&[f32]>) -> (Arc<AtomicUsize>, Tokens) {
        let reads = Arc::new(AtomicUsize::new(0));
        let storage = Elsewhere(reads.clone(), vectors.map(<[f32]>::to_vec));
        (reads, Tokens::stored(storage))
    }

    #[test]
    fn vectors_are_read_once_and_never_where_nobody_looks() {
        let (ours, tokens) = elsewhere(Some(&[1.0, 0.0, 0.0, 1.0, 0.6, 0.8]));
        let (keys, discovery) = elsewhere(Some(&[0.0; 6]));
        let counts = || (ours.load(Ordering::Relaxed), keys.load(Ordering::Relaxed));
        let features = Features::new(GRID, 2, tokens).with_discovery(discovery);
        let clone = features.clone();
        assert!(features.comparable(&clone) && format!("{clone:?}").contains("grid"));
        assert_eq!(counts(), (0, 0), "nobody asked for a number");
        std::thread::scope(|scope| {
            (0..4).for_each(|_| drop(scope.spawn(|| assert!(features.fits() && clone.patch(2) == [0.6, 0.8]))));
        });
        assert_eq!(counts(), (1, 0), "clones share what was read");
        features.load().unwrap();
        clone.load().unwrap();
        assert!(clone.is_finite() && clone.discovery() == Some(&[0.0; 6]));
        assert_eq!(counts(), (1, 1));
        let (unseen, tokens) = elsewhere(Some(&[0.0; 6]));
        drop(Features::new(GRID, 2, tokens).discovered_by_tokens());
        assert_eq!(unseen.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_is_both_is_read_once() {
        let (reads, tokens) = elsewhere(Some(&[0.0; 6]));
        let features = Features::new(GRID, 2, tokens).discovered_by_tokens();
        features.load().unwrap();
        assert_eq!(features.discovery().map(<[f32]>::as_ptr), Some(features.tokens().as_ptr()));
        assert_eq!(reads.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_lost_device_is_an_error_of_load_and_no_panic_anywhere() {
        for lost in [true, false] {
            let (reads, broken) = elsewhere(None);
            let (_, fine) = elsewhere(Some(&[0.0; 6]));
            let features = if lost {
                Features::new(GRID, 2, broken).with_discovery(fine)
            } else {
                Features::new(GRID, 2, fine).with_discovery(broken)
            };
            for _ in 0..2 {
                let error = features.load().unwrap_err().to_string();
                assert_eq!(error, "reading the network's features: copying: the device is gone");
            }
            assert_eq!((features.fits(), features.is_finite()), (!lost, true));
            assert_eq!(reads.load(Ordering::Relaxed), 1, "it is not asked again");
        }
    }

    #[test]
    fn vectors_of_the_host_are_not_copied() {
        let vectors = vec![0.5; 6];
        let at = vectors.as_ptr();
        let features = Features::new(GRID, 2, vectors).discovered_by_tokens();
        features.load().unwrap();
        assert_eq!((features.tokens().as_ptr(), features.clone().tokens().as_ptr()), (at, at));
    }

    #[test]
    fn operations_are_what_they_are_called() {
        let features = Features::new(GRID, 2, vec![1.0, 0.0, 0.0, 1.0, 0.6, 0.8]);
        assert_eq!(features.gather([2, 0].into_iter()), [0.6, 0.8, 1.0, 0.0]);
        assert_eq!(features.mean(&[true, true, false]), Some(vec![0.5, 0.5]));
        assert_eq!(features.mean(&[false; 3]), None);
        assert_eq!(features.similarities(&[2.0, 0.0]).collect::<Vec<_>>(), [1.0, 0.0, 0.6]);
        let turned = Features::new(GRID, 2, vec![0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
        assert_eq!(features.similarities_by_place(&turned).collect::<Vec<_>>(), [0.0, 1.0, 0.0]);
        let nothing = Features::new(Grid { rows: 0, cols: 0 }, 0, vec![]);
        assert!(!nothing.fits() && nothing.patches().next().is_none() && nothing.mean(&[]).is_none());
    }
}
