//! A block of weights applied to some rows, tile by tile, and what becomes of each tile while it is in the registers.

use super::{
    heads::Heads,
    microkernel::{multiply, multiply_apart},
    pack_a::PackedA,
    pack_b::Form,
    simd::{Simd, gelu, load, store},
    tile::{Sides, Tile, rows_before, zero},
};

/// Takes finished tiles.
pub(super) trait Sink<S: Simd> {
    /// The tile whose first value is at (row, column) of the block's result.
    ///
    /// # Safety
    /// Rows and columns are those of the operand and the block that the sink was made for.
    unsafe fn take<const ROWS: usize, const VECS: usize>(
        &mut self,
        simd: S,
        row: usize,
        column: usize,
        tile: &Tile<S, ROWS, VECS>,
    );
}

/// Most tiles, one below the other, that a panel of weights meets at a time.
const BATCH: usize = 3;

type Tiles<S, const ROWS: usize, const VECS: usize> = [Tile<S, ROWS, VECS>; BATCH];

/// All of A (rows, depth) times one packed block (depth, `width`), into `sink`.
///
/// # Safety
/// `a` is filled (and summed), its rows are a multiple of 2 ROWS, and `block` was packed for its form and depth.
#[inline(always)]
pub(super) unsafe fn product<S: Simd, const ROWS: usize, const VECS: usize>(
    simd: S,
    a: &PackedA,
    block: &[f32],
    width: usize,
    sink: &mut impl Sink<S>,
) {
    let (panel, before) = (VECS * S::F32_LANES, rows_before(VECS));
    match a.form {
        Form::Direct => {
            for (j, right) in block.chunks_exact((before + a.depth) * panel).take(width.div_ceil(panel)).enumerate() {
                for row in (0..a.rows).step_by(ROWS) {
                    let mut tile = zero::<S, ROWS, VECS>(simd);
                    // SAFETY: row + ROWS <= rows, and the panel has depth x panel values.
                    unsafe {
                        let left = a.values.add(row * a.depth);
                        let correction = a.correction(0).add(row);
                        let (depth, right, ahead) = (a.depth, right.as_ptr(), right.len());
                        multiply(simd, &mut tile, Sides { depth, left, stride: depth, correction, right, ahead });
                        sink.take(simd, row, j * panel, &tile);
                    }
                }
            }
        }
        Form::Strassen => {
            let (half_rows, depth, half) = (a.rows / 2, a.depth / 2, width / 2);
            let zero = zero::<S, ROWS, VECS>(simd);
            let batch = if rows_before(VECS) == 1 { BATCH } else { 1 };
            for (j, seven) in block.chunks_exact(7 * (before + depth) * panel).take(half / panel).enumerate() {
                for first in (0..half_rows).step_by(batch * ROWS) {
                    let count = batch.min((half_rows - first) / ROWS);
                    let batch = Batch { a, first, count, depth, right: seven.as_ptr(), len: (before + depth) * panel };
                    let zero = [zero; BATCH];
                    let [mut p1, mut u2, mut u3, mut p5, mut sum] = [zero; 5];
                    // SAFETY: the rows are in each part, the seven panels in the block, the tiles in its result.
                    unsafe {
                        batch.multiply(simd, &zero, &mut p1, 0, 0); // P1
                        batch.multiply(simd, &p1, &mut sum, 1, 1); // + P2
                        batch.take(simd, sink, &sum, 0, j * panel); // C11
                        batch.multiply(simd, &p1, &mut u2, 5, 2); // P1 + P6 = U2
                        batch.multiply(simd, &u2, &mut u3, 6, 3); // + P7 = U3
                        batch.multiply(simd, &u3, &mut sum, 3, 4); // - P4
                        batch.take(simd, sink, &sum, half_rows, j * panel); // C21
                        batch.multiply(simd, &zero, &mut p5, 4, 5); // P5
                        add(simd, &mut u3, &p5, count);
                        batch.take(simd, sink, &u3, half_rows, half + j * panel); // C22
                        add(simd, &mut u2, &p5, count);
                        batch.multiply(simd, &u2, &mut sum, 7, 6); // + P3
                        batch.take(simd, sink, &sum, 0, half + j * panel); // C12
                    }
                }
            }
        }
    }
}

