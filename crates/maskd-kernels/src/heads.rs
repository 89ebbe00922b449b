//! Queries, keys and values of all heads, laid out as attention reads them.

use super::{simd::Isa, tile::rows_before};

/// Most values of [`Heads::group`].
pub(super) const MOST: usize = 32;
/// Values before a head's queries: a cache line.
const HEADER: usize = 16;
/// Keys of a block, about: the scores of a group stay in the first-level cache or near it.
const KEYS: usize = 480;

/// The layout, for one size of image. Heads follow each other, image by image; one head is its queries (tokens, d),
/// scaled; its keys, in panels of (d, key_panel); its values, in panels of (tokens, value_panel). What pads a panel is
/// never looked at. Where products go in pairs, what they subtract is kept with them: after the queries, before each panel
/// of keys and before each block of a panel of values; `scaling.rs` makes it.
#[derive(Clone, Copy)]
pub(super) struct Heads {
    pub(super) tokens: usize,
    pub(super) heads: usize,
    pub(super) head_dim: usize,
    /// Whether products go in pairs.
    pub(super) pairs: bool,
    /// Queries that go through a block of keys together: whole tiles of scores (16, 8 or 4 rows) and of values (16 or 6).
    pub(super) group: usize,
    /// Rows before a panel of keys, or before a block of values.
    before: usize,
    /// Keys of a panel.
    pub(super) key_panel: usize,
    /// Channels of a panel of values.
    pub(super) value_panel: usize,
    /// What queries are multiplied by: 1 / sqrt d, and log2 e, since scores are powers of two here.
    pub(super) scale: f32,
}

/// The parts of one head.
pub(super) struct Head<'a> {
    /// Its first value: what sums of its values are multiplied by in the end.
    pub(super) header: &'a mut [f32],
    pub(super) queries: &'a mut [f32],
    /// For each query, what the pairs of its scores subtract.
    pub(super) correction: &'a mut [f32],
    pub(super) keys: &'a mut [f32],
    pub(super) values: &'a mut [f32],
}

impl Heads {
    pub(super) fn new(isa: Isa, tokens: usize, heads: usize, head_dim: usize) -> Self {
        let lanes = isa.lanes();
        let value_panel = match (isa.pairs(), isa.has_many_registers()) {
            (true, _) => lanes,
            (_, true) => 4 * lanes,
            (_, false) => 2 * lanes,
        };
        let scale = std::f32::consts::LOG2_E / (head_dim as f32).sqrt();
        let (pairs, before, group) = (isa.pairs(), rows_before(isa.vectors()), if isa.pairs() { MOST } else { 24 });
        Self { tokens, heads, head_dim, pairs, group, before, key_panel: isa.vectors() * lanes, value_panel, scale }
    }

    /// Channels of a head, as far as the last panel of values goes.
    pub(super) fn padded_head(&self) -> usize {
        self.head_dim.next_multiple_of(self.value_panel)
    }

    /// Queries and one more value for each.
    fn queries_len(&self) -> usize {
        (self.tokens.next_multiple_of(self.group) * (self.head_dim + 1)).next_multiple_of(16)
    }

    fn keys_len(&self) -> usize {
        (self.tokens.next_multiple_of(self.key_panel) * (self.before + self.head_dim)).next_multiple_of(16)
    }

    /// Rows of a panel of values, with those before its blocks.
    fn value_rows(&self) -> usize {
        self.tokens + self.before * self.tokens.div_ceil(self.key_block())
    }

    /// Values of one panel of keys.
    pub(super) fn key_panel_len(&self) -> usize {
        (self.before + self.head_dim) * self.key_panel
    }

    /// Values of one panel of values.
    pub(super) fn value_panel_len(&self) -> usize {
        self.value_rows() * self.value_panel
    }

    /// Values of a whole block in a panel of values.
    pub(super) fn value_block_len(&self) -> usize {
        (self.before + self.key_block()) * self.value_panel
    }

    /// Values of one head: a multiple of a cache line, as its parts are.
    pub(super) fn head_len(&self) -> usize {
        HEADER + self.queries_len() + self.keys_len() + (self.value_rows() * self.padded_head()).next_multiple_of(16)
    }

    /// Values of one image.
    pub(super) fn image_len(&self) -> usize {
        self.heads * self.head_len()
    }

    /// One head's parts.
    #[inline(always)]
    pub(super) fn split<'a>(&self, head: &'a mut [f32]) -> Head<'a> {
        let (header, rest) = head.split_at_mut(HEADER);
        let (queries, rest) = rest.split_at_mut(self.queries_len());
        let (queries, correction) = queries.split_at_mut(self.tokens.next_multiple_of(self.group) * self.head_dim);
        let (keys, values) = rest.split_at_mut(self.keys_len());
        Head { header, queries, correction, keys, values }
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
        let start = HEADER + [0, self.queries_len(), self.queries_len() + self.keys_len()][part];
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
                    let to = to.add(panel * self.key_panel_len() + (self.before + c) * self.key_panel + key);
                    for (i, x) in values.iter().enumerate() {
                        *to.add(i * self.key_panel) = *x;
                    }
                }
                _ => {
                    let (panel, c) = (c / self.value_panel, c % self.value_panel);
                    let row = token + self.before * (1 + token / self.key_block());
                    let to = to.add(panel * self.value_panel_len() + row * self.value_panel + c);
                    for (i, x) in values.iter().enumerate() {
                        *to.add(i) = *x;
                    }
                }
            }
        }
    }
}
