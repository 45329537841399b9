use cubecl::cmma::MatrixIdent;
use cubecl::prelude::*;

use super::between::{enter_second, leave_second};
use super::form::{BothForm, Weights};
use super::weights::order_weights;
use super::windows::{clear_chunks, clear_pairs, order_channels, turn_channels, window_of};
use crate::cube::expansion::mma::pairs::{transposed, transposed_row};
use crate::cube::tensor_cores::lanes::{
    CHUNK, COLUMNS, PLANE, SIDE, left_chunk, left_row, right_chunk, right_row, row_chunks,
    sum_column,
};
use crate::cube::tensor_cores::products::{
    Operand, Pair, Sums, lane, multiply_some, no_sums, tensor_cores,
};
use crate::cube::tensor_cores::{Chunk, close_group, wait_groups};

/// Both maps along the heads, `x` [N, C, P] → `y` [N, E, P], and what is between them, `between`
/// [N, P, A], A padded with zeros to whole products, where it is kept.
///
/// Forward: `E1 = conv(x, W1) + b1`, `y = E1 + conv(relu(E1), W2) + b2`, and E1 is kept. For the
/// gradient, `x` being that of y: `dE1 = x + gate · convᵀ(x, W2)`, `y = convᵀ(dE1, W1)`, and dE1 is
/// kept; `gate` is E1, and open above zero. With or without the residual and the ReLU, as `form`
/// says.
///
/// A cube has some tokens at a time, which are turned in shared memory, positions by channels, and
/// goes on to the next ones, which are copied meanwhile. Sums are float32, and stay in registers.
#[cube(launch, address_type = "dynamic")]
pub(super) fn both_maps_mma<F: Float>(
    x: &Tensor<Chunk<F>>,
    packed_first: &Tensor<Chunk<F>>,
    packed_second: &Tensor<Chunk<F>>,
    biases: &Tensor<F>,
    gate: &Tensor<Pair<F>>,
    between: &mut Tensor<Pair<F>>,
    y: &mut Tensor<Pair<F>>,
    first_bias: u32,
    second_bias: u32,
    rounds: u32,
    #[comptime] form: BothForm,
    #[define(F)] _element: ElemType,
) {
    let threads = comptime!(form.threads());
    let raw = comptime!(form.raw());
    let (of_first, of_second) = comptime!((form.first.windows, form.second.windows));
    let (raw_chunks, input_values, middle_values) =
        comptime!((raw.chunks(), of_first.len(), of_second.len()));
    let end = y.shape(0);
    let last = end - 1;
    let mut token = (CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X) as usize
        * rounds as usize
        * comptime!(form.tokens());

    let mut room = Shared::<[Chunk<F>]>::new_aligned_slice(raw_chunks, 16usize);
    let mut first_weights =
        Shared::<[Chunk<F>]>::new_aligned_slice(comptime!(form.first.room()), 16usize);
    let mut second_weights =
        Shared::<[Chunk<F>]>::new_aligned_slice(comptime!(form.second.room()), 16usize);
    let mut inputs = Shared::<[Pair<F>]>::new_aligned_slice(comptime!(input_values / 2), 16usize);
    let mut middle = Shared::<[Pair<F>]>::new_aligned_slice(comptime!(middle_values / 2), 16usize);
    // Lines beyond the channels, positions before and behind a token's, and what the last window
    // reaches beyond: nothing writes there again.
    clear_chunks::<F>(&mut room, raw_chunks, threads);
    clear_pairs::<F>(&mut inputs, comptime!(input_values / 2), threads);
    clear_pairs::<F>(&mut middle, comptime!(middle_values / 2), threads);
    order_weights::<F>(
        packed_first,
        &mut first_weights,
        comptime!(form.first),
        threads,
    );
    order_weights::<F>(
        packed_second,
        &mut second_weights,
        comptime!(form.second),
        threads,
    );
    sync_cube();
    order_channels::<F>(
        x,
        token,
        last,
        &mut room,
        comptime!(0usize).runtime(),
        raw,
        threads,
    );
    close_group();
    let mut round = comptime!(0u32).runtime();
    while round < rounds {
        if token < end {
            wait_groups(0usize);
            sync_cube();
            turn_channels::<F>(
                &room,
                comptime!(0usize).runtime(),
                &mut inputs,
                raw,
                of_first,
                comptime!(form.planes()),
            );
            sync_cube();
            let next = token + comptime!(form.tokens());
            if next < end {
                order_channels::<F>(
                    x,
                    next,
                    last,
                    &mut room,
                    comptime!(0usize).runtime(),
                    raw,
                    threads,
                );
            }
            close_group();
            let mut sums = no_sums(comptime!(form.parts * form.first.products()));
            convolve::<F>(
                &mut sums,
                &inputs,
                &first_weights,
                comptime!(form.first),
                form,
            );
            let mut ends = no_sums(comptime!(form.parts * form.second.products()));
            if comptime!(form.forward) {
                enter_second::<F>(
                    &sums,
                    &mut ends,
                    biases,
                    between,
                    &mut middle,
                    token,
                    end,
                    first_bias as usize,
                    second_bias as usize,
                    form,
                );
            } else {
                leave_second::<F>(&sums, gate, &inputs, between, &mut middle, token, end, form);
            }
            sync_cube();
            convolve::<F>(
                &mut ends,
                &middle,
                &second_weights,
                comptime!(form.second),
                form,
            );
            write::<F>(y, &ends, token, end, form);
        }
        token += comptime!(form.tokens());
        round += 1u32;
    }
}

