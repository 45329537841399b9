use cubecl::prelude::*;

use super::copies::{
    Room, order_both, order_rows, rows_of_both, set_aside, stage_after, taken_back, write_sums,
};
use super::form::Form;
use super::softmax::{LOWEST, hide, raise_levels, weights};
use crate::cube::attention::mask::{AttentionPlan, Mask, end_key, first_key, sees_all, sees_none};
use crate::cube::tensor_cores::lanes::{COLUMNS, PLANE, SIDE, sum_row};
use crate::cube::tensor_cores::products::{
    Pair, lane, load_left, multiply_rows, multiply_turned, no_sums,
};
use crate::cube::tensor_cores::{Chunk, close_group, staged, wait_groups};
use crate::cube::tile::{mirrored, rows_of};

/// [`attention_forward`](crate::cube::attention::forward::attention_forward) with scores that stay in
/// registers between the two products, while the next blocks of keys and values are copied.
///
/// The softmax is in base 2. Weights are rounded to the inputs' type before they are multiplied with
/// v; their sum is that of the unrounded ones. `scale` is above zero.
#[cube(launch, address_type = "dynamic")]
pub(super) fn attention_forward_mma<F: Float>(
    q: &Tensor<Chunk<F>>,
    k: &Tensor<Chunk<F>>,
    v: &Tensor<Chunk<F>>,
    out: &mut Tensor<Pair<F>>,
    sums: &mut Tensor<f32>,
    scale: f32,
    offset: u32,
    window: u32,
    #[comptime] plan: AttentionPlan,
    #[comptime] form: Form,
    #[define(F)] _element: ElemType,
) {
    let (width, value_width) = comptime!((plan.width, plan.value_width));
    let (block, stages, parts) = comptime!((form.block, form.stages, form.parts));
    let threads = comptime!(form.threads());
    let outputs_of_part = comptime!(value_width / COLUMNS);
    let factor = scale * f32::new(std::f32::consts::LOG2_E);

    let batch = CUBE_POS_Z as usize;
    let head = CUBE_POS_Y as usize;
    let kv_head = head / (q.shape(1) / k.shape(1));
    // Later queries see more keys under a causal mask: they begin first.
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

    // q passes through the keys' room.
    let queries = rows_of::<Chunk<F>>(q, batch, head, first);
    let tile = comptime!(plan.tile);
    order_rows::<F>(
        q,
        &queries,
        first,
        &mut room.scored,
        0usize,
        tile,
        width,
        threads,
    );
    close_group();
    wait_groups(0usize);
    sync_cube();
    let lefts = load_left::<F>(&room.scored, plane_row, parts, width);
    sync_cube();

    let mut outputs = no_sums(comptime!(parts * outputs_of_part));
    let mut levels = Array::<f32>::new(comptime!(2 * parts));
    let mut totals = Array::<f32>::new(comptime!(2 * parts));
    #[unroll]
    for row in 0..comptime!(2 * parts) {
        levels[row] = f32::new(LOWEST);
        totals[row] = f32::new(0.0);
    }

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
        if used && !sees_none(&mask, query, key, comptime!(form.plane_rows()), block, plan) {
            let at = stage * block;
            let mut scores = no_sums(comptime!(parts * form.products()));
            multiply_rows::<F>(&mut scores, &lefts, &room.scored, at, block, parts, width);
            if !sees_all(&mask, query, key, comptime!(form.plane_rows()), block, plan) {
                hide(&mut scores, &mask, query, key, false, form, plan);
            }
            raise_levels(
                &scores,
                &mut outputs,
                &mut levels,
                &mut totals,
                factor,
                form,
                outputs_of_part,
            );
            #[unroll]
            for step in 0..comptime!(block / SIDE) {
                let mut lefts = Sequence::new();
                #[unroll]
                for part in 0..parts {
                    let from = comptime!(part * form.products() + 2 * step);
                    lefts.push(weights::<F>(
                        &scores,
                        &levels,
                        &mut totals,
                        factor,
                        part,
                        from,
                    ));
                }
                let from = at + comptime!(step * SIDE);
                multiply_turned::<F>(
                    &mut outputs,
                    &lefts,
                    &room.weighed,
                    from,
                    parts,
                    value_width,
                );
            }
        }
        next += block;
    }

    let mut factors = Array::<f32>::new(comptime!(2 * parts));
    #[unroll]
    for row in 0..comptime!(2 * parts) {
        let sum = totals[row] + plane_shuffle_xor(totals[row], 1u32);
        let sum = sum + plane_shuffle_xor(sum, 2u32);
        // A query without keys gives zeros.
        let none = sum <= f32::new(0.0);
        let safe = select(none, f32::new(1.0), sum);
        factors[row] = select(none, f32::new(0.0), f32::new(1.0) / safe);
        let token =
            first + plane_row + comptime!(row / 2 * SIDE) + sum_row(lane(), comptime!(row % 2));
        if lane() % 4 == 0 && token < mask.queries {
            sums[(batch * q.shape(1) + head) * mask.queries + token] =
                select(none, f32::new(0.0), levels[row] * scale + safe.ln());
        }
    }
    write_sums::<F>(
        out,
        batch,
        head,
        first + plane_row,
        &outputs,
        &factors,
        parts,
        value_width,
    );
}
