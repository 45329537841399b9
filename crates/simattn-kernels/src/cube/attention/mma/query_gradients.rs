use cubecl::prelude::*;

use super::copies::{
    Room, order_both, rows_of_both, set_aside, stage_after, taken_back, write_sums,
};
use super::form::Form;
use super::softmax::{exp2, hide};
use crate::cube::attention::mask::{AttentionPlan, Mask, end_key, first_key, sees_all, sees_none};
use crate::cube::tensor_cores::lanes::{COLUMNS, PLANE, SIDE, sum_row};
use crate::cube::tensor_cores::products::{
    Operand, Pair, Sums, as_left, lane, load_left, multiply_rows, multiply_turned, no_sums,
};
use crate::cube::tensor_cores::{Chunk, close_group, staged, wait_groups};
use crate::cube::tile::mirrored;

/// [`attention_query_gradients`](crate::cube::attention::backward::attention_query_gradients) with
/// scores and their gradients in registers; the latter are rounded to the inputs' type before they
/// are multiplied with k. `scale` is above zero.
#[cube(launch, address_type = "dynamic")]
pub(super) fn attention_query_gradients_mma<F: Float>(
    q: &Tensor<Chunk<F>>,
    k: &Tensor<Chunk<F>>,
    v: &Tensor<Chunk<F>>,
    dy: &Tensor<Chunk<F>>,
    sums: &Tensor<f32>,
    deltas: &Tensor<f32>,
    dq: &mut Tensor<Pair<F>>,
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
    let head = CUBE_POS_Y as usize;
    let kv_head = head / (q.shape(1) / k.shape(1));
    let first = mirrored(CUBE_COUNT_X as usize, CUBE_POS_X as usize) * comptime!(plan.tile);
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

    // q and the output's gradient pass through the room of keys and values.
    let queries = rows_of_both::<F>(q, head, dy, head % dy.shape(1), batch);
    order_both::<F>(
        q,
        dy,
        &queries,
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
    let mut own = Own::<F> {
        scored: load_left::<F>(&room.scored, plane_row, parts, width),
        weighed: load_left::<F>(&room.weighed, plane_row, parts, value_width),
        levels: Array::<f32>::new(comptime!(2 * parts)),
        deltas: Array::<f32>::new(comptime!(2 * parts)),
        factor: scale * f32::new(std::f32::consts::LOG2_E),
    };
    sync_cube();
    let line = (batch * q.shape(1) + head) * mask.queries;
    #[unroll]
    for row in 0..comptime!(2 * parts) {
        let in_plane = comptime!(row / 2 * SIDE) + sum_row(lane(), comptime!(row % 2));
        // Rows beyond the last are hidden.
        let place = line + min(first + plane_row + in_plane, mask.queries - 1);
        own.levels[row] = sums[place] * f32::new(std::f32::consts::LOG2_E);
        own.deltas[row] = deltas[place];
    }
    let mut outputs = no_sums(comptime!(parts * width / COLUMNS));

    let end = end_key(&mask, first, plan);
    let begin = first_key(&mask, first, plan);
    let keys = set_aside(&rows_of_both::<F>(k, kv_head, v, kv_head, batch));
    let ahead = comptime!((stages - 1) * block);
    let mut stage = comptime!(0usize).runtime();
    let mut next = begin;
    while next < end + ahead {
        // The next block to be used is there, and every plane is done with the one whose room is
        // taken now.
        wait_groups(comptime!(stages - 2));
        sync_cube();
        if next < end {
            order_both::<F>(
                k,
                v,
                &taken_back(&keys),
                next,
                &mut room,
                stage * block,
                block,
                form,
                plan,
            );
        }
        close_group();
        stage = stage_after(stage, form);
        let query = first + plane_row;
        let key = next - ahead;
        let used = next >= begin + ahead;
        let at = stage * block;
        // Two forms of the same: where all is seen, no branch parts one step from the next.
        if used && sees_all(&mask, query, key, comptime!(form.plane_rows()), block, plan) {
            add_block::<F>(
                &mut outputs,
                &own,
                &room,
                at,
                &mask,
                query,
                key,
                false,
                form,
                plan,
            );
        } else if used && !sees_none(&mask, query, key, comptime!(form.plane_rows()), block, plan) {
            add_block::<F>(
                &mut outputs,
                &own,
                &room,
                at,
                &mask,
                query,
                key,
                true,
                form,
                plan,
            );
        }
        next += block;
    }

    let mut factors = Array::<f32>::new(comptime!(2 * parts));
    #[unroll]
    for row in 0..comptime!(2 * parts) {
        factors[row] = scale;
    }
    write_sums::<F>(
        dq,
        batch,
        head,
        first + plane_row,
        &outputs,
        &factors,
        parts,
        width,
    );
}

/// What a plane has of its queries in registers.
#[derive(CubeType)]
struct Own<F: Float> {
    /// q.
    scored: Sequence<Operand<F>>,
    /// The output's gradient.
    weighed: Sequence<Operand<F>>,
    /// The log-sum-exp of each of the thread's rows, in base 2.
    levels: Array<f32>,
    deltas: Array<f32>,
    /// Makes powers of two of scores.
    factor: f32,
}

/// Adds the products of the scores' gradients with a block of keys to `outputs`; `at` is the block's
/// first row in `room`, `query` the plane's first and `key` the block's first.
#[cube]
fn add_block<F: Float>(
    outputs: &mut Sums,
    own: &Own<F>,
    room: &Room<F>,
    at: usize,
    mask: &Mask,
    query: usize,
    key: usize,
    #[comptime] masked: bool,
    #[comptime] form: Form,
    #[comptime] plan: AttentionPlan,
) {
    let (parts, products, step) = comptime!((form.parts, form.products(), form.step));
    // Steps up to the last that a query of the plane sees. Their number is not known when the kernel
    // is compiled, so that they are not unrolled: with two at a time registers run out.
    let mut end = mask.keys - key;
    if comptime!(plan.causal) {
        end = min(
            end,
            query + comptime!(form.plane_rows()) + mask.offset - key,
        );
    }
    for turn in 0..min(end, comptime!(form.block)).div_ceil(step) {
        let from = at + turn * step;
        let mut scores = no_sums(comptime!(parts * products));
        multiply_rows::<F>(
            &mut scores,
            &own.scored,
            &room.scored,
            from,
            step,
            parts,
            comptime!(plan.width),
        );
        let mut gradients = no_sums(comptime!(parts * products));
        multiply_rows::<F>(
            &mut gradients,
            &own.weighed,
            &room.weighed,
            from,
            step,
            parts,
            comptime!(plan.value_width),
        );
        if comptime!(masked) {
            let column = key + turn * step;
            hide(&mut scores, mask, query, column, false, form, plan);
        }
        #[unroll]
        for at in 0..comptime!(parts * products) {
            #[unroll]
            for half in 0..2usize {
                let row = comptime!(2 * (at / products) + half);
                let scores = scores.index(at)[half];
                let mut pair = gradients.index(at)[half];
                #[unroll]
                for nth in 0..2usize {
                    let weight = exp2(scores.extract(nth) * own.factor - own.levels[row]);
                    pair.insert(nth, weight * (pair.extract(nth) - own.deltas[row]));
                }
                gradients.index_mut(at)[half] = pair;
            }
        }
        #[unroll]
        for terms in 0..comptime!(step / SIDE) {
            let mut lefts = Sequence::new();
            #[unroll]
            for part in 0..parts {
                lefts.push(as_left::<F>(
                    &gradients,
                    comptime!(part * products + 2 * terms),
                ));
            }
            multiply_turned::<F>(
                outputs,
                &lefts,
                &room.scored,
                from + comptime!(terms * SIDE),
                parts,
                comptime!(plan.width),
            );
        }
    }
}
