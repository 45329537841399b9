use cubecl::cmma::MatrixIdent;
use cubecl::prelude::*;

use super::form::GradientForm;
use super::windows::{clear_chunks, clear_pairs, order_channels, order_positions, turn_channels};
use crate::cube::expansion::mma::pairs::opened;
use crate::cube::tensor_cores::lanes::{
    CHUNK, COLUMNS, PLANE, SIDE, left_chunk, left_row, row_chunks, sum_column, sum_row,
    turned_chunk, turned_left_chunk, turned_left_row, turned_row,
};
use crate::cube::tensor_cores::products::{
    Operand, Pair, Sums, lane, multiply_some, no_sums, tensor_cores,
};
use crate::cube::tensor_cores::{Chunk, close_group, wait_groups};

/// `sums[s, a, j·S + c] = Σ dy[n, a, d] · x[n, c, d + j − (κ−1)/2]` over the tokens n of slice s and
/// the positions d, S being the windows' stride, and in eight columns more `Σ dy[n, a, d]`; one cube
/// a slice. How `x` and `dy` lie, [`GradientForm::first`] says.
///
/// Windows are the right operand, whose terms are positions. Two stages: one is copied while the
/// other is multiplied.
#[cube(launch, address_type = "dynamic")]
pub(super) fn heads_weight_gradient_mma<F: Float>(
    x: &Tensor<Chunk<F>>,
    dy: &Tensor<Chunk<F>>,
    sums: &mut Tensor<Pair<f32>>,
    end: u32,
    rounds: u32,
    #[comptime] form: GradientForm,
    #[define(F)] _element: ElemType,
) {
    let threads = comptime!(form.threads());
    let (turned_chunks, raw_chunks, own_pairs) = comptime!((
        form.turned_chunks(),
        form.raw_chunks(),
        form.own_windows() / 2
    ));
    let tokens = comptime!(form.windows.tokens);
    let end = end as usize;
    let slice = CUBE_POS_X as usize;
    let mut token = slice * rounds as usize * tokens;
    // The end of this slice.
    let stop = min(token + rounds as usize * tokens, end);

    let mut turned = Shared::<[Chunk<F>]>::new_aligned_slice(comptime!(2 * turned_chunks), 16usize);
    let mut room = Shared::<[Chunk<F>]>::new_aligned_slice(comptime!(2 * raw_chunks), 16usize);
    let mut own = Shared::<[Pair<F>]>::new_aligned_slice(own_pairs, 16usize);
    // Nothing writes again to lines beyond the channels, and to positions before and behind a
    // token's.
    clear_chunks::<F>(&mut turned, comptime!(2 * turned_chunks), threads);
    clear_chunks::<F>(&mut room, comptime!(2 * raw_chunks), threads);
    clear_pairs::<F>(&mut own, own_pairs, threads);
    sync_cube();
    let mut products = no_sums(comptime!(form.products()));
    if token < stop {
        order::<F>(
            x,
            dy,
            token,
            end - 1,
            &mut turned,
            &mut room,
            comptime!(0usize).runtime(),
            form,
        );
    }
    close_group();
    let mut stage = comptime!(0usize).runtime();
    while token < stop {
        wait_groups(0usize);
        sync_cube();
        let next = token + tokens;
        if next < stop {
            order::<F>(
                x,
                dy,
                next,
                end - 1,
                &mut turned,
                &mut room,
                1 - stage,
                form,
            );
        }
        close_group();
        if comptime!(form.first) {
            turn_channels::<F>(
                &room,
                stage * raw_chunks,
                &mut own,
                comptime!(form.raw()),
                comptime!(form.windows),
                comptime!(form.planes()),
            );
            sync_cube();
        }
        multiply::<F>(
            &mut products,
            &turned,
            &room,
            &own,
            stage,
            stop - token,
            form,
        );
        token = next;
        stage = 1 - stage;
    }
    write(sums, &products, slice, form);
}

/// Begins to copy both operands of tokens from `token` on into stage `stage`.
#[cube]
fn order<F: Float>(
    x: &Tensor<Chunk<F>>,
    dy: &Tensor<Chunk<F>>,
    token: usize,
    last: usize,
    turned: &mut Shared<[Chunk<F>]>,
    room: &mut Shared<[Chunk<F>]>,
    stage: usize,
    #[comptime] form: GradientForm,
) {
    let threads = comptime!(form.threads());
    let of_turned = stage * comptime!(form.turned_chunks());
    let of_room = stage * comptime!(form.raw_chunks());
    if comptime!(form.first) {
        let rows = comptime!(form.gradient_rows());
        let width = comptime!(form.outputs.next_multiple_of(COLUMNS));
        order_positions::<F>(dy, token, last, turned, of_turned, width, rows, threads);
        order_channels::<F>(
            x,
            token,
            last,
            room,
            of_room,
            comptime!(form.raw()),
            threads,
        );
    } else {
        let windows = comptime!(form.windows);
        let width = comptime!(form.windows.channels.next_multiple_of(COLUMNS));
        let raw = comptime!(form.raw_gradient());
        order_positions::<F>(x, token, last, turned, of_turned, width, windows, threads);
        order_channels::<F>(dy, token, last, room, of_room, raw, threads);
    }
}

