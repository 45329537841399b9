//! Maps and their gradients on devices with matrix units.

use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use super::stage::Stage;
use super::units_gradient::{self, GradientPlan};
use super::units_plan::UnitsPlan;
use super::units_weights::{self, Packed};
use super::{Maps, units_convolution, units_map};
use crate::cube::staging::vector_size;
use crate::cube::tensor::{addresses, element, reshaped, shared_memory, unwritten};
use crate::cube::units::Units;

/// Writes the map's result to `y`, if the device has matrix units for it; false if it has not.
pub(super) fn apply(
    maps: &Maps,
    stage: Stage,
    x: &CubeTensor,
    gate: Option<&CubeTensor>,
    y: &CubeTensor,
    [first_weight, first_bias]: [usize; 2],
) -> bool {
    let Some(units) = Units::of(&x.client, element(x)) else {
        return false;
    };
    let Some(plan) = UnitsPlan::of(stage, units, shared_memory(&x.client)) else {
        return false;
    };
    let sizes = Packed::of(&stage, units);
    let packed = unwritten(x, [sizes.len()], x.dtype);
    let count = CubeDim::new_1d(256);
    units_weights::pack_weights::launch(
        &x.client,
        calculate_cube_count_elemwise(&x.client, sizes.len(), count),
        count,
        addresses(&[&packed, &maps.weights]),
        maps.weights.clone().into_tensor_arg(),
        packed.clone().into_tensor_arg(),
        (maps.first + first_weight) as u32,
        stage,
        sizes,
        element(x),
    );
    let rows = y.meta.num_elements() / (stage.outputs * stage.positions);
    let cubes = match stage.positions {
        1 => rows.div_ceil(plan.rows()),
        _ => (rows * plan.chunks_of_row()).div_ceil(plan.chunks),
    };
    // Without a gate, its input stands in its place, unread.
    let gate = match gate {
        Some(gate) => (gate, stage.outputs),
        None => (x, stage.inputs),
    };
    let [x, gate, y] = [(x, stage.inputs), gate, (y, stage.outputs)]
        .map(|(tensor, channels)| lines(tensor, channels, &stage));
    let size = vector_size(&[&x, &gate, &y]);
    let launch = match stage.positions {
        1 => units_map::expansion_map::launch,
        _ => units_convolution::expansion_convolution::launch,
    };
    // Some devices count to 65,535 along an axis.
    let along = cubes.min(32_768);
    launch(
        &x.client,
        CubeCount::Static(along as u32, cubes.div_ceil(along) as u32, 1),
        CubeDim::new_2d(units.plane as u32, (plan.threads() / units.plane) as u32),
        addresses(&[&x, &y, &packed, &maps.weights]),
        size,
        x.clone().into_tensor_arg(),
        packed.into_tensor_arg(),
        maps.weights.clone().into_tensor_arg(),
        gate.into_tensor_arg(),
        y.into_tensor_arg(),
        (maps.first + first_bias) as u32,
        plan,
        sizes,
        element(&x),
    );
    true
}

/// Writes the gradients of a map's weight and bias from place `place` on of its maps' in `gradients`, if the device has matrix
/// units for it; false if it has not.
pub(super) fn weight_gradient(
    maps: &Maps,
    stage: Stage,
    x: &CubeTensor,
    dy: &CubeTensor,
    gradients: &CubeTensor,
    place: usize,
) -> bool {
    let Some(units) = Units::of(&x.client, element(x)) else {
        return false;
    };
    let Some(plan) = GradientPlan::of(stage, units, shared_memory(&x.client)) else {
        return false;
    };
    let chunks = plan.chunks(dy.meta.num_elements() / stage.outputs);
    let slices = slices(chunks);
    let sums = unwritten(x, [slices, plan.sums()], DType::F32);
    let [x, dy] = [(x, stage.inputs), (dy, stage.outputs)]
        .map(|(tensor, channels)| lines(tensor, channels, &stage));
    let launch = match stage.positions {
        1 => units_gradient::map_weight_gradient::launch,
        _ => units_gradient::convolution_weight_gradient::launch,
    };
    launch(
        &x.client,
        CubeCount::Static(slices as u32, 1, 1),
        CubeDim::new_2d(units.plane as u32, plan.planes() as u32),
        addresses(&[&x, &dy, &sums]),
        vector_size(&[&x, &dy]),
        x.clone().into_tensor_arg(),
        dy.into_tensor_arg(),
        sums.clone().into_tensor_arg(),
        chunks.div_ceil(slices) as u32,
        plan,
        element(&x),
    );
    let count = CubeDim::new_1d(256);
    let values = stage.outputs * (stage.depth() + 1);
    units_gradient::sum_packed_slices::launch(
        &x.client,
        calculate_cube_count_elemwise(&x.client, values, count),
        count,
        addresses(&[&sums, gradients]),
        sums.into_tensor_arg(),
        gradients.clone().into_tensor_arg(),
        (maps.first + place) as u32,
        plan,
        element(gradients),
    );
    true
}

/// The tensor as kernels index it, so that its last axis is the one that is read several values at a time: [N, C, P], or [M, C]
/// where there is one position.
fn lines(x: &CubeTensor, channels: usize, stage: &Stage) -> CubeTensor {
    let rows = x.meta.num_elements() / (channels * stage.positions);
    match stage.positions {
        1 => reshaped(x.clone(), [rows, channels]),
        positions => reshaped(x.clone(), [rows, channels, positions]),
    }
}

/// Into how many slices a sum over `chunks` chunks is cut: by the shape alone, so that the same shape gives the same bits.
fn slices(chunks: usize) -> usize {
    const CHUNKS: usize = 8;
    const MOST: usize = 256;
    chunks.div_ceil(CHUNKS).clamp(1, MOST)
}
