//! Gradients of the scores, and what each block of keys gives to those of queries, keys and values.

use pulp::Simd;

use super::backward::Step;
use super::{BLOCK, EDGE};
use crate::cpu::tile::{Finish, Left, Product, Right, Target, load, store};
use crate::cpu::transpose::transpose;

/// One block of keys, with what the queries make of it.
struct KeyBlock {
    /// Which one.
    block: usize,
    /// `[width][64]`
    keys: *const f32,
    /// `[64][64]`, queries in rows.
    weights: *const f32,
    /// `[64][64]`: gradients of the weights, which become those of the scores.
    scores_gradient: *mut f32,
    /// `[width][64]`, added to.
    key_gradient: *mut f32,
    /// `[value_width][64]`, added to.
    value_gradient: *mut f32,
}

impl Step<'_> {
    /// Gradients of the scores from those of the weights, and what follows from them.
    #[inline(always)]
    pub(super) unsafe fn gradients<S: Simd>(
        &self,
        simd: S,
        key_block: usize,
        strip: *mut f32,
        delta: *const f32,
    ) {
        let geometry = self.geometry;
        // SAFETY: blocks of [64][64] and [width][64]; see each function.
        unsafe {
            let keys = KeyBlock {
                block: key_block,
                keys: self.head.keys.add(key_block * geometry.width * BLOCK),
                weights: strip,
                scores_gradient: strip.wrapping_add(BLOCK * BLOCK),
                key_gradient: self
                    .head
                    .key_gradient
                    .add(key_block * geometry.width * BLOCK),
                value_gradient: self
                    .head
                    .value_gradient
                    .add(key_block * geometry.value_width * BLOCK),
            };
            let whole = geometry.sees_all(self.query_block, key_block);
            self.of_scores(simd, &keys, whole, delta);
            if whole {
                self.of_whole_block(simd, &keys);
            } else {
                self.of_keys_on_the_edge(simd, &keys);
                self.of_queries_on_the_edge(simd, &keys);
            }
        }
    }

    /// Gradients of the scores, in place of those of the weights and turned, so that the queries
    /// lie in the lanes.
    #[inline(always)]
    unsafe fn of_scores<S: Simd>(&self, simd: S, keys: &KeyBlock, whole: bool, delta: *const f32) {
        let lanes = S::F32_LANES;
        let (weights, gradients) = (keys.weights, keys.scores_gradient);
        // SAFETY: rows below `queries` rounded up to 16, vectors below 64 / lanes, on blocks of
        // [64][64].
        unsafe {
            for first in (0..self.queries).step_by(EDGE) {
                let end = if whole {
                    BLOCK
                } else {
                    self.end(first, keys.block)
                };
                let rows = (self.queries - first).min(EDGE);
                for q in first..first + rows {
                    let delta = simd.splat_f32s(*delta.add(q));
                    for v in 0..end / lanes {
                        let place = gradients.add(q * BLOCK + v * lanes);
                        let weight = load(simd, weights.add(q * BLOCK + v * lanes));
                        store(
                            simd,
                            place,
                            simd.mul_f32s(weight, simd.sub_f32s(load(simd, place), delta)),
                        );
                    }
                }
                if rows < EDGE {
                    for q in first + rows..first + EDGE {
                        for v in 0..end / lanes {
                            store(
                                simd,
                                gradients.add(q * BLOCK + v * lanes),
                                simd.splat_f32s(0.0),
                            );
                        }
                    }
                }
                transpose(
                    simd,
                    EDGE,
                    end,
                    gradients.add(first * BLOCK),
                    BLOCK,
                    self.turned.add(first),
                    BLOCK,
                );
            }
        }
    }

    /// Adds to the gradients of values, keys and queries, where every query sees every key.
    #[inline(always)]
    unsafe fn of_whole_block<S: Simd>(&self, simd: S, keys: &KeyBlock) {
        let (width, value_width) = (self.geometry.width, self.geometry.value_width);
        let all = BLOCK / S::F32_LANES;
        let query_vectors = self.queries.div_ceil(EDGE) * (EDGE / S::F32_LANES);
        // SAFETY: blocks of [64][64] and [width][64].
        unsafe {
            Product {
                rows: value_width,
                vectors: all,
                steps: self.queries,
                left: Left::rows(self.head.out_gradient, BLOCK),
                right: Right::rows::<S>(keys.weights, BLOCK),
                target: Target::rows::<S>(keys.value_gradient, BLOCK),
                finish: Finish::Add,
            }
            .run(simd);
            Product {
                rows: width,
                vectors: all,
                steps: self.queries,
                left: Left::rows(self.head.query, BLOCK),
                right: Right::rows::<S>(keys.scores_gradient, BLOCK),
                target: Target::rows::<S>(keys.key_gradient, BLOCK),
                finish: Finish::Add,
            }
            .run(simd);
            Product {
                rows: width,
                vectors: query_vectors,
                steps: BLOCK,
                left: Left::rows(keys.keys, BLOCK),
                right: Right::rows::<S>(self.turned, BLOCK),
                target: Target::rows::<S>(self.gradient, BLOCK),
                finish: Finish::Add,
            }
            .run(simd);
        }
    }

    /// Adds to the gradients of values and keys, 16 keys at a time from the queries that see some
    /// of them.
    #[inline(always)]
    unsafe fn of_keys_on_the_edge<S: Simd>(&self, simd: S, keys: &KeyBlock) {
        let edge = EDGE / S::F32_LANES;
        // SAFETY: queries from `start` on and 16 keys from `column` on, on blocks of [64][64] and
        // [width][64].
        unsafe {
            for column in (0..self.geometry.keys_in(keys.block)).step_by(EDGE) {
                // Queries before this see none of the 16 keys.
                let start = self
                    .geometry
                    .first_query(self.query_block, keys.block, column);
                if start >= self.queries {
                    break;
                }
                let start = start / EDGE * EDGE;
                let steps = self.queries - start;
                let at = start * BLOCK + column;
                Product {
                    rows: self.geometry.value_width,
                    vectors: edge,
                    steps,
                    left: Left::rows(self.head.out_gradient.add(start), BLOCK),
                    right: Right::rows::<S>(keys.weights.add(at), BLOCK),
                    target: Target::rows::<S>(keys.value_gradient.add(column), BLOCK),
                    finish: Finish::Add,
                }
                .run(simd);
                Product {
                    rows: self.geometry.width,
                    vectors: edge,
                    steps,
                    left: Left::rows(self.head.query.add(start), BLOCK),
                    right: Right::rows::<S>(keys.scores_gradient.add(at), BLOCK),
                    target: Target::rows::<S>(keys.key_gradient.add(column), BLOCK),
                    finish: Finish::Add,
                }
                .run(simd);
            }
        }
    }

    /// Adds to the gradients of the queries, 16 at a time from the keys that they see.
    #[inline(always)]
    unsafe fn of_queries_on_the_edge<S: Simd>(&self, simd: S, keys: &KeyBlock) {
        // SAFETY: 16 queries from `first` on and keys below `end`, on blocks of [64][64] and
        // [width][64].
        unsafe {
            for first in (0..self.queries).step_by(EDGE) {
                let end = self.end(first, keys.block);
                if end == 0 {
                    continue;
                }
                Product {
                    rows: self.geometry.width,
                    vectors: EDGE / S::F32_LANES,
                    steps: end,
                    left: Left::rows(keys.keys, BLOCK),
                    right: Right::rows::<S>(self.turned.add(first), BLOCK),
                    target: Target::rows::<S>(self.gradient.add(first), BLOCK),
                    finish: Finish::Add,
                }
                .run(simd);
            }
        }
    }
}