/// Adds the products of stage `stage`, of which `left` tokens count, to the sums: of each row of 16
/// output channels those with this plane's columns, then that with ones.
#[cube]
fn multiply<F: Float>(
    products: &mut Sums,
    turned: &Shared<[Chunk<F>]>,
    room: &Shared<[Chunk<F>]>,
    own: &Shared<[Pair<F>]>,
    stage: usize,
    left: usize,
    #[comptime] form: GradientForm,
) {
    let mma = tensor_cores::<F>();
    let lane = lane();
    let plane = UNIT_POS as usize / PLANE;
    let (groups, parts) = comptime!((form.groups_of_plane(), form.parts()));
    let of_part = comptime!(2 * groups + 1);
    let windows = comptime!(form.windows);
    let of_token = comptime!(windows.positions / SIDE);
    let line = comptime!(row_chunks(windows.positions));
    let across = comptime!(form.gradient_rows().stride() / CHUNK);
    let of_turned = stage * comptime!(form.turned_chunks());
    let of_room = stage * comptime!(form.raw_chunks());
    let mut ones = Operand::<F>::new(4usize);
    #[unroll]
    for register in 0..4usize {
        ones[register] = Pair::<F>::new(F::new(1.0));
    }
    for step in 0..min(left, comptime!(windows.tokens)) * of_token {
        let token = step / of_token;
        let position = step % of_token * SIDE;
        let mut operands = Sequence::<Operand<F>>::new();
        #[unroll]
        for part in 0..parts {
            if comptime!(form.first) {
                let row = step * SIDE + turned_left_row(lane);
                let place = of_turned
                    + row * across
                    + comptime!(part * SIDE / CHUNK)
                    + turned_left_chunk(lane);
                operands.push(mma.load_matrix::<Chunk<F>, Const<2>>(
                    &turned[place..place + 1],
                    MatrixIdent::A,
                    4usize,
                    true,
                ));
            } else {
                let row = token * comptime!(parts * SIDE) + comptime!(part * SIDE) + left_row(lane);
                let place = of_room + row * line + position / CHUNK + left_chunk(lane);
                operands.push(mma.load_matrix::<Chunk<F>, Const<2>>(
                    &room[place..place + 1],
                    MatrixIdent::A,
                    4usize,
                    false,
                ));
            }
        }
        let row = token * comptime!(windows.reach()) + position + turned_row(lane);
        let begin = row * comptime!(windows.stride() / CHUNK) + turned_chunk(lane);
        #[unroll]
        for nth in 0..groups {
            let group = plane + comptime!(nth * form.planes());
            if group < comptime!(form.groups()) {
                let chunk = begin + group * comptime!(SIDE / CHUNK);
                let right = right_operand::<F>(turned, own, of_turned, chunk, form);
                #[unroll]
                for part in 0..parts {
                    multiply_some::<F>(
                        operands.index(part),
                        &right,
                        products,
                        comptime!(part * of_part + 2 * nth),
                        2usize,
                    );
                }
            }
        }
        // The plane that has the fewest columns.
        if plane == comptime!(form.planes() - 1) {
            #[unroll]
            for part in 0..parts {
                multiply_some::<F>(
                    operands.index(part),
                    &ones,
                    products,
                    comptime!(part * of_part + 2 * groups),
                    1usize,
                );
            }
        }
    }
}

/// Sixteen columns of the windows as two right operands, from chunk `chunk` on.
#[cube]
fn right_operand<F: Float>(
    turned: &Shared<[Chunk<F>]>,
    own: &Shared<[Pair<F>]>,
    of_turned: usize,
    chunk: usize,
    #[comptime] form: GradientForm,
) -> Operand<F> {
    let mma = tensor_cores::<F>();
    let mut right = Operand::<F>::new(4usize);
    if comptime!(form.first) {
        let place = chunk * comptime!(CHUNK / 2);
        let loaded = mma.load_matrix::<Pair<F>, Const<2>>(
            &own[place..place + 4],
            MatrixIdent::B,
            4usize,
            true,
        );
        #[unroll]
        for register in 0..4usize {
            right[register] = loaded[register];
        }
    } else {
        let place = of_turned + chunk;
        let loaded = mma.load_matrix::<Chunk<F>, Const<2>>(
            &turned[place..place + 1],
            MatrixIdent::B,
            4usize,
            true,
        );
        #[unroll]
        for register in 0..4usize {
            right[register] = loaded[register];
        }
    }
    if comptime!(form.relu) {
        #[unroll]
        for register in 0..4usize {
            right[register] = opened::<F>(right[register]);
        }
    }
    right
}

/// Writes the sums of slice `slice`.
#[cube]
fn write(
    sums: &mut Tensor<Pair<f32>>,
    products: &Sums,
    slice: usize,
    #[comptime] form: GradientForm,
) {
    let lane = lane();
    let plane = UNIT_POS as usize / PLANE;
    let groups = comptime!(form.groups_of_plane());
    let of_part = comptime!(2 * groups + 1);
    let begin = slice * comptime!(form.parts() * SIDE * form.columns());
    #[unroll]
    for part in 0..comptime!(form.parts()) {
        #[unroll]
        for half in 0..2usize {
            let a = comptime!(part * SIDE) + sum_row(lane, half);
            let row = begin + a * comptime!(form.columns()) + sum_column(lane);
            #[unroll]
            for nth in 0..comptime!(2 * groups) {
                let group = plane + comptime!(nth / 2 * form.planes());
                if group < comptime!(form.groups()) {
                    let column = group * SIDE + comptime!(nth % 2 * COLUMNS);
                    sums[(row + column) / 2] =
                        products.index(comptime!(part * of_part + nth))[half];
                }
            }
            if plane == comptime!(form.planes() - 1) {
                let product = products.index(comptime!(part * of_part + 2 * groups));
                sums[(row + comptime!(form.windows.terms())) / 2] = product[half];
            }
        }
    }
}
