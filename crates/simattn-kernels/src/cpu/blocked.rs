//! Attention of one head on operands in lane order: blocks of 64 tokens, each `[width][64]`.
//!
//! Forward keeps the queries in the lanes, so that the softmax needs no sum across lanes; backward keeps the keys in the
//! lanes, so that only the gradient of the scores has to be transposed, 16 × 16 values at a time. Blocks that the mask
//! hides are skipped, and blocks on its edge are computed in steps of 16 tokens.

use std::ops::Range;

use pulp::Simd;

use super::online_softmax::softmax;
use super::tile::{Finish, Left, Right, Target, load, product, store};
use crate::call::AttentionOptions;

/// Tokens in a block.
pub const BLOCK: usize = 64;

/// Tokens by which work inside a block on the mask's edge is cut. No vector is longer.
pub const EDGE: usize = 16;

/// 0, 1, 2, …
pub const LANE_NUMBERS: [f32; EDGE] = [
    0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12., 13., 14., 15.,
];

/// The sizes that every head of a call shares.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    /// T
    pub queries: usize,
    /// S
    pub keys: usize,
    /// Width of q and k.
    pub width: usize,
    /// Width of v.
    pub value_width: usize,
    /// Mask. The scale is not used here: q arrives multiplied by it.
    pub options: AttentionOptions,
}

impl Geometry {
    /// Blocks of queries.
    pub fn query_blocks(&self) -> usize {
        self.queries.div_ceil(BLOCK)
    }

    /// Blocks of keys.
    pub fn key_blocks(&self) -> usize {
        self.keys.div_ceil(BLOCK)
    }

    /// Queries in block `block`.
    pub fn queries_in(&self, block: usize) -> usize {
        (self.queries - block * BLOCK).min(BLOCK)
    }

    /// Keys in block `block`.
    pub fn keys_in(&self, block: usize) -> usize {
        (self.keys - block * BLOCK).min(BLOCK)
    }

    /// Key blocks that some query of a block sees.
    pub fn visible_blocks(&self, query_block: usize) -> Range<usize> {
        let first = query_block * BLOCK + self.options.offset;
        let last = first + self.queries_in(query_block) - 1;
        let end = if self.options.causal {
            self.keys.min(last + 1)
        } else {
            self.keys
        };
        let start = self
            .options
            .window
            .map_or(0, |w| (first + 1).saturating_sub(w))
            .min(end);
        start / BLOCK..end.div_ceil(BLOCK)
    }

    /// How query `q` of block `query_block` sees block `key_block`: keys `low..high` of the block.
    #[inline(always)]
    pub fn seen(&self, query_block: usize, q: usize, key_block: usize) -> (isize, isize) {
        let relative =
            (query_block * BLOCK + q + self.options.offset) as isize - (key_block * BLOCK) as isize;
        let keys = self.keys_in(key_block) as isize;
        let high = if self.options.causal {
            keys.min(relative + 1)
        } else {
            keys
        };
        let low = match self.options.window {
            Some(window) if window <= isize::MAX as usize / 2 => relative + 1 - window as isize,
            _ => 0,
        };
        (low.max(0), high.max(0))
    }

    /// The first query of a block that may see key `key` of a block, at most 64.
    #[inline(always)]
    pub fn first_query(&self, query_block: usize, key_block: usize, key: usize) -> usize {
        if !self.options.causal {
            return 0;
        }
        (key_block * BLOCK + key)
            .saturating_sub(query_block * BLOCK + self.options.offset)
            .min(BLOCK)
    }

    /// Whether every query of a block sees every one of 64 keys.
    pub fn sees_all(&self, query_block: usize, key_block: usize) -> bool {
        let last = self.queries_in(query_block) - 1;
        let low = self.seen(query_block, last, key_block).0;
        let high = self.seen(query_block, 0, key_block).1;
        low == 0 && high == BLOCK as isize
    }
}

/// Room for [`forward`]: `64 * 64` scores and three rows of 64.
#[derive(Debug)]
pub struct ForwardScratch {
    scores: Vec<f32>,
    rows: Vec<f32>,
}

impl Default for ForwardScratch {
    fn default() -> Self {
        Self {
            scores: vec![0.0; BLOCK * BLOCK],
            rows: vec![0.0; 3 * BLOCK],
        }
    }
}

