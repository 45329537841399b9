//! Numbers of every kept type, and how a vector of them is widened to float32.

use pulp::Simd;

use crate::call::NumberType;
use crate::cpu::tile::load;
use crate::cpu::vectorised::per_instruction_set;

/// A number that can be widened to float32, one vector at a time.
pub(super) trait Number: Copy + Send + Sync + 'static {
    /// The numbers from `at` on as one vector.
    ///
    /// # Safety
    /// `at` is readable for `S::F32_LANES` numbers.
    unsafe fn load<S: Simd>(simd: S, at: *const Self) -> S::f32s;
}

/// The upper half of a float32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bf16(u16);

impl Bf16 {
    /// The nearest to `x`, of two the even one.
    #[inline(always)]
    pub fn nearest(x: f32) -> Self {
        let bits = x.to_bits();
        if x.is_nan() {
            // Rounding could carry a NaN's bits into infinity.
            return Self((bits >> 16) as u16 | 0x40);
        }
        let half = 0x7fff + ((bits >> 16) & 1);
        Self((bits.wrapping_add(half) >> 16) as u16)
    }

    /// The smallest that is not below `x`, for `x` ≥ 0.
    pub(super) fn not_below(x: f32) -> Self {
        Self((x.to_bits().saturating_add(0xffff) >> 16) as u16)
    }

    /// As float32, exactly.
    pub fn wide(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }
}

/// `lanes` numbers widened one by one, where no instruction does it.
#[inline(always)]
unsafe fn one_by_one<S: Simd, N: Copy>(simd: S, at: *const N, wide: impl Fn(N) -> f32) -> S::f32s {
    const MOST_LANES: usize = 16;
    let mut values = [0.0; MOST_LANES];
    for (lane, value) in values.iter_mut().enumerate().take(S::F32_LANES) {
        // SAFETY: readable by the caller's promise.
        *value = wide(unsafe { *at.add(lane) });
    }
    // SAFETY: no set has more lanes than the array values.
    unsafe { load(simd, values.as_ptr()) }
}

impl Number for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, at: *const Self) -> S::f32s {
        // SAFETY: the caller's promise.
        unsafe { load(simd, at) }
    }
}

impl Number for Bf16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, at: *const Self) -> S::f32s {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::*;
            use std::mem::transmute_copy;
            if S::F32_LANES == 16 {
                // SAFETY: on x86 only AVX-512 has 16 lanes, so its instructions are there and the
                // vector is its register; 16 numbers of two bytes are readable.
                unsafe {
                    let narrow = at.cast::<__m256i>().read_unaligned();
                    let wide = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(narrow));
                    return transmute_copy(&wide);
                }
            }
            if S::F32_LANES == 8 {
                // SAFETY: on x86 only AVX2 has 8 lanes; else as above.
                unsafe {
                    let narrow = at.cast::<__m128i>().read_unaligned();
                    let wide = _mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(narrow));
                    return transmute_copy(&wide);
                }
            }
        }
        // SAFETY: the caller's promise.
        unsafe { one_by_one(simd, at, Self::wide) }
    }
}

impl Number for i8 {
    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, at: *const Self) -> S::f32s {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::*;
            use std::mem::transmute_copy;
            if S::F32_LANES == 16 {
                // SAFETY: on x86 only AVX-512 has 16 lanes, so its instructions are there and the
                // vector is its register; 16 numbers of one byte are readable.
                unsafe {
                    let narrow = at.cast::<__m128i>().read_unaligned();
                    let wide = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(narrow));
                    return transmute_copy(&wide);
                }
            }
            if S::F32_LANES == 8 {
                // SAFETY: on x86 only AVX2 has 8 lanes; else as above.
                unsafe {
                    let narrow = _mm_loadl_epi64(at.cast());
                    let wide = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(narrow));
                    return transmute_copy(&wide);
                }
            }
        }
        // SAFETY: the caller's promise.
        unsafe { one_by_one(simd, at, f32::from) }
    }
}

/// Numbers of one type.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    /// float32
    F32(Vec<f32>),
    /// bfloat16
    Bf16(Vec<Bf16>),
    /// Whole numbers; their scales are kept beside them.
    Int8(Vec<i8>),
}

impl Numbers {
    /// `len` zeros.
    pub(super) fn zeros(number_type: NumberType, len: usize) -> Self {
        match number_type {
            NumberType::F32 => Self::F32(vec![0.0; len]),
            NumberType::Bf16 => Self::Bf16(vec![Bf16::default(); len]),
            NumberType::Int8 => Self::Int8(vec![0; len]),
        }
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::F32(values) => 4 * values.len(),
            Self::Bf16(values) => 2 * values.len(),
            Self::Int8(values) => values.len(),
        }
    }
}

per_instruction_set! {
    /// The largest absolute value.
    pub(super) fn largest(values: &[f32]) -> f32 {
        // The greatest of some numbers is the same in every order, so the lanes are on their own.
        let (most, rest) = values.as_chunks::<16>();
        let mut lanes = [0f32; 16];
        for values in most {
            for (lane, value) in lanes.iter_mut().zip(values) {
                *lane = lane.max(value.abs());
            }
        }
        let rest = rest.iter().map(|value| value.abs());
        lanes.into_iter().chain(rest).fold(0.0, f32::max)
    }

    /// Values as multiples of a scale whose reciprocal is `per_scale`.
    pub(super) fn whole(values: &[f32], per_scale: f32, to: &mut [i8]) {
        for (to, x) in to.iter_mut().zip(values) {
            // A cast saturates, and makes 0 of NaN.
            *to = (x * per_scale).round_ties_even().clamp(-127.0, 127.0) as i8;
        }
    }

    /// Values as bfloat16.
    pub(super) fn halves(values: &[f32], to: &mut [Bf16]) {
        for (to, &x) in to.iter_mut().zip(values) {
            *to = Bf16::nearest(x);
        }
    }
}

/// 1/scale, and 0 for a scale of 0.
pub(super) fn reciprocal(scale: f32) -> f32 {
    if scale > 0.0 { 1.0 / scale } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bfloat16_is_the_nearest() {
        for (x, expected) in [
            (1.0, 1.0),
            // Halfway between two: the even one.
            (1.0 + 1.0 / 256.0, 1.0),
            (1.0 + 1.5 / 256.0, 1.0 + 2.0 / 256.0),
            (-1.0 - 3.0 / 256.0, -1.0 - 4.0 / 256.0),
            (f32::INFINITY, f32::INFINITY),
            (f32::MAX, f32::INFINITY),
        ] {
            assert_eq!(Bf16::nearest(x).wide(), expected, "{x}");
        }
        assert!(Bf16::nearest(f32::from_bits(0x7f80_0001)).wide().is_nan());
        for x in [0.0, 1e-3, 0.7, 1.0, 123.4] {
            let above = Bf16::not_below(x).wide();
            assert!(above >= x && above <= x * 1.008, "{x}: {above}");
        }
    }
}
