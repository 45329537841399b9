use cubecl::prelude::*;

use super::mask::{AttentionPlan, Mask, end_key, end_query, first_key, first_query, sees};
use crate::cube::tile::{
    SIDE, STRIP, mirrored, rows_by_rows, rows_of, weights_by_rows, write_rows, zeros,
};

/// `deltas[b, h, i] = Σ_d dy[b, h, i, d] · out[b, h, i, d]`, one thread a query.
///
/// `dy` may have fewer heads than `out`: head h reads head h modulo their number.
#[cube(launch, address_type = "dynamic")]
pub(super) fn attention_deltas<F: Float>(
    out: &Tensor<F>,
    dy: &Tensor<F>,
    deltas: &mut Tensor<f32>,
    #[define(F)] _element: ElemType,
) {
    if ABSOLUTE_POS >= deltas.len() {
        terminate!();
    }
    let token = ABSOLUTE_POS % out.shape(2);
    let row = ABSOLUTE_POS / out.shape(2);
    let head = row % out.shape(1);
    let batch = row / out.shape(1);
    let out_row = rows_of::<F>(out, batch, head, token);
    let dy_row = rows_of::<F>(dy, batch, head % dy.shape(1), token);
    let mut sum = f32::new(0.0);
    for d in 0..out.shape(3) {
        let y = out[out_row.base + token * out_row.row_stride + d * out_row.feature_stride];
        let g = dy[dy_row.base + token * dy_row.row_stride + d * dy_row.feature_stride];
        sum += f32::cast_from(y) * f32::cast_from(g);
    }
    deltas[ABSOLUTE_POS] = sum;
}

/// The gradient of q, [B, H, T, D']: one cube a tile of one head's queries, over the tiles of keys
/// that they see.
///
/// With weights P = exp(scale·S − sums), worked out again:
/// `dq = scale · (P ∘ (dy·vᵀ − deltas)) · k`.
#[cube(launch, address_type = "dynamic")]
pub(super) fn attention_query_gradients<F: Float>(
    q: &Tensor<F>,
    k: &Tensor<F>,
    v: &Tensor<F>,
    dy: &Tensor<F>,
    sums: &Tensor<f32>,
    deltas: &Tensor<f32>,
    dq: &mut Tensor<F>,
    scale: f32,
    offset: u32,
    window: u32,
    #[comptime] plan: AttentionPlan,
    #[define(F)] _element: ElemType,
) {
    let tile = comptime!(plan.tile);
    let per_thread = comptime!(tile / SIDE);
    let columns = comptime!(plan.width.div_ceil(SIDE));
    let x = UNIT_POS_X as usize;
    let y = UNIT_POS_Y as usize;
    let batch = CUBE_POS_Z as usize;
    let head = CUBE_POS_Y as usize;
    let kv_head = head / (q.shape(1) / k.shape(1));
    let first = mirrored(CUBE_COUNT_X as usize, CUBE_POS_X as usize) * tile;
    let mask = Mask {
        queries: q.shape(2),
        keys: k.shape(2),
        offset: offset as usize,
        window: window as usize,
    };
    let queries = rows_of::<F>(q, batch, head, first);
    let dy_rows = rows_of::<F>(dy, batch, head % dy.shape(1), first);

    let mut weights = Shared::<[f32]>::new_slice(comptime!(tile * (tile + 1)));
    let mut left = Shared::<[f32]>::new_slice(comptime!(tile * STRIP));
    let mut right = Shared::<[f32]>::new_slice(comptime!(tile * STRIP));
    let mut gradients = zeros(comptime!(per_thread * columns));
    let mut row_sums = zeros(per_thread);
    let mut row_deltas = zeros(per_thread);
    let mut factors = Array::<f32>::new(per_thread);
    let mut scores = Array::<f32>::new(comptime!(per_thread * per_thread));
    let mut of_weights = Array::<f32>::new(comptime!(per_thread * per_thread));
    #[unroll]
    for i in 0..per_thread {
        factors[i] = scale;
        let token = first + y + i * SIDE;
        if token < mask.queries {
            let place = (batch * q.shape(1) + head) * mask.queries + token;
            row_sums[i] = sums[place];
            row_deltas[i] = deltas[place];
        }
    }

    let end = end_key(&mask, first, plan);
    let mut key = first_key(&mask, first, plan);
    while key < end {
        #[unroll]
        for i in 0..comptime!(per_thread * per_thread) {
            scores[i] = f32::new(0.0);
            of_weights[i] = f32::new(0.0);
        }
        let keys = rows_of::<F>(k, batch, kv_head, key);
        let values = rows_of::<F>(v, batch, kv_head, key);
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
        rows_by_rows::<F>(
            &mut of_weights,
            dy,
            &dy_rows,
            v,
            &values,
            &mut left,
            &mut right,
            comptime!(plan.value_width),
            tile,
        );
        #[unroll]
        for i in 0..per_thread {
            #[unroll]
            for j in 0..per_thread {
                let at = i * per_thread + j;
                let seen = sees(&mask, first + y + i * SIDE, key + x + j * SIDE, plan);
                let weight = (scores[at] * scale - row_sums[i]).exp();
                let gradient = weight * (of_weights[at] - row_deltas[i]);
                weights[(y + i * SIDE) * comptime!(tile + 1) + x + j * SIDE] =
                    select(seen, gradient, f32::new(0.0));
            }
        }
        weights_by_rows::<F>(
            &mut gradients,
            &weights,
            k,
            &keys,
            &mut right,
            comptime!(plan.width),
            tile,
        );
        key += tile;
    }
    write_rows::<F>(
        dq,
        batch,
        head,
        first,
        &gradients,
        &factors,
        comptime!(plan.width),
        tile,
    );
}

