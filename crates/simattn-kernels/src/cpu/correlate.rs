//! Sums over tokens: `C[i][j] += Σ a[i]·b[j]` with the tokens in the lanes of both, as gradients of
//! weights need them.

use std::any::TypeId;

use pulp::{Simd, WithSimd};

use super::expansion::chunk_len;
use super::tile::{load, unrolled};

/// Rows of the tokens of a chunk: lane group `k` of row `i` is at `pointer + i * row_stride + k *
/// step_stride`.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    /// First value.
    pub pointer: *const f32,
    /// Distance between rows.
    pub row_stride: usize,
    /// Distance between groups of lanes.
    pub step_stride: usize,
}

/// `sums[i * columns + j] += Σ_k Σ_lane left[i, k, lane] · right[j, k, lane]`.
///
/// # Safety
/// Operands and sums are valid over the whole index range; the sums overlap no operand.
#[inline(always)]
pub unsafe fn correlate<S: Simd>(
    simd: S,
    rows: usize,
    columns: usize,
    steps: usize,
    left: Rows,
    right: Rows,
    sums: *mut f32,
) {
    simd.vectorize(Correlation {
        rows,
        columns,
        steps,
        left,
        right,
        sums,
    });
}

/// `sums[i] += Σ_k Σ_lane values[i, k, lane]`.
///
/// # Safety
/// As [`correlate`].
#[inline(always)]
pub unsafe fn add_up<S: Simd>(simd: S, rows: usize, steps: usize, values: Rows, sums: *mut f32) {
    for row in 0..rows {
        let mut sum = simd.splat_f32s(0.0);
        // SAFETY: inside the ranges that the caller promises.
        unsafe {
            for step in 0..steps {
                let place = values
                    .pointer
                    .add(row * values.row_stride + step * values.step_stride);
                for part in 0..chunk_len(S::F32_LANES) / S::F32_LANES {
                    sum = simd.add_f32s(sum, load(simd, place.add(part * S::F32_LANES)));
                }
            }
            *sums.add(row) += simd.reduce_sum_f32s(sum);
        }
    }
}

struct Correlation {
    rows: usize,
    columns: usize,
    steps: usize,
    left: Rows,
    right: Rows,
    sums: *mut f32,
}

impl WithSimd for Correlation {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut row = 0;
        // SAFETY: tiles inside rows × columns.
        unsafe {
            while row < self.rows {
                let left = self.rows - row;
                row += if S::REGISTER_COUNT >= 32 && left >= 6 {
                    self.row::<S, 6, 4>(simd, row)
                } else if left >= 3 {
                    // Twelve sums, three rows and one column: 16 registers.
                    self.row::<S, 3, 4>(simd, row)
                } else if left >= 2 {
                    self.row::<S, 2, 4>(simd, row)
                } else {
                    self.row::<S, 1, 4>(simd, row)
                };
            }
        }
    }
}

impl Correlation {
    #[inline(always)]
    unsafe fn row<S: Simd, const M: usize, const N: usize>(&self, simd: S, row: usize) -> usize {
        let mut column = 0;
        // SAFETY: tiles inside rows × columns.
        unsafe {
            while self.columns - column >= N {
                self.tile::<S, M, N>(simd, row, column);
                column += N;
            }
            while self.columns - column >= 2 {
                self.tile::<S, M, 2>(simd, row, column);
                column += 2;
            }
            if column < self.columns {
                self.tile::<S, M, 1>(simd, row, column);
            }
        }
        M
    }

