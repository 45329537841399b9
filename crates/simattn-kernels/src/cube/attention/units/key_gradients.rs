use cubecl::prelude::*;

use super::tile::{LANES, passes, threads};
use crate::cube::attention::mask::{Mask, Plan, end_query, first_query, sees};
use crate::cube::staging::{stage_rows, write_sums};
use crate::cube::tile::rows_of;
use crate::cube::units::{Operand, Units, multiply, no_sums, results_stride, store_results};

/// [`attention_key_gradients`](crate::cube::attention::backward::attention_key_gradients) through matrix units, keys by queries; weights and the
/// scores' gradients are rounded to the inputs' type before they are multiplied.
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
    #[comptime] plan: Plan,
    #[comptime] units: Units,
    #[define(F)] _element: ElemType,
) {
    let tile = comptime!(plan.tile);
    let threads = comptime!(threads(tile, units));
    let passes = comptime!(passes(tile, units));
    let per_lane = comptime!(tile / LANES);
    let stride = comptime!(results_stride(tile));
    let size = N::value().comptime();
    let of_rows = comptime!(Operand {
        stride: units.stride(plan.width),
        vector: size
    });
    let of_values = comptime!(Operand {
        stride: units.stride(plan.value_width),
        vector: size
    });
    let of_weights = comptime!(Operand {
        stride: units.stride(tile),
        vector: 1
    });
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

    let mut keys = Shared::<[Vector<F, N>]>::new_aligned_slice(
        comptime!(tile * units.stride(plan.width) / size),
        32usize,
    );
    let mut queries = Shared::<[Vector<F, N>]>::new_aligned_slice(
        comptime!(tile * units.stride(plan.width) / size),
        32usize,
    );
    let mut values = Shared::<[Vector<F, N>]>::new_aligned_slice(
        comptime!(tile * units.stride(plan.value_width) / size),
        32usize,
    );
    let mut gradients = Shared::<[Vector<F, N>]>::new_aligned_slice(
        comptime!(tile * units.stride(plan.value_width) / size),
        32usize,
    );
    let mut weights =
        Shared::<[F]>::new_aligned_slice(comptime!(tile * units.stride(tile)), 32usize);
    let mut scratch = Shared::<[f32]>::new_aligned_slice(comptime!(tile * stride), 32usize);
    let mut query_sums = Shared::<[f32]>::new_slice(tile);
    let mut query_deltas = Shared::<[f32]>::new_slice(tile);
    let mut factors = Shared::<[f32]>::new_slice(tile);

    let mut kept = Array::<f32>::new(comptime!(passes * per_lane));
    let mut of_keys = no_sums(key_results, units);
    let mut of_value_sums = no_sums(value_results, units);
    let key_rows = rows_of::<Vector<F, N>>(k, batch, kv_head, first);
    stage_rows::<F, N>(
        &mut keys,
        k,
        &key_rows,
        tile,
        comptime!(plan.width),
        threads,
        units,
    );
    let value_rows = rows_of::<Vector<F, N>>(v, batch, kv_head, first);
    stage_rows::<F, N>(
        &mut values,
        v,
        &value_rows,
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
            let query_rows = rows_of::<Vector<F, N>>(q, batch, head, query);
            stage_rows::<F, N>(
                &mut queries,
                q,
                &query_rows,
                tile,
                comptime!(plan.width),
                threads,
                units,
            );
            let dy_rows = rows_of::<Vector<F, N>>(dy, batch, head % dy.shape(1), query);
            stage_rows::<F, N>(
                &mut gradients,
                dy,
                &dy_rows,
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
            let mut products = no_sums(columns, units);
            multiply::<F, Vector<F, N>, Vector<F, N>>(
                &mut products,
                keys.as_slice(),
                of_rows,
                queries.as_slice(),
                of_rows,
                true,
                comptime!(units.padded(plan.width)),
                columns,
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
                    let seen = sees(&mask, query + column, first + row, plan);
                    let score = scratch[row * stride + column] * scale;
                    let weight = select(seen, (score - query_sums[column]).exp(), f32::new(0.0));
                    kept[pass * per_lane + j] = weight;
                    weights[row * comptime!(units.stride(tile)) + column] = F::cast_from(weight);
                }
            }
            let mut products = no_sums(columns, units);
            multiply::<F, Vector<F, N>, Vector<F, N>>(
                &mut products,
                values.as_slice(),
                of_values,
                gradients.as_slice(),
                of_values,
                true,
                comptime!(units.padded(plan.value_width)),
                columns,
                units,
            );
            // The scores are read, the weights are there.
            sync_cube();
            multiply::<F, F, Vector<F, N>>(
                &mut of_value_sums,
                weights.as_slice(),
                of_weights,
                gradients.as_slice(),
                of_values,
                false,
                tile,
                value_results,
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
            multiply::<F, F, Vector<F, N>>(
                &mut of_keys,
                weights.as_slice(),
                of_weights,
                queries.as_slice(),
                of_rows,
                false,
                tile,
                key_results,
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
