use cubecl::frontend::barrier::copy_async;
use cubecl::prelude::*;

use super::copies::{Room, blocks_between, order_both, rows_of_both, stage_after, write_sums};
use super::form::Form;
use super::softmax::{exp2, hide};
use crate::cube::attention::mask::{
    AttentionPlan, Mask, end_query, first_query, sees_all, sees_none,
};
use crate::cube::tensor_cores::lanes::{COLUMNS, PLANE, SIDE, sum_column};
use crate::cube::tensor_cores::products::{
    Operand, Pair, Sums, as_left, lane, load_left, multiply_rows, multiply_turned, no_sums,
};
use crate::cube::tensor_cores::{Chunk, close_group, staged, wait_groups};

/// [`attention_key_gradients`](crate::cube::attention::backward::attention_key_gradients) with
/// weights and scores' gradients in registers, keys by queries; both are rounded to the inputs' type
/// before they are multiplied. `scale` is above zero.
#[cube(launch, address_type = "dynamic")]
pub(super) fn attention_key_gradients_mma<F: Float>(
    q: &Tensor<Chunk<F>>,
    k: &Tensor<Chunk<F>>,
    v: &Tensor<Chunk<F>>,
    dy: &Tensor<Chunk<F>>,
    sums: &Tensor<f32>,
    deltas: &Tensor<f32>,
    dk: &mut Tensor<Pair<F>>,
    dv: &mut Tensor<Pair<F>>,
    scale: f32,
    offset: u32,
    window: u32,
    #[comptime] plan: AttentionPlan,
    #[comptime] form: Form,
    #[define(F)] _element: ElemType,
) {
    let (width, value_width) = comptime!((plan.width, plan.value_width));
    let (block, stages, parts) = comptime!((form.block, form.stages, form.parts));

    let batch = CUBE_POS_Z as usize;
    let kv_head = CUBE_POS_Y as usize;
    let share = q.shape(1) / k.shape(1);
    // Earlier keys are seen by more queries under a causal mask: they begin first.
    let first = CUBE_POS_X as usize * comptime!(plan.tile);
    let plane_row = UNIT_POS as usize / PLANE * comptime!(form.plane_rows());
    let mask = Mask {
        queries: q.shape(2),
        keys: k.shape(2),
        offset: offset as usize,
        window: window as usize,
    };

    let mut room = Room::<F> {
        scored: staged::<F>(comptime!(stages * block), width),
        weighed: staged::<F>(comptime!(stages * block), value_width),
    };
    let mut terms = Terms {
        sums: Shared::<[f32]>::new_slice(comptime!(stages * block)),
        deltas: Shared::<[f32]>::new_slice(comptime!(stages * block)),
        factor: scale * f32::new(std::f32::consts::LOG2_E),
    };

    // k and v pass through the room of queries and gradients.
    let keys = rows_of_both::<F>(k, kv_head, v, kv_head, batch);
    order_both::<F>(
        k,
        v,
        &keys,
        first,
        &mut room,
        0usize,
        comptime!(plan.tile),
        form,
        plan,
    );
    close_group();
    wait_groups(0usize);
    sync_cube();
    let own = Own::<F> {
        scored: load_left::<F>(&room.scored, plane_row, parts, width),
        weighed: load_left::<F>(&room.weighed, plane_row, parts, value_width),
    };
    sync_cube();
    let mut of_keys = no_sums(comptime!(parts * width / COLUMNS));
    let mut of_values = no_sums(comptime!(parts * value_width / COLUMNS));

    // The blocks of all query heads that read these keys, one head after another.
    let begin = first_query(&mask, first, plan);
    let end = end_query(&mask, first, plan);
    let of_head = blocks_between(begin, end, form);
    let count = share * of_head;
    let mut stage = comptime!(0usize).runtime();
    let mut turn = comptime!(0usize).runtime();
    while turn < count + comptime!(stages - 1) {
        // The next block to be used is there, and every plane is done with the one whose room is
        // taken now.
        wait_groups(comptime!(stages - 2));
        sync_cube();
        if turn < count {
            let head = kv_head * share + turn / of_head;
            let query = begin + turn % of_head * block;
            let rows = rows_of_both::<F>(q, head, dy, head % dy.shape(1), batch);
            let at = stage * block;
            order_both::<F>(q, dy, &rows, query, &mut room, at, block, form, plan);
            let line = (batch * q.shape(1) + head) * mask.queries;
            order_terms(
                sums,
                deltas,
                line,
                query,
                mask.queries,
                &mut terms,
                at,
                form,
            );
        }
        close_group();
        stage = stage_after(stage, form);
        let used = turn >= comptime!(stages - 1);
        let key = first + plane_row;
        let number = turn - comptime!(stages - 1);
        let query = begin + number % max(of_head, 1) * block;
        let at = stage * block;
        // Two forms of the same: where all is seen, no branch parts one step from the next.
        if used && sees_all(&mask, query, key, block, comptime!(form.plane_rows()), plan) {
            add_block::<F>(
                &mut of_keys,
                &mut of_values,
                &own,
                &room,
                &terms,
                at,
                &mask,
                query,
                key,
                false,
                form,
                plan,
            );
        } else if used && !sees_none(&mask, query, key, block, comptime!(form.plane_rows()), plan) {
            add_block::<F>(
                &mut of_keys,
                &mut of_values,
                &own,
                &room,
                &terms,
                at,
                &mask,
                query,
                key,
                true,
                form,
                plan,
            );
        }
        turn += 1;
    }

    let mut factors = Array::<f32>::new(comptime!(2 * parts));
    let mut ones = Array::<f32>::new(comptime!(2 * parts));
    #[unroll]
    for row in 0..comptime!(2 * parts) {
        factors[row] = scale;
        ones[row] = f32::new(1.0);
    }
    write_sums::<F>(
        dk,
        batch,
        kv_head,
        first + plane_row,
        &of_keys,
        &factors,
        parts,
        width,
    );
    write_sums::<F>(
        dv,
        batch,
        kv_head,
        first + plane_row,
        &of_values,
        &ones,
        parts,
        value_width,
    );
}

