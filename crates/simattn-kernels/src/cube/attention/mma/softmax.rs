//! Scores in a plane's registers, and the weights that they become.

use cubecl::prelude::*;

use super::form::Form;
use crate::cube::attention::mask::{AttentionPlan, Mask, sees};
use crate::cube::tensor_cores::lanes::{
    COLUMNS, SIDE, half_of_register, product_of_register, sum_column, sum_row,
};
use crate::cube::tensor_cores::products::{Operand, Pair, Sums, lane};

/// Scores below every real one: 2 to the power of it is zero.
pub(super) const LOWEST: f32 = -1e30;

/// How far a score may rise above its row's level, in powers of two: weights stay below 2⁷, far from
/// float16's largest number, and outputs are scaled anew only when a row rises further.
const SLACK: f32 = 7.0;

/// A value to give to `gpu_asm!`: `in(_)` of a variable that changes is its address.
#[cube]
fn value(of: f32) -> f32 {
    f32::cast_from(of)
}

/// 2ˣ by the special function unit alone, to 2⁻²²; `exp` of CubeCL takes ten instructions.
#[cube]
pub(super) fn exp2(x: f32) -> f32 {
    let y: f32;
    gpu_asm!("ex2.approx.ftz.f32 {y}, {x};", y = out(_) y, x = in(_) value(x), options(pure, nomem));
    y
}

/// Makes scores lowest whose query does not see their key: `count` columns from `column` on, rows of
/// the plane from `row` on. Queries are the rows, or with `turned` the columns.
#[cube]
pub(super) fn hide(
    scores: &mut Sums,
    mask: &Mask,
    row: usize,
    column: usize,
    #[comptime] turned: bool,
    #[comptime] form: Form,
    #[comptime] plan: AttentionPlan,
) {
    let products = comptime!(form.products());
    #[unroll]
    for at in 0..comptime!(form.parts * products) {
        #[unroll]
        for half in 0..2usize {
            let i = row + comptime!(at / products * SIDE) + sum_row(lane(), half);
            let mut pair = scores.index(at)[half];
            #[unroll]
            for nth in 0..2usize {
                let j = column + comptime!(at % products * COLUMNS + nth) + sum_column(lane());
                let (query, key) = if comptime!(turned) { (j, i) } else { (i, j) };
                let seen = sees(mask, query, key, plan);
                let score = select(seen, pair.extract(nth), f32::new(LOWEST));
                pair.insert(nth, score);
            }
            scores.index_mut(at)[half] = pair;
        }
    }
}

/// Raises the level of rows whose highest score is more than [`SLACK`] above it, with their outputs
/// and the sums of their weights. `factor` makes powers of two of scores.
#[cube]
pub(super) fn raise_levels(
    scores: &Sums,
    outputs: &mut Sums,
    levels: &mut Array<f32>,
    totals: &mut Array<f32>,
    factor: f32,
    #[comptime] form: Form,
    #[comptime] outputs_of_part: usize,
) {
    let products = comptime!(form.products());
    let rows = comptime!(2 * form.parts);
    let slack = f32::new(SLACK) / factor;
    let mut next = Array::<f32>::new(rows);
    let mut rise = f32::new(0.0);
    #[unroll]
    for own in 0..rows {
        let mut best = f32::new(LOWEST);
        #[unroll]
        for product in 0..products {
            let pair = scores.index(comptime!(own / 2 * products + product))[comptime!(own % 2)];
            best = max(best, max(pair.extract(0usize), pair.extract(1usize)));
        }
        // Four neighbouring threads have a row's scores.
        best = max(best, plane_shuffle_xor(best, 1u32));
        best = max(best, plane_shuffle_xor(best, 2u32));
        let higher = best - levels[own];
        rise = max(rise, higher);
        next[own] = select(higher > slack, best, levels[own]);
    }
    if plane_any(rise > slack) {
        #[unroll]
        for own in 0..rows {
            let fall = exp2((levels[own] - next[own]) * factor);
            levels[own] = next[own];
            totals[own] *= fall;
            #[unroll]
            for output in 0..outputs_of_part {
                let place = comptime!(own / 2 * outputs_of_part + output);
                let pair = outputs.index(place)[comptime!(own % 2)] * Vector::new(fall);
                outputs.index_mut(place)[comptime!(own % 2)] = pair;
            }
        }
    }
}

/// Weights of a part's rows for 16 keys, from number `first` of its products on, as a left operand;
/// they are added to `totals` before they are rounded.
#[cube]
pub(super) fn weights<F: Float>(
    scores: &Sums,
    levels: &Array<f32>,
    totals: &mut Array<f32>,
    factor: f32,
    #[comptime] part: usize,
    #[comptime] first: usize,
) -> Operand<F> {
    let mut operand = Operand::<F>::new(4usize);
    #[unroll]
    for register in 0..4usize {
        let half = comptime!(half_of_register(register));
        let own = comptime!(2 * part + half);
        // A row that has seen no key yet keeps weights of zero.
        let level = select(levels[own] <= f32::new(LOWEST), f32::new(0.0), levels[own]) * factor;
        let scores = scores.index(comptime!(first + product_of_register(register)))[half];
        let low = exp2(scores.extract(0usize) * factor - level);
        let high = exp2(scores.extract(1usize) * factor - level);
        totals[own] += low + high;
        let mut both = Pair::<f32>::empty();
        both.insert(0usize, low);
        both.insert(1usize, high);
        operand[register] = Vector::cast_from(both);
    }
    operand
}
