use cubecl::cmma::{self, MatrixIdent, MatrixLayout};
use cubecl::prelude::*;

use super::map::stage_lines;
use super::weight_gradients::GradientPlan;
use crate::cube::units::{no_sums, zero};

/// [`convolution_weight_gradient`](super::convolution_weights::convolution_weight_gradient) for a
/// map along the features: `sums[s, a, c] = Σ dy[m, a] · x[m, c]`, then `sums[s, a] = Σ dy[m, a]`,
/// over the rows m of slice s.
#[cube(launch, address_type = "dynamic")]
pub(super) fn map_weight_gradient<F: Float, N: Size>(
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
    let input_stride = comptime!(units.stride(stage.inputs));
    let output_stride = comptime!(units.stride(stage.outputs));
    let pairs = comptime!(plan.pairs_of_plane());
    let across = comptime!(units.results(sizes.inputs));
    let slice = CUBE_POS_X as usize;
    let mut row_of_chunk = slice * chunks_of_slice as usize * chunk;
    let mut end = row_of_chunk + chunks_of_slice as usize * chunk;
    let rows = dy.len() * size / comptime!(stage.outputs);
    if end > rows {
        end = rows;
    }

    let mut of_outputs =
        Shared::<[Vector<F, N>]>::new_aligned_slice(comptime!(plan.of_outputs() / size), 32usize);
    let mut of_inputs =
        Shared::<[Vector<F, N>]>::new_aligned_slice(comptime!(plan.of_inputs() / size), 32usize);
    let outputs_end = of_outputs.len();
    let inputs_end = of_inputs.len();
    let products = no_sums(pairs, comptime!(units.sharing(1)));
    let vectors = comptime!(sizes.outputs / size);
    let turns = comptime!((sizes.outputs / size).div_ceil(plan.threads()));
    let mut bias = Array::<f32>::new(comptime!(turns * size));
    #[unroll]
    for turn in 0..comptime!(turns * size) {
        bias[turn] = f32::new(0.0);
    }
    while row_of_chunk < end {
        sync_cube();
        stage_lines::<F, N>(
            &mut of_inputs,
            x,
            row_of_chunk,
            end,
            chunk,
            comptime!(stage.inputs),
            comptime!(stage.relu),
            threads,
            units,
        );
        stage_lines::<F, N>(
            &mut of_outputs,
            dy,
            row_of_chunk,
            end,
            chunk,
            comptime!(stage.outputs),
            false,
            threads,
            units,
        );
        sync_cube();
        #[unroll]
        for turn in 0..turns {
            let vector = UNIT_POS as usize + turn * threads;
            if vector < vectors {
                for row in 0..chunk {
                    let value = of_outputs[row * comptime!(output_stride / size) + vector];
                    #[unroll]
                    for i in 0..size {
                        bias[turn * size + i] += f32::cast_from(value.extract(i));
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
                    let mut left = zero::<F>(MatrixIdent::A, MatrixLayout::ColMajor, units);
                    cmma::load(
                        &mut left,
                        of_outputs.slice((term * output_stride + row) / size, outputs_end),
                        comptime!(output_stride as u32),
                    );
                    let mut right = zero::<F>(MatrixIdent::B, MatrixLayout::RowMajor, units);
                    cmma::load(
                        &mut right,
                        of_inputs.slice((term * input_stride + column) / size, inputs_end),
                        comptime!(input_stride as u32),
                    );
                    let sum = products.index(turn);
                    cmma::execute(&left, &right, sum, sum);
                }
            }
        }
        row_of_chunk += chunk;
    }
    let begin = slice * comptime!(plan.sums());
    let sums_end = sums.len();
    #[unroll]
    for turn in 0..pairs {
        let pair = UNIT_POS_Y as usize * pairs + turn;
        let row = pair / across * comptime!(units.side);
        let column = pair % across * comptime!(units.side);
        if row < comptime!(sizes.outputs) {
            let at = begin + row * comptime!(sizes.inputs) + column;
            cmma::store(
                sums.slice_mut(at, sums_end),
                products.index(turn),
                comptime!(sizes.inputs as u32),
                MatrixLayout::RowMajor,
            );
        }
    }
    #[unroll]
    for turn in 0..turns {
        let vector = UNIT_POS as usize + turn * threads;
        if vector < vectors {
            #[unroll]
            for i in 0..size {
                sums[begin + comptime!(sizes.len()) + vector * size + i] = bias[turn * size + i];
            }
        }
    }
}
