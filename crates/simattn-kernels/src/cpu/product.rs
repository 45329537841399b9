//! Matrix products through the `gemm` crate, into memory that need not be initialised.
//!
//! `gemm` divides only the output among its threads, in tiles whose size depends on the shapes and
//! the machine alone, and adds up each output value in one fixed order. So results do not depend on
//! the number of threads, bit for bit; the tests of this module hold it to that.

use std::mem::MaybeUninit;

use gemm::Parallelism;
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::output::{Output, filled, overwriting, written};
use super::simd::InstructionSet;
use super::transpose::transpose;

/// A matrix in a slice: row-major, or the transpose of one.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `values` as `rows` × `columns`, row after row.
    ///
    /// # Panics
    /// If `values` does not hold exactly that many.
    pub fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(
            values.len(),
            rows * columns,
            "a matrix of {rows} × {columns}"
        );
        Self {
            values,
            rows,
            columns,
            row_stride: columns,
            column_stride: 1,
        }
    }

    /// The transpose, without moving a value.
    pub fn transposed(self) -> Self {
        Self {
            values: self.values,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

/// out = lhs · rhs, row-major.
///
/// # Panics
/// If the inner sizes differ or `out` has another length.
pub fn multiply<'o>(lhs: Matrix<'_>, rhs: Matrix<'_>, out: Output<'o>) -> &'o mut [f32] {
    // SAFETY: `out` is only written, because `read` is false.
    unsafe { run(lhs, rhs, out, false, Parallelism::Rayon(0)) };
    // SAFETY: the product wrote every value (zeros where the inner size is 0).
    unsafe { written(out) }
}

/// out += lhs · rhs, row-major.
///
/// # Panics
/// If the inner sizes differ or `out` has another length.
pub fn multiply_add(lhs: Matrix<'_>, rhs: Matrix<'_>, out: &mut [f32]) {
    // SAFETY: `out` holds values, and a product stores nothing else.
    unsafe { run(lhs, rhs, overwriting(out), true, Parallelism::Rayon(0)) }
}

/// The transpose [columns, rows] of `values` [rows, columns], in memory of its own.
///
/// # Panics
/// If `values` does not hold exactly that many.
pub fn transposed_copy(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    const COLUMNS_PER_TASK: usize = 32;
    assert_eq!(
        values.len(),
        rows * columns,
        "a matrix of {rows} × {columns}"
    );
    let fill = |out: Output<'_>| {
        if rows == 0 {
            return;
        }
        out.par_chunks_mut(COLUMNS_PER_TASK * rows)
            .enumerate()
            .for_each(|(task, target)| {
                InstructionSet::current().run(Columns {
                    values,
                    rows,
                    columns,
                    first: task * COLUMNS_PER_TASK,
                    target,
                });
            });
    };
    // SAFETY: the tasks' columns are all columns, and each task writes its own.
    unsafe { filled(values.len(), fill) }
}

/// Some columns of a row-major matrix, to be written as rows.
struct Columns<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    first: usize,
    target: Output<'a>,
}

impl WithSimd for Columns<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let count = self.target.len() / self.rows;
        assert!(
            self.first + count <= self.columns && self.values.len() == self.rows * self.columns
        );
        let target = self.target.as_mut_ptr().cast::<f32>();
        // SAFETY: columns `first..first + count` lie inside the matrix, and the target holds
        // `count` rows of `rows` values.
        unsafe {
            let source = self.values.as_ptr().add(self.first);
            transpose(
                simd,
                self.rows,
                count,
                source,
                self.columns,
                target,
                self.rows,
            );
        }
    }
}

/// # Safety
/// With `read`, every value of `out` must have been written.
unsafe fn run(
    lhs: Matrix<'_>,
    rhs: Matrix<'_>,
    out: &mut [MaybeUninit<f32>],
    read: bool,
    parallelism: Parallelism,
) {
    assert_eq!(lhs.columns, rhs.rows, "inner sizes of a matrix product");
    assert_eq!(
        out.len(),
        lhs.rows * rhs.columns,
        "values of a matrix product"
    );
    // SAFETY: the strides stay inside the slices (`Matrix::new` checked their lengths against the
    // sizes), `out` is row-major of the length just checked and borrowed exclusively, and it is
    // read only as the caller allows.
    unsafe {
        gemm::gemm(
            lhs.rows,
            rhs.columns,
            lhs.columns,
            out.as_mut_ptr().cast::<f32>(),
            1,
            rhs.columns as isize,
            read,
            lhs.values.as_ptr(),
            lhs.column_stride as isize,
            lhs.row_stride as isize,
            rhs.values.as_ptr(),
            rhs.column_stride as isize,
            rhs.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}
