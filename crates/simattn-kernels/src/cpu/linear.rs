//! y = x·Wᵀ + b and its gradients, with W in torch's layout: one row an output feature.

use rayon::prelude::*;

use super::output::Output;
use super::product::{Matrix, multiply, transposed_copy};
use super::vectorised::per_instruction_set;

/// Sizes of a linear map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearShape {
    /// Rows of x, usually tokens.
    pub rows: usize,
    /// Features of a row of x.
    pub inputs: usize,
    /// Features of a row of y.
    pub outputs: usize,
}

/// Up to about this many outputs `gemm` packs the whole weight on one thread, turning it as it
/// goes; a copy that all threads turn first is faster (2048 × 3072 → 768: a quarter of the time
/// less).
const OUTPUTS_PACKED_ALONE: usize = 1024;

/// From this many rows on the copy is small beside the product.
const ROWS_WORTH_A_COPY: usize = 128;

/// y [rows, outputs] = x [rows, inputs] · weightᵀ + bias, weight [outputs, inputs], bias
/// `[outputs]`.
///
/// # Panics
/// If a slice's length does not fit `shape`.
pub fn forward(shape: LinearShape, x: &[f32], weight: &[f32], bias: Option<&[f32]>, y: Output<'_>) {
    let LinearShape {
        rows,
        inputs,
        outputs,
    } = shape;
    let x = Matrix::new(x, rows, inputs);
    let y = if rows >= ROWS_WORTH_A_COPY && outputs <= OUTPUTS_PACKED_ALONE {
        let copy = transposed_copy(weight, outputs, inputs);
        multiply(x, Matrix::new(&copy, inputs, outputs), y)
    } else {
        multiply(x, Matrix::new(weight, outputs, inputs).transposed(), y)
    };
    if let Some(bias) = bias {
        assert_eq!(bias.len(), outputs, "a bias for each output");
        add_to_rows(y, bias);
    }
}

/// dx [rows, inputs] = dy [rows, outputs] · weight.
///
/// # Panics
/// If a slice's length does not fit `shape`.
pub fn input_gradient(shape: LinearShape, dy: &[f32], weight: &[f32], dx: Output<'_>) {
    let LinearShape {
        rows,
        inputs,
        outputs,
    } = shape;
    multiply(
        Matrix::new(dy, rows, outputs),
        Matrix::new(weight, outputs, inputs),
        dx,
    );
}

/// dW [outputs, inputs] = dyᵀ · x.
///
/// # Panics
/// If a slice's length does not fit `shape`.
pub fn weight_gradient(shape: LinearShape, dy: &[f32], x: &[f32], d_weight: Output<'_>) {
    let LinearShape {
        rows,
        inputs,
        outputs,
    } = shape;
    multiply(
        Matrix::new(dy, rows, outputs).transposed(),
        Matrix::new(x, rows, inputs),
        d_weight,
    );
}

/// db `[outputs]`: the sums of dy's columns.
///
/// Rows are added up in runs of fixed length and the runs in order, so the sums do not depend on
/// the number of threads.
///
/// # Panics
/// If `dy` is not a whole number of rows of `outputs` values.
pub fn bias_gradient(outputs: usize, dy: &[f32]) -> Vec<f32> {
    sum_of_runs(
        outputs,
        dy.len().checked_div(outputs).unwrap_or(0),
        |rows, sums| {
            add_rows(&dy[rows.start * outputs..rows.end * outputs], sums);
        },
    )
}

/// Rows that one task adds up before the partial sums are combined.
const ROWS_PER_RUN: usize = 64;

/// Sums over rows in a fixed order: `add` adds the given rows to the zeroed values of its run, in
/// parallel; the runs are then combined in order.
fn sum_of_runs(
    values: usize,
    rows: usize,
    add: impl Fn(std::ops::Range<usize>, &mut [f32]) + Sync,
) -> Vec<f32> {
    let runs = rows.div_ceil(ROWS_PER_RUN).max(1);
    let mut partial = vec![0.0; runs * values];
    if values > 0 {
        partial
            .par_chunks_mut(values)
            .enumerate()
            .for_each(|(run, sums)| {
                let start = run * ROWS_PER_RUN;
                add(start..rows.min(start + ROWS_PER_RUN), sums);
            });
    }
    let (total, rest) = partial.split_at_mut(values);
    add_rows(rest, total);
    partial[..values].to_vec()
}

/// Values that one task of an elementwise pass handles, about: half of a first-level cache.
const VALUES_PER_TASK: usize = 16 * 1024;

fn add_to_rows(values: &mut [f32], row: &[f32]) {
    if row.is_empty() {
        return;
    }
    let rows = (VALUES_PER_TASK / row.len()).max(1);
    values.par_chunks_mut(rows * row.len()).for_each(|chunk| {
        for values in chunk.chunks_exact_mut(row.len()) {
            add_rows(row, values);
        }
    });
}

per_instruction_set! {
    /// sums += each row of `rows` in turn.
    pub(super) fn add_rows(rows: &[f32], sums: &mut [f32]) {
        if !sums.is_empty() {
            for row in rows.chunks_exact(sums.len()) {
                for (sum, value) in sums.iter_mut().zip(row) {
                    *sum += value;
                }
            }
        }
    }
}
