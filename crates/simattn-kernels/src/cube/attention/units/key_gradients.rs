use cubecl::prelude::*;

use super::tile::{LANES, passes, rows_by_rows, threads, weights_by_rows};
use crate::cube::attention::mask::{AttentionPlan, Mask, end_query, first_query, sees};
use crate::cube::staging::{stage_rows, staged_rows, write_sums};
use crate::cube::units::{Units, no_sums, results_stride, store_results};

/// [`attention_key_gradients`](crate::cube::attention::backward::attention_key_gradients) through
/// matrix units, keys by queries; weights and the scores' gradients are rounded to the inputs' type
/// before they are multiplied.
#[cube(launch, address_type = "dynamic")]
pub(super) fn attention_key_gradients_units<F: Float, N: Size>(
    q: &Tensor<Vector<F, N>>,
    k: &Tensor<Vector<F, N>>,
    v: &Tensor<Vector<F, N>>,
    dy: &Tensor<Vector<F, N>>,
    sums: &Tensor<f32>,
    deltas: &Tensor<f32>,
    dk: &mut Tensor<Vector<F, N>>,
    dv: &mut Tensor<Vector<F, N>>,
    scale: f32,
    offset: u32,
    window: u32,
    #[comptime] plan: AttentionPlan,
    #[comptime] units: Units,
    #[define(F)] _element: ElemType,
) {
    let tile = comptime!(plan.tile);
    let threads = comptime!(threads(tile, units));
    let passes = comptime!(passes(tile, units));
    let per_lane = comptime!(tile / LANES);
    let stride = comptime!(results_stride(tile));
    let columns = comptime!(units.results(tile));
    let key_results = comptime!(units.results(plan.width));
    let value_results = comptime!(units.results(plan.value_width));

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
    let lane = UNIT_POS as usize % LANES;
    let my_row = UNIT_POS as usize / LANES;
    let rows_at_once = comptime!(threads / LANES);

    let mut keys = staged_rows::<F, N>(tile, comptime!(plan.width), units);
    let mut queries = staged_rows::<F, N>(tile, comptime!(plan.width), units);
    let mut values = staged_rows::<F, N>(tile, comptime!(plan.value_width), units);
    let mut gradients = staged_rows::<F, N>(tile, comptime!(plan.value_width), units);
    let mut weights =
        Shared::<[F]>::new_aligned_slice(comptime!(tile * units.stride(tile)), 32usize);
    let mut scratch = Shared::<[f32]>::new_aligned_slice(comptime!(tile * stride), 32usize);
    let mut query_sums = Shared::<[f32]>::new_slice(tile);
    let mut query_deltas = Shared::<[f32]>::new_slice(tile);
    let mut factors = Shared::<[f32]>::new_slice(tile);

    let mut kept = Array::<f32>::new(comptime!(passes * per_lane));
    let mut of_keys = no_sums(key_results, units);
    let mut of_value_sums = no_sums(value_results, units);
    stage_rows::<F, N>(
        &mut keys,
        k,
        batch,
        kv_head,
        first,
        tile,
        comptime!(plan.width),
        threads,
        units,
    );
    stage_rows::<F, N>(
        &mut values,
        v,
        batch,
        kv_head,
        first,
        tile,
        comptime!(plan.value_width),
        threads,
        units,
    );

    let end = end_query(&mask, first, plan);
    for member in 0..share {
        let head = kv_head * share + member;
        let line = (batch * q.shape(1) + head) * mask.queries;
        let mut query = first_query(&mask, first, plan);
        while query < end {
            sync_cube();
            stage_rows::<F, N>(
                &mut queries,
                q,
                batch,
                head,
                query,
                tile,
                comptime!(plan.width),
                threads,
                units,
            );
            stage_rows::<F, N>(
                &mut gradients,
                dy,
                batch,
                head % dy.shape(1),
                query,
                tile,
                comptime!(plan.value_width),
                threads,
                units,
            );
            let mut place = UNIT_POS as usize;
            while place < tile {
                let token = query + place;
                let mut sum = f32::new(0.0);
                let mut delta = f32::new(0.0);
                if token < mask.queries {
                    sum = sums[line + token];
                    delta = deltas[line + token];
                }
                query_sums[place] = sum;
                query_deltas[place] = delta;
                place += threads;
            }
            sync_cube();
            let products =
                rows_by_rows::<F, N>(&keys, &queries, comptime!(plan.width), tile, units);
            store_results(
                &mut scratch,
                &products,
                0usize,
                columns,
                columns,
                stride,
                false,
                units,
            );
            sync_cube();
            #[unroll]
            for pass in 0..passes {
                let row = my_row + pass * rows_at_once;
                #[unroll]
                for j in 0..per_lane {
                    let column = lane + j * LANES;
                    let seen = sees(&mask, query + column, first + row, plan);
                    let score = scratch[row * stride + column] * scale;
                    let weight = select(seen, (score - query_sums[column]).exp(), f32::new(0.0));
                    kept[pass * per_lane + j] = weight;
                    weights[row * comptime!(units.stride(tile)) + column] = F::cast_from(weight);
                }
            }
            let products = rows_by_rows::<F, N>(
                &values,
                &gradients,
                comptime!(plan.value_width),
                tile,
                units,
            );
            // The scores are read, the weights are there.
            sync_cube();
            weights_by_rows::<F, N>(
                &mut of_value_sums,
                &weights,
                &gradients,
                comptime!(plan.value_width),
                tile,
                units,
            );
            store_results(
                &mut scratch,
                &products,
                0usize,
                columns,
                columns,
                stride,
                false,
                units,
            );
            sync_cube();
            #[unroll]
            for pass in 0..passes {
                let row = my_row + pass * rows_at_once;
                #[unroll]
                for j in 0..per_lane {
                    let column = lane + j * LANES;
                    let gradient = kept[pass * per_lane + j]
                        * (scratch[row * stride + column] - query_deltas[column]);
                    weights[row * comptime!(units.stride(tile)) + column] = F::cast_from(gradient);
                }
            }
            sync_cube();
            weights_by_rows::<F, N>(
                &mut of_keys,
                &weights,
                &queries,
                comptime!(plan.width),
                tile,
                units,
            );
            query += tile;
        }
    }

    let mut place = UNIT_POS as usize;
    while place < tile {
        factors[place] = scale;
        place += threads;
    }
    write_sums::<F, N>(
        dk,
        batch,
        kv_head,
        first,
        &of_keys,
        &factors,
        &mut scratch,
        comptime!(plan.width),
        tile,
        threads,
        units,
    );
    sync_cube();
    let mut place = UNIT_POS as usize;
    while place < tile {
        factors[place] = f32::new(1.0);
        place += threads;
    }
    write_sums::<F, N>(
        dv,
        batch,
        kv_head,
        first,
        &of_value_sums,
        &factors,
        &mut scratch,
        comptime!(plan.value_width),
        tile,
        threads,
        units,
    );
}
