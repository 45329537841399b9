use cubecl::frontend::barrier::copy_async;
use cubecl::prelude::*;

use super::between::{enter_second, leave_second};
use super::form::FeaturesForm;
use crate::cube::tensor_cores::lanes::{
    CHUNK, COLUMNS, PLANE, SIDE, row_chunks, sum_column, sum_row,
};
use crate::cube::tensor_cores::products::{
    Operand, Pair, Sums, lane, load_left, multiply_rows, no_sums,
};
use crate::cube::tensor_cores::{Chunk, close_group, staged, wait_groups};

/// Both maps along the features, rows `x` [M, C] → `y` [M, E], and what is between them, `between`
/// [M, A], where it is kept.
///
/// Forward: `E1 = x·W1ᵀ + b1`, `y = E1 + relu(E1)·W2ᵀ + b2`, rotated, and E1 is kept. For the
/// gradient, `x` being that of y: `dE1 = x + gate · (x·W2)`, `y = dE1·W1`, and dE1 is kept; `gate`
/// is E1, and open above zero. With or without the residual and the ReLU, as `form` says. Row m is
/// head m mod H of a token; a rotation reads row t of the table, cosines [T, half] and sines [T,
/// half] from `table_begin` on, t being the token modulo `tokens`.
///
/// The weights are `[A, C]` and `[E, A]`, rows of terms. What is between the maps goes from the
/// results of one product to the operand of the next in registers.
#[cube(launch, address_type = "dynamic")]
pub(super) fn both_features_mma<F: Float, T: Float>(
    x: &Tensor<Chunk<F>>,
    first_weights: &Tensor<Chunk<F>>,
    second_weights: &Tensor<Chunk<F>>,
    biases: &Tensor<F>,
    gate: &Tensor<Pair<F>>,
    table: &Tensor<Pair<T>>,
    between: &mut Tensor<Pair<F>>,
    y: &mut Tensor<Pair<F>>,
    first_bias: u32,
    second_bias: u32,
    table_begin: u32,
    tokens: u32,
    rounds: u32,
    #[comptime] form: FeaturesForm,
    #[define(F, T)] _elements: [ElemType; 2],
) {
    let (inputs, middle, outputs) = comptime!((form.inputs, form.middle, form.outputs));
    let parts = comptime!(form.parts);
    let end = y.shape(0);
    let last = end - 1;
    let mut row = (CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X) as usize
        * rounds as usize
        * comptime!(form.rows());
    let plane_row = UNIT_POS as usize / PLANE * comptime!(parts * SIDE);

    let mut room = staged::<F>(comptime!(2 * form.rows()), inputs);
    let mut of_first = staged::<F>(middle, inputs);
    let mut of_second = staged::<F>(outputs, middle);
    let first_of_weights = comptime!(0usize).runtime();
    order_rows::<F>(
        first_weights,
        first_of_weights,
        comptime!(middle - 1).runtime(),
        &mut of_first,
        first_of_weights,
        middle,
        inputs,
        form,
    );
    order_rows::<F>(
        second_weights,
        first_of_weights,
        comptime!(outputs - 1).runtime(),
        &mut of_second,
        first_of_weights,
        outputs,
        middle,
        form,
    );
    order_rows::<F>(
        x,
        row,
        last,
        &mut room,
        first_of_weights,
        comptime!(form.rows()),
        inputs,
        form,
    );
    close_group();
    let mut stage = comptime!(0usize).runtime();
    let mut round = comptime!(0u32).runtime();
    while round < rounds {
        if row < end {
            wait_groups(0usize);
            sync_cube();
            let next = row + comptime!(form.rows());
            if next < end {
                let to = (1 - stage) * comptime!(form.rows());
                order_rows::<F>(
                    x,
                    next,
                    last,
                    &mut room,
                    to,
                    comptime!(form.rows()),
                    inputs,
                    form,
                );
            }
            close_group();
            let first = stage * comptime!(form.rows()) + plane_row;
            let left = load_left::<F>(&room, first, parts, inputs);
            let mut sums = no_sums(comptime!(parts * middle / COLUMNS));
            multiply_rows::<F>(
                &mut sums,
                &left,
                &of_first,
                comptime!(0usize).runtime(),
                middle,
                parts,
                inputs,
            );
            let mut ends = no_sums(comptime!(parts * outputs / COLUMNS));
            let mut operands = Sequence::<Operand<F>>::new();
            if comptime!(form.forward) {
                enter_second::<F>(
                    &sums,
                    &mut ends,
                    &mut operands,
                    biases,
                    between,
                    row + plane_row,
                    end,
                    first_bias as usize,
                    second_bias as usize,
                    form,
                );
            } else {
                leave_second::<F>(
                    &sums,
                    &left,
                    &mut operands,
                    gate,
                    between,
                    row + plane_row,
                    end,
                    form,
                );
            }
            multiply_rows::<F>(
                &mut ends,
                &operands,
                &of_second,
                comptime!(0usize).runtime(),
                outputs,
                parts,
                middle,
            );
            turn_and_write::<F, T>(
                y,
                &ends,
                table,
                row + plane_row,
                table_begin as usize,
                tokens as usize,
                form,
            );
        }
        row += comptime!(form.rows());
        stage = 1 - stage;
        round += 1u32;
    }
}

