//! Linear maps on CubeCL devices: Burn's matrix product, which uses the device's matrix units, and
//! kernels for the bias.

use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::kernel::matmul::{MatmulStrategy, matmul};
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;
use cubecl::zspace::Strides;
use cubecl::zspace::metadata::Metadata;

use super::rows::threads;
use super::tensor::{addresses, element, reshaped, unwritten, zeros};

/// Adds `bias` [O] to each row of `y` [N, O] in place, one thread a value.
#[cube(launch, address_type = "dynamic")]
fn add_bias<F: Float>(y: &mut Tensor<F>, bias: &Tensor<F>, #[define(F)] _element: ElemType) {
    if ABSOLUTE_POS >= y.len() {
        terminate!();
    }
    let sum = f32::cast_from(y[ABSOLUTE_POS]) + f32::cast_from(bias[ABSOLUTE_POS % bias.len()]);
    y[ABSOLUTE_POS] = F::cast_from(sum);
}

/// `left` [M, K] · `right` [K, N] in `dtype`: [M, N], contiguous.
pub(super) fn product(left: CubeTensor, right: CubeTensor, dtype: DType) -> CubeTensor {
    let ([rows, depth], [inner, columns]) = (left.meta.shape().dims(), right.meta.shape().dims());
    assert_eq!(depth, inner, "the axis that a product sums over");
    if rows * columns * depth == 0 {
        return zeros(&left, [rows, columns], dtype);
    }
    let out = unwritten(&left, [rows, columns], dtype);
    matmul(left, right, Some(out), MatmulStrategy::default(), dtype)
        .expect("Burn multiplies matrices whose shapes fit")
}

/// A matrix [M, N] seen as [N, M]; nothing moves.
pub(super) fn transposed(x: CubeTensor) -> CubeTensor {
    let [rows, columns] = x.meta.shape().dims();
    let s = x.meta.strides();
    let meta = Metadata::new(Shape::new([columns, rows]), Strides::new(&[s[1], s[0]]));
    CubeTensor::new(x.client, x.handle, meta, x.device, x.dtype)
}

/// `x` [.., C] as a matrix [N, C].
fn rows_of(x: CubeTensor) -> CubeTensor {
    let x = into_contiguous(x);
    let width = x.meta.shape().last().copied().unwrap_or(1);
    let rows = x.meta.num_elements() / width.max(1);
    reshaped(x, [rows, width])
}

fn with_width(shape: &Shape, width: usize) -> Shape {
    let mut shape = shape.clone();
    let last = shape.rank() - 1;
    shape[last] = width;
    shape
}

/// x · weightᵀ + bias: `x` [.., I], `weight` [O, I], `bias` `[O]` → [.., O].
pub(crate) fn linear_map(
    x: CubeTensor,
    weight: CubeTensor,
    bias: Option<CubeTensor>,
) -> CubeTensor {
    let [outputs, _] = weight.meta.shape().dims();
    let shape = with_width(x.meta.shape(), outputs);
    let dtype = x.dtype;
    let y = product(rows_of(x), transposed(weight), dtype);
    let values = y.meta.num_elements();
    if let Some(bias) = bias.filter(|_| values > 0) {
        let bias = into_contiguous(bias);
        assert_eq!(bias.meta.num_elements(), outputs, "a bias for each output");
        add_bias::launch(
            &y.client,
            calculate_cube_count_elemwise(&y.client, values, threads()),
            threads(),
            addresses(&[&y]),
            y.clone().into_tensor_arg(),
            bias.into_tensor_arg(),
            element(&y),
        );
    }
    reshaped(y, shape)
}

/// dy · weight: `dy` [.., O] → [.., I].
pub(crate) fn linear_dx(dy: CubeTensor, weight: CubeTensor) -> CubeTensor {
    let [_, inputs] = weight.meta.shape().dims();
    let shape = with_width(dy.meta.shape(), inputs);
    let dtype = dy.dtype;
    reshaped(product(rows_of(dy), weight, dtype), shape)
}

/// dyᵀ · x: `dy` [.., O], `x` [.., I] → [O, I].
pub(crate) fn linear_dw(dy: CubeTensor, x: CubeTensor) -> CubeTensor {
    let dtype = x.dtype;
    product(transposed(rows_of(dy)), rows_of(x), dtype)
}
