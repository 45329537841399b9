//! The average of the groups of heads (PEAA) on CubeCL devices.

use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use super::tensor::{addresses, element, unwritten};

/// `y[b, t, i, d]` is the mean over g of `x[b, g·H + i, t, d]`; one thread a value.
#[cube(launch, address_type = "dynamic")]
fn average_groups<F: Float>(
    x: &Tensor<F>,
    y: &mut Tensor<F>,
    #[comptime] groups: usize,
    #[define(F)] _element: ElemType,
) {
    if ABSOLUTE_POS >= y.len() {
        terminate!();
    }
    let heads = y.shape(2);
    let d = ABSOLUTE_POS % y.shape(3);
    let row = ABSOLUTE_POS / y.shape(3);
    let head = row % heads;
    let token = row / heads % y.shape(1);
    let batch = row / heads / y.shape(1);
    let base = batch * x.stride(0) + token * x.stride(2) + d * x.stride(3);
    let mut sum = f32::new(0.0);
    for group in 0..groups {
        sum += f32::cast_from(x[base + (group * heads + head) * x.stride(1)]);
    }
    y[ABSOLUTE_POS] = F::cast_from(sum * comptime!(1.0 / groups as f32));
}

/// `x` [B, H', T, D] → [B, T, H, D], H = H' / `groups`.
pub(crate) fn averaged(x: &CubeTensor, groups: usize) -> CubeTensor {
    let [batch, expanded, tokens, width] = x.meta.shape().dims();
    let y = unwritten(x, [batch, tokens, expanded / groups, width], x.dtype);
    let values = y.meta.num_elements();
    if values > 0 {
        average_groups::launch(
            &x.client,
            calculate_cube_count_elemwise(&x.client, values, CubeDim::new_1d(256)),
            CubeDim::new_1d(256),
            addresses(&[x, &y]),
            x.clone().into_tensor_arg(),
            y.clone().into_tensor_arg(),
            groups,
            element(x),
        );
    }
    y
}
