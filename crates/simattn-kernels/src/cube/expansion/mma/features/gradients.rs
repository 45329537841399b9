use cubecl::cmma::MatrixIdent;
use cubecl::frontend::barrier::copy_async;
use cubecl::prelude::*;

use super::form::FeatureGradientForm;
use crate::cube::expansion::mma::pairs::opened;
use crate::cube::tensor_cores::lanes::{
    CHUNK, COLUMNS, PLANE, SIDE, row_chunks, sum_column, sum_row, turned_chunk, turned_left_chunk,
    turned_left_row, turned_row,
};
use crate::cube::tensor_cores::products::{
    Operand, Pair, Sums, lane, multiply_some, no_sums, tensor_cores,
};
use crate::cube::tensor_cores::{Chunk, close_group, staged, wait_groups};

/// `sums[s, a, c] = Σ dy[m, a] · x[m, c]` over the rows m of slice s, and in eight columns more `Σ
/// dy[m, a]`; one cube a slice.
///
/// Both operands' terms are rows in memory. Two stages: one is copied while the other is
/// multiplied.
#[cube(launch, address_type = "dynamic")]
pub(super) fn features_weight_gradient_mma<F: Float>(
    x: &Tensor<Chunk<F>>,
    dy: &Tensor<Chunk<F>>,
    sums: &mut Tensor<Pair<f32>>,
    end: u32,
    rounds: u32,
    #[comptime] form: FeatureGradientForm,
    #[define(F)] _element: ElemType,
) {
    let rows = comptime!(FeatureGradientForm::ROWS);
    let (inputs, outputs) = comptime!((form.inputs, form.outputs));
    let slice = CUBE_POS_X as usize;
    let mut row = slice * rounds as usize * rows;
    let stop = min(row + rounds as usize * rows, end as usize);

    let mut of_inputs = staged::<F>(comptime!(2 * rows), inputs);
    let mut of_outputs = staged::<F>(comptime!(2 * rows), outputs);
    let mut products = no_sums(comptime!(form.products()));
    let mut stage = comptime!(0usize).runtime();
    order::<F>(x, row, stop, &mut of_inputs, stage, inputs, form);
    order::<F>(dy, row, stop, &mut of_outputs, stage, outputs, form);
    close_group();
    while row < stop {
        wait_groups(0usize);
        sync_cube();
        let next = row + rows;
        if next < stop {
            order::<F>(x, next, stop, &mut of_inputs, 1 - stage, inputs, form);
            order::<F>(dy, next, stop, &mut of_outputs, 1 - stage, outputs, form);
        }
        close_group();
        multiply::<F>(&mut products, &of_inputs, &of_outputs, stage, form);
        row = next;
        stage = 1 - stage;
    }
    write(sums, &products, slice, form);
}

/// Begins to copy rows of `x` from `row` on into stage `stage`; rows from `stop` on are zeros. All
/// threads of the cube take part, and nothing waits.
#[cube]
fn order<F: Float>(
    x: &Tensor<Chunk<F>>,
    row: usize,
    stop: usize,
    into: &mut Shared<[Chunk<F>]>,
    stage: usize,
    #[comptime] width: usize,
    #[comptime] form: FeatureGradientForm,
) {
    let across = comptime!(width / CHUNK);
    let rows = comptime!(FeatureGradientForm::ROWS);
    let mut place = UNIT_POS as usize;
    while place < comptime!(FeatureGradientForm::ROWS * width / CHUNK) {
        let line = place / across;
        let target = (stage * rows + line) * comptime!(row_chunks(width)) + place % across;
        if row + line < stop {
            let source = (row + line) * across + place % across;
            copy_async(
                &x.as_slice()[source..source + 1],
                &mut into.as_mut_slice()[target..target + 1],
                8u32,
            );
        } else {
            into[target] = Chunk::<F>::zeroed();
        }
        place += comptime!(form.threads());
    }
}

/// This plane's place among those below one another, and among those beside one another.
#[cube]
fn plane_place(#[comptime] form: FeatureGradientForm) -> (usize, usize) {
    let plane = UNIT_POS as usize / PLANE;
    let across = comptime!(form.planes[1]);
    (plane / across, plane % across)
}

