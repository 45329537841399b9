//! Linear maps on CubeCL devices: products of matrices, and a kernel for the bias.

use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use super::columns::add_slices;
use super::product::{product, product_with, products_in, transposed};
use super::rows::threads;
use super::tensor::{addresses, element, reshaped, unwritten};

/// Adds `bias` [O] to each row of `y` [N, O] in place, one thread a value.
#[cube(launch, address_type = "dynamic")]
fn add_bias<F: Float>(y: &mut Tensor<F>, bias: &Tensor<F>, #[define(F)] _element: ElemType) {
    if ABSOLUTE_POS >= y.len() {
        terminate!();
    }
    let sum = f32::cast_from(y[ABSOLUTE_POS]) + f32::cast_from(bias[ABSOLUTE_POS % bias.len()]);
    y[ABSOLUTE_POS] = F::cast_from(sum);
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
    let bias = bias.map(into_contiguous);
    if let Some(bias) = &bias {
        assert_eq!(bias.meta.num_elements(), outputs, "a bias for each output");
    }
    let (y, added) = product_with(rows_of(x), transposed(weight), bias.as_ref(), dtype);
    let values = y.meta.num_elements();
    if let Some(bias) = bias.filter(|_| values > 0 && !added) {
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
///
/// The output is small and the sum long, so one product would keep few of a device's processors
/// busy: it is cut along the sum into slices, whose products are added in their order.
pub(crate) fn linear_dw(dy: CubeTensor, x: CubeTensor) -> CubeTensor {
    let dtype = x.dtype;
    let (dy, x) = (rows_of(dy), rows_of(x));
    let ([rows, outputs], [_, inputs]) = (dy.meta.shape().dims(), x.meta.shape().dims());
    let slices = slices_of_sum(rows, outputs, inputs);
    if slices == 1 {
        return product(transposed(dy), x, dtype);
    }
    let each = rows / slices;
    let partial = unwritten(&x, [slices, outputs, inputs], DType::F32);
    products_in(
        transposed(reshaped(dy, [slices, each, outputs])),
        reshaped(x, [slices, each, inputs]),
        &partial,
    );
    add_slices(&partial, outputs * inputs, 0, [outputs, inputs], dtype)
}

/// Into how many equal slices a sum over `rows` is cut, by the shapes alone, so that the same
/// shapes give the same bits: enough that tiles of the output times slices are about `TILES`, but
/// none shorter than `SHORTEST`.
fn slices_of_sum(rows: usize, outputs: usize, inputs: usize) -> usize {
    /// Four for each processor of a large device: with two, a third that are left over would leave
    /// most of it idle.
    const TILES: usize = 528;
    /// Values along each side of a tile.
    const SIDE: usize = 128;
    const SHORTEST: usize = 1024;
    const MOST: usize = 32;
    let tiles = outputs.div_ceil(SIDE) * inputs.div_ceil(SIDE);
    let wanted = (TILES / tiles.max(1)).next_power_of_two().min(MOST);
    let mut slices = wanted;
    while slices > 1 && (rows / slices < SHORTEST || !rows.is_multiple_of(slices)) {
        slices /= 2;
    }
    slices
}

#[cfg(test)]
mod tests {
    use super::slices_of_sum;

    #[test]
    fn long_sums_are_cut_until_the_device_is_full() {
        // The projections, the MLP and the head of the 125M class at 32 sequences of 1,024 tokens.
        assert_eq!(slices_of_sum(32_768, 768, 768), 16);
        assert_eq!(slices_of_sum(32_768, 2_304, 768), 4);
        assert_eq!(slices_of_sum(32_768, 3_072, 768), 4);
        assert_eq!(slices_of_sum(32_768, 50_304, 768), 1);
    }

    #[test]
    fn slices_are_equal_and_not_short() {
        for rows in [0, 1, 1_023, 2_048, 3_000, 4_097, 6_144, 40_000] {
            for width in [1, 64, 200, 768] {
                let slices = slices_of_sum(rows, width, 768);
                assert!(slices == 1 || rows % slices == 0 && rows / slices >= 1_024);
            }
        }
        assert_eq!(slices_of_sum(4_096, 64, 64), 4);
        assert_eq!(slices_of_sum(4_097, 64, 64), 1);
    }
}