/// The gradients of k [B, G, S, D'] and v [B, G, S, D]: one cube a tile of one head's keys, over
/// the query heads that read it, one after another, and the tiles of queries that see it.
/// Everything is transposed, keys by queries.
///
/// `dv = Pᵀ · dy` and `dk = scale · (P ∘ (dy·vᵀ − deltas))ᵀ · q`.
#[cube(launch, address_type = "dynamic")]
pub(super) fn attention_key_gradients<F: Float>(
    q: &Tensor<F>,
    k: &Tensor<F>,
    v: &Tensor<F>,
    dy: &Tensor<F>,
    sums: &Tensor<f32>,
    deltas: &Tensor<f32>,
    dk: &mut Tensor<F>,
    dv: &mut Tensor<F>,
    scale: f32,
    offset: u32,
    window: u32,
    #[comptime] plan: AttentionPlan,
    #[define(F)] _element: ElemType,
) {
    let tile = comptime!(plan.tile);
    let per_thread = comptime!(tile / SIDE);
    let key_columns = comptime!(plan.width.div_ceil(SIDE));
    let value_columns = comptime!(plan.value_width.div_ceil(SIDE));
    let x = UNIT_POS_X as usize;
    let y = UNIT_POS_Y as usize;
    let batch = CUBE_POS_Z as usize;
    let kv_head = CUBE_POS_Y as usize;
    let share = q.shape(1) / k.shape(1);
    // Earlier keys are seen by more queries under a causal mask: they begin first.
    let first = CUBE_POS_X as usize * tile;
    let mask = Mask {
        queries: q.shape(2),
        keys: k.shape(2),
        offset: offset as usize,
        window: window as usize,
    };
    let keys = rows_of::<F>(k, batch, kv_head, first);
    let values = rows_of::<F>(v, batch, kv_head, first);

    let mut weights = Shared::<[f32]>::new_slice(comptime!(tile * (tile + 1)));
    let mut left = Shared::<[f32]>::new_slice(comptime!(tile * STRIP));
    let mut right = Shared::<[f32]>::new_slice(comptime!(tile * STRIP));
    let mut of_keys = zeros(comptime!(per_thread * key_columns));
    let mut of_values = zeros(comptime!(per_thread * value_columns));
    let mut scale_factors = Array::<f32>::new(per_thread);
    let mut one_factors = Array::<f32>::new(per_thread);
    let mut scores = Array::<f32>::new(comptime!(per_thread * per_thread));
    let mut of_weights = Array::<f32>::new(comptime!(per_thread * per_thread));
    #[unroll]
    for i in 0..per_thread {
        scale_factors[i] = scale;
        one_factors[i] = f32::new(1.0);
    }

    let end = end_query(&mask, first, plan);
    for member in 0..share {
        let head = kv_head * share + member;
        let row = (batch * q.shape(1) + head) * mask.queries;
        let mut query = first_query(&mask, first, plan);
        while query < end {
            #[unroll]
            for i in 0..comptime!(per_thread * per_thread) {
                scores[i] = f32::new(0.0);
                of_weights[i] = f32::new(0.0);
            }
            let queries = rows_of::<F>(q, batch, head, query);
            let dy_rows = rows_of::<F>(dy, batch, head % dy.shape(1), query);
            rows_by_rows::<F>(
                &mut scores,
                k,
                &keys,
                q,
                &queries,
                &mut left,
                &mut right,
                comptime!(plan.width),
                tile,
            );
            // The last product over the weights is behind every thread here: the strips' turns met
            // since.
            #[unroll]
            for j in 0..per_thread {
                let token = query + x + j * SIDE;
                let mut sum = f32::new(0.0);
                if token < mask.queries {
                    sum = sums[row + token];
                }
                #[unroll]
                for i in 0..per_thread {
                    let at = i * per_thread + j;
                    let seen = sees(&mask, token, first + y + i * SIDE, plan);
                    let weight = select(seen, (scores[at] * scale - sum).exp(), f32::new(0.0));
                    scores[at] = weight;
                    weights[(y + i * SIDE) * comptime!(tile + 1) + x + j * SIDE] = weight;
                }
            }
            weights_by_rows::<F>(
                &mut of_values,
                &weights,
                dy,
                &dy_rows,
                &mut right,
                comptime!(plan.value_width),
                tile,
            );
            rows_by_rows::<F>(
                &mut of_weights,
                v,
                &values,
                dy,
                &dy_rows,
                &mut left,
                &mut right,
                comptime!(plan.value_width),
                tile,
            );
            #[unroll]
            for j in 0..per_thread {
                let token = query + x + j * SIDE;
                let mut delta = f32::new(0.0);
                if token < mask.queries {
                    delta = deltas[row + token];
                }
                #[unroll]
                for i in 0..per_thread {
                    let at = i * per_thread + j;
                    weights[(y + i * SIDE) * comptime!(tile + 1) + x + j * SIDE] =
                        scores[at] * (of_weights[at] - delta);
                }
            }
            weights_by_rows::<F>(
                &mut of_keys,
                &weights,
                q,
                &queries,
                &mut right,
                comptime!(plan.width),
                tile,
            );
            query += tile;
        }
    }
    write_rows::<F>(
        dk,
        batch,
        kv_head,
        first,
        &of_keys,
        &scale_factors,
        comptime!(plan.width),
        tile,
    );
    write_rows::<F>(
        dv,
        batch,
        kv_head,
        first,
        &of_values,
        &one_factors,
        comptime!(plan.value_width),
        tile,
    );
}
