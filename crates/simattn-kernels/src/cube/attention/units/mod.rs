//! Attention on devices with matrix units.

mod forward;
mod key_gradients;
mod query_gradients;
mod tile;

use burn_cubecl::tensor::CubeTensor;

use super::Call;
use super::mask::AttentionPlan;
use crate::cube::staging::vector_size;
use crate::cube::tensor::{addresses, element, shared_memory};
use crate::cube::units::Units;

/// The device's matrix units and the plan for them, if it has them and a tile's buffers fit into
/// its shared memory.
fn plan(
    call: &Call,
    like: &CubeTensor,
    bytes: fn(usize, usize, usize, Units) -> usize,
) -> Option<(AttentionPlan, Units)> {
    let units = tile::sharing(Units::of(&like.client, element(like))?);
    let bytes = |tile| bytes(tile, call.plan.width, call.plan.value_width, units);
    let tile = tile::largest_tile(shared_memory(&like.client), units, bytes)?;
    Some((AttentionPlan { tile, ..call.plan }, units))
}

/// Writes the output and the log-sum-exp, if the device has matrix units for it; false if it has
/// not.
pub(super) fn attend(call: &Call, [q, k, v, out, sums]: [&CubeTensor; 5]) -> bool {
    let Some((plan, units)) = plan(call, q, tile::forward_bytes) else {
        return false;
    };
    forward::attention_forward_units::launch(
        &q.client,
        call.shape
            .cubes(call.shape.queries, call.shape.heads, plan.tile),
        units.cube(plan.tile),
        addresses(&[q, k, v, out]),
        vector_size(&[q, k, v, out]),
        q.clone().into_tensor_arg(),
        k.clone().into_tensor_arg(),
        v.clone().into_tensor_arg(),
        out.clone().into_tensor_arg(),
        sums.clone().into_tensor_arg(),
        call.scale,
        call.numbers.offset,
        call.numbers.window,
        plan,
        units,
        element(q),
    );
    true
}

/// Writes the gradients of q, k and v, if the device has matrix units for them; false if it has
/// not.
pub(super) fn gradients(
    call: &Call,
    [q, k, v, dy, sums, deltas]: [&CubeTensor; 6],
    [dq, dk, dv]: [&CubeTensor; 3],
) -> bool {
    let Some((plan, units)) = plan(call, q, tile::backward_bytes) else {
        return false;
    };
    let shape = call.shape;
    let address = addresses(&[q, k, v, dy, dq, dk, dv]);
    let size = vector_size(&[q, k, v, dy, dq, dk, dv]);
    if shape.batch * shape.heads * shape.queries > 0 {
        query_gradients::attention_query_gradients_units::launch(
            &q.client,
            shape.cubes(shape.queries, shape.heads, plan.tile),
            units.cube(plan.tile),
            address,
            size,
            q.clone().into_tensor_arg(),
            k.clone().into_tensor_arg(),
            v.clone().into_tensor_arg(),
            dy.clone().into_tensor_arg(),
            sums.clone().into_tensor_arg(),
            deltas.clone().into_tensor_arg(),
            dq.clone().into_tensor_arg(),
            call.scale,
            call.numbers.offset,
            call.numbers.window,
            plan,
            units,
            element(q),
        );
    }
    if shape.batch * shape.kv_heads * shape.keys > 0 {
        key_gradients::attention_key_gradients_units::launch(
            &q.client,
            shape.cubes(shape.keys, shape.kv_heads, plan.tile),
            units.cube(plan.tile),
            address,
            size,
            q.clone().into_tensor_arg(),
            k.clone().into_tensor_arg(),
            v.clone().into_tensor_arg(),
            dy.clone().into_tensor_arg(),
            sums.clone().into_tensor_arg(),
            deltas.clone().into_tensor_arg(),
            dk.clone().into_tensor_arg(),
            dv.clone().into_tensor_arg(),
            call.scale,
            call.numbers.offset,
            call.numbers.window,
            plan,
            units,
            element(q),
        );
    }
    true
}
