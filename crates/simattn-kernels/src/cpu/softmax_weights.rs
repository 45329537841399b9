//! The softmax of backward: weights from scores by the log-sum-exp that forward left, keys in the
//! lanes.

use pulp::{Simd, WithSimd};

use super::blocked::{BLOCK, EDGE, Geometry, LANE_NUMBERS};
use super::simd::exp_side_by_side;
use super::tile::{load, store};

/// Turns scores into weights and sums weight × gradient.
pub(super) struct SoftmaxWeights<'a> {
    /// The sizes of the head.
    pub(super) geometry: &'a Geometry,
    /// Which block of queries, and which of keys.
    pub(super) query_block: usize,
    pub(super) key_block: usize,
    /// Of the block's queries.
    pub(super) log_sum_exp: *const f32,
    /// Rows `first .. first + rows` of `vectors` vectors.
    pub(super) first: usize,
    pub(super) rows: usize,
    pub(super) vectors: usize,
    /// Whether nothing is hidden.
    pub(super) whole: bool,
    /// [64][64] scores, which become the weights.
    pub(super) weights: *mut f32,
    /// [64][64] gradients of the weights.
    pub(super) gradients: *const f32,
    /// One vector a query for its sum of weight × gradient, then likewise for its sum of weights;
    /// null for no sums.
    pub(super) delta: *mut f32,
}

impl WithSimd for SoftmaxWeights<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let zero = simd.splat_f32s(0.0);
        // SAFETY: rows and vectors inside [64][64], the promise of the builder; two vectors of
        // delta a row.
        unsafe {
            let lane = load(simd, LANE_NUMBERS.as_ptr());
            for q in self.first..self.first + self.rows {
                let total = *self.log_sum_exp.add(q);
                // A query that saw no key has −∞: with +∞ its weights become e^−∞ = 0.
                let total = simd.splat_f32s(if total == f32::NEG_INFINITY {
                    f32::INFINITY
                } else {
                    total
                });
                let (mut sum, mut total_weight) = (zero, zero);
                let (low, high) = self.geometry.seen(self.query_block, q, self.key_block);
                let (low, high) = (simd.splat_f32s(low as f32), simd.splat_f32s(high as f32));
                let row = Row {
                    start: q * BLOCK,
                    total,
                    lane,
                    low,
                    high,
                };
                let mut v = 0;
                while v < self.vectors {
                    // Each gives the same bits, as the sums go on in the same order.
                    let together = match self.vectors - v {
                        left if S::F32_LANES != 8 || left < 2 => 1,
                        left if left < 4 => 2,
                        _ => 4,
                    };
                    match together {
                        4 => self.vectors_of::<S, 4>(simd, &row, v, &mut sum, &mut total_weight),
                        2 => self.vectors_of::<S, 2>(simd, &row, v, &mut sum, &mut total_weight),
                        _ => self.vectors_of::<S, 1>(simd, &row, v, &mut sum, &mut total_weight),
                    }
                    v += together;
                }
                if !self.delta.is_null() {
                    for (row, value) in [(q, sum), (BLOCK + q, total_weight)] {
                        let place = self.delta.add(row * EDGE);
                        store(simd, place, simd.add_f32s(load(simd, place), value));
                    }
                }
            }
        }
    }
}

/// What the vectors of one query's row share.
struct Row<S: Simd> {
    start: usize,
    total: S::f32s,
    lane: S::f32s,
    low: S::f32s,
    high: S::f32s,
}

impl SoftmaxWeights<'_> {
    /// Weights of V vectors of a row from vector `first`, added to the row's sums one after the
    /// other.
    #[inline(always)]
    unsafe fn vectors_of<S: Simd, const V: usize>(
        &self,
        simd: S,
        row: &Row<S>,
        first: usize,
        sum: &mut S::f32s,
        total_weight: &mut S::f32s,
    ) {
        let lanes = S::F32_LANES;
        let zero = simd.splat_f32s(0.0);
        // SAFETY: vectors `first .. first + V` of the row, by the caller's promise.
        unsafe {
            let scores: [S::f32s; V] = std::array::from_fn(|v| {
                let at = row.start + (first + v) * lanes;
                simd.sub_f32s(load(simd, self.weights.add(at)), row.total)
            });
            let mut weights = exp_side_by_side(simd, scores);
            if !self.whole {
                for (v, weight) in weights.iter_mut().enumerate() {
                    let start = simd.splat_f32s(((first + v) * lanes) as f32);
                    let key = simd.add_f32s(row.lane, start);
                    let behind = simd.greater_than_or_equal_f32s(key, row.low);
                    *weight = simd.select_f32s(behind, *weight, zero);
                    let before = simd.less_than_f32s(key, row.high);
                    *weight = simd.select_f32s(before, *weight, zero);
                }
            }
            for (v, &weight) in weights.iter().enumerate() {
                let at = row.start + (first + v) * lanes;
                store(simd, self.weights.add(at), weight);
                *sum = simd.mul_add_e_f32s(weight, load(simd, self.gradients.add(at)), *sum);
                *total_weight = simd.add_f32s(*total_weight, weight);
            }
        }
    }
}
