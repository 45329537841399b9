//! Backward of `blocked.rs`: gradients of one block of queries, and its share of those of keys and values.

use pulp::Simd;

use super::blocked::{BLOCK, EDGE, Geometry};
use super::softmax_weights::SoftmaxWeights;
use super::tile::{Finish, Left, Right, Target, load, product, store};
use super::transpose::transpose;

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
pub struct Head {
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
    /// Row sums of output × its gradient, if they are known; null: they are found from the weights, which then
    /// must be kept for all keys, 512 bytes a key.
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
    head: Head,
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
    // SAFETY: scratch was sized above, operands by the caller's promise; see each function for its ranges.
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
            // In place: row q's sum goes to entry q, which lies in a row already summed. The weights add up to 1 only as
            // far as the log-sum-exp is exact, 4e-6 off at logits of 80; divided by their own sum, the gradients of a
            // row of scores add up to 0 as they must, and what a shift of all keys gets is not that error's.
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

struct Step<'a> {
    geometry: &'a Geometry,
    query_block: usize,
    queries: usize,
    head: Head,
    turned: *mut f32,
    gradient: *mut f32,
}

impl Step<'_> {
    /// End of the keys of a block that queries `first .. first + 16` see, rounded up to 16.
    #[inline(always)]
    fn end(&self, first: usize, key_block: usize) -> usize {
        let last = (first + EDGE).min(self.queries) - 1;
        let end = self.geometry.seen(self.query_block, last, key_block).1 as usize;
        end.next_multiple_of(EDGE)
    }

    /// Weights and their gradients of one key block, keys in the lanes; zero weight where a query must not look.
    #[inline(always)]
    unsafe fn weights<S: Simd>(&self, simd: S, key_block: usize, strip: *mut f32, delta: *mut f32) {
        let lanes = S::F32_LANES;
        let geometry = self.geometry;
        let (weights, gradients) = (strip, strip.wrapping_add(BLOCK * BLOCK));
        // SAFETY: rows below `queries`, vectors below 64 / lanes, on blocks of [64][64] and [width][64].
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
                let left = |pointer: *const f32| Left {
                    pointer: pointer.add(first),
                    row_stride: 1,
                    step_stride: BLOCK,
                };
                let right = |pointer| Right {
                    pointer,
                    vector_stride: lanes,
                    step_stride: BLOCK,
                };
                let target = |pointer: *mut f32| Target {
                    pointer: pointer.add(first * BLOCK),
                    row_stride: BLOCK,
                    vector_stride: lanes,
                };
                let vectors = end / lanes;
                product(
                    simd,
                    rows,
                    vectors,
                    geometry.width,
                    left(self.head.query),
                    right(keys),
                    target(weights),
                    Finish::Store,
                );
                let width = geometry.value_width;
                product(
                    simd,
                    rows,
                    vectors,
                    width,
                    left(self.head.out_gradient),
                    right(values),
                    target(gradients),
                    Finish::Store,
                );
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

    /// Gradients of the scores from those of the weights, and what follows from them.
    #[inline(always)]
    unsafe fn gradients<S: Simd>(
        &self,
        simd: S,
        key_block: usize,
        strip: *mut f32,
        delta: *const f32,
    ) {
        let lanes = S::F32_LANES;
        let edge = EDGE / lanes;
        let geometry = self.geometry;
        let (weights, gradients) = (strip, strip.wrapping_add(BLOCK * BLOCK));
        let whole = geometry.sees_all(self.query_block, key_block);
        // SAFETY: rows below `queries`, vectors below 64 / lanes, on blocks of [64][64] and [width][64].
        unsafe {
            let keys = self.head.keys.add(key_block * geometry.width * BLOCK);
            let key_gradient = self
                .head
                .key_gradient
                .add(key_block * geometry.width * BLOCK);
            let value_gradient = self
                .head
                .value_gradient
                .add(key_block * geometry.value_width * BLOCK);
            let right = |pointer: *const f32| Right {
                pointer,
                vector_stride: lanes,
                step_stride: BLOCK,
            };
            let target = |pointer: *mut f32| Target {
                pointer,
                row_stride: BLOCK,
                vector_stride: lanes,
            };
            let rows_of = |pointer: *const f32| Left {
                pointer,
                row_stride: BLOCK,
                step_stride: 1,
            };
            for first in (0..self.queries).step_by(EDGE) {
                let end = if whole {
                    BLOCK
                } else {
                    self.end(first, key_block)
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
            let (out, query) = (rows_of(self.head.out_gradient), rows_of(self.head.query));
            let (width, value_width) = (geometry.width, geometry.value_width);
            let query_vectors = self.queries.div_ceil(EDGE) * edge;
            if whole {
                let all = BLOCK / lanes;
                let steps = self.queries;
                product(
                    simd,
                    value_width,
                    all,
                    steps,
                    out,
                    right(weights),
                    target(value_gradient),
                    Finish::Add,
                );
                product(
                    simd,
                    width,
                    all,
                    steps,
                    query,
                    right(gradients),
                    target(key_gradient),
                    Finish::Add,
                );
                product(
                    simd,
                    width,
                    query_vectors,
                    BLOCK,
                    rows_of(keys),
                    right(self.turned),
                    target(self.gradient),
                    Finish::Add,
                );
                return;
            }
            for column in (0..geometry.keys_in(key_block)).step_by(EDGE) {
                // Queries before this see none of the 16 keys.
                let start = geometry.first_query(self.query_block, key_block, column);
                if start >= self.queries {
                    break;
                }
                let start = start / EDGE * EDGE;
                let steps = self.queries - start;
                let from = |left: Left| Left {
                    pointer: left.pointer.add(start),
                    ..left
                };
                let at = start * BLOCK + column;
                let to = target(value_gradient.add(column));
                product(
                    simd,
                    value_width,
                    edge,
                    steps,
                    from(out),
                    right(weights.add(at)),
                    to,
                    Finish::Add,
                );
                let to = target(key_gradient.add(column));
                product(
                    simd,
                    width,
                    edge,
                    steps,
                    from(query),
                    right(gradients.add(at)),
                    to,
                    Finish::Add,
                );
            }
            for first in (0..self.queries).step_by(EDGE) {
                let end = self.end(first, key_block);
                if end == 0 {
                    continue;
                }
                let to = target(self.gradient.add(first));
                product(
                    simd,
                    width,
                    edge,
                    end,
                    rows_of(keys),
                    right(self.turned.add(first)),
                    to,
                    Finish::Add,
                );
            }
        }
    }
}
