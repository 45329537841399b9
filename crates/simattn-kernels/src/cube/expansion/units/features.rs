use cubecl::prelude::*;

use super::map::stage_lines;
use crate::cube::expansion::stage::Stage;
use crate::cube::units::{
    Operand, Units, load_results, multiply, no_sums, results_stride, store_results,
};

/// Rows of a cube, if its memory holds them.
const ROWS: usize = 128;

/// Both maps along the features in one kernel: what it is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FeaturesPlan {
    /// The first map.
    pub first: Stage,
    /// The second one.
    pub second: Stage,
    pub units: Units,
    /// Rows of a cube.
    pub rows: usize,
    /// Whether the first map's result is written too: backward reads it.
    pub keep: bool,
    /// Pairs of features that are rotated at the end.
    pub half: usize,
    /// Heads of a token.
    pub heads: usize,
}

impl FeaturesPlan {
    /// The plan of most rows that fits into a cube's shared memory, if there is one.
    pub fn fitting(self, shared_memory: usize) -> Option<Self> {
        let mut rows = ROWS;
        while rows >= 2 * self.units.side {
            let plan = Self {
                rows,
                units: self.units.sharing(2),
                ..self
            };
            let bytes = plan.units.staged(rows, plan.first.inputs)
                + plan.units.staged(rows, plan.first.outputs)
                + 4 * rows * plan.line();
            if bytes <= shared_memory {
                return Some(plan);
            }
            rows /= 2;
        }
        None
    }

    pub fn threads(&self) -> usize {
        self.rows / self.units.rows() * self.units.plane
    }

    /// Float32 values between two rows of results.
    pub fn line(&self) -> usize {
        results_stride(self.units.padded(self.first.outputs))
    }
}

/// `E1 = x·W1ᵀ + b1`, `y = E1 + relu(E1)·W2ᵀ + b2`, rotated: rows `x` [M, C] → `y` [M, A], with or
/// without the residual and the ReLU, and E1 too where it is kept. Row m is head m mod H of a
/// token; a rotation reads row t of the table, cosines [T, half] and sines [T, half] from
/// `table_begin` on, t being the token modulo `tokens`.
///
/// x is read once and y written once; all between stays in shared memory and in the units'
/// registers.
#[cube(launch, address_type = "dynamic")]
pub(super) fn expand_features_units<F: Float, T: Float, N: Size>(
    x: &Tensor<Vector<F, N>>,
    packed_first: &Tensor<F>,
    packed_second: &Tensor<F>,
    weights: &Tensor<F>,
    table: &Tensor<T>,
    first: &mut Tensor<Vector<F, N>>,
    y: &mut Tensor<Vector<F, N>>,
    first_bias: u32,
    second_bias: u32,
    table_begin: u32,
    tokens: u32,
    #[comptime] plan: FeaturesPlan,
    #[define(F, T)] _elements: [ElemType; 2],
) {
    let units = comptime!(plan.units);
    let size = N::value().comptime();
    let width = comptime!(plan.first.outputs);
    let padded = comptime!(units.padded(plan.first.outputs));
    let threads = comptime!(plan.threads());
    let results = comptime!(units.results(plan.first.outputs));
    let line = comptime!(plan.line());
    let input_stride = comptime!(units.stride(plan.first.inputs));
    let inner_stride = comptime!(units.stride(plan.first.outputs));
    let rows = y.len() * size / width;
    let begin = (CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X) as usize * comptime!(plan.rows);

    let mut staged = Shared::<[Vector<F, N>]>::new_aligned_slice(
        comptime!(plan.rows * input_stride / size),
        32usize,
    );
    let mut inner = Shared::<[Vector<F, N>]>::new_aligned_slice(
        comptime!(plan.rows * inner_stride / size),
        32usize,
    );
    let mut scratch = Shared::<[f32]>::new_aligned_slice(comptime!(plan.rows * line), 32usize);
    let mut sums = no_sums(results, units);
    stage_lines::<F, N>(
        &mut staged,
        x,
        begin,
        rows,
        comptime!(plan.rows),
        comptime!(plan.first.inputs),
        false,
        threads,
        units,
    );
    sync_cube();
    multiply::<F, Vector<F, N>, F>(
        &mut sums,
        staged.as_slice(),
        comptime!(Operand {
            stride: input_stride,
            vector: size
        }),
        packed_first.as_slice(),
        comptime!(Operand {
            stride: units.padded(plan.first.inputs),
            vector: 1
        }),
        true,
        comptime!(units.padded(plan.first.inputs)),
        results,
        units,
    );
    store_results(
        &mut scratch,
        &sums,
        0usize,
        results,
        results,
        line,
        false,
        units,
    );
    sync_cube();
    let across = comptime!(padded / size);
    let mut place = UNIT_POS as usize;
    while place < comptime!(plan.rows * across) {
        let row = place / across;
        let column = place % across * size;
        let mut kept = Vector::<F, N>::zeroed();
        let mut open = Vector::<F, N>::zeroed();
        if column < width {
            #[unroll]
            for i in 0..size {
                let at = row * line + column + i;
                let feature = column + i;
                let value = scratch[at] + f32::cast_from(weights[first_bias as usize + feature]);
                let mut after = value;
                if comptime!(plan.second.relu) {
                    after = select(value > f32::new(0.0), value, f32::new(0.0));
                }
                kept.insert(i, F::cast_from(value));
                open.insert(i, F::cast_from(after));
                let mut next = f32::cast_from(weights[second_bias as usize + feature]);
                if comptime!(plan.second.residual) {
                    next += value;
                }
                scratch[at] = next;
            }
            if comptime!(plan.keep) {
                if begin + row < rows {
                    first[((begin + row) * width + column) / size] = kept;
                }
            }
        }
        inner[row * comptime!(inner_stride / size) + column / size] = open;
        place += threads;
    }
    sync_cube();
    load_results(&scratch, &mut sums, 0usize, results, results, line, units);
    multiply::<F, Vector<F, N>, F>(
        &mut sums,
        inner.as_slice(),
        comptime!(Operand {
            stride: inner_stride,
            vector: size
        }),
        packed_second.as_slice(),
        comptime!(Operand {
            stride: padded,
            vector: 1
        }),
        true,
        padded,
        results,
        units,
    );
    sync_cube();
    store_results(
        &mut scratch,
        &sums,
        0usize,
        results,
        results,
        line,
        false,
        units,
    );
    sync_cube();
    let across = comptime!(width / size);
    let half = comptime!(plan.half);
    let mut place = UNIT_POS as usize;
    while place < comptime!(plan.rows * across) {
        let row = place / across;
        let column = place % across * size;
        if begin + row < rows {
            let token = (begin + row) / comptime!(plan.heads) % tokens as usize;
            let mut value = Vector::<F, N>::empty();
            #[unroll]
            for i in 0..size {
                let feature = column + i;
                let mut one = scratch[row * line + feature];
                if comptime!(half > 0) {
                    if feature < comptime!(2 * half) {
                        let pair = feature % half;
                        let at = table_begin as usize + token * half + pair;
                        let cos = f32::cast_from(table[at]);
                        let sin = f32::cast_from(table[at + tokens as usize * half]);
                        if feature < half {
                            one = one * cos - scratch[row * line + feature + half] * sin;
                        } else {
                            one = one * cos + scratch[row * line + feature - half] * sin;
                        }
                    }
                }
                value.insert(i, F::cast_from(one));
            }
            y[((begin + row) * width + column) / size] = value;
        }
        place += threads;
    }
}
