use cubecl::prelude::*;

use super::mask::{AttentionPlan, Mask, end_key, first_key, sees};
use crate::cube::tile::{
    SIDE, STRIP, mirrored, rows_by_rows, rows_of, weights_by_rows, write_rows, zeros,
};

/// Scores below every real one; finite, because not every device has infinities.
const LOWEST: f32 = -1e30;

/// `q` [B, H, T, D'], `k` [B, G, S, D'], `v` [B, G, S, D] → `out` [B, H, T, D] and `sums` [B, H,
/// T], the log-sum-exp of every query's scores. One cube works out a tile of one head's queries: x
/// is the tile, y the head, z the sequence.
///
/// Over the tiles of keys that one of its queries sees, a cube keeps per query the highest score so
/// far and, relative to it, the sum of weights and the weighted values (online softmax, arXiv
/// 1805.02867; over tiles as in arXiv 2205.14135).
#[cube(launch, address_type = "dynamic")]
pub(super) fn attention_forward<F: Float>(
    q: &Tensor<F>,
    k: &Tensor<F>,
    v: &Tensor<F>,
    out: &mut Tensor<F>,
    sums: &mut Tensor<f32>,
    scale: f32,
    offset: u32,
    window: u32,
    #[comptime] plan: AttentionPlan,
    #[define(F)] _element: ElemType,
) {
    let tile = comptime!(plan.tile);
    let per_thread = comptime!(tile / SIDE);
    let columns = comptime!(plan.value_width.div_ceil(SIDE));
    let x = UNIT_POS_X as usize;
    let y = UNIT_POS_Y as usize;
    let batch = CUBE_POS_Z as usize;
    let head = CUBE_POS_Y as usize;
    let kv_head = head / (q.shape(1) / k.shape(1));
    // Later queries see more keys under a causal mask: they begin first.
    let first = mirrored(CUBE_COUNT_X as usize, CUBE_POS_X as usize) * tile;
    let mask = Mask {
        queries: q.shape(2),
        keys: k.shape(2),
        offset: offset as usize,
        window: window as usize,
    };
    let queries = rows_of::<F>(q, batch, head, first);

    let mut weights = Shared::<[f32]>::new_slice(comptime!(tile * (tile + 1)));
    let mut left = Shared::<[f32]>::new_slice(comptime!(tile * STRIP));
    let mut right = Shared::<[f32]>::new_slice(comptime!(tile * STRIP));
    let mut values = zeros(comptime!(per_thread * columns));
    let mut highest = Array::<f32>::new(per_thread);
    let mut total = zeros(per_thread);
    let mut before = Array::<f32>::new(per_thread);
    let mut scores = Array::<f32>::new(comptime!(per_thread * per_thread));
    #[unroll]
    for i in 0..per_thread {
        highest[i] = f32::new(LOWEST);
    }

    let end = end_key(&mask, first, plan);
    let mut key = first_key(&mask, first, plan);
    while key < end {
        #[unroll]
        for i in 0..comptime!(per_thread * per_thread) {
            scores[i] = f32::new(0.0);
        }
        let keys = rows_of::<F>(k, batch, kv_head, key);
        rows_by_rows::<F>(
            &mut scores,
            q,
            &queries,
            k,
            &keys,
            &mut left,
            &mut right,
            comptime!(plan.width),
            tile,
        );
        // The highest of a row's scores, among this thread's columns, then among the row's threads.
        sync_cube();
        #[unroll]
        for i in 0..per_thread {
            let mut best = f32::new(LOWEST);
            #[unroll]
            for j in 0..per_thread {
                let score = scores[i * per_thread + j] * scale;
                let seen = sees(&mask, first + y + i * SIDE, key + x + j * SIDE, plan);
                let score = select(seen, score, f32::new(LOWEST));
                scores[i * per_thread + j] = score;
                best = select(score > best, score, best);
            }
            left[(y + i * SIDE) * STRIP + x] = best;
        }
        sync_cube();
        #[unroll]
        for i in 0..per_thread {
            let mut best = highest[i];
            for other in 0..SIDE {
                let score = left[(y + i * SIDE) * STRIP + other];
                best = select(score > best, score, best);
            }
            before[i] = (highest[i] - best).exp();
            highest[i] = best;
            let mut sum = f32::new(0.0);
            #[unroll]
            for j in 0..per_thread {
                let score = scores[i * per_thread + j];
                // So written a score that is no number gives such a weight, and such an output.
                let weight = select(
                    score <= f32::new(LOWEST),
                    f32::new(0.0),
                    (score - best).exp(),
                );
                sum += weight;
                weights[(y + i * SIDE) * comptime!(tile + 1) + x + j * SIDE] = weight;
            }
            total[i] = total[i] * before[i] + sum;
            #[unroll]
            for c in 0..columns {
                values[i * columns + c] *= before[i];
            }
        }
        let value_rows = rows_of::<F>(v, batch, kv_head, key);
        weights_by_rows::<F>(
            &mut values,
            &weights,
            v,
            &value_rows,
            &mut right,
            comptime!(plan.value_width),
            tile,
        );
        key += tile;
    }

    // The row's sum of weights, over its threads.
    sync_cube();
    #[unroll]
    for i in 0..per_thread {
        left[(y + i * SIDE) * STRIP + x] = total[i];
    }
    sync_cube();
    #[unroll]
    for i in 0..per_thread {
        let mut sum = f32::new(0.0);
        for other in 0..SIDE {
            sum += left[(y + i * SIDE) * STRIP + other];
        }
        // A query without keys gives zeros.
        let none = sum <= f32::new(0.0);
        let safe = select(none, f32::new(1.0), sum);
        before[i] = select(none, f32::new(0.0), f32::new(1.0) / safe);
        let token = first + y + i * SIDE;
        if x == 0 && token < mask.queries {
            sums[(batch * q.shape(1) + head) * mask.queries + token] =
                select(none, f32::new(0.0), highest[i] + safe.ln());
        }
    }
    write_rows::<F>(
        out,
        batch,
        head,
        first,
        &values,
        &before,
        comptime!(plan.value_width),
        tile,
    );
}