    #[inline(always)]
    unsafe fn tile<S: Simd, const M: usize, const N: usize>(
        &self,
        simd: S,
        row: usize,
        column: usize,
    ) {
        let (left, right) = (self.left, self.right);
        let mut sums = [[simd.splat_f32s(0.0); N]; M];
        // SAFETY: `row + M <= rows`, `column + N <= columns`, steps below `steps`, by the promise
        // to `correlate`.
        unsafe {
            let mut a = left.pointer.add(row * left.row_stride);
            let mut b = right.pointer.add(column * right.row_stride);
            for _ in 0..self.steps {
                for part in 0..chunk_len(S::F32_LANES) / S::F32_LANES {
                    let at = part * S::F32_LANES;
                    let mut x = [simd.splat_f32s(0.0); M];
                    unrolled!(m < M, {
                        x[m] = load(simd, a.add(m * left.row_stride + at));
                    });
                    unrolled!(n < N, {
                        let y = load(simd, b.add(n * right.row_stride + at));
                        unrolled!(m < M, {
                            sums[m][n] = simd.mul_add_e_f32s(x[m], y, sums[m][n]);
                        });
                    });
                }
                a = a.wrapping_add(left.step_stride);
                b = b.wrapping_add(right.step_stride);
            }
            unrolled!(m < M, {
                let place = self.sums.add((row + m) * self.columns + column);
                if !add_four(simd, &sums[m], place) {
                    unrolled!(n < N, {
                        *place.add(n) += simd.reduce_sum_f32s(sums[m][n]);
                    });
                }
            });
        }
    }
}

/// Adds the sum of each of four vectors of 8 or 16 lanes to the four values at `place`, all at
/// once; false if they are others.
///
/// One after another each sum is a chain of shuffles, which costs as much as the eight steps that
/// it ends.
///
/// # Safety
/// `place` is valid for N values.
#[inline(always)]
unsafe fn add_four<S: Simd, const N: usize>(
    _simd: S,
    sums: &[S::f32s; N],
    place: *mut f32,
) -> bool {
    #[cfg(target_arch = "x86_64")]
    if N == 4 && TypeId::of::<S>() == TypeId::of::<pulp::x86::V3>() {
        // SAFETY: a value of V3 exists, so the machine has AVX; its vectors are these 8 lanes; four
        // values at `place`.
        unsafe { x86::add_four::<1>(sums.as_ptr().cast(), place) };
        return true;
    }
    #[cfg(target_arch = "x86_64")]
    if N == 4 && TypeId::of::<S>() == TypeId::of::<pulp::x86::V4>() {
        // SAFETY: a value of V4 exists, so the machine has AVX; its vectors are twice these 8
        // lanes; four values at `place`.
        unsafe { x86::add_four::<2>(sums.as_ptr().cast(), place) };
        return true;
    }
    let _ = (TypeId::of::<S>(), sums, place);
    false
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    /// # Safety
    /// Four vectors of `PARTS` times 8 lanes at `sums`, four values at `place`, on a machine with
    /// AVX.
    #[inline]
    #[target_feature(enable = "avx")]
    pub unsafe fn add_four<const PARTS: usize>(sums: *const __m256, place: *mut f32) {
        // SAFETY: by the caller's promise.
        unsafe {
            let part = |i: usize, part: usize| sums.add(i * PARTS + part).read_unaligned();
            let vector =
                |i: usize| (1..PARTS).fold(part(i, 0), |sum, p| _mm256_add_ps(sum, part(i, p)));
            let (one, two) = (
                _mm256_hadd_ps(vector(0), vector(1)),
                _mm256_hadd_ps(vector(2), vector(3)),
            );
            let halves = _mm256_hadd_ps(one, two);
            let four = _mm_add_ps(
                _mm256_castps256_ps128(halves),
                _mm256_extractf128_ps::<1>(halves),
            );
            _mm_storeu_ps(place, _mm_add_ps(_mm_loadu_ps(place), four));
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::cpu::simd::InstructionSet;

        /// Also of 16 lanes, on machines that have no such vectors.
        #[test]
        fn four_sums_at_once_are_those_of_their_lanes() {
            fn check<const PARTS: usize>() {
                let lanes: Vec<f32> = (0..32 * PARTS).map(|i| (i * i % 37) as f32).collect();
                let mut sums = [0.5, 1.5, 2.5, 3.5];
                let wanted: Vec<f32> = lanes
                    .chunks(8 * PARTS)
                    .zip(sums)
                    .map(|(vector, before)| before + vector.iter().sum::<f32>())
                    .collect();
                // SAFETY: four vectors, four values, and AVX is part of AVX2.
                unsafe { add_four::<PARTS>(lanes.as_ptr().cast(), sums.as_mut_ptr()) };
                assert_eq!(sums, *wanted);
            }
            if InstructionSet::Avx2Fma.is_available() {
                check::<1>();
                check::<2>();
            }
        }
    }
}