/// Some tiles, one below the other. Each panel of weights meets all of them before the next panel does.
struct Batch<'a> {
    a: &'a PackedA,
    first: usize,
    count: usize,
    depth: usize,
    /// Seven panels of `len` values.
    right: *const f32,
    len: usize,
}

impl Batch<'_> {
    /// `to` = `from` + part `part` of A times panel `i`.
    ///
    /// # Safety
    /// The rows are in each part, and the seven panels are there.
    #[inline(always)]
    unsafe fn multiply<S: Simd, const ROWS: usize, const VECS: usize>(
        &self,
        simd: S,
        from: &Tiles<S, ROWS, VECS>,
        to: &mut Tiles<S, ROWS, VECS>,
        part: usize,
        i: usize,
    ) {
        for n in 0..self.count {
            let row = self.first + n * ROWS;
            // SAFETY: the caller's promise.
            unsafe {
                let left = self.a.part(part).add(row * self.depth);
                let (right, correction) = (self.right.add(i * self.len), self.a.correction(part).add(row));
                let sides = Sides { depth: self.depth, left, stride: self.depth, correction, right, ahead: self.len };
                multiply_apart(simd, &from[n], &mut to[n], sides);
            }
        }
    }

    /// Hands tiles to the sink, those of the quarter that starts at (row, column).
    ///
    /// # Safety
    /// As for [`Sink::take`].
    #[inline(always)]
    unsafe fn take<S: Simd, const ROWS: usize, const VECS: usize>(
        &self,
        simd: S,
        sink: &mut impl Sink<S>,
        tiles: &Tiles<S, ROWS, VECS>,
        row: usize,
        column: usize,
    ) {
        for (n, tile) in tiles.iter().enumerate().take(self.count) {
            // SAFETY: the caller's promise.
            unsafe { sink.take(simd, row + self.first + n * ROWS, column, tile) }
        }
    }
}

/// `a` += `b`, the first `count` tiles.
#[inline(always)]
fn add<S: Simd, const ROWS: usize, const VECS: usize>(
    simd: S,
    a: &mut Tiles<S, ROWS, VECS>,
    b: &Tiles<S, ROWS, VECS>,
    count: usize,
) {
    for (a, b) in a.iter_mut().zip(b).take(count) {
        for (a, b) in a.as_flattened_mut().iter_mut().zip(b.as_flattened()) {
            *a = simd.add_f32s(*a, *b);
        }
    }
}

/// Writes `tile + bias`, or adds it, to rows of memory; what is beyond the result's own rows and columns is dropped.
pub(super) struct Rows {
    /// The block's first column in the first row.
    pub(super) out: *mut f32,
    /// From row to row.
    pub(super) stride: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// For the block's columns, with zeros as far as the last panel goes; `None`: no bias.
    pub(super) bias: Option<*const f32>,
    /// Whether to add to what is there.
    pub(super) add: bool,
}

impl<S: Simd> Sink<S> for Rows {
    #[inline(always)]
    unsafe fn take<const ROWS: usize, const VECS: usize>(
        &mut self,
        simd: S,
        row: usize,
        column: usize,
        tile: &Tile<S, ROWS, VECS>,
    ) {
        let lanes = S::F32_LANES;
        let mut bias = [simd.splat_f32s(0.0); VECS];
        if let Some(from) = self.bias {
            for (v, b) in bias.iter_mut().enumerate() {
                // SAFETY: the bias goes as far as the last panel.
                *b = unsafe { load::<S>(from.add(column + v * lanes)) };
            }
        }
        for (i, values) in tile.iter().enumerate() {
            if row + i >= self.rows {
                break;
            }
            let out = self.out.wrapping_add((row + i) * self.stride + column);
            for (v, (value, b)) in values.iter().zip(bias).enumerate() {
                let value = simd.add_f32s(*value, b);
                let out = out.wrapping_add(v * lanes);
                let room = self.columns.saturating_sub(column + v * lanes);
                // SAFETY: the row is one of the result's, and no more than `room` values of it are touched.
                unsafe {
                    if room >= lanes {
                        let value = if self.add { simd.add_f32s(value, load::<S>(out)) } else { value };
                        store::<S>(out, value);
                    } else {
                        let out = std::slice::from_raw_parts_mut(out, room);
                        let before = if self.add { simd.partial_load_f32s(out) } else { simd.splat_f32s(0.0) };
                        simd.partial_store_f32s(out, simd.add_f32s(value, before));
                    }
                }
            }
        }
    }
}

