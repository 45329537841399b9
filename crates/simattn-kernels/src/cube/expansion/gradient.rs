use cubecl::prelude::*;

use super::stage::{Stage, window};
use crate::cube::tile::{DEPTH, SIDE, STRIP, zeros};

/// `partial[s, a, e] = Σ dy[n, a, d] · x[n, c, d + k − (κ−1)/2]` over the rows (n, d) of slice s; e
/// is (c, k), and one place further is for the bias, whose input is one. `partial` [slices, A, C·κ
/// + 1] in float32.
///
/// One cube a tile of output channels, y, by places, x, of one slice, z.
#[cube(launch, address_type = "dynamic")]
pub(super) fn expansion_weight_gradient<F: Float>(
    x: &Tensor<F>,
    dy: &Tensor<F>,
    partial: &mut Tensor<f32>,
    rows_of_slice: u32,
    #[comptime] stage: Stage,
    #[define(F)] _element: ElemType,
) {
    let tile = comptime!(stage.tile);
    let per_thread = comptime!(tile / SIDE);
    let along_rows = comptime!(stage.positions > 1);
    let places = comptime!(stage.inputs * stage.taps);
    let rows = dy.len() / comptime!(stage.outputs);
    let slice = CUBE_POS_Z as usize;
    let channel = CUBE_POS_Y as usize * tile;
    let place_of_cube = CUBE_POS_X as usize * tile;
    let begin = slice * rows_of_slice as usize;
    let mut end = begin + rows_of_slice as usize;
    if end > rows {
        end = rows;
    }

    let mut of_channels = Shared::<[f32]>::new_slice(comptime!(tile * STRIP));
    let mut of_places = Shared::<[f32]>::new_slice(comptime!(tile * STRIP));
    let mut sums = zeros(comptime!(per_thread * per_thread));
    let mut values = Array::<f32>::new(per_thread);
    let y = UNIT_POS_Y as usize;
    let z = UNIT_POS_X as usize;
    let mut row = begin;
    while row < end {
        sync_cube();
        #[unroll]
        for turn in 0..comptime!(tile * DEPTH / (SIDE * SIDE)) {
            let place = UNIT_POS as usize + turn * comptime!(SIDE * SIDE);
            let mut line = place % tile;
            let mut column = place / tile;
            if comptime!(along_rows) {
                line = place / DEPTH;
                column = place % DEPTH;
            }
            let m = row + column;
            let a = channel + line;
            let e = place_of_cube + line;
            let mut of_channel = f32::new(0.0);
            if m < end && a < comptime!(stage.outputs) {
                let n = m / comptime!(stage.positions);
                let d = m % comptime!(stage.positions);
                of_channel = f32::cast_from(
                    dy[(n * comptime!(stage.outputs) + a) * comptime!(stage.positions) + d],
                );
            }
            of_channels[line * STRIP + column] = of_channel;
            let mut of_place = window::<F>(x, m, e, end, stage);
            if e == places {
                of_place = f32::new(1.0);
            }
            of_places[line * STRIP + column] = of_place;
        }
        sync_cube();
        for m in 0..DEPTH {
            #[unroll]
            for i in 0..per_thread {
                values[i] = of_channels[(y + i * SIDE) * STRIP + m];
            }
            #[unroll]
            for j in 0..per_thread {
                let value = of_places[(z + j * SIDE) * STRIP + m];
                #[unroll]
                for i in 0..per_thread {
                    sums[i * per_thread + j] += values[i] * value;
                }
            }
        }
        row += DEPTH;
    }
    #[unroll]
    for i in 0..per_thread {
        let a = channel + y + i * SIDE;
        #[unroll]
        for j in 0..per_thread {
            let e = place_of_cube + z + j * SIDE;
            if a < comptime!(stage.outputs) && e <= places {
                partial[(slice * comptime!(stage.outputs) + a) * comptime!(places + 1) + e] =
                    sums[i * per_thread + j];
            }
        }
    }
}

/// Adds the slices of [`expansion_weight_gradient`], in their order, into the weights [A, C, κ] and
/// the bias [A] that follow one another from `gradients[first]` on; one thread a value.
#[cube(launch, address_type = "dynamic")]
pub(super) fn sum_weight_slices<F: Float>(
    partial: &Tensor<f32>,
    gradients: &mut Tensor<F>,
    first: u32,
    #[comptime] outputs: usize,
    #[comptime] places: usize,
    #[define(F)] _element: ElemType,
) {
    let value = ABSOLUTE_POS;
    if value >= comptime!(outputs * (places + 1)) {
        terminate!();
    }
    let mut at = value / places * comptime!(places + 1) + value % places;
    if value >= comptime!(outputs * places) {
        at = (value - comptime!(outputs * places)) * comptime!(places + 1) + places;
    }
    let mut sum = f32::new(0.0);
    for slice in 0..partial.shape(0) {
        sum += partial[slice * comptime!(outputs * (places + 1)) + at];
    }
    gradients[first as usize + value] = F::cast_from(sum);
}
