use cubecl::prelude::*;

use super::tile::{
    LANES, best_of_lanes, passes, rows_by_rows, sum_of_lanes, threads, weights_by_rows,
};
use crate::cube::attention::mask::{AttentionPlan, Mask, end_key, first_key, sees};
use crate::cube::staging::{stage_rows, staged_rows, write_sums};
use crate::cube::tile::mirrored;
use crate::cube::units::{Units, load_results, no_sums, results_stride, store_results};

/// Scores below every real one; finite, because not every device has infinities.
const LOWEST: f32 = -1e30;

/// How far a score may rise above the number that its row's weights are relative to: they stay
/// below e⁵, far from float16's largest number, and outputs are scaled anew only when a row rises
/// further.
const SLACK: f32 = 5.0;

/// [`attention_forward`](crate::cube::attention::forward::attention_forward) through matrix units.
///
/// Weights are rounded to the inputs' type before they are multiplied with v; their sum is that of
/// the unrounded ones. Outputs stay in the units' registers, relative to a score that is at most
/// [`SLACK`] below the row's highest.
#[cube(launch, address_type = "dynamic")]
pub(super) fn attention_forward_units<F: Float, N: Size>(
    q: &Tensor<Vector<F, N>>,
    k: &Tensor<Vector<F, N>>,
    v: &Tensor<Vector<F, N>>,
    out: &mut Tensor<Vector<F, N>>,
    sums: &mut Tensor<f32>,
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
    let results = comptime!(units.results(plan.value_width));

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
    let lane = UNIT_POS as usize % LANES;
    let my_row = UNIT_POS as usize / LANES;
    let rows_at_once = comptime!(threads / LANES);

    let mut queries = staged_rows::<F, N>(tile, comptime!(plan.width), units);
    let mut keys = staged_rows::<F, N>(tile, comptime!(plan.width), units);
    let mut values = staged_rows::<F, N>(tile, comptime!(plan.value_width), units);
    let mut weights =
        Shared::<[F]>::new_aligned_slice(comptime!(tile * units.stride(tile)), 32usize);
    let mut scratch = Shared::<[f32]>::new_aligned_slice(comptime!(tile * stride), 32usize);
    let mut factors = Shared::<[f32]>::new_slice(tile);
    let mut risen = Shared::<[u32]>::new_slice(1usize);

    let mut highest = Array::<f32>::new(passes);
    let mut total = Array::<f32>::new(passes);
    let mut scores = Array::<f32>::new(per_lane);
    #[unroll]
    for pass in 0..passes {
        highest[pass] = f32::new(LOWEST);
        total[pass] = f32::new(0.0);
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

    let end = end_key(&mask, first, plan);
    let mut key = first_key(&mask, first, plan);
    while key < end {
        // Every plane is done with the keys and values before.
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
        if UNIT_POS == 0 {
            risen[0] = 0u32;
        }
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
            let mut best = f32::new(LOWEST);
            #[unroll]
            for j in 0..per_lane {
                let column = lane + j * LANES;
                let score = scratch[row * stride + column] * scale;
                let seen = sees(&mask, first + row, key + column, plan);
                let score = select(seen, score, f32::new(LOWEST));
                scores[j] = score;
                best = select(score > best, score, best);
            }
            best = best_of_lanes(best);
            let before = highest[pass];
            let rises = best > before + f32::new(SLACK);
            let level = select(rises, best, before);
            let factor = select(rises, (before - level).exp(), f32::new(1.0));
            highest[pass] = level;
            let mut sum = total[pass] * factor;
            // What is zero needs no scaling.
            if rises && total[pass] > f32::new(0.0) {
                risen[0] = 1u32;
            }
            if lane == 0 {
                factors[row] = factor;
            }
            #[unroll]
            for j in 0..per_lane {
                let score = scores[j];
                // So written a score that is no number gives such a weight, and such an output.
                let weight = select(
                    score <= f32::new(LOWEST),
                    f32::new(0.0),
                    (score - level).exp(),
                );
                sum += weight;
                weights[row * comptime!(units.stride(tile)) + lane + j * LANES] =
                    F::cast_from(weight);
            }
            total[pass] = sum;
        }
        sync_cube();
        if risen[0] != 0u32 {
            #[unroll]
            for group in 0..comptime!(results.div_ceil(columns)) {
                let here = comptime!(columns.min(results - group * columns));
                store_results(
                    &mut scratch,
                    &outputs,
                    comptime!(group * columns),
                    here,
                    results,
                    stride,
                    false,
                    units,
                );
                sync_cube();
                let mut place = UNIT_POS as usize;
                while place < comptime!(tile * tile) {
                    scratch[place / tile * stride + place % tile] *= factors[place / tile];
                    place += threads;
                }
                sync_cube();
                load_results(
                    &scratch,
                    &mut outputs,
                    comptime!(group * columns),
                    here,
                    results,
                    stride,
                    units,
                );
                sync_cube();
            }
        }
        weights_by_rows::<F, N>(
            &mut outputs,
            &weights,
            &values,
            comptime!(plan.value_width),
            tile,
            units,
        );
        key += tile;
    }

    sync_cube();
    #[unroll]
    for pass in 0..passes {
        let row = my_row + pass * rows_at_once;
        let sum = sum_of_lanes(total[pass]);
        // A query without keys gives zeros.
        let none = sum <= f32::new(0.0);
        let safe = select(none, f32::new(1.0), sum);
        let token = first + row;
        if lane == 0 {
            factors[row] = select(none, f32::new(0.0), f32::new(1.0) / safe);
            if token < mask.queries {
                sums[(batch * q.shape(1) + head) * mask.queries + token] =
                    select(none, f32::new(0.0), highest[pass] + safe.ln());
            }
        }
    }
    write_sums::<F, N>(
        out,
        batch,
        head,
        first,
        &outputs,
        &factors,
        &mut scratch,
        comptime!(plan.value_width),
        tile,
        threads,
        units,
    );
}
