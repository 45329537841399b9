//! Forward of one block of queries.

use pulp::Simd;

use super::{BLOCK, EDGE, Geometry, LANE_NUMBERS};
use crate::cpu::online_softmax::softmax;
use crate::cpu::tile::{Finish, Left, Product, Right, Target, load, store};

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

/// What [`forward`] reads and writes for one block of queries of one head.
#[derive(Clone, Copy, Debug)]
pub struct HeadForward {
    /// Block of queries, multiplied by the scale, `[width][64]`; unused lanes finite.
    pub query: *const f32,
    /// All key blocks `[width][64]`; unused lanes zero.
    pub keys: *const f32,
    /// All value blocks `[value_width][64]`; unused lanes zero.
    pub values: *const f32,
    /// The block's output, `[value_width][64]`, written.
    pub out: *mut f32,
    /// Log-sum-exp of the block's queries, written.
    pub log_sum_exp: *mut f32,
}

/// Attention of one block of queries over one head's keys.
///
/// # Safety
/// The pointers of `head` are valid for what they are said to hold.
#[inline(always)]
pub unsafe fn forward<S: Simd>(
    simd: S,
    geometry: &Geometry,
    query_block: usize,
    head: HeadForward,
    scratch: &mut ForwardScratch,
) {
    let edge = EDGE / S::F32_LANES;
    // SAFETY: scratch holds a block of scores and three rows of 64; the head by the caller's
    // promise.
    unsafe {
        let rows = scratch.rows.as_mut_ptr();
        let pass = Pass {
            geometry,
            query_block,
            head,
            vectors: geometry.queries_in(query_block).div_ceil(EDGE) * edge,
            scores: scratch.scores.as_mut_ptr(),
            greatest: rows,
            sums: rows.add(BLOCK),
            scale: rows.add(2 * BLOCK),
        };
        pass.begin(simd);
        for key_block in geometry.visible_blocks(query_block) {
            if geometry.sees_all(query_block, key_block) {
                pass.whole_block(simd, key_block);
            } else {
                pass.block_on_the_edge(simd, key_block);
            }
        }
        pass.finish(simd);
    }
}

/// One block of queries on its way past the keys.
struct Pass<'a> {
    geometry: &'a Geometry,
    query_block: usize,
    head: HeadForward,
    /// Vectors of queries.
    vectors: usize,
    /// `[64][64]`, keys in rows.
    scores: *mut f32,
    /// A row: the greatest score of each query so far.
    greatest: *mut f32,
    /// A row: the sum of each query's weights so far.
    sums: *mut f32,
    /// A row: the factor by which what was added before shrinks.
    scale: *mut f32,
}

