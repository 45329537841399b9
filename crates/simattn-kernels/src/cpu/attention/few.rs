//! Attention of very few queries, as in decoding: keys and values are read once, where they stand.

use pulp::{Simd, WithSimd};

use crate::cpu::simd::exp;

/// Up to this many queries of a head go here: bringing keys and values into lane order would cost
/// more than it saves.
pub(super) const FEW: usize = 4;

/// One query of one head.
pub(super) struct FewQueries<'a> {
    /// The query.
    pub query: &'a [f32],
    /// From the first key that the query sees.
    pub keys: &'a [f32],
    /// Distance between keys.
    pub key_stride: usize,
    /// From the first value that the query sees.
    pub values: &'a [f32],
    /// Distance between values.
    pub value_stride: usize,
    /// How many keys the query sees.
    pub count: usize,
    /// Factor on the scores.
    pub scale: f32,
    /// Room for the weights, at least `count` values.
    pub weights: &'a mut [f32],
    /// The output, written.
    pub out: &'a mut [f32],
}

impl WithSimd for FewQueries<'_> {
    /// The log-sum-exp.
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        let Self {
            query, out, count, ..
        } = self;
        let weights = &mut self.weights[..count];
        let zero = simd.splat_f32s(0.0);
        let (query_whole, query_rest) = S::as_simd_f32s(query);
        let query_rest = simd.partial_load_f32s(query_rest);
        for (key, weight) in weights.iter_mut().enumerate() {
            let (whole, rest) = S::as_simd_f32s(&self.keys[key * self.key_stride..][..query.len()]);
            let mut sum = simd.mul_f32s(simd.partial_load_f32s(rest), query_rest);
            for (k, q) in whole.iter().zip(query_whole) {
                sum = simd.mul_add_e_f32s(*k, *q, sum);
            }
            *weight = simd.reduce_sum_f32s(sum) * self.scale;
        }
        let greatest = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if greatest == f32::NEG_INFINITY {
            out.fill(0.0);
            return f32::NEG_INFINITY;
        }
        let mut total = zero;
        let most = simd.splat_f32s(greatest);
        let (whole, rest) = S::as_mut_simd_f32s(weights);
        for weight in whole {
            *weight = exp(simd, simd.sub_f32s(*weight, most));
            total = simd.add_f32s(total, *weight);
        }
        let mut total = simd.reduce_sum_f32s(total);
        for weight in rest {
            *weight = (*weight - greatest).exp();
            total += *weight;
        }
        // Each piece of the output stays in registers while all values pass by.
        let share = 1.0 / total;
        let mut done = 0;
        while done < out.len() {
            let width = (out.len() - done).min(4 * S::F32_LANES);
            let mut sums = [zero; 4];
            for (key, weight) in weights.iter().enumerate() {
                let row = &self.values[key * self.value_stride + done..][..width];
                let weight = simd.splat_f32s(*weight);
                if width == 4 * S::F32_LANES {
                    let (whole, _) = S::as_simd_f32s(row);
                    for i in 0..4 {
                        sums[i] = simd.mul_add_e_f32s(whole[i], weight, sums[i]);
                    }
                } else {
                    for (piece, sum) in row.chunks(S::F32_LANES).zip(&mut sums) {
                        *sum = simd.mul_add_e_f32s(simd.partial_load_f32s(piece), weight, *sum);
                    }
                }
            }
            let share = simd.splat_f32s(share);
            for (piece, sum) in out[done..done + width].chunks_mut(S::F32_LANES).zip(sums) {
                simd.partial_store_f32s(piece, simd.mul_f32s(sum, share));
            }
            done += width;
        }
        greatest + total.ln()
    }
}
