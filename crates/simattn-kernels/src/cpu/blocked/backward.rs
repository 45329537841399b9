//! Backward: gradients of one block of queries, and its share of those of keys and values.

use pulp::Simd;

use super::{BLOCK, EDGE, Geometry};
use crate::cpu::softmax_weights::SoftmaxWeights;
use crate::cpu::tile::{Finish, Left, Product, Right, Target, load, store};

/// Room for [`backward`].
#[derive(Debug, Default)]
pub struct BackwardScratch {
    /// For each key block that is kept: weights [64][64], then gradients of the scores [64][64].
    strip: Vec<f32>,
    /// One block of gradients of the scores, queries in the lanes.
    turned: Vec<f32>,
    /// Row sums of weight × gradient, one vector a query, then row sums of the weights likewise.
    delta: Vec<f32>,
}

/// What [`backward`] reads and writes for one block of queries of one head.
#[derive(Clone, Copy, Debug)]
pub struct HeadBackward {
    /// Block of queries, multiplied by the scale, `[width][64]`; unused lanes zero.
    pub query: *const f32,
    /// All key blocks `[width][64]`; unused lanes zero.
    pub keys: *const f32,
    /// All value blocks `[value_width][64]`; unused lanes zero.
    pub values: *const f32,
    /// Gradient of the block's output, `[value_width][64]`; unused lanes zero.
    pub out_gradient: *const f32,
    /// Log-sum-exp of the block's queries.
    pub log_sum_exp: *const f32,
    /// Row sums of output × its gradient, if they are known; null: they are found from the weights,
    /// which then must be kept for all keys, 512 bytes a key.
    pub delta: *const f32,
    /// Gradient of the scaled queries, `[width][64]`, written. May be `query` itself.
    pub query_gradient: *mut f32,
    /// Gradients of the keys, all blocks, added to.
    pub key_gradient: *mut f32,
    /// Gradients of the values, all blocks, added to.
    pub value_gradient: *mut f32,
}

/// Adds one block of queries to the gradients.
///
/// # Safety
/// The pointers of `head` are valid for what they are said to hold.
#[inline(always)]
pub unsafe fn backward<S: Simd>(
    simd: S,
    geometry: &Geometry,
    query_block: usize,
    head: HeadBackward,
    query_gradient: &mut Vec<f32>,
    scratch: &mut BackwardScratch,
) {
    let lanes = S::F32_LANES;
    let queries = geometry.queries_in(query_block);
    let blocks = geometry.visible_blocks(query_block);
    let known = !head.delta.is_null();
    let kept = if known { 1 } else { blocks.len() };
    let size = 2 * BLOCK * BLOCK;
    grow(&mut scratch.strip, kept * size);
    grow(&mut scratch.turned, BLOCK * BLOCK);
    grow(&mut scratch.delta, 2 * BLOCK * EDGE);
    grow(query_gradient, geometry.width * BLOCK);
    let strip = scratch.strip.as_mut_ptr();
    let turned = scratch.turned.as_mut_ptr();
    let delta = scratch.delta.as_mut_ptr();
    let gradient = query_gradient.as_mut_ptr();
    // SAFETY: scratch was sized above, operands by the caller's promise; see each function for its
    // ranges.
    unsafe {
        for i in 0..geometry.width * BLOCK / lanes {
            store(simd, gradient.add(i * lanes), simd.splat_f32s(0.0));
        }
        let step = Step {
            geometry,
            query_block,
            queries,
            head,
            turned,
            gradient,
        };
        if known {
            for key_block in blocks {
                step.weights(simd, key_block, strip, std::ptr::null_mut());
                step.gradients(simd, key_block, strip, head.delta);
            }
        } else {
            for i in 0..2 * BLOCK * EDGE {
                *delta.add(i) = 0.0;
            }
            for (i, key_block) in blocks.clone().enumerate() {
                step.weights(simd, key_block, strip.add(i * size), delta);
            }
            // In place: row q's sum goes to entry q, which lies in a row already summed. The
            // weights add up to 1 only as far as the log-sum-exp is exact, 4e-6 off at logits of
            // 80; divided by their own sum, the gradients of a row of scores add up to 0 as they
            // must, and what a shift of all keys gets is not that error's.
            for q in 0..BLOCK {
                let sum = simd.reduce_sum_f32s(load(simd, delta.add(q * EDGE)));
                let weight = simd.reduce_sum_f32s(load(simd, delta.add((BLOCK + q) * EDGE)));
                *delta.add(q) = if weight > 0.0 { sum / weight } else { 0.0 };
            }
            for (i, key_block) in blocks.enumerate() {
                step.gradients(simd, key_block, strip.add(i * size), delta);
            }
        }
        for i in 0..geometry.width * BLOCK / lanes {
            store(
                simd,
                head.query_gradient.add(i * lanes),
                load(simd, gradient.add(i * lanes)),
            );
        }
    }
}

