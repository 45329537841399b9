//! What is between the two maps: out of one's sums, and into the other's operands and sums.

use cubecl::prelude::*;

use super::form::FeaturesForm;
use crate::cube::expansion::mma::pairs::{bias_of, opened};
use crate::cube::tensor_cores::lanes::{
    COLUMNS, SIDE, half_of_register, product_of_register, register_of, sum_column, sum_row,
};
use crate::cube::tensor_cores::products::{Operand, Pair, Sums, lane};

/// What is between the maps, forward: the first one's sums with their bias, which are kept, enter
/// the second map through the ReLU, and with its bias are where its sums begin.
#[cube]
pub(super) fn enter_second<F: Float>(
    sums: &Sums,
    ends: &mut Sums,
    operands: &mut Sequence<Operand<F>>,
    biases: &Tensor<F>,
    between: &mut Tensor<Pair<F>>,
    row: usize,
    end: usize,
    first_bias: usize,
    second_bias: usize,
    #[comptime] form: FeaturesForm,
) {
    let products = comptime!(form.middle / COLUMNS);
    let terms = comptime!(form.middle / SIDE);
    #[unroll]
    for _ in 0..comptime!(form.parts * terms) {
        operands.push(Operand::<F>::new(4usize));
    }
    #[unroll]
    for product in 0..products {
        let feature = comptime!(product * COLUMNS) + sum_column(lane());
        let bias = bias_of::<F>(biases, first_bias, feature, comptime!(form.middle));
        let next_bias = bias_of::<F>(biases, second_bias, feature, comptime!(form.middle));
        #[unroll]
        for own in 0..comptime!(2 * form.parts) {
            let (part, half) = comptime!((own / 2, own % 2));
            let row = row + comptime!(part * SIDE) + sum_row(lane(), half);
            let at = comptime!(part * products + product);
            let value = sums.index(at)[half] + bias;
            let mut start = next_bias;
            if comptime!(form.residual) {
                start += value;
            }
            ends.index_mut(at)[half] = start;
            let mut kept: Pair<F> = Vector::cast_from(value);
            if comptime!(form.keep) {
                if row < end {
                    between[(row * comptime!(form.middle) + feature) / 2] = kept;
                }
            }
            if comptime!(form.relu) {
                kept = opened::<F>(kept);
            }
            let operand = operands.index_mut(comptime!(part * terms + product / 2));
            operand[comptime!(register_of(product, half))] = kept;
        }
    }
}

/// What is between the maps, for the gradient: what comes through the second map, where its ReLU
/// was open, and past it. As an operand a row's values are where they are as results.
#[cube]
pub(super) fn leave_second<F: Float>(
    sums: &Sums,
    left: &Sequence<Operand<F>>,
    operands: &mut Sequence<Operand<F>>,
    gate: &Tensor<Pair<F>>,
    between: &mut Tensor<Pair<F>>,
    row: usize,
    end: usize,
    #[comptime] form: FeaturesForm,
) {
    let products = comptime!(form.middle / COLUMNS);
    let terms = comptime!(form.middle / SIDE);
    #[unroll]
    for part in 0..comptime!(form.parts) {
        #[unroll]
        for term in 0..terms {
            let mut operand = Operand::<F>::new(4usize);
            #[unroll]
            for register in 0..4usize {
                let product = comptime!(2 * term + product_of_register(register));
                let half = comptime!(half_of_register(register));
                let feature = comptime!(product * COLUMNS) + sum_column(lane());
                let row = row + comptime!(part * SIDE) + sum_row(lane(), half);
                let mut value = sums.index(comptime!(part * products + product))[half];
                if comptime!(form.relu) {
                    let place = (min(row, end - 1) * comptime!(form.middle) + feature) / 2;
                    let open = gate[place];
                    #[unroll]
                    for nth in 0..2usize {
                        let is_open = f32::cast_from(open.extract(nth)) > f32::new(0.0);
                        value.insert(nth, select(is_open, value.extract(nth), f32::new(0.0)));
                    }
                }
                if comptime!(form.residual) {
                    let past = left.index(comptime!(part * terms + term))[register];
                    value += Vector::cast_from(past);
                }
                let kept: Pair<F> = Vector::cast_from(value);
                if comptime!(form.keep) {
                    if row < end {
                        between[(row * comptime!(form.middle) + feature) / 2] = kept;
                    }
                }
                operand[register] = kept;
            }
            operands.push(operand);
        }
    }
}
