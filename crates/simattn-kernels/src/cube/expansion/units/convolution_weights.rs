use cubecl::cmma::{self, MatrixIdent, MatrixLayout};
use cubecl::prelude::*;

use super::convolution::stage_windows;
use super::weight_gradients::GradientPlan;
use crate::cube::units::{no_sums, zero};

/// `sums[s, j, a, c] = Σ dy[n, a, d] · x[n, c, d + j − (κ−1)/2]` over the chunks of slice s, and
/// after them `sums[s, a] = Σ dy[n, a, d]`, for a map along the heads, through matrix units. One
/// cube a slice.
#[cube(launch, address_type = "dynamic")]
pub(super) fn convolution_weight_gradient<F: Float, N: Size>(
    x: &Tensor<Vector<F, N>>,
    dy: &Tensor<Vector<F, N>>,
    sums: &mut Tensor<f32>,
    chunks_of_slice: u32,
    #[comptime] plan: GradientPlan,
    #[define(F)] _element: ElemType,
) {
    let stage = comptime!(plan.stage);
    let units = comptime!(plan.units);
    let sizes = comptime!(plan.sizes);
    let size = N::value().comptime();
    let threads = comptime!(plan.threads());
    let chunk = comptime!(plan.chunk);
    let chunks_of_row = comptime!(stage.positions.div_ceil(chunk));
    let input_stride = comptime!(units.stride(stage.inputs));
    let output_stride = comptime!(units.stride(chunk));
    let pairs = comptime!(plan.pairs_of_plane());
    let across = comptime!(units.results(sizes.inputs));
    let rows = dy.len() * size / comptime!(stage.outputs * stage.positions);
    let slice = CUBE_POS_X as usize;
    let mut number = slice * chunks_of_slice as usize;
    let mut end = number + chunks_of_slice as usize;
    if end > rows * chunks_of_row {
        end = rows * chunks_of_row;
    }

    let mut of_outputs =
        Shared::<[Vector<F, N>]>::new_aligned_slice(comptime!(plan.of_outputs() / size), 32usize);
    let mut of_inputs = Shared::<[F]>::new_aligned_slice(comptime!(plan.of_inputs()), 32usize);
    let outputs_end = of_outputs.len();
    let inputs_end = of_inputs.len();
    let products = no_sums(comptime!(pairs * stage.taps), comptime!(units.sharing(1)));
    let mut bias = Array::<f32>::new(comptime!(sizes.outputs.div_ceil(plan.threads())));
    #[unroll]
    for turn in 0..comptime!(sizes.outputs.div_ceil(plan.threads())) {
        bias[turn] = f32::new(0.0);
    }
    while number < end {
        sync_cube();
        stage_windows::<F, N>(
            &mut of_inputs,
            x,
            number,
            end,
            chunk,
            1usize,
            stage,
            threads,
            units,
        );
        let n = number / chunks_of_row;
        let position = number % chunks_of_row * chunk;
        let mut place = UNIT_POS as usize;
        while place < comptime!(sizes.outputs * chunk / size) {
            let a = place / comptime!(chunk / size);
            let d = position + place % comptime!(chunk / size) * size;
            let mut value = Vector::<F, N>::zeroed();
            if a < comptime!(stage.outputs) && d < comptime!(stage.positions) {
                value = dy
                    [((n * comptime!(stage.outputs) + a) * comptime!(stage.positions) + d) / size];
            }
            of_outputs[a * comptime!(output_stride / size) + place % comptime!(chunk / size)] =
                value;
            place += threads;
        }
        sync_cube();
        #[unroll]
        for turn in 0..comptime!(sizes.outputs.div_ceil(plan.threads())) {
            let a = UNIT_POS as usize + turn * threads;
            if a < comptime!(sizes.outputs) {
                for d in 0..comptime!(chunk / size) {
                    let value = of_outputs[a * comptime!(output_stride / size) + d];
                    #[unroll]
                    for i in 0..size {
                        bias[turn] += f32::cast_from(value.extract(i));
                    }
                }
            }
        }
        #[unroll]
        for turn in 0..pairs {
            let pair = UNIT_POS_Y as usize * pairs + turn;
            let row = pair / across * comptime!(units.side);
            let column = pair % across * comptime!(units.side);
            if row < comptime!(sizes.outputs) {
                for step in 0..comptime!(chunk / units.depth) {
                    let term = step * comptime!(units.depth);
                    let mut left = zero::<F>(MatrixIdent::A, MatrixLayout::RowMajor, units);
                    cmma::load(
                        &mut left,
                        of_outputs.slice((row * output_stride + term) / size, outputs_end),
                        comptime!(output_stride as u32),
                    );
                    #[unroll]
                    for tap in 0..comptime!(stage.taps) {
                        let mut right = zero::<F>(MatrixIdent::B, MatrixLayout::RowMajor, units);
                        cmma::load(
                            &mut right,
                            of_inputs.slice((term + tap) * input_stride + column, inputs_end),
                            comptime!(input_stride as u32),
                        );
                        let sum = products.index(comptime!(turn * stage.taps + tap));
                        cmma::execute(&left, &right, sum, sum);
                    }
                }
            }
        }
        number += 1;
    }
    let begin = slice * comptime!(plan.sums());
    let sums_end = sums.len();
    #[unroll]
    for turn in 0..pairs {
        let pair = UNIT_POS_Y as usize * pairs + turn;
        let row = pair / across * comptime!(units.side);
        let column = pair % across * comptime!(units.side);
        if row < comptime!(sizes.outputs) {
            #[unroll]
            for tap in 0..comptime!(stage.taps) {
                let at = begin
                    + (comptime!(tap * sizes.outputs) + row) * comptime!(sizes.inputs)
                    + column;
                cmma::store(
                    sums.slice_mut(at, sums_end),
                    products.index(comptime!(turn * stage.taps + tap)),
                    comptime!(sizes.inputs as u32),
                    MatrixLayout::RowMajor,
                );
            }
        }
    }
    #[unroll]
    for turn in 0..comptime!(sizes.outputs.div_ceil(plan.threads())) {
        let a = UNIT_POS as usize + turn * threads;
        if a < comptime!(sizes.outputs) {
            sums[begin + comptime!(sizes.len()) + a] = bias[turn];
        }
    }
}