/// Makes room without initialising more than was asked for.
fn grow(room: &mut Vec<f32>, len: usize) {
    if room.len() < len {
        room.resize(len, 0.0);
    }
}

/// One block of queries on its way past the keys.
pub(super) struct Step<'a> {
    pub(super) geometry: &'a Geometry,
    pub(super) query_block: usize,
    pub(super) queries: usize,
    pub(super) head: HeadBackward,
    /// `[64][64]`: gradients of the scores, queries in the lanes.
    pub(super) turned: *mut f32,
    /// `[width][64]`: the gradient of the queries so far.
    pub(super) gradient: *mut f32,
}

impl Step<'_> {
    /// End of the keys of a block that queries `first .. first + 16` see, rounded up to 16.
    #[inline(always)]
    pub(super) fn end(&self, first: usize, key_block: usize) -> usize {
        let last = (first + EDGE).min(self.queries) - 1;
        let end = self.geometry.seen(self.query_block, last, key_block).1 as usize;
        end.next_multiple_of(EDGE)
    }

    /// Weights and their gradients of one key block, keys in the lanes; zero weight where a query
    /// must not look.
    #[inline(always)]
    unsafe fn weights<S: Simd>(&self, simd: S, key_block: usize, strip: *mut f32, delta: *mut f32) {
        let lanes = S::F32_LANES;
        let geometry = self.geometry;
        let (weights, gradients) = (strip, strip.wrapping_add(BLOCK * BLOCK));
        // SAFETY: rows below `queries`, vectors below 64 / lanes, on blocks of [64][64] and
        // [width][64].
        unsafe {
            let keys = self.head.keys.add(key_block * geometry.width * BLOCK);
            let values = self
                .head
                .values
                .add(key_block * geometry.value_width * BLOCK);
            let whole = geometry.sees_all(self.query_block, key_block);
            let height = if whole { self.queries } else { EDGE };
            for first in (0..self.queries).step_by(height) {
                let rows = (self.queries - first).min(height);
                let end = if whole {
                    BLOCK
                } else {
                    self.end(first, key_block)
                };
                if end == 0 {
                    continue;
                }
                let vectors = end / lanes;
                let query = self.head.query.add(first);
                let out_gradient = self.head.out_gradient.add(first);
                let row = first * BLOCK;
                for (steps, left, right, target) in [
                    (geometry.width, query, keys, weights),
                    (geometry.value_width, out_gradient, values, gradients),
                ] {
                    Product {
                        rows,
                        vectors,
                        steps,
                        left: Left::columns(left, BLOCK),
                        right: Right::rows::<S>(right, BLOCK),
                        target: Target::rows::<S>(target.add(row), BLOCK),
                        finish: Finish::Store,
                    }
                    .run(simd);
                }
                simd.vectorize(SoftmaxWeights {
                    geometry,
                    query_block: self.query_block,
                    log_sum_exp: self.head.log_sum_exp,
                    key_block,
                    first,
                    rows,
                    vectors,
                    whole,
                    weights,
                    gradients,
                    delta,
                });
            }
        }
    }
}
