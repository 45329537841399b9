//! The softmax of forward, block by block: weights relative to the greatest score so far, queries
//! in the lanes.

use std::ops::Range;

use pulp::Simd;

use super::blocked::BLOCK;
use super::simd::{exp, exp_side_by_side};
use super::tile::{load, store};

/// Turns scores `[rows][64]` into weights relative to the greatest score so far, adds them to
/// `sums`, and leaves in `scale` the factor by which what was added before shrinks.
///
/// # Safety
/// The vectors lie inside the rows of 64, which are valid for reads and writes.
#[inline(always)]
pub(super) unsafe fn softmax<S: Simd>(
    simd: S,
    rows: usize,
    vectors: Range<usize>,
    scores: *mut f32,
    greatest: *mut f32,
    sums: *mut f32,
    scale: *mut f32,
) {
    let mut v = vectors.start;
    // SAFETY: vectors lie inside the rows of 64 by the caller's promise.
    unsafe {
        while v < vectors.end {
            let at = v * S::F32_LANES;
            if vectors.end - v >= 4 {
                let kernel = Softmax::<4> {
                    rows,
                    scores: scores.add(at),
                    greatest: greatest.add(at),
                    sums: sums.add(at),
                    scale: scale.add(at),
                };
                simd.vectorize(kernel);
                v += 4;
            } else {
                let kernel = Softmax::<1> {
                    rows,
                    scores: scores.add(at),
                    greatest: greatest.add(at),
                    sums: sums.add(at),
                    scale: scale.add(at),
                };
                simd.vectorize(kernel);
                v += 1;
            }
        }
    }
}

/// [`softmax`] of V vectors at once.
struct Softmax<const V: usize> {
    rows: usize,
    scores: *mut f32,
    greatest: *mut f32,
    sums: *mut f32,
    scale: *mut f32,
}

impl<const V: usize> pulp::WithSimd for Softmax<V> {
    type Output = ();

    // The index is a register's number; it counts addresses and arrays alike.
    #[allow(clippy::needless_range_loop)]
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            rows,
            scores,
            greatest,
            sums,
            scale,
        } = self;
        let lanes = S::F32_LANES;
        let zero = simd.splat_f32s(0.0);
        let lowest = simd.splat_f32s(f32::NEG_INFINITY);
        // SAFETY: V vectors of each of `rows` rows, by the promise of the caller of `softmax`.
        unsafe {
            let mut most = [zero; V];
            for v in 0..V {
                most[v] = load(simd, greatest.add(v * lanes));
            }
            for row in 0..rows {
                for v in 0..V {
                    most[v] =
                        simd.max_f32s(most[v], load(simd, scores.add(row * BLOCK + v * lanes)));
                }
            }
            let mut base = [zero; V];
            let mut total = [zero; V];
            for v in 0..V {
                // A query that saw no key yet has −∞ here: measure from 0, so that its weights
                // become e^−∞ = 0.
                base[v] = simd.select_f32s(simd.greater_than_f32s(most[v], lowest), most[v], zero);
                let shrink = exp(
                    simd,
                    simd.sub_f32s(load(simd, greatest.add(v * lanes)), base[v]),
                );
                store(simd, greatest.add(v * lanes), most[v]);
                store(simd, scale.add(v * lanes), shrink);
            }
            for row in 0..rows {
                let place = |v: usize| scores.add(row * BLOCK + v * lanes);
                if lanes == 8 {
                    let scores =
                        std::array::from_fn(|v| simd.sub_f32s(load(simd, place(v)), base[v]));
                    let weights = exp_side_by_side::<S, V>(simd, scores);
                    for v in 0..V {
                        store(simd, place(v), weights[v]);
                        total[v] = simd.add_f32s(total[v], weights[v]);
                    }
                    continue;
                }
                for v in 0..V {
                    let weight = exp(simd, simd.sub_f32s(load(simd, place(v)), base[v]));
                    store(simd, place(v), weight);
                    total[v] = simd.add_f32s(total[v], weight);
                }
            }
            for v in 0..V {
                let sum = load(simd, sums.add(v * lanes));
                store(
                    simd,
                    sums.add(v * lanes),
                    simd.mul_add_e_f32s(sum, load(simd, scale.add(v * lanes)), total[v]),
                );
            }
        }
    }
}
