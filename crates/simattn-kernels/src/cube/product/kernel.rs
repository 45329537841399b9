use cubecl::cmma::MatrixIdent;
use cubecl::frontend::barrier::copy_async;
use cubecl::prelude::*;

use super::form::{Block, DEPTH, OF_PLANE, PARTS, PRODUCTS, ProductForm, ROWS, STAGES};
use super::tile::{Side, side, tile_of};
use crate::cube::tensor_cores::lanes::{
    CHUNK, COLUMNS, PLANE, SIDE, left_chunk, left_row, right_chunk, right_row, row_chunks,
    sum_column, sum_row, turned_chunk, turned_left_chunk, turned_left_row, turned_row,
};
use crate::cube::tensor_cores::products::{
    Operand, Pair, Sums, lane, multiply_both, no_sums, tensor_cores,
};
use crate::cube::tensor_cores::{Chunk, close_group, wait_groups};

/// `out[i, j] = Σ_t left[i, t] · right[t, j] + bias[j]`, a tile of the results to a cube.
///
/// `left` [B, M, K] or [B, K, M] and `right` [B, N, K] or [B, K, N], as `form` says; `out` [B, M,
/// N]. Sums are float32, each over its terms in their order. K is a multiple of [`DEPTH`]; what is
/// contiguous in memory has a multiple of 8 values.
#[cube(launch, address_type = "dynamic")]
pub(super) fn products_mma<F: Float, O: Float>(
    left: &Tensor<Chunk<F>>,
    right: &Tensor<Chunk<F>>,
    bias: &Tensor<F>,
    out: &mut Tensor<Pair<O>>,
    #[comptime] form: ProductForm,
    #[define(F, O)] _elements: [ElemType; 2],
) {
    let (rows, columns) = (out.shape(1), out.shape(2));
    let batch = CUBE_POS_Z as usize;
    let tile = tile_of(
        CUBE_POS_X as usize,
        rows.div_ceil(ROWS),
        columns.div_ceil(comptime!(form.columns)),
        comptime!(form.columns),
    );
    let of_left = side::<F>(left, batch, tile.row, comptime!(form.left_turned));
    let of_right = side::<F>(right, batch, tile.column, comptime!(form.right_turned));
    let mut room = Room::<F> {
        left: room_for::<F>(comptime!(form.left())),
        right: room_for::<F>(comptime!(form.right())),
    };
    let plane = UNIT_POS as usize / PLANE;
    let across = comptime!(form.across());
    let plane_row = plane / across * OF_PLANE;
    let plane_column = plane % across * OF_PLANE;

    let mut sums = no_sums(comptime!(PARTS * PRODUCTS));
    let count = of_left.terms / DEPTH;
    let mut stage = comptime!(0usize).runtime();
    let mut turn = comptime!(0usize).runtime();
    while turn < count + comptime!(STAGES - 1) {
        // The next block to be multiplied is there, and every plane is done with the one whose room
        // is taken now.
        wait_groups(comptime!(STAGES - 2));
        sync_cube();
        if turn < count {
            order_block::<F>(
                left,
                &of_left,
                turn,
                &mut room.left,
                stage,
                comptime!(form.left()),
            );
            order_block::<F>(
                right,
                &of_right,
                turn,
                &mut room.right,
                stage,
                comptime!(form.right()),
            );
        }
        close_group();
        stage += 1;
        if stage == STAGES {
            stage = comptime!(0usize).runtime();
        }
        if turn >= comptime!(STAGES - 1) {
            multiply_block::<F>(&mut sums, &room, stage, plane_row, plane_column, form);
        }
        turn += 1;
    }
    write::<F, O>(
        out,
        bias,
        &sums,
        batch,
        tile.row + plane_row,
        tile.column + plane_column,
        form,
    );
}

/// Blocks of both operands in shared memory, [`STAGES`] of each.
#[derive(CubeType)]
struct Room<F: Float> {
    left: Shared<[Chunk<F>]>,
    right: Shared<[Chunk<F>]>,
}

#[cube]
fn room_for<F: Float>(#[comptime] block: Block) -> Shared<[Chunk<F>]> {
    Shared::<[Chunk<F>]>::new_aligned_slice(comptime!(STAGES * block.chunks()), 16usize)
}

