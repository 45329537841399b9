use cubecl::frontend::barrier::copy_async;
use cubecl::prelude::*;

use super::form::{STAGES, WgmmaForm};
use super::instructions::{
    address, declare_sums, multiply, publish_copies, read_sums, wait_but_one,
};
use super::layout::{ACROSS, Block, DEPTH, OF_GROUP, place};
use crate::cube::product::form::ROWS;
use crate::cube::product::tile::{Side, side, tile_of};
use crate::cube::tensor_cores::lanes::{CHUNK, COLUMNS, PLANE, SIDE, sum_column, sum_row};
use crate::cube::tensor_cores::products::{Pair, lane};
use crate::cube::tensor_cores::{Chunk, close_group, wait_groups};

/// `out[i, j] = Σ_t left[i, t] · right[t, j] + bias[j]`, a tile of the results to a cube, on the
/// tensor cores of compute capability 9.0.
///
/// `left` [B, M, K] or [B, K, M] and `right` [B, N, K] or [B, K, N], as `form` says; `out` [B, M,
/// N]. Sums are float32, each over its terms in their order. K is a multiple of [`DEPTH`]; what is
/// contiguous in memory has a multiple of 8 values.
///
/// The products of a block stay under way while the next one is waited for, and the copies of the
/// one after that are ordered.
#[cube(launch, address_type = "dynamic")]
pub(super) fn products_wgmma<F: Float, O: Float>(
    left: &Tensor<Chunk<F>>,
    right: &Tensor<Chunk<F>>,
    bias: &Tensor<F>,
    out: &mut Tensor<Pair<O>>,
    #[comptime] form: WgmmaForm,
    #[define(F, O)] _elements: [ElemType; 2],
) {
    let size!(N) = comptime!(form.sums());
    let (of_left, of_right) = comptime!((form.left(), form.right()));
    let (left_chunks, right_chunks) = comptime!((of_left.chunks(), of_right.chunks()));
    let (rows, columns) = (out.shape(1), out.shape(2));
    let batch = CUBE_POS_Z as usize;
    let tile = tile_of(
        CUBE_POS_X as usize,
        rows.div_ceil(ROWS),
        columns.div_ceil(comptime!(form.columns)),
        comptime!(form.columns),
    );
    let left_side = side::<F>(left, batch, tile.row, comptime!(form.left_turned));
    let right_side = side::<F>(right, batch, tile.column, comptime!(form.right_turned));
    // Descriptors know the places of chunks by the address: rows of eight begin at 1024 bytes.
    let mut left_room =
        Shared::<[Chunk<F>]>::new_aligned_slice(comptime!(STAGES * left_chunks), 1024usize);
    let mut right_room =
        Shared::<[Chunk<F>]>::new_aligned_slice(comptime!(STAGES * right_chunks), 1024usize);
    // The four planes of a group multiply 64 rows.
    let plane = UNIT_POS as usize / PLANE;
    let group_row = plane / 4 * OF_GROUP;
    let left_base = address::<F>(&left_room)
        + u64::cast_from(group_row * ACROSS)
        + comptime!(of_left.descriptor()).runtime();
    let right_base = address::<F>(&right_room) + comptime!(of_right.descriptor()).runtime();

    declare_sums(form);
    let count = left_side.terms / DEPTH;
    #[unroll]
    for number in 0..2usize {
        if number < count {
            order::<F>(left, &left_side, number, &mut left_room, of_left, form);
            order::<F>(right, &right_side, number, &mut right_room, of_right, form);
        }
        close_group();
    }
    let mut number = comptime!(0usize).runtime();
    while number < count {
        // This block's copies are done; so are the products of the block before the last, whose
        // room is taken.
        wait_groups(1usize);
        publish_copies();
        sync_cube();
        let stage = number % STAGES;
        multiply(
            left_base + u64::cast_from(stage * left_chunks),
            right_base + u64::cast_from(stage * right_chunks),
            form,
        );
        let next = number + 2;
        if next < count {
            order::<F>(left, &left_side, next, &mut left_room, of_left, form);
            order::<F>(right, &right_side, next, &mut right_room, of_right, form);
        }
        close_group();
        wait_but_one();
        number += 1;
    }
    let sums = read_sums::<N>(form);
    let row = tile.row + group_row + plane % 4 * SIDE;
    write::<F, O, N>(out, bias, sums, batch, row, tile.column, form);
}

/// Begins to copy block `number` of an operand into its stage. All threads take part, and nothing
/// waits.
///
/// The last row or column that there is stands for those beyond it: results for them are not
/// written.
#[cube]
fn order<F: Float>(
    x: &Tensor<Chunk<F>>,
    side: &Side,
    number: usize,
    into: &mut Shared<[Chunk<F>]>,
    #[comptime] block: Block,
    #[comptime] form: WgmmaForm,
) {
    let begin = number % STAGES * comptime!(block.chunks());
    let across = comptime!(block.across());
    #[unroll]
    for turn in 0..comptime!(block.chunks() / form.threads()) {
        let nth = UNIT_POS as usize + comptime!(turn * form.threads());
        let (row, column) = (nth / across, nth % across);
        let mut line = min(side.first + row, side.last);
        let mut chunk = number * ACROSS + column;
        if comptime!(block.turned) {
            line = number * DEPTH + row;
            chunk = min(side.first / CHUNK + column, side.last / CHUNK);
        }
        let source = (side.base + line * side.stride) / CHUNK + chunk;
        let target = begin + place(row, column);
        copy_async(
            &x.as_slice()[source..source + 1],
            &mut into.as_mut_slice()[target..target + 1],
            8u32,
        );
    }
}

/// Writes a plane's results that there are, from row `first` and column `column` on.
#[cube]
fn write<F: Float, O: Float, N: Size>(
    out: &mut Tensor<Pair<O>>,
    bias: &Tensor<F>,
    sums: Vector<f32, N>,
    batch: usize,
    first: usize,
    column: usize,
    #[comptime] form: WgmmaForm,
) {
    let (rows, columns) = (out.shape(1), out.shape(2));
    let base = batch * rows * columns;
    #[unroll]
    for product in 0..comptime!(form.columns / COLUMNS) {
        let column = column + comptime!(product * COLUMNS) + sum_column(lane());
        if column < columns {
            let mut shift = Pair::<f32>::zeroed();
            if comptime!(form.bias) {
                shift.insert(0usize, f32::cast_from(bias[column]));
                shift.insert(1usize, f32::cast_from(bias[column + 1]));
            }
            #[unroll]
            for half in 0..2usize {
                let row = first + sum_row(lane(), half);
                if row < rows {
                    let mut sum = Pair::<f32>::zeroed();
                    sum.insert(0usize, sums.extract(comptime!(4 * product + 2 * half)));
                    sum.insert(1usize, sums.extract(comptime!(4 * product + 2 * half + 1)));
                    out[(base + row * columns + column) / 2] = Vector::cast_from(sum + shift);
                }
            }
        }
    }
}
