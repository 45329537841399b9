//! Softmax attention on CubeCL devices.
//!
//! Forward reads q once, and k and v once for every tile of queries that sees them; it writes the
//! output and one number per query. Backward works the scores out again from that number, twice:
//! tile by tile of queries for dq, tile by tile of keys for dk and dv. No sum is divided among
//! cubes, so none needs an atomic operation or a second buffer.
//!
//! Three forms of each kernel, tried in this order: `mma` on NVIDIA's tensor cores, `units` on any
//! matrix units, and the plain one.

mod backward;
mod forward;
mod mask;
mod mma;
mod units;

use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use self::mask::{AttentionPlan, MaskNumbers};
use super::tensor::{
    addresses, element, indexable, shared_memory, unwritten, unwritten_token_major,
};
use super::tile::{SIDE, tile_for};
use crate::call::{AttentionOptions, AttentionShape};

/// The sizes of one call, from its tensors.
fn shape_of(q: &CubeTensor, k: &CubeTensor, v: &CubeTensor) -> AttentionShape {
    let [q, k, v] = [q, k, v].map(|x| x.meta.shape().dims());
    AttentionShape::of(q, k, v)
}

impl AttentionShape {
    fn plan(&self, options: &AttentionOptions, like: &CubeTensor) -> AttentionPlan {
        AttentionPlan {
            tile: tile_for(shared_memory(&like.client)),
            width: self.width,
            value_width: self.value_width,
            causal: options.causal,
            windowed: options.window.is_some(),
        }
    }

    /// One cube for every tile of `tokens` tokens, head and sequence.
    fn cubes(&self, tokens: usize, heads: usize, tile: usize) -> CubeCount {
        CubeCount::Static(
            tokens.div_ceil(tile) as u32,
            heads as u32,
            self.batch as u32,
        )
    }
}

/// What the kernels of one call are told beside their tensors.
#[derive(Clone, Copy, Debug)]
struct Call {
    shape: AttentionShape,
    plan: AttentionPlan,
    numbers: MaskNumbers,
    scale: f32,
}

fn threads() -> CubeDim {
    CubeDim::new_2d(SIDE as u32, SIDE as u32)
}

/// The output [B, H, T, D], standing as [B, T, H, D], and the log-sum-exp of every query [B, H, T]
/// in float32.
pub(crate) fn attention_with_sums(
    q: CubeTensor,
    k: CubeTensor,
    v: CubeTensor,
    options: &AttentionOptions,
) -> (CubeTensor, CubeTensor) {
    let [q, k, v] = [q, k, v].map(indexable);
    let shape = shape_of(&q, &k, &v);
    let plan = shape.plan(options, &q);
    let numbers = MaskNumbers::new(options);
    let out = unwritten_token_major(
        &q,
        [shape.batch, shape.heads, shape.queries, shape.value_width],
        q.dtype,
    );
    let sums = unwritten(&q, [shape.batch, shape.heads, shape.queries], DType::F32);
    if shape.batch * shape.heads * shape.queries == 0 {
        return (out, sums);
    }
    let call = Call {
        shape,
        plan,
        numbers,
        scale: options.scale as f32,
    };
    let tensors = [&q, &k, &v, &out, &sums];
    if !mma::attend(&call, tensors) && !units::attend(&call, tensors) {
        forward::attention_forward::launch(
            &q.client,
            shape.cubes(shape.queries, shape.heads, plan.tile),
            threads(),
            addresses(&[&q, &k, &v, &out]),
            q.clone().into_tensor_arg(),
            k.into_tensor_arg(),
            v.into_tensor_arg(),
            out.clone().into_tensor_arg(),
            sums.clone().into_tensor_arg(),
            options.scale as f32,
            numbers.offset,
            numbers.window,
            plan,
            element(&q),
        );
    }
    (out, sums)
}

/// Gradients of q, k and v, in the layout of the output: tokens before heads.
///
/// `dy` [B, H or fewer, T, D] is the gradient of the output; with fewer heads, head h reads head h
/// modulo their number.
pub(crate) fn attention_gradients(
    [q, k, v, out, sums]: [CubeTensor; 5],
    dy: CubeTensor,
    options: &AttentionOptions,
) -> [CubeTensor; 3] {
    let [q, k, v, out, dy] = [q, k, v, out, dy].map(indexable);
    let shape = shape_of(&q, &k, &v);
    let plan = shape.plan(options, &q);
    let numbers = MaskNumbers::new(options);
    let scale = options.scale as f32;
    let AttentionShape {
        batch,
        heads,
        kv_heads,
        queries,
        keys,
        width,
        value_width,
    } = shape;
    let deltas = unwritten(&q, [batch, heads, queries], DType::F32);
    let dq = unwritten_token_major(&q, [batch, heads, queries, width], q.dtype);
    let dk = unwritten_token_major(&q, [batch, kv_heads, keys, width], q.dtype);
    let dv = unwritten_token_major(&q, [batch, kv_heads, keys, value_width], q.dtype);
    let address = addresses(&[&q, &k, &v, &out, &dq, &dk, &dv]);
    let rows = batch * heads * queries;
    let call = Call {
        shape,
        plan,
        numbers,
        scale,
    };
    if rows > 0 && !mma::row_deltas(&call, [&out, &dy, &deltas]) {
        let count = CubeDim::new_1d((SIDE * SIDE) as u32);
        backward::attention_deltas::launch(
            &q.client,
            calculate_cube_count_elemwise(&q.client, rows, count),
            count,
            address,
            out.into_tensor_arg(),
            dy.clone().into_tensor_arg(),
            deltas.clone().into_tensor_arg(),
            element(&q),
        );
    }
    let tensors = [&q, &k, &v, &dy, &sums, &deltas];
    let results = [&dq, &dk, &dv];
    if mma::gradients(&call, tensors, results) || units::gradients(&call, tensors, results) {
        return [dq, dk, dv];
    }
    if rows > 0 {
        backward::attention_query_gradients::launch(
            &q.client,
            shape.cubes(queries, heads, plan.tile),
            threads(),
            address,
            q.clone().into_tensor_arg(),
            k.clone().into_tensor_arg(),
            v.clone().into_tensor_arg(),
            dy.clone().into_tensor_arg(),
            sums.clone().into_tensor_arg(),
            deltas.clone().into_tensor_arg(),
            dq.clone().into_tensor_arg(),
            scale,
            numbers.offset,
            numbers.window,
            plan,
            element(&q),
        );
    }
    if batch * kv_heads * keys > 0 {
        backward::attention_key_gradients::launch(
            &q.client,
            shape.cubes(keys, kv_heads, plan.tile),
            threads(),
            address,
            q.clone().into_tensor_arg(),
            k.into_tensor_arg(),
            v.into_tensor_arg(),
            dy.into_tensor_arg(),
            sums.into_tensor_arg(),
            deltas.into_tensor_arg(),
            dk.clone().into_tensor_arg(),
            dv.clone().into_tensor_arg(),
            scale,
            numbers.offset,
            numbers.window,
            plan,
            element(&q),
        );
    }
    [dq, dk, dv]
}