/// What a plane has of its keys in registers: k, and v.
#[derive(CubeType)]
struct Own<F: Float> {
    scored: Sequence<Operand<F>>,
    weighed: Sequence<Operand<F>>,
}

/// What belongs to the blocks of queries beside their rows.
#[derive(CubeType)]
struct Terms {
    /// The log-sum-exp of every query.
    sums: Shared<[f32]>,
    deltas: Shared<[f32]>,
    /// Makes powers of two of scores.
    factor: f32,
}

/// Begins to copy the sums and deltas of a block of queries; the last query stands for those beyond
/// it, which are hidden.
#[cube]
fn order_terms(
    sums: &Tensor<f32>,
    deltas: &Tensor<f32>,
    line: usize,
    query: usize,
    queries: usize,
    into: &mut Terms,
    at: usize,
    #[comptime] form: Form,
) {
    let place = UNIT_POS as usize;
    if place < comptime!(form.block) {
        let source = line + min(query + place, queries - 1);
        let target = at + place;
        copy_async(
            &sums.as_slice()[source..source + 1],
            &mut into.sums.as_mut_slice()[target..target + 1],
            1u32,
        );
        copy_async(
            &deltas.as_slice()[source..source + 1],
            &mut into.deltas.as_mut_slice()[target..target + 1],
            1u32,
        );
    }
}

/// Adds what a block of queries gives to the gradients of the plane's keys and values; `at` is the
/// block's first row in `room`, `query` its first and `key` the plane's first.
#[cube]
fn add_block<F: Float>(
    of_keys: &mut Sums,
    of_values: &mut Sums,
    own: &Own<F>,
    room: &Room<F>,
    terms: &Terms,
    at: usize,
    mask: &Mask,
    query: usize,
    key: usize,
    #[comptime] masked: bool,
    #[comptime] form: Form,
    #[comptime] plan: AttentionPlan,
) {
    let (parts, products, step) = comptime!((form.parts, form.products(), form.step));
    let (width, value_width) = comptime!((plan.width, plan.value_width));
    // Steps from the first on that sees a key of the plane, up to the last query. Their number is not
    // known when the kernel is compiled, so that they are not unrolled: with two at a time registers
    // run out.
    let mut begin = comptime!(0usize).runtime();
    if comptime!(plan.causal) {
        if key > query + mask.offset {
            begin = (key - query - mask.offset) / step;
        }
    }
    for turn in begin..min(mask.queries - query, comptime!(form.block)).div_ceil(step) {
        let from = at + turn * step;
        let mut scores = no_sums(comptime!(parts * products));
        multiply_rows::<F>(
            &mut scores,
            &own.scored,
            &room.scored,
            from,
            step,
            parts,
            width,
        );
        let mut gradients = no_sums(comptime!(parts * products));
        multiply_rows::<F>(
            &mut gradients,
            &own.weighed,
            &room.weighed,
            from,
            step,
            parts,
            value_width,
        );
        if comptime!(masked) {
            let column = query + turn * step;
            hide(&mut scores, mask, key, column, true, form, plan);
        }
        // Weights take the scores' place, the scores' gradients that of the weights' gradients.
        #[unroll]
        for product in 0..products {
            #[unroll]
            for nth in 0..2usize {
                let column = from + comptime!(product * COLUMNS + nth) + sum_column(lane());
                let level = terms.sums[column] * f32::new(std::f32::consts::LOG2_E);
                let delta = terms.deltas[column];
                #[unroll]
                for row in 0..comptime!(2 * parts) {
                    let (at, half) = comptime!((row / 2 * products + product, row % 2));
                    let mut pair = scores.index(at)[half];
                    let weight = exp2(pair.extract(nth) * terms.factor - level);
                    pair.insert(nth, weight);
                    scores.index_mut(at)[half] = pair;
                    let mut pair = gradients.index(at)[half];
                    pair.insert(nth, weight * (pair.extract(nth) - delta));
                    gradients.index_mut(at)[half] = pair;
                }
            }
        }
        #[unroll]
        for group in 0..comptime!(step / SIDE) {
            let mut weights = Sequence::new();
            let mut of_scores = Sequence::new();
            #[unroll]
            for part in 0..parts {
                let first = comptime!(part * products + 2 * group);
                weights.push(as_left::<F>(&scores, first));
                of_scores.push(as_left::<F>(&gradients, first));
            }
            let from = from + comptime!(group * SIDE);
            multiply_turned::<F>(of_values, &weights, &room.weighed, from, parts, value_width);
            multiply_turned::<F>(of_keys, &of_scores, &room.scored, from, parts, width);
        }
    }
}
