//! Rows of a tensor on their way into shared memory, asynchronously, and out of registers.

use cubecl::frontend::barrier::copy_async;
use cubecl::prelude::*;

use super::form::Form;
use crate::cube::attention::mask::AttentionPlan;
use crate::cube::tensor_cores::Chunk;
use crate::cube::tensor_cores::lanes::{CHUNK, COLUMNS, SIDE, row_chunks, sum_column, sum_row};
use crate::cube::tensor_cores::products::{Pair, Sums, lane};
use crate::cube::tile::{Rows, rows_of};

/// Blocks of rows in shared memory, [`Form::stages`] of them: of q or k, whose products are scores,
/// and of v or the output's gradient.
#[derive(CubeType)]
pub(super) struct Room<F: Float> {
    pub scored: Shared<[Chunk<F>]>,
    pub weighed: Shared<[Chunk<F>]>,
}

/// Where the rows are that a [`Room`] gets, as many of one tensor as of the other.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Both {
    pub scored: Rows,
    pub weighed: Rows,
}

/// Rows of head `head` of one tensor and of head `other` of the other, of sequence `batch`.
#[cube]
pub(super) fn rows_of_both<F: Float>(
    scored: &Tensor<Chunk<F>>,
    head: usize,
    weighed: &Tensor<Chunk<F>>,
    other: usize,
    batch: usize,
) -> Both {
    let first = comptime!(0usize).runtime();
    let scored = rows_of::<Chunk<F>>(scored, batch, head, first);
    let weighed = rows_of::<Chunk<F>>(weighed, batch, other, first);
    // One number for both ends takes one register.
    let weighed = Rows {
        base: weighed.base,
        row_stride: weighed.row_stride,
        feature_stride: weighed.feature_stride,
        first,
        end: scored.end,
    };
    Both { scored, weighed }
}

/// `rows` in shared memory, from the next barrier on. They are read once a block; in registers they
/// would lie through all its products, and there is no room for that.
#[cube]
pub(super) fn set_aside(rows: &Both) -> Shared<[usize]> {
    let mut aside = Shared::<[usize]>::new_slice(5usize);
    if UNIT_POS == 0 {
        aside[0] = rows.scored.base;
        aside[1] = rows.scored.row_stride;
        aside[2] = rows.scored.end;
        aside[3] = rows.weighed.base;
        aside[4] = rows.weighed.row_stride;
    }
    aside
}

/// What was [`set_aside`].
#[cube]
pub(super) fn taken_back(aside: &Shared<[usize]>) -> Both {
    let (first, feature_stride) = (comptime!(0usize).runtime(), comptime!(1usize).runtime());
    let end = aside[2];
    Both {
        scored: Rows {
            base: aside[0],
            row_stride: aside[1],
            feature_stride,
            first,
            end,
        },
        weighed: Rows {
            base: aside[3],
            row_stride: aside[4],
            feature_stride,
            first,
            end,
        },
    }
}

/// [`order_rows`] of both tensors.
#[cube]
pub(super) fn order_both<F: Float>(
    scored: &Tensor<Chunk<F>>,
    weighed: &Tensor<Chunk<F>>,
    rows: &Both,
    first: usize,
    room: &mut Room<F>,
    at: usize,
    #[comptime] count: usize,
    #[comptime] form: Form,
    #[comptime] plan: AttentionPlan,
) {
    let threads = comptime!(form.threads());
    let (width, value_width) = comptime!((plan.width, plan.value_width));
    order_rows::<F>(
        scored,
        &rows.scored,
        first,
        &mut room.scored,
        at,
        count,
        width,
        threads,
    );
    order_rows::<F>(
        weighed,
        &rows.weighed,
        first,
        &mut room.weighed,
        at,
        count,
        value_width,
        threads,
    );
}

/// Begins to copy `count` rows of `x`, from `first` on, into the rows of `into` from `at` on. All
/// threads of the cube take part, and nothing waits.
///
/// The last row that there is stands for those beyond it: they are hidden where scores are made, and
/// results for them are not written. There is at least one row.
#[cube]
pub(super) fn order_rows<F: Float>(
    x: &Tensor<Chunk<F>>,
    rows: &Rows,
    first: usize,
    into: &mut Shared<[Chunk<F>]>,
    at: usize,
    #[comptime] count: usize,
    #[comptime] width: usize,
    #[comptime] threads: usize,
) {
    // Neighbouring threads read neighbouring chunks, as many as divide a row.
    let chunks = comptime!(width / CHUNK);
    let beside = comptime!(if chunks % 4 == 0 { 4 } else { 2 });
    let at_once = comptime!(threads / beside);
    let row = UNIT_POS as usize / beside;
    let column = UNIT_POS as usize % beside;
    #[unroll]
    for turn in 0..comptime!(count / at_once) {
        let row = row + comptime!(turn * at_once);
        let token = min(first + row, rows.end - 1);
        let source = (rows.base + token * rows.row_stride) / CHUNK + column;
        let target = (at + row) * comptime!(row_chunks(width)) + column;
        #[unroll]
        for group in 0..comptime!(chunks / beside) {
            let source = source + comptime!(group * beside);
            let target = target + comptime!(group * beside);
            copy_async(
                &x.as_slice()[source..source + 1],
                &mut into.as_mut_slice()[target..target + 1],
                8u32,
            );
        }
    }
}

/// The stage after `stage`: the one that was copied longest ago.
#[cube]
pub(super) fn stage_after(stage: usize, #[comptime] form: Form) -> usize {
    let mut next = stage + 1;
    if next == comptime!(form.stages) {
        next = comptime!(0usize).runtime();
    }
    next
}

/// Blocks that hold the rows from `begin` to `end`.
#[cube]
pub(super) fn blocks_between(begin: usize, end: usize, #[comptime] form: Form) -> usize {
    let mut count = comptime!(0usize).runtime();
    if begin < end {
        count = (end - begin).div_ceil(comptime!(form.block));
    }
    count
}

/// Writes a plane's sums [rows of the plane, width], times `factors` of each of the thread's rows, to
/// the rows of head `head` of sequence `batch` of `y` that there are, from `first` on.
#[cube]
pub(super) fn write_sums<F: Float>(
    y: &mut Tensor<Pair<F>>,
    batch: usize,
    head: usize,
    first: usize,
    sums: &Sums,
    factors: &Array<f32>,
    #[comptime] parts: usize,
    #[comptime] width: usize,
) {
    let products = comptime!(width / COLUMNS);
    let base = batch * y.stride(0) + head * y.stride(1) + sum_column(lane());
    #[unroll]
    for own in 0..comptime!(2 * parts) {
        let token = first + comptime!(own / 2 * SIDE) + sum_row(lane(), comptime!(own % 2));
        if token < y.shape(2) {
            let begin = (base + token * y.stride(2)) / 2;
            #[unroll]
            for product in 0..products {
                let sum = sums.index(comptime!(own / 2 * products + product))[comptime!(own % 2)];
                y[begin + comptime!(product * COLUMNS / 2)] =
                    Vector::cast_from(sum * Vector::new(factors[own]));
            }
        }
    }
}
