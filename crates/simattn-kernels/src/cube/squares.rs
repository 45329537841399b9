//! Sums of squares on CubeCL devices: the parts of a gradient's norm.

use burn::tensor::DType;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::rows::{THREADS, sum_of_lanes, threads};
use super::tensor::{addresses, element, unwritten, zeros};

/// Values that a thread of [`square_partials`] sums, about, and the most cubes that it takes.
const EACH: usize = 16;
const MOST: usize = 1024;

/// `partial[s]` is the sum of squares of cube s's share of `x`: every S-th run of `THREADS` values.
#[cube(launch, address_type = "dynamic")]
fn square_partials<F: Float>(
    x: &Tensor<F>,
    partial: &mut Tensor<f32>,
    #[define(F)] _element: ElemType,
) {
    let step = partial.len() * THREADS;
    let mut at = CUBE_POS * THREADS + UNIT_POS as usize;
    let mut sum = f32::new(0.0);
    while at < x.len() {
        let value = f32::cast_from(x[at]);
        sum += value * value;
        at += step;
    }
    let mut scratch = Shared::<[f32]>::new_slice(THREADS);
    let sum = sum_of_lanes(sum, &mut scratch, THREADS);
    if UNIT_POS == 0 {
        partial[CUBE_POS] = sum;
    }
}

/// `sum[0] = Σ partial`; one cube.
#[cube(launch, address_type = "dynamic")]
fn add_partials(partial: &Tensor<f32>, sum: &mut Tensor<f32>) {
    let mut at = UNIT_POS as usize;
    let mut mine = f32::new(0.0);
    while at < partial.len() {
        mine += partial[at];
        at += THREADS;
    }
    let mut scratch = Shared::<[f32]>::new_slice(THREADS);
    let all = sum_of_lanes(mine, &mut scratch, THREADS);
    if UNIT_POS == 0 {
        sum[0] = all;
    }
}

/// Σ x², `[1]` in float32, in two stages whose order the shape fixes.
pub(crate) fn squared_norm(x: CubeTensor) -> CubeTensor {
    let x = into_contiguous(x);
    let len = x.meta.num_elements();
    if len == 0 {
        return zeros(&x, [1], DType::F32);
    }
    let shares = len.div_ceil(THREADS * EACH).clamp(1, MOST);
    let partial = unwritten(&x, [shares], DType::F32);
    let sum = unwritten(&x, [1], DType::F32);
    square_partials::launch(
        &x.client,
        CubeCount::Static(shares as u32, 1, 1),
        threads(),
        addresses(&[&x]),
        x.clone().into_tensor_arg(),
        partial.clone().into_tensor_arg(),
        element(&x),
    );
    add_partials::launch(
        &x.client,
        CubeCount::Static(1, 1, 1),
        threads(),
        addresses(&[&partial]),
        partial.into_tensor_arg(),
        sum.clone().into_tensor_arg(),
    );
    sum
}
