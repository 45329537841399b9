//! Buffers that a kernel fills for the first time.
//!
//! A zero-filled output costs a whole pass over memory before the kernel starts. Kernels here write
//! into `MaybeUninit<f32>` and these functions turn the result into a `Vec<f32>`. With debug
//! assertions on, the buffer is filled with NaN first, so that a value which a kernel forgets shows
//! up in every test as NaN.

use std::mem::MaybeUninit;

/// The values a kernel has to fill, all of them.
pub type Output<'a> = &'a mut [MaybeUninit<f32>];

/// A vector of `len` values written by `fill`.
///
/// # Safety
/// `fill` must write every element of the slice that it is given.
pub unsafe fn filled(len: usize, fill: impl FnOnce(Output<'_>)) -> Vec<f32> {
    let mut values = Vec::with_capacity(len);
    let spare = &mut values.spare_capacity_mut()[..len];
    poison(spare);
    fill(spare);
    // SAFETY: `len` values are allocated, and the caller promises that `fill` wrote each of them.
    unsafe { values.set_len(len) };
    values
}

/// Fills `out` with NaN when debug assertions are on, so that tests notice a value that is never
/// written.
pub fn poison(out: Output<'_>) {
    if cfg!(debug_assertions) {
        out.fill(MaybeUninit::new(f32::NAN));
    }
}

/// The same memory as values.
///
/// # Safety
/// Every element must have been written.
pub unsafe fn written(out: Output<'_>) -> &mut [f32] {
    let (start, len) = (out.as_mut_ptr(), out.len());
    // SAFETY: `MaybeUninit<f32>` has the layout of `f32`, the caller promises that all values are
    // written, and the borrow of `out` passes to the result.
    unsafe { std::slice::from_raw_parts_mut(start.cast(), len) }
}

/// Memory that holds values, seen as an output to be written anew.
///
/// # Safety
/// Only values may be stored through the result, never `MaybeUninit::uninit()`.
pub unsafe fn overwriting(values: &mut [f32]) -> Output<'_> {
    let (start, len) = (values.as_mut_ptr(), values.len());
    // SAFETY: the layouts agree, the borrow passes on, and the caller keeps every element a value.
    unsafe { std::slice::from_raw_parts_mut(start.cast(), len) }
}