/// Attention of one block of queries over one head's keys.
///
/// # Safety
/// `query` holds a block `[width][64]` whose unused lanes are finite, `keys` and `values` hold `key_blocks()` blocks whose
/// unused lanes are zero; `out` is writable for `[value_width][64]`, `log_sum_exp` for 64 values.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub unsafe fn forward<S: Simd>(
    simd: S,
    geometry: &Geometry,
    query_block: usize,
    query: *const f32,
    keys: *const f32,
    values: *const f32,
    out: *mut f32,
    log_sum_exp: *mut f32,
    scratch: &mut ForwardScratch,
) {
    let lanes = S::F32_LANES;
    let edge = EDGE / lanes;
    let vectors = geometry.queries_in(query_block).div_ceil(EDGE) * edge;
    let scores = scratch.scores.as_mut_ptr();
    let (greatest, sums, scale) = {
        let rows = scratch.rows.as_mut_ptr();
        // SAFETY: three rows of 64.
        unsafe { (rows, rows.add(BLOCK), rows.add(2 * BLOCK)) }
    };
    let right = |pointer| Right {
        pointer,
        vector_stride: lanes,
        step_stride: BLOCK,
    };
    let target = |pointer| Target {
        pointer,
        row_stride: BLOCK,
        vector_stride: lanes,
    };
    // SAFETY: scratch holds whole blocks; the operands hold what the caller promised; all indices below stay inside
    // [width][64], [value_width][64] and [64][64].
    unsafe {
        for v in 0..BLOCK / lanes {
            store(
                simd,
                greatest.add(v * lanes),
                simd.splat_f32s(f32::NEG_INFINITY),
            );
            store(simd, sums.add(v * lanes), simd.splat_f32s(0.0));
        }
        for i in 0..geometry.value_width * BLOCK / lanes {
            store(simd, out.add(i * lanes), simd.splat_f32s(0.0));
        }
        for key_block in geometry.visible_blocks(query_block) {
            let key = keys.add(key_block * geometry.width * BLOCK);
            let value = values.add(key_block * geometry.value_width * BLOCK);
            let rows = geometry.keys_in(key_block);
            let left = Left {
                pointer: key,
                row_stride: 1,
                step_stride: BLOCK,
            };
            let value = Left {
                pointer: value,
                row_stride: BLOCK,
                step_stride: 1,
            };
            if geometry.sees_all(query_block, key_block) {
                product(
                    simd,
                    rows,
                    vectors,
                    geometry.width,
                    left,
                    right(query),
                    target(scores),
                    Finish::Store,
                );
                softmax(simd, rows, 0..vectors, scores, greatest, sums, scale);
                let finish = Finish::ScaleAdd(scale);
                product(
                    simd,
                    geometry.value_width,
                    vectors,
                    rows,
                    value,
                    right(scores),
                    target(out),
                    finish,
                );
                continue;
            }
            // Rows of 16 keys: only the queries that see some of them are computed, and only what they see is kept.
            for row in (0..rows).step_by(EDGE) {
                let count = (rows - row).min(EDGE);
                let first = geometry.first_query(query_block, key_block, row) / EDGE * edge;
                if first >= vectors {
                    break;
                }
                let left = Left {
                    pointer: left.pointer.add(row),
                    ..left
                };
                let to = scores.add(row * BLOCK + first * lanes);
                let from = right(query.add(first * lanes));
                product(
                    simd,
                    count,
                    vectors - first,
                    geometry.width,
                    left,
                    from,
                    target(to),
                    Finish::Store,
                );
            }
            for column in (0..vectors).step_by(edge) {
                let last = (column * lanes + EDGE - 1).min(BLOCK - 1);
                let end = geometry.seen(query_block, last, key_block).1 as usize;
                if end == 0 {
                    continue;
                }
                for v in column..column + edge {
                    hide_keys(
                        simd,
                        geometry,
                        query_block,
                        key_block,
                        end,
                        scores.add(v * lanes),
                        v * lanes,
                    );
                }
                let (greatest, sums) = (greatest.add(column * lanes), sums.add(column * lanes));
                let (scale, scores) = (scale.add(column * lanes), scores.add(column * lanes));
                softmax(simd, end, 0..edge, scores, greatest, sums, scale);
                let out = target(out.add(column * lanes));
                product(
                    simd,
                    geometry.value_width,
                    edge,
                    end,
                    value,
                    right(scores),
                    out,
                    Finish::ScaleAdd(scale),
                );
            }
        }
        for v in 0..vectors {
            let sum = load(simd, sums.add(v * lanes));
            let seen = simd.greater_than_f32s(sum, simd.splat_f32s(0.0));
            let share = simd.div_f32s(simd.splat_f32s(1.0), sum);
            let share = simd.select_f32s(seen, share, simd.splat_f32s(0.0));
            for d in 0..geometry.value_width {
                let place = out.add(d * BLOCK + v * lanes);
                store(simd, place, simd.mul_f32s(load(simd, place), share));
            }
        }
        for q in 0..geometry.queries_in(query_block) {
            let sum = *sums.add(q);
            *log_sum_exp.add(q) = if sum > 0.0 {
                *greatest.add(q) + sum.ln()
            } else {
                f32::NEG_INFINITY
            };
        }
    }
}

/// Puts −∞ where a query of one vector must not look, in `rows` rows of scores.
#[inline(always)]
unsafe fn hide_keys<S: Simd>(
    simd: S,
    geometry: &Geometry,
    query_block: usize,
    key_block: usize,
    rows: usize,
    scores: *mut f32,
    first_lane: usize,
) {
    // Both limits move with the query: key `row` is seen by lane i iff start <= row - i < end, or without bounds.
    let relative = (query_block * BLOCK + first_lane + geometry.options.offset) as isize
        - (key_block * BLOCK) as isize;
    // SAFETY: EDGE lane numbers are at least a vector; rows of scores by the caller's promise.
    unsafe {
        let lane = load(simd, LANE_NUMBERS.as_ptr());
        for row in 0..rows {
            let place = scores.add(row * BLOCK);
            let hidden = simd.splat_f32s(f32::NEG_INFINITY);
            // distance = position of the query − position of the key
            let distance = simd.add_f32s(lane, simd.splat_f32s((relative - row as isize) as f32));
            let mut score = load(simd, place);
            if geometry.options.causal {
                let seen = simd.greater_than_or_equal_f32s(distance, simd.splat_f32s(0.0));
                score = simd.select_f32s(seen, score, hidden);
            }
            if let Some(window) = geometry.options.window {
                let seen = simd.less_than_f32s(distance, simd.splat_f32s(window as f32));
                score = simd.select_f32s(seen, score, hidden);
            }
            store(simd, place, score);
        }
    }
}
