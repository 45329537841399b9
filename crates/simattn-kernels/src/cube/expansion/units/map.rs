use cubecl::prelude::*;

use super::plan::MapPlan;
use super::weights::Packed;
use crate::cube::units::{Operand, Units, multiply, no_sums, store_results};

/// Sets rows `first .. first + count` of `x` [M, width] into `staged`, [`Units::stride`] apart,
/// through a ReLU if `relu`; rows from `end` on are zeros. All threads of the cube take part.
#[cube]
pub(super) fn stage_lines<F: Float, N: Size>(
    staged: &mut Shared<[Vector<F, N>]>,
    x: &Tensor<Vector<F, N>>,
    first: usize,
    end: usize,
    #[comptime] count: usize,
    #[comptime] width: usize,
    #[comptime] relu: bool,
    #[comptime] threads: usize,
    #[comptime] units: Units,
) {
    let size = N::value().comptime();
    let across = comptime!(units.padded(width) / size);
    let stride = comptime!(units.stride(width) / size);
    let mut place = UNIT_POS as usize;
    while place < comptime!(count * across) {
        let row = place / across;
        let column = place % across;
        let mut value = Vector::<F, N>::zeroed();
        if first + row < end && column < comptime!(width / size) {
            value = x[(first + row) * comptime!(width / size) + column];
            if comptime!(relu) {
                #[unroll]
                for i in 0..size {
                    let one = value.extract(i);
                    value.insert(i, select(one > F::new(0.0), one, F::new(0.0)));
                }
            }
        }
        staged[row * stride + column] = value;
        place += threads;
    }
}

/// [`expansion_stage`](crate::cube::expansion::stage::expansion_stage) for a map along the
/// features, through matrix units: rows [M, C] times the weights, [`Packed`]. One cube takes
/// [`MapPlan::rows`] rows and all output channels.
#[cube(launch, address_type = "dynamic")]
pub(super) fn expansion_map<F: Float, N: Size>(
    x: &Tensor<Vector<F, N>>,
    packed: &Tensor<F>,
    biases: &Tensor<F>,
    gate: &Tensor<Vector<F, N>>,
    y: &mut Tensor<Vector<F, N>>,
    first_bias: u32,
    #[comptime] plan: MapPlan,
    #[comptime] sizes: Packed,
    #[define(F)] _element: ElemType,
) {
    let stage = comptime!(plan.stage);
    let units = comptime!(plan.units);
    let size = N::value().comptime();
    let threads = comptime!(plan.threads());
    let results = comptime!(units.results(stage.outputs));
    let at_once = comptime!(plan.columns / units.side);
    let line = comptime!(plan.line());
    let rows = y.len() * size / comptime!(stage.outputs);
    let first = (CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X) as usize * comptime!(plan.rows());

    let mut staged = Shared::<[Vector<F, N>]>::new_aligned_slice(
        comptime!(plan.rows() * units.stride(stage.inputs) / size),
        32usize,
    );
    let mut scratch =
        Shared::<[f32]>::new_aligned_slice(comptime!(plan.lines() * plan.line()), 32usize);
    let mut sums = no_sums(results, units);
    stage_lines::<F, N>(
        &mut staged,
        x,
        first,
        rows,
        comptime!(plan.rows()),
        comptime!(stage.inputs),
        comptime!(stage.relu),
        threads,
        units,
    );
    sync_cube();
    multiply::<F, Vector<F, N>, F>(
        &mut sums,
        staged.as_slice(),
        comptime!(Operand {
            stride: units.stride(stage.inputs),
            vector: size
        }),
        packed.as_slice(),
        comptime!(Operand {
            stride: sizes.inputs,
            vector: 1
        }),
        true,
        comptime!(sizes.inputs),
        results,
        units,
    );
    let across = comptime!(plan.columns / size);
    #[unroll]
    for group in 0..comptime!(results.div_ceil(at_once)) {
        sync_cube();
        store_results(
            &mut scratch,
            &sums,
            comptime!(group * at_once),
            comptime!(at_once.min(results - group * at_once)),
            results,
            line,
            false,
            units,
        );
        sync_cube();
        let mut place = UNIT_POS as usize;
        while place < comptime!(plan.rows() * across) {
            let row = place / across;
            let column = place % across * size;
            let a = comptime!(group * plan.columns) + column;
            if first + row < rows && a < comptime!(stage.outputs) {
                let at = ((first + row) * comptime!(stage.outputs) + a) / size;
                let mut value = Vector::<F, N>::empty();
                #[unroll]
                for i in 0..size {
                    let mut one = scratch[row * line + column + i];
                    if comptime!(stage.bias) {
                        one += f32::cast_from(biases[first_bias as usize + a + i]);
                    }
                    if comptime!(stage.gated) {
                        let open = f32::cast_from(gate[at].extract(i)) > f32::new(0.0);
                        one = select(open, one, f32::new(0.0));
                    }
                    if comptime!(stage.residual) {
                        one += f32::cast_from(x[at].extract(i));
                    }
                    value.insert(i, F::cast_from(one));
                }
                y[at] = value;
            }
            place += threads;
        }
    }
}
