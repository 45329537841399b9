//! What is between the two maps: out of one's sums, and into the other's operand and sums.

use cubecl::prelude::*;

use super::both::plane_row;
use super::form::BothForm;
use super::windows::pair_place;
use crate::cube::expansion::mma::pairs::{bias_of, opened};
use crate::cube::tensor_cores::lanes::{COLUMNS, SIDE, sum_column, sum_row};
use crate::cube::tensor_cores::products::{Pair, Sums, lane};

/// What is between the maps, forward: the first one's sums with their bias, which are kept, enter
/// the second map through the ReLU, and with its bias are where its sums begin.
#[cube]
pub(super) fn enter_second<F: Float>(
    sums: &Sums,
    ends: &mut Sums,
    biases: &Tensor<F>,
    between: &mut Tensor<Pair<F>>,
    middle: &mut Shared<[Pair<F>]>,
    token: usize,
    end: usize,
    first_bias: usize,
    second_bias: usize,
    #[comptime] form: BothForm,
) {
    let products = comptime!(form.first.products());
    let windows = comptime!(form.second.windows);
    #[unroll]
    for product in 0..products {
        let channel = comptime!(product * COLUMNS) + sum_column(lane());
        let bias = bias_of::<F>(biases, first_bias, channel, comptime!(form.first.outputs));
        let next_bias = bias_of::<F>(biases, second_bias, channel, comptime!(form.first.outputs));
        #[unroll]
        for own in 0..comptime!(2 * form.parts) {
            let row =
                plane_row(form) + comptime!(own / 2 * SIDE) + sum_row(lane(), comptime!(own % 2));
            let value =
                sums.index(comptime!(own / 2 * products + product))[comptime!(own % 2)] + bias;
            let mut start = next_bias;
            if comptime!(form.residual) {
                start += value;
            }
            ends.index_mut(comptime!(own / 2 * products + product))[comptime!(own % 2)] = start;
            let mut kept: Pair<F> = Vector::cast_from(value);
            keep::<F>(between, kept, row, channel, token, end, form);
            if comptime!(form.relu) {
                kept = opened::<F>(kept);
            }
            middle[pair_place(row, channel, windows)] = kept;
        }
    }
}

/// What is between the maps, for the gradient: what comes through the second map, where its ReLU
/// was open, and past it.
#[cube]
pub(super) fn leave_second<F: Float>(
    sums: &Sums,
    gate: &Tensor<Pair<F>>,
    inputs: &Shared<[Pair<F>]>,
    between: &mut Tensor<Pair<F>>,
    middle: &mut Shared<[Pair<F>]>,
    token: usize,
    end: usize,
    #[comptime] form: BothForm,
) {
    let products = comptime!(form.first.products());
    let (of_first, of_second) = comptime!((form.first.windows, form.second.windows));
    #[unroll]
    for product in 0..products {
        let channel = comptime!(product * COLUMNS) + sum_column(lane());
        #[unroll]
        for own in 0..comptime!(2 * form.parts) {
            let row =
                plane_row(form) + comptime!(own / 2 * SIDE) + sum_row(lane(), comptime!(own % 2));
            let mut value = sums.index(comptime!(own / 2 * products + product))[comptime!(own % 2)];
            if comptime!(form.relu) {
                let open = gate[place_between(row, channel, token, end, form)];
                #[unroll]
                for nth in 0..2usize {
                    let is_open = f32::cast_from(open.extract(nth)) > f32::new(0.0);
                    value.insert(nth, select(is_open, value.extract(nth), f32::new(0.0)));
                }
            }
            if comptime!(form.residual) {
                value += Vector::cast_from(inputs[pair_place(row, channel, of_first)]);
            }
            let kept: Pair<F> = Vector::cast_from(value);
            keep::<F>(between, kept, row, channel, token, end, form);
            middle[pair_place(row, channel, of_second)] = kept;
        }
    }
}

/// Where a row's channels `channel` and `channel + 1` are in [N, P, A], in pairs; those of the last
/// token stand for those beyond it.
#[cube]
pub(super) fn place_between(
    row: usize,
    channel: usize,
    token: usize,
    end: usize,
    #[comptime] form: BothForm,
) -> usize {
    let positions = comptime!(form.first.windows.positions);
    let n = min(token + row / positions, end - 1);
    ((n * positions + row % positions) * comptime!(form.between()) + channel) / 2
}

/// Writes a pair of what is between the maps, where it is kept and there is such a token.
#[cube]
pub(super) fn keep<F: Float>(
    between: &mut Tensor<Pair<F>>,
    kept: Pair<F>,
    row: usize,
    channel: usize,
    token: usize,
    end: usize,
    #[comptime] form: BothForm,
) {
    if comptime!(form.keep) {
        if token + row / comptime!(form.first.windows.positions) < end {
            between[place_between(row, channel, token, end, form)] = kept;
        }
    }
}