/// Adds the products of stage `stage` to the sums: of each row of 16 outputs those with this
/// plane's columns, then that with ones.
#[cube]
fn multiply<F: Float>(
    products: &mut Sums,
    of_inputs: &Shared<[Chunk<F>]>,
    of_outputs: &Shared<[Chunk<F>]>,
    stage: usize,
    #[comptime] form: FeatureGradientForm,
) {
    let mma = tensor_cores::<F>();
    let lane = lane();
    let (down, beside) = plane_place(form);
    let (parts, groups) = comptime!((form.parts(), form.groups()));
    let of_part = comptime!(2 * groups + 1);
    let (input_line, output_line) = comptime!((row_chunks(form.inputs), row_chunks(form.outputs)));
    let mut ones = Operand::<F>::new(4usize);
    #[unroll]
    for register in 0..4usize {
        ones[register] = Pair::<F>::new(F::new(1.0));
    }
    for step in 0..comptime!(FeatureGradientForm::ROWS / SIDE) {
        let row = stage * comptime!(FeatureGradientForm::ROWS) + step * SIDE;
        let mut operands = Sequence::<Operand<F>>::new();
        #[unroll]
        for part in 0..parts {
            // Beyond the last rows of 16, the first ones are multiplied again, unwritten.
            let own = down * parts + part;
            let own = select(
                own < comptime!(form.outputs / SIDE),
                own,
                comptime!(0usize).runtime(),
            );
            let place = (row + turned_left_row(lane)) * output_line
                + own * comptime!(SIDE / CHUNK)
                + turned_left_chunk(lane);
            operands.push(mma.load_matrix::<Chunk<F>, Const<2>>(
                &of_outputs[place..place + 1],
                MatrixIdent::A,
                4usize,
                true,
            ));
        }
        #[unroll]
        for nth in 0..groups {
            let group = beside * groups + nth;
            let group = select(
                group < comptime!(form.inputs / SIDE),
                group,
                comptime!(0usize).runtime(),
            );
            let place = (row + turned_row(lane)) * input_line
                + group * comptime!(SIDE / CHUNK)
                + turned_chunk(lane);
            let mut right = mma.load_matrix::<Chunk<F>, Const<2>>(
                &of_inputs[place..place + 1],
                MatrixIdent::B,
                4usize,
                true,
            );
            if comptime!(form.relu) {
                #[unroll]
                for register in 0..4usize {
                    right[register] = opened::<F>(right[register]);
                }
            }
            #[unroll]
            for part in 0..parts {
                let first = comptime!(part * of_part + 2 * nth);
                multiply_some::<F>(operands.index(part), &right, products, first, 2usize);
            }
        }
        if beside == 0 {
            #[unroll]
            for part in 0..parts {
                let first = comptime!(part * of_part + 2 * groups);
                multiply_some::<F>(operands.index(part), &ones, products, first, 1usize);
            }
        }
    }
}

/// Writes the sums of slice `slice`.
#[cube]
fn write(
    sums: &mut Tensor<Pair<f32>>,
    products: &Sums,
    slice: usize,
    #[comptime] form: FeatureGradientForm,
) {
    let lane = lane();
    let (down, beside) = plane_place(form);
    let (parts, groups) = comptime!((form.parts(), form.groups()));
    let of_part = comptime!(2 * groups + 1);
    let columns = comptime!(form.columns());
    #[unroll]
    for part in 0..parts {
        let own = down * parts + part;
        if own < comptime!(form.outputs / SIDE) {
            #[unroll]
            for half in 0..2usize {
                let a = own * SIDE + sum_row(lane, half);
                let row = (slice * comptime!(form.outputs) + a) * columns + sum_column(lane);
                #[unroll]
                for nth in 0..comptime!(2 * groups) {
                    let group = beside * groups + comptime!(nth / 2);
                    if group < comptime!(form.inputs / SIDE) {
                        let column = group * SIDE + comptime!(nth % 2 * COLUMNS);
                        sums[(row + column) / 2] =
                            products.index(comptime!(part * of_part + nth))[half];
                    }
                }
                if beside == 0 {
                    let product = products.index(comptime!(part * of_part + 2 * groups));
                    sums[(row + comptime!(form.inputs)) / 2] = product[half];
                }
            }
        }
    }
}