/// Writes gelu(tile + bias), times the factor, where the next product reads it.
pub(super) struct Gelu {
    pub(super) into: PackedA,
    /// For the block's columns, with zeros as far as the last panel goes.
    pub(super) bias: *const f32,
}

impl<S: Simd> Sink<S> for Gelu {
    #[inline(always)]
    unsafe fn take<const ROWS: usize, const VECS: usize>(
        &mut self,
        simd: S,
        row: usize,
        column: usize,
        tile: &Tile<S, ROWS, VECS>,
    ) {
        let lanes = S::F32_LANES;
        for (i, values) in tile.iter().enumerate() {
            for (v, value) in values.iter().enumerate() {
                let column = column + v * lanes;
                if column >= self.into.depth {
                    break;
                }
                // SAFETY: the bias goes as far as the last panel; `place` says how many values may be written.
                unsafe {
                    let value = gelu(simd, simd.add_f32s(*value, load::<S>(self.bias.add(column))));
                    let value = simd.mul_f32s(value, simd.splat_f32s(self.into.factor));
                    let (to, room) = self.into.place(row + i, column);
                    if room >= lanes {
                        store::<S>(to, value);
                    } else {
                        // A vector that goes over the edge of a quarter, or of the block.
                        let values: &[f32] = std::slice::from_raw_parts((&raw const value).cast(), lanes);
                        for (c, value) in values.iter().enumerate().take(self.into.depth - column) {
                            *self.into.place(row + i, column + c).0 = *value;
                        }
                    }
                }
            }
        }
    }
}

/// Writes `tile + bias` to the heads, as attention reads them.
pub(super) struct IntoHeads {
    pub(super) out: *mut f32,
    pub(super) heads: Heads,
    /// The first row's number.
    pub(super) first_row: usize,
    pub(super) rows: usize,
    /// The block's first column.
    pub(super) first: usize,
    pub(super) columns: usize,
    /// For the block's columns, with zeros as far as the last panel goes.
    pub(super) bias: *const f32,
}

impl<S: Simd> Sink<S> for IntoHeads {
    #[inline(always)]
    unsafe fn take<const ROWS: usize, const VECS: usize>(
        &mut self,
        simd: S,
        row: usize,
        column: usize,
        tile: &Tile<S, ROWS, VECS>,
    ) {
        let mut tile = *tile;
        for v in 0..VECS {
            // SAFETY: the bias goes as far as the last panel.
            let bias = unsafe { load::<S>(self.bias.add(column + v * S::F32_LANES)) };
            for values in &mut tile {
                values[v] = simd.add_f32s(values[v], bias);
            }
        }
        let lanes = S::F32_LANES;
        let count = self.columns.saturating_sub(column).min(VECS * lanes);
        let rows = self.rows.saturating_sub(row).min(ROWS);
        // A head's channels are as a rule whole vectors; where not, they go one by one.
        let step = if self.heads.head_dim.is_multiple_of(lanes) { lanes } else { 1 };
        for from in (0..count).step_by(step) {
            let channel = self.heads.channel(self.first + column + from);
            for (i, values) in tile.iter().enumerate().take(rows) {
                let token = self.heads.token(self.first_row + row + i);
                // SAFETY: a row of vectors is plain values; the row and its channels are this block's own.
                unsafe {
                    let values = std::slice::from_raw_parts(values.as_ptr().cast::<f32>().add(from), step);
                    self.heads.put(self.out, channel, token, values);
                }
            }
        }
    }
}
