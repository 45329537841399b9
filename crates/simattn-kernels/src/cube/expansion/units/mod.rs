//! Maps and their gradients on devices with matrix units.

mod convolution;
mod convolution_weights;
mod features;
mod heads;
mod map;
mod map_weights;
mod plan;
mod weight_gradients;
mod weights;

use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use self::features::FeaturesPlan;
use self::heads::HeadsPlan;
use self::plan::MapPlan;
use self::weight_gradients::GradientPlan;
use self::weights::Packed;
use super::{Applied, Maps, Turn};
use crate::cube::expansion::stage::Stage;
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
    let Some(plan) = MapPlan::of(stage, units, shared_memory(&x.client)) else {
        return false;
    };
    let sizes = Packed::of(&stage, units);
    let packed = packed(maps, stage, sizes, first_weight, x);
    let rows = y.meta.num_elements() / (stage.outputs * stage.positions);
    let cubes = match stage.positions {
        1 => rows.div_ceil(plan.rows()),
        _ => (rows * plan.chunks_of_row()).div_ceil(plan.chunks),
    };
    // Without a gate, the input takes its place, unread.
    let gate = match gate {
        Some(gate) => (gate, stage.outputs),
        None => (x, stage.inputs),
    };
    let [x, gate, y] = [(x, stage.inputs), gate, (y, stage.outputs)]
        .map(|(tensor, channels)| lines(tensor, channels, &stage));
    let size = vector_size(&[&x, &gate, &y]);
    let launch = match stage.positions {
        1 => map::expansion_map::launch,
        _ => convolution::expansion_convolution::launch,
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
        first_bias as u32,
        plan,
        sizes,
        element(&x),
    );
    true
}

/// Both maps in one kernel, if the device has matrix units for them.
pub(super) fn apply_both(
    maps: &Maps,
    x: &CubeTensor,
    keep: bool,
    turn: Option<&Turn>,
) -> Option<Applied> {
    let units = Units::of(&x.client, element(x))?;
    let memory = shared_memory(&x.client);
    let (sizes, at) = (maps.sizes, maps.places);
    let (first_stage, second_stage) = (maps.stage(x), maps.second_stage(x));
    let rows = x.meta.num_elements() / (sizes.inputs * sizes.positions);
    let y = unwritten(x, [rows, sizes.outputs, sizes.positions], x.dtype);
    let pack =
        |stage: Stage, place: usize| packed(maps, stage, Packed::of(&stage, units), place, x);
    let [x_lines, y_lines] = [(x, sizes.inputs), (&y, sizes.outputs)]
        .map(|(tensor, channels)| lines(tensor, channels, &first_stage));
    let size = vector_size(&[&x_lines, &y_lines]);
    // Where the first result is not kept, nothing is written to memory of one vector.
    let kept = if keep { y.meta.num_elements() } else { size };
    let first = unwritten(x, [kept], x.dtype);
    let biases = [at.first_bias, at.second_bias].map(|bias| bias as u32);
    let addresses = addresses(&[x, &y, &maps.weights]);
    let cube = |threads: usize| CubeDim::new_2d(units.plane as u32, (threads / units.plane) as u32);
    // Some devices count to 65,535 along an axis.
    let count = |cubes: usize| {
        let along = cubes.clamp(1, 32_768);
        CubeCount::Static(along as u32, cubes.div_ceil(along) as u32, 1)
    };
    if sizes.positions == 1 {
        let plan = FeaturesPlan {
            first: first_stage,
            second: second_stage,
            units,
            rows: 0,
            keep,
            half: turn.map_or(0, |turn| turn.rotation.half),
            heads: turn.map_or(1, |turn| turn.shape[2]),
        };
        let plan = plan.fitting(memory)?;
        // Without a rotation, the weights stand in its table's place, unread.
        let (table, begin, tokens) = match turn {
            Some(turn) => (&turn.rotation.table, turn.rotation.first, turn.shape[1]),
            None => (&maps.weights, 0, 1),
        };
        if rows > 0 {
            features::expand_features_units::launch(
                &x.client,
                count(rows.div_ceil(plan.rows)),
                cube(plan.threads()),
                addresses,
                size,
                x_lines.into_tensor_arg(),
                pack(first_stage, at.first_weight).into_tensor_arg(),
                pack(second_stage, at.second_weight).into_tensor_arg(),
                maps.weights.clone().into_tensor_arg(),
                table.clone().into_tensor_arg(),
                reshaped(first.clone(), [kept / size, size]).into_tensor_arg(),
                y_lines.into_tensor_arg(),
                biases[0],
                biases[1],
                begin as u32,
                tokens as u32,
                plan,
                [element(x), element(table)],
            );
        }
    } else {
        let plan = HeadsPlan {
            first: first_stage,
            second: second_stage,
            units,
            tokens: 0,
            keep,
        };
        let plan = plan.fitting(memory)?;
        if rows > 0 {
            heads::expand_heads_units::launch(
                &x.client,
                count(rows.div_ceil(plan.tokens)),
                cube(plan.threads()),
                addresses,
                size,
                x_lines.into_tensor_arg(),
                pack(first_stage, at.first_weight).into_tensor_arg(),
                pack(second_stage, at.second_weight).into_tensor_arg(),
                maps.weights.clone().into_tensor_arg(),
                first.clone().into_tensor_arg(),
                y_lines.into_tensor_arg(),
                biases[0],
                biases[1],
                plan,
                element(x),
            );
        }
    }
    Some(Applied {
        first: keep.then(|| reshaped(first, [rows, sizes.outputs, sizes.positions])),
        second: y,
    })
}

