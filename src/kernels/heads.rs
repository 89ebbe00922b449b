//! Queries, keys and values of all heads, laid out as attention reads them.

use super::{simd::Isa, tile::VECTORS};

/// Queries that go through a block of keys together: whole tiles of scores (8 or 4 rows) and of values (6 rows).
pub(super) const GROUP: usize = 24;
/// Keys of a block, about: the scores of a group stay in the first-level cache or near it.
const KEYS: usize = 480;

/// The layout, for one size of image. Heads follow each other, image by image; one head is its queries (tokens, d),
/// scaled; its keys, in panels of (d, key_panel); its values, in panels of (tokens, value_panel). What pads a panel is
/// never looked at.
#[derive(Clone, Copy)]
pub(super) struct Heads {
    pub(super) tokens: usize,
    pub(super) heads: usize,
    pub(super) head_dim: usize,
    /// Keys of a panel.
    pub(super) key_panel: usize,
    /// Channels of a panel of values.
    pub(super) value_panel: usize,
    /// What queries are multiplied by: 1 / sqrt d, and log2 e, since scores are powers of two here.
    pub(super) scale: f32,
}

impl Heads {
    pub(super) fn new(isa: Isa, tokens: usize, heads: usize, head_dim: usize) -> Self {
        let lanes = isa.lanes();
        let value_panel = if isa.has_many_registers() { 4 * lanes } else { 2 * lanes };
        let scale = std::f32::consts::LOG2_E / (head_dim as f32).sqrt();
        Self { tokens, heads, head_dim, key_panel: VECTORS * lanes, value_panel, scale }
    }

    /// Channels of a head, as far as the last panel of values goes.
    pub(super) fn padded_head(&self) -> usize {
        self.head_dim.next_multiple_of(self.value_panel)
    }

    fn queries_len(&self) -> usize {
        (self.tokens.next_multiple_of(GROUP) * self.head_dim).next_multiple_of(16)
    }

    fn keys_len(&self) -> usize {
        (self.tokens.next_multiple_of(self.key_panel) * self.head_dim).next_multiple_of(16)
    }

    /// Values of one head: a multiple of a cache line, as its parts are.
    pub(super) fn head_len(&self) -> usize {
        self.queries_len() + self.keys_len() + (self.tokens * self.padded_head()).next_multiple_of(16)
    }

    /// Values of one image.
    pub(super) fn image_len(&self) -> usize {
        self.heads * self.head_len()
    }

    /// Queries, keys and values of one head.
    #[inline(always)]
    pub(super) fn split<'a>(&self, head: &'a [f32]) -> (&'a [f32], &'a [f32], &'a [f32]) {
        let (queries, rest) = head.split_at(self.queries_len());
        let (keys, values) = rest.split_at(self.keys_len());
        (queries, keys, values)
    }

    /// Keys of a block: whole panels.
    pub(super) fn key_block(&self) -> usize {
        (KEYS / self.key_panel).max(1) * self.key_panel
    }

    /// Where row `row`'s image starts, and the row's token.
    #[inline(always)]
    pub(super) fn token(&self, row: usize) -> (usize, usize) {
        (row / self.tokens * self.image_len(), row % self.tokens)
    }

    /// Which part channel `channel` of a (3, heads, d) row belongs to (0 queries, 1 keys, 2 values), where that part of
    /// its head starts in an image, and its number in the head.
    #[inline(always)]
    pub(super) fn channel(&self, channel: usize) -> (usize, usize, usize) {
        let part = channel / (self.heads * self.head_dim);
        let head = channel / self.head_dim % self.heads * self.head_len();
        let start = [0, self.queries_len(), self.queries_len() + self.keys_len()][part];
        (part, head + start, channel % self.head_dim)
    }

    /// Puts some channels of one head's part where they belong: `part`, `start` and `c` of the first one are
    /// [`Self::channel`]'s, `image` and `token` are [`Self::token`]'s.
    ///
    /// # Safety
    /// `to` is the whole layout; nobody else writes these channels of this token; they do not go beyond the head, nor
    /// beyond a panel of values.
    #[inline(always)]
    pub(super) unsafe fn put(
        &self,
        to: *mut f32,
        (part, start, c): (usize, usize, usize),
        (image, token): (usize, usize),
        values: &[f32],
    ) {
        let to = to.wrapping_add(image + start);
        // SAFETY: (token, c) and the channels after it, in each part's own layout.
        unsafe {
            match part {
                0 => {
                    let to = to.add(token * self.head_dim + c);
                    for (i, x) in values.iter().enumerate() {
                        *to.add(i) = x * self.scale;
                    }
                }
                1 => {
                    let (panel, key) = (token / self.key_panel, token % self.key_panel);
                    let to = to.add((panel * self.head_dim + c) * self.key_panel + key);
                    for (i, x) in values.iter().enumerate() {
                        *to.add(i * self.key_panel) = *x;
                    }
                }
                _ => {
                    let (panel, c) = (c / self.value_panel, c % self.value_panel);
                    let to = to.add((panel * self.tokens + token) * self.value_panel + c);
                    for (i, x) in values.iter().enumerate() {
                        *to.add(i) = *x;
                    }
                }
            }
        }
    }
}