/// Begins to copy block `number` of an operand into stage `stage`. All threads take part, and
/// nothing waits.
///
/// The last row or column that there is stands for those beyond it: results for them are not
/// written.
#[cube]
fn order_block<F: Float>(
    x: &Tensor<Chunk<F>>,
    side: &Side,
    number: usize,
    into: &mut Shared<[Chunk<F>]>,
    stage: usize,
    #[comptime] block: Block,
) {
    let (count, width) = comptime!((block.rows(), block.width()));
    // Neighbouring threads read neighbouring chunks of a row.
    let chunks = comptime!(width / CHUNK);
    let at_once = comptime!(block.threads / chunks);
    let row = UNIT_POS as usize / chunks;
    let column = UNIT_POS as usize % chunks;
    let target = stage * comptime!(block.chunks()) + row * comptime!(row_chunks(width)) + column;
    #[unroll]
    for turn in 0..comptime!(count / at_once) {
        let row = row + comptime!(turn * at_once);
        let mut line = number * DEPTH + row;
        let mut chunk = min(side.first / CHUNK + column, side.last / CHUNK);
        if comptime!(!block.turned) {
            line = min(side.first + row, side.last);
            chunk = number * comptime!(DEPTH / CHUNK) + column;
        }
        let source = (side.base + line * side.stride) / CHUNK + chunk;
        let target = target + comptime!(turn * at_once * row_chunks(width));
        copy_async(
            &x.as_slice()[source..source + 1],
            &mut into.as_mut_slice()[target..target + 1],
            8u32,
        );
    }
}

/// Adds the products of the blocks in stage `stage` to a plane's sums.
#[cube]
fn multiply_block<F: Float>(
    sums: &mut Sums,
    room: &Room<F>,
    stage: usize,
    plane_row: usize,
    plane_column: usize,
    #[comptime] form: ProductForm,
) {
    let mma = tensor_cores::<F>();
    let lane = lane();
    let mut of_left = stage * comptime!(form.left().chunks());
    if comptime!(form.left_turned) {
        of_left += turned_left_row(lane) * comptime!(row_chunks(ROWS))
            + plane_row / CHUNK
            + turned_left_chunk(lane);
    } else {
        of_left += (plane_row + left_row(lane)) * comptime!(row_chunks(DEPTH)) + left_chunk(lane);
    }
    let mut of_right = stage * comptime!(form.right().chunks());
    if comptime!(form.right_turned) {
        of_right += turned_row(lane) * comptime!(row_chunks(form.columns))
            + plane_column / CHUNK
            + turned_chunk(lane);
    } else {
        of_right +=
            (plane_column + right_row(lane)) * comptime!(row_chunks(DEPTH)) + right_chunk(lane);
    }
    let (left_part, left_group) = comptime!((form.left().lines_apart(), form.left().terms_apart()));
    let (right_part, right_group) =
        comptime!((form.right().lines_apart(), form.right().terms_apart()));
    #[unroll]
    for group in 0..comptime!(DEPTH / SIDE) {
        let mut operands = Sequence::<Operand<F>>::new();
        #[unroll]
        for part in 0..PARTS {
            let place = of_left + comptime!(part * left_part + group * left_group);
            operands.push(mma.load_matrix::<Chunk<F>, Const<2>>(
                &room.left[place..place + 1],
                MatrixIdent::A,
                4usize,
                comptime!(form.left_turned),
            ));
        }
        #[unroll]
        for both in 0..comptime!(PRODUCTS / 2) {
            let place = of_right + comptime!(both * right_part + group * right_group);
            let right = mma.load_matrix::<Chunk<F>, Const<2>>(
                &room.right[place..place + 1],
                MatrixIdent::B,
                4usize,
                comptime!(form.right_turned),
            );
            #[unroll]
            for part in 0..PARTS {
                multiply_both::<F>(
                    operands.index(part),
                    &right,
                    sums,
                    comptime!(part * PRODUCTS + 2 * both),
                );
            }
        }
    }
}

/// Writes a plane's results that there are, from row `first` and column `first_column` on.
#[cube]
fn write<F: Float, O: Float>(
    out: &mut Tensor<Pair<O>>,
    bias: &Tensor<F>,
    sums: &Sums,
    batch: usize,
    first: usize,
    first_column: usize,
    #[comptime] form: ProductForm,
) {
    let (rows, columns) = (out.shape(1), out.shape(2));
    let column = first_column + sum_column(lane());
    let base = batch * rows * columns;
    #[unroll]
    for product in 0..PRODUCTS {
        let column = column + comptime!(product * COLUMNS);
        if column < columns {
            let mut shift = Pair::<f32>::zeroed();
            if comptime!(form.bias) {
                shift.insert(0usize, f32::cast_from(bias[column]));
                shift.insert(1usize, f32::cast_from(bias[column + 1]));
            }
            #[unroll]
            for own in 0..comptime!(2 * PARTS) {
                let row = first + comptime!(own / 2 * SIDE) + sum_row(lane(), comptime!(own % 2));
                if row < rows {
                    let sum = sums.index(comptime!(own / 2 * PRODUCTS + product));
                    let sum = sum[comptime!(own % 2)];
                    out[(base + row * columns + column) / 2] = Vector::cast_from(sum + shift);
                }
            }
        }
    }
}