/// The weights of one of the maps as matrix units read them.
fn packed(
    maps: &Maps,
    stage: Stage,
    sizes: Packed,
    first_weight: usize,
    like: &CubeTensor,
) -> CubeTensor {
    let packed = unwritten(like, [sizes.len()], like.dtype);
    let count = CubeDim::new_1d(256);
    weights::pack_weights::launch(
        &like.client,
        calculate_cube_count_elemwise(&like.client, sizes.len(), count),
        count,
        addresses(&[&packed, &maps.weights]),
        maps.weights.clone().into_tensor_arg(),
        packed.clone().into_tensor_arg(),
        first_weight as u32,
        stage,
        sizes,
        element(like),
    );
    packed
}

/// Writes the gradients of a map's weight and bias from place `place` on in `gradients`, if the
/// device has matrix units for it; false if it has not.
pub(super) fn weight_gradient(
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
        1 => map_weights::map_weight_gradient::launch,
        _ => convolution_weights::convolution_weight_gradient::launch,
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
    weight_gradients::sum_packed_slices::launch(
        &x.client,
        calculate_cube_count_elemwise(&x.client, values, count),
        count,
        addresses(&[&sums, gradients]),
        sums.into_tensor_arg(),
        gradients.clone().into_tensor_arg(),
        place as u32,
        plan,
        element(gradients),
    );
    true
}

/// The tensor as kernels index it, so that its last axis is the one that is read several values at
/// a time: [N, C, P], or [M, C] where there is one position.
fn lines(x: &CubeTensor, channels: usize, stage: &Stage) -> CubeTensor {
    let rows = x.meta.num_elements() / (channels * stage.positions);
    match stage.positions {
        1 => reshaped(x.clone(), [rows, channels]),
        positions => reshaped(x.clone(), [rows, channels, positions]),
    }
}

/// Into how many slices a sum over `chunks` chunks is cut: by the shape alone, so that the same
/// shape gives the same bits.
fn slices(chunks: usize) -> usize {
    const CHUNKS: usize = 8;
    const MOST: usize = 256;
    chunks.div_ceil(CHUNKS).clamp(1, MOST)
}