/// Begins to copy `count` rows of `x` from `row` on into the rows of `into` from `at` on. All
/// threads of the cube take part, and nothing waits. The last row stands for those beyond it.
#[cube]
fn order_rows<F: Float>(
    x: &Tensor<Chunk<F>>,
    row: usize,
    last: usize,
    into: &mut Shared<[Chunk<F>]>,
    at: usize,
    #[comptime] count: usize,
    #[comptime] width: usize,
    #[comptime] form: FeaturesForm,
) {
    let across = comptime!(width / CHUNK);
    let mut place = UNIT_POS as usize;
    while place < comptime!(count * width / CHUNK) {
        let source = min(row + place / across, last) * across + place % across;
        let target = (at + place / across) * comptime!(row_chunks(width)) + place % across;
        copy_async(
            &x.as_slice()[source..source + 1],
            &mut into.as_mut_slice()[target..target + 1],
            8u32,
        );
        place += comptime!(form.threads());
    }
}

/// Writes a plane's rows that there are, from `row` on, the first 2·half features rotated.
#[cube]
fn turn_and_write<F: Float, T: Float>(
    y: &mut Tensor<Pair<F>>,
    ends: &Sums,
    table: &Tensor<Pair<T>>,
    row: usize,
    begin: usize,
    tokens: usize,
    #[comptime] form: FeaturesForm,
) {
    let products = comptime!(form.outputs / COLUMNS);
    let half = comptime!(form.half);
    let turned = comptime!(form.half / COLUMNS);
    #[unroll]
    for own in 0..comptime!(2 * form.parts) {
        let row = row + comptime!(own / 2 * SIDE) + sum_row(lane(), comptime!(own % 2));
        if row < y.shape(0) {
            let to = (row * comptime!(form.outputs) + sum_column(lane())) / 2;
            let token = row / comptime!(form.heads) % tokens;
            #[unroll]
            for product in 0..turned {
                let at = comptime!(own / 2 * products + product);
                let a = ends.index(at)[comptime!(own % 2)];
                let b = ends.index(comptime!(at + turned))[comptime!(own % 2)];
                let pair = begin + token * half + comptime!(product * COLUMNS) + sum_column(lane());
                let cos = Pair::<f32>::cast_from(table[pair / 2]);
                let sin = Pair::<f32>::cast_from(table[(pair + tokens * half) / 2]);
                y[to + comptime!(product * COLUMNS / 2)] = Vector::cast_from(a * cos - b * sin);
                y[to + comptime!((product + turned) * COLUMNS / 2)] =
                    Vector::cast_from(b * cos + a * sin);
            }
            #[unroll]
            for product in comptime!(2 * turned)..products {
                let sum = ends.index(comptime!(own / 2 * products + product))[comptime!(own % 2)];
                y[to + comptime!(product * COLUMNS / 2)] = Vector::cast_from(sum);
            }
        }
    }
}
