//! Attention on NVIDIA's tensor cores from compute capability 8.0 on, with what CubeCL says only
//! there: products whose values lie at known places in registers, so that scores go from one product
//! to the next without passing through shared memory, and asynchronous copies.
//!
//! **Seven products in two kernels, not five in one.** A kernel along the keys has dk and dv in its
//! registers, but its part of dq would have to be added to those of other cubes in a fixed order,
//! through memory: 3.6 GB of parts at B 32, T 1,024 and 36 heads of 96, written and read in 0.9 ms. The
//! two products that are saved, scores and weights' gradients of the kernel along the queries, take
//! 0.6 ms at 300 TFLOP/s. docs/measurements/gpu.md has this and the other ways.

mod copies;
mod deltas;
mod form;
mod forward;
mod key_gradients;
mod query_gradients;
mod softmax;

use std::ops::RangeInclusive;

use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use self::form::{Form, Widths};
use super::Call;
use super::mask::AttentionPlan;
use crate::cube::staging::vector_size;
use crate::cube::tensor::{addresses, element, shared_memory};
use crate::cube::tensor_cores::available;
use crate::cube::tensor_cores::lanes::CHUNK;
use crate::cube::units::MatrixUnits;

/// Scales that these kernels serve. The highest score is found before it is scaled, so the scale is
/// above zero; and so far above that the lowest score, scaled, has a weight of zero.
const SCALES: RangeInclusive<f32> = 1e-20..=1e20;

/// The widths of a call, if these kernels serve it: the device has what they are made of, rows are
/// read 16 bytes at a time, and widths are whole products.
fn widths(call: &Call, tensors: &[&CubeTensor]) -> Option<Widths> {
    let widths = Widths {
        keys: call.plan.width,
        values: call.plan.value_width,
    };
    let like = tensors.first()?;
    let serves = MatrixUnits::tensor_cores()
        && available(&like.client, element(like))
        && widths.fit()
        && SCALES.contains(&call.scale)
        && vector_size(tensors) == CHUNK;
    serves.then_some(widths)
}

fn plan(call: &Call, form: Form) -> AttentionPlan {
    AttentionPlan {
        tile: form.rows(),
        ..call.plan
    }
}

/// Writes the output and the log-sum-exp, if these kernels serve the call; false if they do not.
pub(super) fn attend(call: &Call, [q, k, v, out, sums]: [&CubeTensor; 5]) -> bool {
    let Some(form) =
        widths(call, &[q, k, v, out]).and_then(|widths| widths.forward(shared_memory(&q.client)))
    else {
        return false;
    };
    let plan = plan(call, form);
    forward::attention_forward_mma::launch(
        &q.client,
        call.shape
            .cubes(call.shape.queries, call.shape.heads, plan.tile),
        form.cube(),
        addresses(&[q, k, v, out]),
        q.clone().into_tensor_arg(),
        k.clone().into_tensor_arg(),
        v.clone().into_tensor_arg(),
        out.clone().into_tensor_arg(),
        sums.clone().into_tensor_arg(),
        call.scale,
        call.numbers.offset,
        call.numbers.window,
        plan,
        form,
        element(q),
    );
    true
}

/// Writes `deltas`, if these kernels serve the call; false if they do not.
pub(super) fn row_deltas(call: &Call, [out, dy, deltas]: [&CubeTensor; 3]) -> bool {
    if widths(call, &[out, dy]).is_none() {
        return false;
    }
    let threads = CubeDim::new_1d(256);
    let rows = call.shape.batch * call.shape.heads * call.shape.queries;
    deltas::attention_row_deltas::launch(
        &out.client,
        calculate_cube_count_elemwise(&out.client, deltas::threads_for(rows), threads),
        threads,
        addresses(&[out, dy]),
        out.clone().into_tensor_arg(),
        dy.clone().into_tensor_arg(),
        deltas.clone().into_tensor_arg(),
        call.plan.value_width,
        element(out),
    );
    true
}

/// Writes the gradients of q, k and v, if these kernels serve the call; false if they do not.
pub(super) fn gradients(
    call: &Call,
    [q, k, v, dy, sums, deltas]: [&CubeTensor; 6],
    [dq, dk, dv]: [&CubeTensor; 3],
) -> bool {
    let Some(widths) = widths(call, &[q, k, v, dy, dq, dk, dv]) else {
        return false;
    };
    let room = shared_memory(&q.client);
    let (Some(of_queries), Some(of_keys)) =
        (widths.query_gradients(room), widths.key_gradients(room))
    else {
        return false;
    };
    let shape = call.shape;
    let address = addresses(&[q, k, v, dy, dq, dk, dv]);
    // Without keys the gradient of q is zero, which the kernel writes too; without queries those of
    // k and v are, but it has no query then to read in place of those beyond the last.
    if shape.batch * shape.heads * shape.queries == 0 {
        return false;
    }
    query_gradients::attention_query_gradients_mma::launch(
        &q.client,
        shape.cubes(shape.queries, shape.heads, of_queries.rows()),
        of_queries.cube(),
        address,
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
        plan(call, of_queries),
        of_queries,
        element(q),
    );
    if shape.batch * shape.kv_heads * shape.keys > 0 {
        key_gradients::attention_key_gradients_mma::launch(
            &q.client,
            shape.cubes(shape.keys, shape.kv_heads, of_keys.rows()),
            of_keys.cube(),
            address,
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
            plan(call, of_keys),
            of_keys,
            element(q),
        );
    }
    true
}