/// The first of a plane's rows.
#[cube]
pub(super) fn plane_row(#[comptime] form: BothForm) -> usize {
    UNIT_POS as usize / PLANE * comptime!(form.rows_of_plane())
}

/// `sums[r, a] += Σ_t windows[r + .., t] · weights[a, t]` for the plane's rows.
#[cube]
fn convolve<F: Float>(
    sums: &mut Sums,
    windows: &Shared<[Pair<F>]>,
    weights: &Shared<[Chunk<F>]>,
    #[comptime] map: Weights,
    #[comptime] form: BothForm,
) {
    let mma = tensor_cores::<F>();
    let lane = lane();
    let products = comptime!(map.products());
    let line = comptime!(row_chunks(map.windows.terms()));
    let of_weights = right_row(lane) * line + right_chunk(lane);
    let mut of_parts = Sequence::<usize>::new();
    #[unroll]
    for part in 0..comptime!(form.parts) {
        let row = plane_row(form) + comptime!(part * SIDE) + left_row(lane);
        of_parts.push((window_of(row, comptime!(map.windows)) + left_chunk(lane) * CHUNK) / 2);
    }
    for step in 0..comptime!(map.windows.terms() / SIDE) {
        let mut operands = Sequence::<Operand<F>>::new();
        #[unroll]
        for part in 0..comptime!(form.parts) {
            let place = *of_parts.index(part) + step * comptime!(SIDE / 2);
            operands.push(mma.load_matrix::<Pair<F>, Const<2>>(
                &windows[place..place + 4],
                MatrixIdent::A,
                4usize,
                false,
            ));
        }
        #[unroll]
        for both in 0..comptime!(products.div_ceil(2)) {
            let place = of_weights + comptime!(both * SIDE) * line + step * comptime!(SIDE / CHUNK);
            let right = mma.load_matrix::<Chunk<F>, Const<2>>(
                &weights[place..place + 1],
                MatrixIdent::B,
                4usize,
                false,
            );
            #[unroll]
            for part in 0..comptime!(form.parts) {
                multiply_some::<F>(
                    operands.index(part),
                    &right,
                    sums,
                    comptime!(part * products + 2 * both),
                    comptime!(if 2 * both + 1 < products {
                        2usize
                    } else {
                        1usize
                    }),
                );
            }
        }
    }
}

/// Writes a plane's results, channels by positions, of the tokens that there are.
#[cube]
fn write<F: Float>(
    y: &mut Tensor<Pair<F>>,
    ends: &Sums,
    token: usize,
    end: usize,
    #[comptime] form: BothForm,
) {
    let products = comptime!(form.second.products());
    let outputs = comptime!(form.second.outputs);
    let positions = comptime!(form.second.windows.positions);
    #[unroll]
    for own in 0..comptime!(2 * form.parts) {
        let row = plane_row(form) + comptime!(own * SIDE / 2);
        let n = token + row / positions;
        let position = row % positions + sum_column(lane());
        #[unroll]
        for product in 0..products {
            let channel = comptime!(product * COLUMNS) + transposed_row(lane());
            let sum = ends.index(comptime!(own / 2 * products + product))[comptime!(own % 2)];
            let pair = transposed::<F>(Vector::cast_from(sum));
            if n < end && channel < outputs {
                y[((n * outputs + channel) * positions + position) / 2] = pair;
            }
        }
    }
}
