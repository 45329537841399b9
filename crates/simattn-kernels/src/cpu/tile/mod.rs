//! The product that everything in attention and in the expansions is made of:
//! `C[m × n] = A[m × k] · B[k × n]` on operands that lie in the cache, without packing.
//!
//! A may have any strides, its values are broadcast. B and C are made of vectors: the lanes of a
//! vector are contiguous, and so every operand that holds tokens in its lanes can be read without
//! being moved.

use pulp::Simd;

/// Repeats a block for `$index` = 0, 1, … below the constant `$count` (at most 12), written out: a
/// loop that the compiler leaves rolled would index the accumulators at run time and so keep them
/// in memory.
macro_rules! unrolled {
    ($index:ident < $count:expr, $body:block) => {
        unrolled!(@ $index, $count, $body, 0 1 2 3 4 5 6 7 8 9 10 11)
    };
    (@ $index:ident, $count:expr, $body:block, $($value:literal)*) => {$(
        if $value < $count {
            let $index: usize = $value;
            $body
        }
    )*};
}

pub(super) use unrolled;

/// As [`unrolled`], for at most 4.
macro_rules! unrolled_by_four {
    ($index:ident < $count:expr, $body:block) => {
        unrolled!(@ $index, $count, $body, 0 1 2 3)
    };
}

pub(super) use unrolled_by_four;

mod operands;
mod product;

pub use operands::{Expand, Finish, Left, Right, Target};
pub use product::Product;

/// Loads one vector.
///
/// # Safety
/// `pointer` is readable for `S::F32_LANES` values.
#[inline(always)]
pub unsafe fn load<S: Simd>(_simd: S, pointer: *const f32) -> S::f32s {
    // SAFETY: readable by the caller's promise; a vector of float32 is plain data of any alignment
    // here.
    unsafe { pointer.cast::<S::f32s>().read_unaligned() }
}

/// Stores one vector.
///
/// # Safety
/// `pointer` is writable for `S::F32_LANES` values.
#[inline(always)]
pub unsafe fn store<S: Simd>(_simd: S, pointer: *mut f32, value: S::f32s) {
    // SAFETY: writable by the caller's promise; a vector of float32 is plain data of any alignment
    // here.
    unsafe { pointer.cast::<S::f32s>().write_unaligned(value) }
}

/// `Σ a·b` in float32, in one fixed order on every machine.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0.0f32; LANES];
    let (a_whole, a_rest) = a.as_chunks::<LANES>();
    let (b_whole, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_whole.iter().zip(b_whole) {
        for i in 0..LANES {
            sums[i] += a[i] * b[i];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}
