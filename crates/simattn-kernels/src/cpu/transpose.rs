//! Moving values between token-major order, as projections write it, and lane order, as the kernels
//! read it.

use std::any::TypeId;

use pulp::Simd;

/// `target[c * target_stride + r] = source[r * source_stride + c]` for `rows` × `columns` values.
///
/// # Safety
/// Both sides are valid over the whole index range and do not overlap.
#[inline(always)]
pub unsafe fn transpose<S: Simd>(
    _simd: S,
    rows: usize,
    columns: usize,
    source: *const f32,
    source_stride: usize,
    target: *mut f32,
    target_stride: usize,
) {
    #[cfg(target_arch = "x86_64")]
    if TypeId::of::<S>() == TypeId::of::<pulp::x86::V4>() {
        // SAFETY: a value of V4 exists, so the machine has AVX-512; ranges by the caller's promise.
        unsafe { x86::transpose(rows, columns, source, source_stride, target, target_stride) };
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if TypeId::of::<S>() == TypeId::of::<pulp::x86::V3>() {
        // SAFETY: a value of V3 exists, so the machine has AVX; ranges by the caller's promise.
        unsafe {
            x86::transpose_by_eight(rows, columns, source, source_stride, target, target_stride);
        }
        return;
    }
    let _ = TypeId::of::<S>();
    // SAFETY: ranges by the caller's promise.
    unsafe { blocks_of_four(rows, columns, source, source_stride, target, target_stride) }
}

/// Portable form: small blocks, so that both sides stay in the cache.
#[inline(always)]
unsafe fn blocks_of_four(
    rows: usize,
    columns: usize,
    source: *const f32,
    source_stride: usize,
    target: *mut f32,
    target_stride: usize,
) {
    let mut row = 0;
    // SAFETY: `r < rows` and `c < columns` throughout.
    unsafe {
        while row + 4 <= rows {
            for c in 0..columns {
                let from = source.add(row * source_stride + c);
                let to = target.add(c * target_stride + row);
                *to = *from;
                *to.add(1) = *from.add(source_stride);
                *to.add(2) = *from.add(2 * source_stride);
                *to.add(3) = *from.add(3 * source_stride);
            }
            row += 4;
        }
        for r in row..rows {
            for c in 0..columns {
                *target.add(c * target_stride + r) = *source.add(r * source_stride + c);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    /// # Safety
    /// As [`super::transpose`], on a machine with AVX-512.
    #[target_feature(enable = "avx512f")]
    pub unsafe fn transpose(
        rows: usize,
        columns: usize,
        source: *const f32,
        source_stride: usize,
        target: *mut f32,
        target_stride: usize,
    ) {
        let (whole_rows, whole_columns) = (rows / 16 * 16, columns / 16 * 16);
        // SAFETY: blocks of 16 inside the ranges, then the right and the lower rest.
        unsafe {
            for r in (0..whole_rows).step_by(16) {
                for c in (0..whole_columns).step_by(16) {
                    let from = source.add(r * source_stride + c);
                    sixteen(
                        from,
                        source_stride,
                        target.add(c * target_stride + r),
                        target_stride,
                    );
                }
            }
            if whole_columns < columns {
                let (from, to) = (
                    source.add(whole_columns),
                    target.add(whole_columns * target_stride),
                );
                let rest = columns - whole_columns;
                super::blocks_of_four(whole_rows, rest, from, source_stride, to, target_stride);
            }
            if whole_rows < rows {
                let from = source.add(whole_rows * source_stride);
                super::blocks_of_four(
                    rows - whole_rows,
                    columns,
                    from,
                    source_stride,
                    target.add(whole_rows),
                    target_stride,
                );
            }
        }
    }

    /// # Safety
    /// As [`super::transpose`], on a machine with AVX.
    #[target_feature(enable = "avx")]
    pub unsafe fn transpose_by_eight(
        rows: usize,
        columns: usize,
        source: *const f32,
        source_stride: usize,
        target: *mut f32,
        target_stride: usize,
    ) {
        let (whole_rows, whole_columns) = (rows / 8 * 8, columns / 8 * 8);
        // SAFETY: blocks of 8 inside the ranges, then the right and the lower rest.
        unsafe {
            for r in (0..whole_rows).step_by(8) {
                for c in (0..whole_columns).step_by(8) {
                    eight(
                        source.add(r * source_stride + c),
                        source_stride,
                        target.add(c * target_stride + r),
                        target_stride,
                    );
                }
            }
            if whole_columns < columns {
                let (from, to) = (
                    source.add(whole_columns),
                    target.add(whole_columns * target_stride),
                );
                let rest = columns - whole_columns;
                super::blocks_of_four(whole_rows, rest, from, source_stride, to, target_stride);
            }
            if whole_rows < rows {
                super::blocks_of_four(
                    rows - whole_rows,
                    columns,
                    source.add(whole_rows * source_stride),
                    source_stride,
                    target.add(whole_rows),
                    target_stride,
                );
            }
        }
    }

    /// An 8 × 8 block. Rows i and i + 4 are loaded by halves into one register, so that only pairs
    /// and quadruples within 128 bits are left to be exchanged.
    #[inline]
    #[target_feature(enable = "avx")]
    unsafe fn eight(
        source: *const f32,
        source_stride: usize,
        target: *mut f32,
        target_stride: usize,
    ) {
        // Halves `h` (columns 4 h .. 4 h + 4) of rows i and i + 4.
        let halves = |i: usize, h: usize| {
            // SAFETY: eight rows of eight values by the caller's promise.
            unsafe {
                let low = _mm_loadu_ps(source.add(i * source_stride + 4 * h));
                let high = _mm_loadu_ps(source.add((i + 4) * source_stride + 4 * h));
                _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(low), high)
            }
        };
        for h in 0..2 {
            let (a, b, c, d) = (halves(0, h), halves(1, h), halves(2, h), halves(3, h));
            let (ab_low, ab_high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let (cd_low, cd_high) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            let columns = [
                _mm256_shuffle_ps::<0x44>(ab_low, cd_low),
                _mm256_shuffle_ps::<0xee>(ab_low, cd_low),
                _mm256_shuffle_ps::<0x44>(ab_high, cd_high),
                _mm256_shuffle_ps::<0xee>(ab_high, cd_high),
            ];
            for (j, column) in columns.into_iter().enumerate() {
                // SAFETY: eight rows of eight values by the caller's promise.
                unsafe { _mm256_storeu_ps(target.add((4 * h + j) * target_stride), column) };
            }
        }
    }

    /// A 16 × 16 block: pairs, then quadruples within 128-bit quarters, then the quarters.
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn sixteen(
        source: *const f32,
        source_stride: usize,
        target: *mut f32,
        target_stride: usize,
    ) {
        let mut a = [_mm512_setzero_ps(); 16];
        let mut b = [_mm512_setzero_ps(); 16];
        for (i, row) in a.iter_mut().enumerate() {
            // SAFETY: sixteen rows of sixteen values by the caller's promise.
            *row = unsafe { _mm512_loadu_ps(source.add(i * source_stride)) };
        }
        for i in 0..8 {
            b[2 * i] = _mm512_unpacklo_ps(a[2 * i], a[2 * i + 1]);
            b[2 * i + 1] = _mm512_unpackhi_ps(a[2 * i], a[2 * i + 1]);
        }
        for i in 0..4 {
            let pd = |j: usize| _mm512_castps_pd(b[4 * i + j]);
            a[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(pd(0), pd(2)));
            a[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(pd(0), pd(2)));
            a[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(pd(1), pd(3)));
            a[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(pd(1), pd(3)));
        }
        // Quarter q of a[4 i + j] now holds column 4 q + j of rows 4 i .. 4 i + 4.
        for j in 0..4 {
            b[j] = _mm512_shuffle_f32x4::<0x88>(a[j], a[4 + j]);
            b[4 + j] = _mm512_shuffle_f32x4::<0xdd>(a[j], a[4 + j]);
            b[8 + j] = _mm512_shuffle_f32x4::<0x88>(a[8 + j], a[12 + j]);
            b[12 + j] = _mm512_shuffle_f32x4::<0xdd>(a[8 + j], a[12 + j]);
        }
        for j in 0..4 {
            a[j] = _mm512_shuffle_f32x4::<0x88>(b[j], b[8 + j]);
            a[8 + j] = _mm512_shuffle_f32x4::<0xdd>(b[j], b[8 + j]);
            a[4 + j] = _mm512_shuffle_f32x4::<0x88>(b[4 + j], b[12 + j]);
            a[12 + j] = _mm512_shuffle_f32x4::<0xdd>(b[4 + j], b[12 + j]);
        }
        for (i, row) in a.iter().enumerate() {
            // SAFETY: sixteen rows of sixteen values by the caller's promise.
            unsafe { _mm512_storeu_ps(target.add(i * target_stride), *row) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::simd::InstructionSet;

    struct Run<'a>(usize, usize, &'a [f32], &'a mut [f32]);

    impl pulp::WithSimd for Run<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let Self(rows, columns, source, target) = self;
            assert!(source.len() == rows * columns && target.len() == rows * columns);
            // SAFETY: both sides hold rows × columns values.
            unsafe {
                transpose(
                    simd,
                    rows,
                    columns,
                    source.as_ptr(),
                    columns,
                    target.as_mut_ptr(),
                    rows,
                )
            }
        }
    }

    #[test]
    fn every_value_lands_in_its_place() {
        for set in InstructionSet::available() {
            for (rows, columns) in [
                (1, 1),
                (3, 5),
                (8, 8),
                (16, 16),
                (17, 35),
                (64, 48),
                (48, 64),
                (15, 33),
                (9, 20),
                (4, 100),
            ] {
                let source: Vec<f32> = (0..rows * columns).map(|i| i as f32).collect();
                let mut target = vec![f32::NAN; rows * columns];
                set.run(Run(rows, columns, &source, &mut target));
                for r in 0..rows {
                    for c in 0..columns {
                        assert_eq!(
                            target[c * rows + r],
                            source[r * columns + c],
                            "{set} {rows}x{columns} {r},{c}"
                        );
                    }
                }
            }
        }
    }
}
