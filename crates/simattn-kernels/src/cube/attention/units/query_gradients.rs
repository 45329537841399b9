use cubecl::prelude::*;

use super::tile::{LANES, passes, rows_by_rows, threads, weights_by_rows};
use crate::cube::attention::mask::{AttentionPlan, Mask, end_key, first_key, sees};
use crate::cube::staging::{stage_rows, staged_rows, write_sums};
use crate::cube::tile::mirrored;
use crate::cube::units::{Units, no_sums, results_stride, store_results};

/// [`attention_query_gradients`](crate::cube::attention::backward::attention_query_gradients)
/// through matrix units; the scores' gradients are rounded to the inputs' type before they are
/// multiplied with k.
#[cube(launch, address_type = "dynamic")]
pub(super) fn attention_query_gradients_units<F: Float, N: Size>(
    q: &Tensor<Vector<F, N>>,
    k: &Tensor<Vector<F, N>>,
    v: &Tensor<Vector<F, N>>,
    dy: &Tensor<Vector<F, N>>,
    sums: &Tensor<f32>,
    deltas: &Tensor<f32>,
    dq: &mut Tensor<Vector<F, N>>,
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
    let results = comptime!(units.results(plan.width));

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
    let lane = UNIT_POS as usize % LANES;
    let my_row = UNIT_POS as usize / LANES;
    let rows_at_once = comptime!(threads / LANES);

    let mut queries = staged_rows::<F, N>(tile, comptime!(plan.width), units);
    let mut keys = staged_rows::<F, N>(tile, comptime!(plan.width), units);
    let mut gradients = staged_rows::<F, N>(tile, comptime!(plan.value_width), units);
    let mut values = staged_rows::<F, N>(tile, comptime!(plan.value_width), units);
    let mut weights =
        Shared::<[F]>::new_aligned_slice(comptime!(tile * units.stride(tile)), 32usize);
    let mut scratch = Shared::<[f32]>::new_aligned_slice(comptime!(tile * stride), 32usize);
    let mut factors = Shared::<[f32]>::new_slice(tile);

    let mut row_sums = Array::<f32>::new(passes);
    let mut row_deltas = Array::<f32>::new(passes);
    let mut kept = Array::<f32>::new(comptime!(passes * per_lane));
    #[unroll]
    for pass in 0..passes {
        let row = my_row + pass * rows_at_once;
        let token = first + row;
        row_sums[pass] = f32::new(0.0);
        row_deltas[pass] = f32::new(0.0);
        if token < mask.queries {
            let place = (batch * q.shape(1) + head) * mask.queries + token;
            row_sums[pass] = sums[place];
            row_deltas[pass] = deltas[place];
        }
        if lane == 0 {
            factors[row] = scale;
        }
    }
    let mut outputs = no_sums(results, units);
    stage_rows::<F, N>(
        &mut queries,
        q,
        batch,
        head,
        first,
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
        first,
        tile,
        comptime!(plan.value_width),
        threads,
        units,
    );

    let end = end_key(&mask, first, plan);
    let mut key = first_key(&mask, first, plan);
    while key < end {
        sync_cube();
        stage_rows::<F, N>(
            &mut keys,
            k,
            batch,
            kv_head,
            key,
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
            key,
            tile,
            comptime!(plan.value_width),
            threads,
            units,
        );
        sync_cube();
        let products = rows_by_rows::<F, N>(&queries, &keys, comptime!(plan.width), tile, units);
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
                let seen = sees(&mask, first + row, key + column, plan);
                let score = scratch[row * stride + column] * scale;
                kept[pass * per_lane + j] =
                    select(seen, (score - row_sums[pass]).exp(), f32::new(0.0));
            }
        }
        let products = rows_by_rows::<F, N>(
            &gradients,
            &values,
            comptime!(plan.value_width),
            tile,
            units,
        );
        // The scores are read.
        sync_cube();
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
                let gradient =
                    kept[pass * per_lane + j] * (scratch[row * stride + column] - row_deltas[pass]);
                weights[row * comptime!(units.stride(tile)) + column] = F::cast_from(gradient);
            }
        }
        sync_cube();
        weights_by_rows::<F, N>(
            &mut outputs,
            &weights,
            &keys,
            comptime!(plan.width),
            tile,
            units,
        );
        key += tile;
    }

    write_sums::<F, N>(
        dq,
        batch,
        head,
        first,
        &outputs,
        &factors,
        &mut scratch,
        comptime!(plan.width),
        tile,
        threads,
        units,
    );
}