/// All indices stay inside `[width][64]`, `[value_width][64]` and `[64][64]`.
impl Pass<'_> {
    /// No key seen yet: zeros, and −∞ as the greatest score.
    #[inline(always)]
    unsafe fn begin<S: Simd>(&self, simd: S) {
        let lanes = S::F32_LANES;
        // SAFETY: rows of 64 and the output's block.
        unsafe {
            for v in 0..BLOCK / lanes {
                store(
                    simd,
                    self.greatest.add(v * lanes),
                    simd.splat_f32s(f32::NEG_INFINITY),
                );
                store(simd, self.sums.add(v * lanes), simd.splat_f32s(0.0));
            }
            for i in 0..self.geometry.value_width * BLOCK / lanes {
                store(simd, self.head.out.add(i * lanes), simd.splat_f32s(0.0));
            }
        }
    }

    /// Keys and values of one block.
    #[inline(always)]
    unsafe fn operands(&self, key_block: usize) -> (*const f32, *const f32) {
        let (keys, values) = (self.head.keys, self.head.values);
        // SAFETY: whole blocks by the promise to `forward`.
        unsafe {
            (
                keys.add(key_block * self.geometry.width * BLOCK),
                values.add(key_block * self.geometry.value_width * BLOCK),
            )
        }
    }

    /// Keys of which every query sees all.
    #[inline(always)]
    unsafe fn whole_block<S: Simd>(&self, simd: S, key_block: usize) {
        let rows = self.geometry.keys_in(key_block);
        // SAFETY: see the head of these methods.
        unsafe {
            let (keys, values) = self.operands(key_block);
            Product {
                rows,
                vectors: self.vectors,
                steps: self.geometry.width,
                left: Left::columns(keys, BLOCK),
                right: Right::rows::<S>(self.head.query, BLOCK),
                target: Target::rows::<S>(self.scores, BLOCK),
                finish: Finish::Store,
            }
            .run(simd);
            softmax(
                simd,
                rows,
                0..self.vectors,
                self.scores,
                self.greatest,
                self.sums,
                self.scale,
            );
            Product {
                rows: self.geometry.value_width,
                vectors: self.vectors,
                steps: rows,
                left: Left::rows(values, BLOCK),
                right: Right::rows::<S>(self.scores, BLOCK),
                target: Target::rows::<S>(self.head.out, BLOCK),
                finish: Finish::ScaleAdd(self.scale),
            }
            .run(simd);
        }
    }

    /// Keys on the mask's edge: 16 queries with the keys that they see at a time.
    #[inline(always)]
    unsafe fn block_on_the_edge<S: Simd>(&self, simd: S, key_block: usize) {
        let lanes = S::F32_LANES;
        let edge = EDGE / lanes;
        // SAFETY: see the head of these methods.
        unsafe {
            let (keys, values) = self.operands(key_block);
            self.scores_on_the_edge(simd, key_block, keys);
            for column in (0..self.vectors).step_by(edge) {
                let last = (column * lanes + EDGE - 1).min(BLOCK - 1);
                let end = self.geometry.seen(self.query_block, last, key_block).1 as usize;
                if end == 0 {
                    continue;
                }
                for v in column..column + edge {
                    hide_keys(
                        simd,
                        self.geometry,
                        self.query_block,
                        key_block,
                        end,
                        self.scores.add(v * lanes),
                        v * lanes,
                    );
                }
                let at = column * lanes;
                let (scores, scale) = (self.scores.add(at), self.scale.add(at));
                softmax(
                    simd,
                    end,
                    0..edge,
                    scores,
                    self.greatest.add(at),
                    self.sums.add(at),
                    scale,
                );
                Product {
                    rows: self.geometry.value_width,
                    vectors: edge,
                    steps: end,
                    left: Left::rows(values, BLOCK),
                    right: Right::rows::<S>(scores, BLOCK),
                    target: Target::rows::<S>(self.head.out.add(at), BLOCK),
                    finish: Finish::ScaleAdd(scale),
                }
                .run(simd);
            }
        }
    }

    /// Scores in rows of 16 keys: of those queries only that see some of them.
    #[inline(always)]
    unsafe fn scores_on_the_edge<S: Simd>(&self, simd: S, key_block: usize, keys: *const f32) {
        let lanes = S::F32_LANES;
        let edge = EDGE / lanes;
        let rows = self.geometry.keys_in(key_block);
        // SAFETY: see the head of these methods.
        unsafe {
            for row in (0..rows).step_by(EDGE) {
                let first = self.geometry.first_query(self.query_block, key_block, row);
                let first = first / EDGE * edge;
                if first >= self.vectors {
                    break;
                }
                let scores = self.scores.add(row * BLOCK + first * lanes);
                Product {
                    rows: (rows - row).min(EDGE),
                    vectors: self.vectors - first,
                    steps: self.geometry.width,
                    left: Left::columns(keys.add(row), BLOCK),
                    right: Right::rows::<S>(self.head.query.add(first * lanes), BLOCK),
                    target: Target::rows::<S>(scores, BLOCK),
                    finish: Finish::Store,
                }
                .run(simd);
            }
        }
    }

    /// Divides by the sums, and writes the log-sum-exp.
    #[inline(always)]
    unsafe fn finish<S: Simd>(&self, simd: S) {
        let lanes = S::F32_LANES;
        // SAFETY: see the head of these methods.
        unsafe {
            for v in 0..self.vectors {
                let sum = load(simd, self.sums.add(v * lanes));
                let seen = simd.greater_than_f32s(sum, simd.splat_f32s(0.0));
                let share = simd.div_f32s(simd.splat_f32s(1.0), sum);
                let share = simd.select_f32s(seen, share, simd.splat_f32s(0.0));
                for d in 0..self.geometry.value_width {
                    let place = self.head.out.add(d * BLOCK + v * lanes);
                    store(simd, place, simd.mul_f32s(load(simd, place), share));
                }
            }
            for q in 0..self.geometry.queries_in(self.query_block) {
                let sum = *self.sums.add(q);
                *self.head.log_sum_exp.add(q) = if sum > 0.0 {
                    *self.greatest.add(q) + sum.ln()
                } else {
                    f32::NEG_INFINITY
                };
            }
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
    // Both limits move with the query: key `row` is seen by lane i iff start <= row - i < end, or
    // without bounds.
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
